"""What a request for stacks brings: a text for each process that was looked into, and who keeps all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from launcher.core.redact import mask
from launcher.core.stacktexts import MOST_BYTES, threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.streams.pump import Sink

REACH = 4096
"""So much of what was written before a signal is looked for, to know what came after it."""


class Looked(Struct, frozen=True, kw_only=True):
    """What was seen of one process, and from outside; `told` are those of its variables that matter here."""

    pid: int
    name: str
    text: str
    outside: str = ""
    rank: int | None = None
    told: Mapping[str, str] = {}


class Taken(Struct, frozen=True, kw_only=True):
    """All that a request has brought: of processes whose text is empty, no stacks could be seen."""

    looked: tuple[Looked, ...]


class Keeper(Protocol):
    """Who keeps what was taken, and tells of it."""

    def begin(self, taken: Taken) -> None:
        """Keep it, on a thread of its own."""
        ...

    @property
    def over(self) -> bool:
        """Whether it is kept."""
        ...

    def tell(self) -> None:
        """Say where the ranks stand, as far as that is known by now."""
        ...


class Capture:
    """A sink that remembers the first MiB."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def write(self, chunk: bytes | memoryview) -> None:
        """Take what there is room for."""
        self._kept += chunk[: MOST_BYTES - len(self._kept)]

    def end(self) -> None:
        """Know that no more comes."""

    @property
    def text(self) -> str:
        """What was written."""
        return self._kept.decode("utf-8", "replace")


class Veil:
    """A sink before another one, which gets whole lines without secrets: py-spy names what a process was started with.

    One pump writes to it; a line longer than a MiB is cut, and none is held back when the pump is over.
    """

    def __init__(self, sink: Sink, secrets: Callable[[], Sequence[str]]) -> None:
        self._sink = sink
        self._secrets = secrets
        self._rest = b""

    def write(self, chunk: bytes | memoryview) -> None:
        """Hand the lines on that have ended."""
        lines, newline, rest = (self._rest + bytes(chunk)).rpartition(b"\n")
        whole, self._rest = (lines + newline + rest, b"") if len(rest) > MOST_BYTES else (lines + newline, rest)
        self._show(whole)

    def end(self) -> None:
        """Hand on what is left."""
        rest, self._rest = self._rest, b""
        self._show(rest)
        self._sink.end()

    def _show(self, text: bytes) -> None:
        if text:
            shown = mask(text.decode("utf-8", "surrogateescape"), self._secrets())
            self._sink.write(shown.encode("utf-8", "surrogateescape"))


class Answer:
    """What a process writes to its stderr after a signal, as the end of that is remembered anyway."""

    def __init__(self, tail: Callable[[], bytes]) -> None:
        self._tail = tail
        self._before = tail()[-REACH:]

    @property
    def text(self) -> str:
        """What has come since; empty as long as it holds no stacks."""
        now = self._tail()
        at = now.rfind(self._before) if self._before else 0
        came = now[at + len(self._before) :] if at >= 0 else now
        text = came.decode("utf-8", "replace")
        return text if threads(text) else ""
