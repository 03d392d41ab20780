"""What /proc says of processes that are not ours by birth; it only looks."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDED = "ZXx"
"""The states of a process of which only its exit status is left."""
_ENVIRON_BYTES = 16 << 20  # the kernel takes no more than 6 MiB unless somebody raised the stack's limit
_NAME_CHARACTERS = 80
_CHUNK = 1 << 16


def namespace() -> tuple[str, int] | None:
    """Where our own pids mean something: one run of the kernel, and a pid namespace in it.

    None where /proc does not tell, or is another namespace's.
    """
    with suppress(OSError, ValueError):
        if os.readlink("/proc/self") == str(os.getpid()):
            with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
                return file.read(64).decode("ascii").strip(), os.stat("/proc/self/ns/pid").st_ino
    return None


def pids() -> list[int]:
    """Every process that can be seen."""
    with suppress(OSError):
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return []


def status(pid: int) -> tuple[str, int, int] | None:
    """The state, the parent and the start of a process, in ticks since boot; None when it is gone.

    The start tells it from another one of its number.
    """
    content = _read(pid, "stat", 4096)
    if not content:
        return None
    # The name stands in brackets and may hold any character, a bracket and a space as well.
    fields = content.rpartition(b")")[2].split()
    return fields[0].decode("ascii"), int(fields[1]), int(fields[19])


def start_of(pid: int) -> int | None:
    """When a process that has not ended began; None when it has."""
    found = status(pid)
    return None if found is None or found[0] in ENDED else found[2]


def variable(pid: int, name: str) -> str | None:
    """A variable of the environment that a process was started with; "" when unset, None where it may not be read."""
    content = _read(pid, "environ", _ENVIRON_BYTES)
    if content is None:
        return None
    start = name.encode() + b"="
    values = (entry[len(start) :] for entry in content.split(b"\0") if entry.startswith(start))
    return next(values, b"").decode("ascii", "replace")


def title(pid: int) -> str:
    """The program and the script that it runs, without what stands around them: options may hold secrets."""
    words = (_read(pid, "cmdline", 4096) or b"").decode("utf-8", "replace").split("\0")
    program = words[0].rpartition("/")[2]
    script = words[1].rpartition("/")[2] if len(words) > 1 and not words[1].startswith("-") else ""
    return f"{program} {script}".strip()[:_NAME_CHARACTERS] or "no name"


def opened(pid: int) -> Iterator[str]:
    """The paths of the files that a process holds open, as far as they may be seen."""
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                yield os.readlink(f"{folder}/{name}")


def _read(pid: int, name: str, most: int) -> bytes | None:
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            content = file.read(min(most, _CHUNK))
            while len(content) < most and (more := file.read(_CHUNK)):
                content += more
            return content
    except OSError:
        return None
