"""This node as the kernel and the name server tell of it: room, limits, networks, the names of its peers.

It only looks. The paths are arguments for those who try it out.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from launcher.core.precheck import Room

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_NAMES = 10_000
LONGEST_FILE = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_KIB = 1024


class System:
    """The real node. Every method may be called from any thread."""

    def __init__(self, volcano: str = "/etc/volcano", infiniband: str = "/sys/class/infiniband") -> None:
        self._volcano = volcano
        self._infiniband = infiniband

    def room(self, path: str) -> Room | None:
        """The file system of a path; None where the path is not there. Raises OSError."""
        try:
            told = os.statvfs(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Room(
            free_bytes=told.f_bavail * told.f_frsize,
            whole_bytes=told.f_blocks * told.f_frsize,
            inodes=told.f_favail if told.f_files else None,
        )

    def limits(self) -> Mapping[str, int | None]:
        """The soft limits, which are those that a child meets."""
        import resource

        def soft(number: int, unit: int) -> int | None:
            limit = resource.getrlimit(number)[0]
            return None if limit == resource.RLIM_INFINITY else limit // unit

        return {
            "memlock": soft(resource.RLIMIT_MEMLOCK, _KIB),
            "nofile": soft(resource.RLIMIT_NOFILE, 1),
            "stack": soft(resource.RLIMIT_STACK, _KIB),
            "nproc": soft(resource.RLIMIT_NPROC, 1),
        }

    def infiniband(self) -> bool:
        """Whether there is an adapter that RDMA can use, RoCE included: NCCL uses it the same way."""
        try:
            return bool(os.listdir(self._infiniband))
        except OSError:
            return False

    def peers(self) -> Sequence[str]:
        """The names in every `*.host` file of Volcano's folder; what cannot be a name is left out."""
        try:
            files = sorted(name for name in os.listdir(self._volcano) if name.endswith(".host"))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        found: dict[str, None] = {}
        for file in files:
            found.update(dict.fromkeys(filter(_NAME.fullmatch, self._words(file))))
        return tuple(found)[:MOST_NAMES]

    def resolve(self, name: str) -> str | None:
        """Why a name does not resolve; None: it does."""
        import socket

        try:
            socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            return (error.strerror if isinstance(error, OSError) else None) or str(error)
        return None

    def _words(self, file: str) -> Sequence[str]:
        descriptor = os.open(os.path.join(self._volcano, file), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            text = opened.read(LONGEST_FILE) or b""
        return text.decode("ascii", "replace").replace(",", " ").split()
