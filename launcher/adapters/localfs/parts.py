"""Files on their way into the store: held while they are written, and swept away when their writer is dead.

A lock says who lives, not the process number in the name: containers beside each other count their processes from 1,
and the kernel drops the lock of whatever was killed. What another kernel's launcher writes here is never touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from launcher.adapters.localfs.entries import PART_PREFIX

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ALONE = fcntl.LOCK_EX | fcntl.LOCK_NB
_UNKNOWN = "0"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def create(parent: int) -> tuple[str, int]:
    """Make a new file in an open folder and hold it: its name, and the file to write to."""
    while True:
        name = f"{PART_PREFIX}{os.getpid()}-{_kernel()}-{os.urandom(8).hex()}"
        target = os.open(name, CREATE, 0o666, dir_fd=parent)
        if _hold(target) and _is_there(parent, name):
            return name, target
        os.close(target)  # somebody swept it in the moment before it was held


def sweep(parent: int) -> None:
    """Remove what launchers of this host left unfinished in an open folder when they were killed."""
    kernel = _kernel()
    with contextlib.suppress(OSError):
        for name in os.listdir(parent) if kernel != _UNKNOWN else ():
            if name.startswith(PART_PREFIX) and name.split("-")[3:4] == [kernel]:
                _sweep(parent, name)


def _hold(target: int) -> bool:
    try:
        fcntl.flock(target, _ALONE)
    except BlockingIOError:
        return False
    except OSError:
        return True  # where no file can be locked, nobody sweeps either
    return True


def _sweep(parent: int, name: str) -> None:
    with contextlib.suppress(OSError):
        found = os.open(name, _LOOK, dir_fd=parent)
        try:
            fcntl.flock(found, _ALONE)
            os.unlink(name, dir_fd=parent)
        finally:
            os.close(found)


def _is_there(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _kernel() -> str:
    """What this kernel is called as long as it runs, in every container; where it does not say, nothing is swept."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read(8)
    except OSError:
        return _UNKNOWN
