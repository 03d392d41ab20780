"""How far staging and syncing are: bars at the foot of a terminal, or a line of the log every ten seconds.

Nothing depends on it: where there is no thread, no tqdm, or nobody at the terminal any more, there is less to see.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from launcher.core.keys import human_size
from launcher.core.record import Moving
from launcher.streams.lines import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from launcher.streams.screen import Screen

FIRST_S = 0.5
"""What ends sooner shows no bar."""
FRAME_S = 0.1
_PATIENCE_S = 1.0
_WINDOW_S = 10.0
_UNITS = ("KB", "MB", "GB", "TB")
_LONG_S = 90
_MINUTE_S = 60

_log = logging.getLogger(__name__)


class Rates(msgspec.Struct, frozen=True):
    """Objects and bytes a second, lately."""

    objects: float
    bytes: float


@contextmanager
def shown(
    step: str,
    snapshot: Callable[[], Sequence[Moving]],
    *,
    terminal: Screen | None,
    monotonic: Callable[[], float] = time.monotonic,
    every: float = 10.0,
) -> Iterator[None]:
    """Show how far a step is while the work inside runs: on the terminal, else in the log each `every` seconds.

    `snapshot` is called on a thread of its own, ten times a second for a terminal.
    """
    over = threading.Event()
    watch = _Watch(step, snapshot, Gauge(monotonic), terminal=terminal, every=every, over=over)
    thread = threading.Thread(target=watch.run, name="progress", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the node allows no more threads
        yield
        return
    try:
        yield
    finally:
        over.set()
        thread.join(_PATIENCE_S)
        if terminal is not None:
            terminal.clear()


class _Watch:
    """The thread that looks how far things are, and shows it."""

    def __init__(
        self,
        step: str,
        snapshot: Callable[[], Sequence[Moving]],
        gauge: Gauge,
        *,
        terminal: Screen | None,
        every: float,
        over: threading.Event,
    ) -> None:
        self._step, self._snapshot, self._gauge = step, snapshot, gauge
        self._terminal, self._every, self._over = terminal, every, over

    def run(self) -> None:
        self._gauge.rates(self._snapshot())
        if self._terminal is not None and not self._over.wait(FIRST_S):
            self._draw(self._terminal)
        while not self._over.wait(self._every):
            moving = self._snapshot()
            rates = self._gauge.rates(moving)
            if any(one.objects < one.known_objects or not one.listed for one in moving):
                _log.info("%s %s", self._step, told(whole(moving), fastest(rates)))

    def _draw(self, terminal: Screen) -> None:
        """Draw until it is over, or nobody sees it any more."""
        try:
            from tqdm.std import tqdm  # noqa: F401, PLC0415 - only where a bar is shown
        except ImportError:
            return
        while not (self._over.is_set() or terminal.gone):
            moving = self._snapshot()
            rows = bars(moving, self._gauge.rates(moving), terminal.size(), ascii_only=terminal.ascii)
            terminal.draw(rows, self._over.is_set)
            self._over.wait(FRAME_S)


class Gauge:
    """How fast each channel moved over the last ten seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._samples: dict[str, deque[tuple[float, int, int]]] = {}
        self._looked = monotonic()

    def rates(self, moving: Sequence[Moving]) -> tuple[Rates, ...]:
        """Take a sample; one rate for each channel."""
        now = self._monotonic()
        rates = tuple(self._rate(one, now) for one in moving)
        self._looked = now
        return rates

    def _rate(self, one: Moving, now: float) -> Rates:
        samples = self._samples.setdefault(one.label, deque(((self._looked, 0, 0),)))
        samples.append((now, one.objects, one.bytes))
        while samples[1][0] <= now - _WINDOW_S and len(samples) > 2:  # noqa: PLR2004 - the two that a rate needs
            samples.popleft()
        then, objects, size = samples[0]
        seconds = max(now - then, 1e-3)
        return Rates((one.objects - objects) / seconds, (one.bytes - size) / seconds)


def whole(moving: Sequence[Moving]) -> Moving:
    """All channels as one; a single one keeps its name."""
    return Moving(
        label=moving[0].label if len(moving) == 1 else f"{len(moving)} channels",
        objects=sum(one.objects for one in moving),
        bytes=sum(one.bytes for one in moving),
        known_objects=sum(one.known_objects for one in moving),
        known_bytes=sum(one.known_bytes for one in moving),
        listed=all(one.listed for one in moving),
    )


def fastest(rates: Sequence[Rates]) -> Rates:
    """The rate of all channels together."""
    return Rates(sum(rate.objects for rate in rates), sum(rate.bytes for rate in rates))


def told(one: Moving, rate: Rates) -> str:
    """How far it is, in a line for the log."""
    speed = f"{human_size(rate.bytes)}/s"
    if not one.listed:
        return f"{one.label}: {one.objects:,} objects, {human_size(one.bytes)}, {speed}, listing goes on"
    counts = f"{one.objects:,} of {one.known_objects:,} objects, {_part(one.bytes, ' of ', one.known_bytes)}"
    return f"{one.label}: {counts}, {speed}" + (f", {left} left" if (left := _left(one, rate)) else "")


def bars(
    moving: Sequence[Moving], rates: Sequence[Rates], size: tuple[int, int], *, ascii_only: bool
) -> tuple[str, ...]:
    """One row for each channel that fits on a screen of so many columns and rows, those that still move first."""
    columns, most = size
    wide = max((len(plain(one.label)) for one in moving), default=0)
    pairs = sorted(zip(moving, rates, strict=True), key=lambda pair: _is_done(pair[0]))
    return tuple(
        _bar(one, rate, f"{plain(one.label):{wide}}", columns - 1, ascii_only=ascii_only)
        for one, rate in pairs[: max(most - 1, 1)]
    )


def _bar(one: Moving, rate: Rates, label: str, columns: int, *, ascii_only: bool) -> str:
    from tqdm.std import tqdm  # noqa: PLC0415 - only where a bar is shown
    from tqdm.utils import disp_trim  # noqa: PLC0415 - the same

    speed = f"{human_size(rate.bytes)}/s"
    if not one.listed:
        return disp_trim(
            f"{label}  ...  {one.objects:,} objects, {human_size(one.bytes)}, {speed}, listing goes on", columns
        )
    # where all objects are empty, their number is what moves
    done, end = (one.bytes, one.known_bytes) if one.known_bytes else (one.objects, one.known_objects)
    text = f"{one.objects:,}/{one.known_objects:,} {_part(one.bytes, '/', one.known_bytes)}"
    if not _is_done(one):
        text += f" {speed} {_left(one, rate)}"
    form = f"{{desc}} {{percentage:3.0f}}%|{{bar}}| {text.rstrip()}"
    row = tqdm.format_meter(
        min(done, end) if end else 1, end or 1, 0, ncols=columns, ascii=ascii_only, prefix=label, bar_format=form
    )
    return disp_trim(row, columns)


def _is_done(one: Moving) -> bool:
    return one.listed and one.objects >= one.known_objects


def _part(done: int, between: str, end: int) -> str:
    """Two sizes in the unit of the larger: `3.1 of 12.0 GB`."""
    unit = human_size(end).partition(" ")[2]
    if unit not in _UNITS:
        return f"{done:,}{between}{end:,} bytes"
    scale = 1024 ** (_UNITS.index(unit) + 1)
    return f"{done / scale:,.1f}{between}{end / scale:,.1f} {unit}"


def _left(one: Moving, rate: Rates) -> str:
    """The time that is left at this rate, of bytes or of objects, whichever takes longer; empty where nothing moves."""
    objects, size = one.known_objects - one.objects, one.known_bytes - one.bytes
    if (size > 0 and rate.bytes <= 0) or (size <= 0 and (objects <= 0 or rate.objects <= 0)):
        return ""
    seconds = max(objects / rate.objects if rate.objects > 0 else 0.0, size / rate.bytes if rate.bytes > 0 else 0.0)
    if seconds < _LONG_S:
        return f"{max(seconds, 0):.0f} s"
    minutes = round(seconds / _MINUTE_S)
    return f"{minutes} min" if minutes < _LONG_S else f"{minutes // _MINUTE_S:,} h {minutes % _MINUTE_S} min"
