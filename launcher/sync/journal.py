"""What the store has acknowledged, one line per object, so that a launcher that was killed need not begin again.

It lies where the boot file may write, so it is a hint and no proof: who reads it asks the store as well. Nothing that
goes wrong with it stops a run.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from launcher import disk
from launcher.core.keys import is_own
from launcher.core.manifest import SHA256, Entry
from launcher.core.urls import wrong_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

_log = logging.getLogger(__name__)

LINE_MOST = 16 * 1024
"""Bytes of a line: a key has at most 1,024, and so has the target."""
BYTES_MOST = 256 * 1024**2
"""Bytes that are read of a journal, some million objects: what comes after them is uploaded again."""
HEADING_MOST = 1024**2
"""Bytes of the first line: an environment of some thousand secrets."""
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Noted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One file in its place, below which target and in which state; without `sha256` it was there before the run."""

    channel: str
    target: str
    key: str
    size: int
    mtime_ns: int
    inode: int
    sha256: str | None = None
    time: str = ""

    @property
    def stamp(self) -> disk.Stamp:
        """The state that was put."""
        return disk.Stamp(self.size, self.mtime_ns, self.inode)

    @property
    def entry(self) -> Entry | None:
        """What the manifest says of it."""
        if self.sha256 is None:
            return None
        return Entry(key=self.key, size=self.size, sha256=self.sha256, time=self.time)


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier run did for one output: what it put, and what it could not put and is not there any more."""

    done: Mapping[str, Entry]
    lost: Mapping[str, str]


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: what the run masked, so that a later upload can tell whether it knows all of it.

    `environment` names the secret variables of the launcher's environment, `digests` are of every secret value. Who can
    read them can read the log.
    """

    environment: tuple[str, ...]
    salt: str
    digests: tuple[str, ...]

    def knows(self, secret: str) -> bool:
        """Whether this was a secret of the run."""
        return _digest(self.salt, secret) in self.digests

    def covered(self, secrets: Iterable[str]) -> bool:
        """Whether every secret of the run is one of these."""
        return not self.digests or {_digest(self.salt, secret) for secret in secrets}.issuperset(self.digests)


class Journal:
    """The open journal. `note` may be called from any thread: a line is one write."""

    def __init__(self, path: str, descriptor: int | None) -> None:
        self._path = path
        self._descriptor = descriptor
        self._torn = False
        self._said = False

    def note(self, *entries: Noted) -> None:
        """Write down what the store has acknowledged."""
        self._write(b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))

    def found(self, channel: str, target: str, stamps: Mapping[str, disk.Stamp]) -> None:
        """Write down what was there before the run."""
        rest = iter(stamps.items())
        while some := tuple(islice(rest, 1000)):
            self.note(*(noted(channel, target, key, stamp) for key, stamp in some))

    def head(self, first: Heading) -> None:
        """Write the first line."""
        self._write(msgspec.json.encode(first) + b"\n")

    def close(self) -> None:
        """Note nothing more."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def tear(self) -> None:
        """Begin a line before the next one: the last is not whole."""
        self._torn = True

    def broken(self, why: str) -> None:
        """Say, once, that it cannot be kept."""
        if not self._said:
            _log.warning("%s cannot be written (%s); after a kill more is uploaded again", self._path, why)
        self._said = True

    def _write(self, lines: bytes) -> None:
        if self._descriptor is None or not lines:
            return
        text = b"\n" + lines if self._torn else lines
        try:
            written = os.write(self._descriptor, text)
        except OSError as error:
            self.broken(disk.reason(error))
            return
        self._torn = written < len(text)
        if self._torn:
            self.broken("no space left")


def noted(channel: str, target: str, key: str, stamp: disk.Stamp, entry: Entry | None = None) -> Noted:
    """A file in its place below `target`; one without an entry was there before the run."""
    return Noted(
        channel=channel,
        target=target,
        key=key,
        size=stamp.size,
        mtime_ns=stamp.mtime_ns,
        inode=stamp.inode,
        sha256=entry.sha256 if entry else None,
        time=entry.time if entry else "",
    )


def begin(path: str, secret_names: Sequence[str] = (), secrets: Sequence[str] = ()) -> Journal:
    """Begin a journal anew; what was there is gone. No secret is written, only what cannot be turned back into one."""
    with suppress(OSError):
        os.unlink(path)
    journal = _open(path, os.O_EXCL)
    salt = os.urandom(16).hex()
    digests = tuple(_digest(salt, secret) for secret in secrets)
    journal.head(Heading(environment=tuple(secret_names), salt=salt, digests=digests))
    return journal


def resume(path: str) -> Journal:
    """Go on with a journal."""
    return _open(path, 0)


def heading(path: str) -> Heading | None:
    """The first line of a journal; None where there is none that makes sense, so that nothing is known."""
    try:
        with _reader(path) as file:
            return msgspec.json.decode(file.readline(HEADING_MOST), type=Heading)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def load(path: str) -> Iterator[Noted]:
    """What a journal notes, as far as it makes sense: lines that do not are left out, the last one may be cut."""
    try:
        with _reader(path) as file:
            yield from _sound(_lines(file))
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            _log.warning("%s cannot be read (%s)", path, disk.reason(error))


def _reader(path: str) -> BinaryIO:
    return open(disk.open_regular(os.path.dirname(path), path), "rb")


def _open(path: str, how: int) -> Journal:
    try:
        descriptor = os.open(path, _FLAGS | how, 0o600)
    except OSError as error:
        journal = Journal(path, None)
        journal.broken(disk.reason(error))
        return journal
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:  # a second name may lead to somebody else's file
        os.close(descriptor)
        journal = Journal(path, None)
        journal.broken("it is no regular file of this folder alone")
        return journal
    journal = Journal(path, descriptor)
    if status.st_size and os.pread(descriptor, 1, status.st_size - 1) != b"\n":
        journal.tear()
    return journal


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines of a bounded length."""
    left, inside = BYTES_MOST, False
    while left > 0 and (line := file.readline(LINE_MOST)):
        left -= len(line)
        if line.endswith(b"\n") and not inside:
            yield line
        inside = not line.endswith(b"\n")


def _sound(lines: Iterable[bytes]) -> Iterator[Noted]:
    decoder = msgspec.json.Decoder(Noted)
    for line in lines:
        try:
            entry = decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if _is_sound(entry):
            yield entry


def _is_sound(entry: Noted) -> bool:
    if not entry.key or entry.key.endswith("/") or wrong_key(entry.key) or is_own(entry.key):
        return False
    return entry.size >= 0 and (entry.sha256 is None or SHA256.fullmatch(entry.sha256) is not None)


def _digest(salt: str, secret: str) -> str:
    from hashlib import sha256  # noqa: PLC0415 - a run without secrets starts without it

    return sha256(f"{salt}:{secret}".encode(errors="surrogatepass")).hexdigest()
