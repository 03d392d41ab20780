"""What is compressed as a whole, as a stream of what it was: gzip and zstd, several members or frames in a row too.

It never grows by more than 1 MiB at a time, and never beyond what it may grow to.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

from launcher.core.errors import Exit, StageError
from launcher.core.members import broken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

    from launcher.core.members import Format

IN = 64 * 1024
OUT = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS


class Stage(Protocol):
    """One member or frame being decompressed, with the names of the standard library's own decompressors."""

    @property
    def eof(self) -> bool:
        """Whether it has ended, and its checksum was right."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What followed its end."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether all that was given has come out."""
        ...

    def decompress(self, data: Buffer, max_length: int = -1) -> bytes:
        """Give more to it, and take out no more than `max_length`."""
        ...


class Gunzip:
    """zlib's own object in the shape that bz2, lzma and zstd have."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP)

    @property
    def eof(self) -> bool:
        """Whether it has ended, and its checksum was right."""
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        """What followed its end."""
        return self._stream.unused_data

    @property
    def needs_input(self) -> bool:
        """Whether all that was given has come out."""
        return not self._stream.unconsumed_tail

    def decompress(self, data: Buffer, max_length: int = 0) -> bytes:
        """Give more to it, and take out no more than `max_length`."""
        return self._stream.decompress(self._stream.unconsumed_tail or data, max_length)


def inflate(archive: str, form: Format, pieces: Iterator[Buffer]) -> Iterator[Buffer]:
    """Decompress what a store sends; raises `StageError` for what is damaged, cut off, or goes on after its end."""
    start, error = (Gunzip, zlib.error) if form == "gzip" else _zstd(archive)
    try:
        yield from _inflated(archive, form, pieces, start)
    except error as wrong:
        raise broken(archive, _damage(form, str(wrong))) from wrong


def _inflated(archive: str, form: str, pieces: Iterator[Buffer], start: Callable[[], Stage]) -> Iterator[Buffer]:
    stage: Stage | None = None
    began = False
    for piece in _small(pieces):
        data = piece
        while data:
            if stage is None:
                data = _padded(data) if began else data
                stage = start() if data else None
            if stage is not None:
                yield from _grown(stage, data)
                began = True
                data = memoryview(stage.unused_data if stage.eof else b"")
                stage = None if stage.eof else stage
    if stage is not None or not began:
        raise broken(archive, f"ends in the middle of its {form} stream")


def _padded(data: memoryview) -> memoryview:
    """Leave out the zeros that tapes and some writers put after an end."""
    return memoryview(bytes(data).lstrip(b"\0"))


def _small(pieces: Iterator[Buffer]) -> Iterator[memoryview]:
    """Cut what came, because zlib copies all that it has not used yet with each call."""
    for piece in pieces:
        view = memoryview(piece).cast("B")
        for start in range(0, len(view), IN):
            yield view[start : start + IN]


def _grown(stage: Stage, data: memoryview) -> Iterator[Buffer]:
    grown = stage.decompress(data, OUT)
    while True:
        if grown:
            yield grown
        # a full measure may mean that more is held back, even where all input is used
        if stage.eof or (stage.needs_input and len(grown) < OUT):
            return
        grown = stage.decompress(b"", OUT)


def _damage(form: str, wrong: str) -> str:
    if "memory" in wrong:
        return f"was compressed with a window too large to be held ({wrong}); pack it again without --long or --ultra"
    return f"is no {form}, is damaged, or is followed by something else: {wrong}"


def _zstd(archive: str) -> tuple[Callable[[], Stage], type[Exception]]:
    try:
        try:
            from compression.zstd import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - 3.14 on
                ZstdDecompressor,
                ZstdError,
            )
        except ImportError:
            from backports.zstd import ZstdDecompressor, ZstdError  # noqa: PLC0415 - the extra `zstd`
    except ImportError as error:
        raise StageError(
            f"the archive {archive!r} is compressed by zstd, which this Python cannot read",
            code="archive-engine",
            action="Install the launcher with its extra: pip install 'modelarts-launcher[zstd]'.",
            exit_code=Exit.NODE,
        ) from error
    return ZstdDecompressor, ZstdError
