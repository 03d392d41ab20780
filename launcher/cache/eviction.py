"""How much the cache holds: what may come in, what was not used for longest and goes, what dead writers left.

It never opens an entry: who reads one has it open and keeps it, though its name goes.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import threading
import time
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LOCK = ".lock"
PART = ".part-"
_SHARD_NAME = 2  # letters
_BLOCK = 4096  # a small file takes a block of the disk
_SHARE = 16
_DEAD_S = 86_400.0  # of another kernel's launcher we only know that it wrote nothing for a day
_LOOK_S = 0.05
_LOOKS = 100
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ALONE = fcntl.LOCK_EX | fcntl.LOCK_NB
_BOOT_ID = "/proc/sys/kernel/random/boot_id"

_log = logging.getLogger(__name__)


class Room:
    """The room of one cache, as one of the launchers that use it sees it. Its methods raise OSError.

    What is there is looked at when the first entry comes, and again for each sixteenth of the limit that this launcher
    adds. So n launchers at once keep at most the limit, and n - 1 times a sixteenth of it and what they are taking in.
    """

    def __init__(self, folder: int, limit: int) -> None:
        self._folder, self._limit, self._share = folder, limit, limit // _SHARE
        self._admission = threading.Lock()
        self._counting = threading.Lock()
        self._allowance = self._taking = 0
        self._looks = _LOOKS
        self._said = False

    def admit(self, size: int, spare: int, stopped: Callable[[], bool]) -> bool:
        """Whether there is, or was made, room for an entry; if so it counts as here, and `settle` must follow.

        None comes in that would leave the file system fewer bytes than `spare`.
        """
        size = on_disk(size)
        while not self._admission.acquire(timeout=_LOOK_S):
            if stopped():
                raise Cancelled
        try:
            if size > self._limit // 2 or not self._leaves_enough(size, spare):
                return False
            if size > self._allowance and not self._make(size, stopped):
                return False
            self._allowance -= size
            with self._counting:
                self._taking += size
            return True
        finally:
            self._admission.release()

    def settle(self, size: int) -> None:
        """An entry that was admitted is written, or given up."""
        with self._counting:
            self._taking -= on_disk(size)

    def release(self, wanted: int) -> int:
        """Remove what was not used for longest, to give the disk so many bytes back; how many those were."""
        with self._alone(lambda: False) as alone:
            if not alone:
                return 0
            used = self._look()
            return self._trim(used, sum(used.values()) - wanted)

    def _leaves_enough(self, size: int, spare: int) -> bool:
        room = os.fstatvfs(self._folder)
        if room.f_bavail * room.f_frsize - size >= spare:
            return True
        if not self._said:
            self._said = True
            _log.warning("the cache takes in less: the job needs the rest of the disk that they share")
        return False

    def _make(self, size: int, stopped: Callable[[], bool]) -> bool:
        """Look what is there, and see that this entry and a share of the limit come to lie in it."""
        with self._alone(stopped) as alone:
            if not alone:
                return False
            used = self._look()
            most = self._limit - self._share - size - self._taking
            if sum(used.values()) > most:
                self._trim(used, most - self._share)
        self._allowance = self._share + size
        return True

    def _look(self) -> Mapping[int, int]:
        """Bytes by the second of their last use; leftovers are swept on the way."""
        kernel, now = _kernel(), time.time()
        used: dict[int, int] = {}
        for shard, name, found in self._entries():
            if name.startswith(PART) and _swept(shard, name, kernel, now - found.st_mtime):
                continue
            second = int(found.st_mtime)
            used[second] = used.get(second, 0) + on_disk(found.st_size)
        return used

    def _trim(self, used: Mapping[int, int], most: int) -> int:
        """Remove the longest unused until at most so many bytes are left; how many went."""
        last, rest = _cut(used, sum(used.values()) - most)
        gone = 0
        for shard, name, found in self._entries():
            second, size = int(found.st_mtime), on_disk(found.st_size)
            if name.startswith(PART) or second > last or (second == last and rest <= 0):
                continue
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=shard)
                gone += size
                rest -= size if second == last else 0
        return gone

    def _entries(self) -> Iterator[tuple[int, str, os.stat_result]]:
        """Every file, with the open folder that it lies in."""
        for name in os.listdir(self._folder):
            if len(name) != _SHARD_NAME:
                continue
            try:
                shard = os.open(name, disk.DIRECTORY, dir_fd=self._folder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                with os.scandir(shard) as entries:
                    for entry in entries:
                        found = _status(entry)
                        if found is not None and stat.S_ISREG(found.st_mode):
                            yield shard, entry.name, found
            finally:
                os.close(shard)

    @contextmanager
    def _alone(self, stopped: Callable[[], bool]) -> Iterator[bool]:
        """Be the only launcher that looks and removes, and say whether we are."""
        lock = os.open(LOCK, _OPEN | os.O_CREAT, 0o600, dir_fd=self._folder)
        try:
            yield self._locked(lock, stopped)
        finally:
            os.close(lock)

    def _locked(self, lock: int, stopped: Callable[[], bool]) -> bool:
        """Wait for the lock, but all in all no longer than a few seconds of a run: its holder may be suspended."""
        pause = threading.Event()
        while not _is_taken(lock):
            if stopped():
                raise Cancelled
            if self._looks <= 0:
                return False
            self._looks -= 1
            pause.wait(_LOOK_S)
        return True


def create(shard: int) -> tuple[str, int]:
    """Make a new file in an open folder and hold it, so that nobody sweeps it: its name, and the file."""
    while True:
        name = f"{PART}{_kernel()}-{os.urandom(8).hex()}"
        part = os.open(name, _OPEN | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=shard)
        if _is_held(part) and os.fstat(part).st_nlink:
            return name, part
        os.close(part)  # somebody sweeps it, who came in the moment before it was held


def _is_held(part: int) -> bool:
    try:
        return _is_taken(part)
    except OSError:
        return True  # where no file can be locked, nobody sweeps either


def on_disk(size: int) -> int:
    """What a file takes of the disk."""
    return -(-size // _BLOCK) * _BLOCK


def _cut(used: Mapping[int, int], excess: int) -> tuple[int, int]:
    """The last second whose entries go, and how many bytes of that very second do."""
    last, rest = -1, 0
    for second in sorted(used):
        if excess <= 0:
            break
        last, rest = second, excess
        excess -= used[second]
    return last, rest


def _is_taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, _ALONE)
    except BlockingIOError:
        return False
    return True


def _swept(shard: int, name: str, kernel: str, idle: float) -> bool:
    """Remove what a writer left that was killed, if it did not live on: then it holds its file."""
    if not name.startswith(f"{PART}{kernel}-") and idle < _DEAD_S:
        return False
    try:
        part = os.open(name, _OPEN, dir_fd=shard)
        try:
            fcntl.flock(part, _ALONE)
            os.unlink(name, dir_fd=shard)
        finally:
            os.close(part)
    except OSError:
        return False
    return True


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


@cache
def _kernel() -> str:
    """What this kernel is called as long as it runs, in every container."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read(8)
    except OSError:
        return "0"
