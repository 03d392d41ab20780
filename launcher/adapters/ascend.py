"""The Ascend NPUs that were given to this container: by their files in /dev, and by what npu-smi says of them.

It opens no device and changes nothing; a node without Ascend costs a look at a few paths.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from launcher.core.answer import Answer
    from launcher.core.devices import Accelerators
    from launcher.core.npus import Found
    from launcher.protocols import Ask

LIMIT_S = 5.0
"""How long the tool may take to answer; with a broken driver it may take for ever."""
MOST_BYTES = 64 * 1024
"""Of a file that tells a version: it has a few lines."""

TOOL = "npu-smi"
FOLDERS = ("/usr/local/bin", "/usr/local/sbin", "/usr/local/Ascend/driver/tools")
DRIVER = "/usr/local/Ascend/driver/version.info"
TOOLKITS = ("/usr/local/Ascend/ascend-toolkit/latest", "/usr/local/Ascend/cann", "/usr/local/Ascend/nnae/latest")
HOMES = ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH")

_NODE = re.compile(r"davinci([0-9]{1,4})")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,63}")
_RUNNING = re.compile(r"\[(?:[^\]:]*:)?([^\]:]*)\]")


def ascend(environ: Mapping[str, str], ask: Ask, top: str = "", limit_s: float = LIMIT_S) -> Accelerators | None:
    """What there is of Ascend; None: nothing. `top` goes before the system's own paths."""
    nodes, odd = _nodes(f"{top}/dev")
    tool = _tool((*environ.get("PATH", "").split(":"), *(f"{top}{folder}" for folder in FOLDERS)))
    if not nodes and tool is None:
        return None
    from launcher.core.npus import Found, accelerators

    found = Found(notes=(f"{TOOL} is not there: names, memory and health of the NPUs are unknown",))
    if tool is not None:
        found = _told(tool, ask, limit_s)
    homes = [place for name in HOMES if (place := environ.get(name))]
    found = replace(
        found,
        nodes=tuple(nodes),
        driver=_entry(f"{top}{DRIVER}", "Version") or found.driver,
        runtime=_cann((*homes, *(f"{top}{place}" for place in TOOLKITS))),
        notes=(*odd, *found.notes),
    )
    return accelerators(found, environ)


def _nodes(dev: str) -> tuple[list[int], list[str]]:
    """The numbers of the devices' files, and what only has the name of one."""
    found, odd = [], []
    names: list[str] = []
    with suppress(OSError):
        names = sorted(os.listdir(dev))
    for name in names:
        match = _NODE.fullmatch(name)
        if match and _is_device(f"{dev}/{name}"):
            found.append(int(match[1]))
        elif match:
            odd.append(f"/dev/{name} is no device: the host has none of this number, or it was not handed in as one")
    return sorted(set(found)), odd


def _is_device(path: str) -> bool:
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return False


def _tool(folders: Iterable[str]) -> str | None:
    paths = (f"{folder}/{TOOL}" for folder in folders if folder.startswith("/"))
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)


def _told(tool: str, ask: Ask, limit_s: float) -> Found:
    """What the tool says; one that gives no answer is asked nothing more."""
    from launcher.core.npus import Found
    from launcher.core.parse.npuids import joined, parse_mapping
    from launcher.core.parse.npusmi import parse_table

    answer = ask((tool, "info"), limit_s)
    if answer.fault is not None:
        return Found(notes=(f"{TOOL} info {answer.fault}: names, memory and health of the NPUs are unknown",))
    table = parse_table(answer.stdout)
    failed = _failure("info", answer)
    if not table.npus:
        said = failed or table.notes or (f"{TOOL} info lists no NPU",)
        return Found(driver=table.version, notes=(*said, *_slots(tool, ask, limit_s)))
    ids = ask((tool, "info", "-m"), limit_s)
    mapping = parse_mapping(ids.stdout)
    return Found(
        npus=joined(table, mapping),
        counted=table.count is not None,
        held=table.held,
        driver=table.version,
        notes=(*failed, *table.notes, *_failure("info -m", ids), *mapping.notes),
    )


def _slots(tool: str, ask: Ask, limit_s: float) -> Iterator[str]:
    """What is in the slots, where the table lists nothing: a card whose driver does not start, for one."""
    from launcher.core.parse.npuids import parse_cards

    cards = parse_cards(ask((tool, "info", "-l"), limit_s).stdout)
    if cards.count:
        named = f" ({', '.join(dict.fromkeys(cards.names))})" if cards.names else ""
        yield f"{TOOL} info -l lists {len(cards.npus)} cards with {cards.count} chips{named} all the same"


def _failure(command: str, answer: Answer) -> tuple[str, ...]:
    from launcher.core.parse.cursor import shown

    if answer.fault is not None:
        return (f"{TOOL} {command} {answer.fault}",)
    if answer.code == 0:
        return ()
    last = (answer.stderr.strip() or answer.stdout.strip() or "it said nothing").splitlines()[-1]
    return (f"{TOOL} {command} ended with {answer.code}: {shown(last)}",)


def _cann(homes: Iterable[str]) -> str | None:
    """The version of the toolkit that a boot process finds, from the files that its releases wrote over the years."""
    for home in homes:
        for name, keys in (
            ("version.cfg", ("toolkit_running_version", "runtime_running_version")),
            (f"{os.uname().machine}-linux/ascend_toolkit_install.info", ("version",)),
            ("runtime/version.info", ("Version",)),
            ("compiler/version.info", ("Version",)),
        ):
            for key in keys:
                version = _entry(f"{home}/{name}", key)
                if version is not None:
                    return version
    return None


def _entry(path: str, key: str) -> str | None:
    """One version out of lines of a name, `=` and a version; in brackets it stands behind an inner number."""
    for line in _text(path).splitlines():
        name, _, value = line.partition("=")
        if name.strip() != key:
            continue
        inner = _RUNNING.fullmatch(value.strip())
        version = inner[1] if inner else value.strip()
        return version if _VERSION.fullmatch(version) else None
    return None


def _text(path: str) -> str:
    """A file's beginning; nothing where none is, or where it is something that would be waited for."""
    with suppress(OSError, ValueError), open(path, "rb", opener=_without_waiting) as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file.read(MOST_BYTES).decode(errors="replace")
    return ""


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
