"""Whose an output is while a run writes to it: each run keeps a marker there, and what others say of it is judged here.

A marker is believed no longer than its beats go on, so that a run that was killed holds nothing up for good; on the
same kernel a run that is gone is known at once. What lies in the store may be anything: nothing in it is trusted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from launcher.core.errors import Exit, StageError
from launcher.core.keys import OWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from launcher.core.plan import JobName
    from launcher.core.urls import Location

MOST_BYTES = 8192
"""Bytes of a marker that are read; ours have 1,500 at most."""
EVERY = 30.0
"""Seconds between two beats."""
BEATS = 3
"""So many beats may be missing before a run counts as gone."""
SKEW = 60.0
"""Seconds that the clocks of two nodes may be apart."""
_START, _END = f"{OWN}/running-", ".json"
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d{1,9})?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)

Standing = Literal["beside", "gone", "rival", "earlier", "silent"]
_REMARKS: dict[Standing, str] = {
    "earlier": "{name} is an earlier attempt of this worker, which goes on in its place",
    "silent": "{name} has not been heard of since {beat}; its place is taken over",
}

Text = Annotated[str, msgspec.Meta(max_length=255)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """A process, told exactly: the run of the kernel, the pid namespace in it, the pid, its start in ticks."""

    boot: Text
    namespace: Count
    pid: Count
    started: Count


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """One run that writes to an output. Times are RFC 3339, `every` is seconds, `token` is this start's alone.

    `claims`: it has just come and looks whether others have, too. `ended`: it is over, but may not delete. `after` is
    the run whose place it took, and which had not ended well.
    """

    version: Literal[1] = 1
    job: Text
    label: Text
    worker: Count
    workers: Count
    host: Text
    owner: Owner | None
    token: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    started: Text
    beat: Text
    every: Annotated[float, msgspec.Meta(gt=0, le=600)]
    claims: bool = False
    ended: bool = False
    after: Text = ""


_DECODER = msgspec.json.Decoder(Marker)
"""Made here: a first decoding makes the types, and another thread that decodes meanwhile would find half of them."""


class Rival(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is in the way. `sure`: it is a process that runs here. `until`: when it counts as gone, in seconds."""

    marker: Marker
    sure: bool
    until: float


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the markers of an output say: who is in the way, who has gone without a word, and what is strange.

    `cut_off` are those who have not ended well, an earlier attempt of this worker among them.
    """

    rivals: tuple[Rival, ...] = ()
    gone: tuple[Marker, ...] = ()
    cut_off: tuple[Marker, ...] = ()
    remarks: tuple[str, ...] = ()


def marker_at(folder: Location, label: str) -> Location:
    """Where the run of a label keeps its marker in an output: `modelarts-job-<id>-worker-<i>`, so never another job."""
    return folder.child(f"{_START}{label}{_END}")


def is_marker(relative: str) -> bool:
    """Whether a path below an output is that of a marker."""
    return relative.startswith(_START) and relative.endswith(_END) and relative.count("/") == 1


def is_peer(relative: str, job: JobName) -> bool:
    """Whether a marker is of another worker of the same job, by its name alone: there may be a thousand of them."""
    stem = job.label.rpartition("-")[0]  # modelarts-job-<id>-worker
    worker = relative.removeprefix(f"{_START}{stem}-").removesuffix(_END)
    return worker != relative and worker.isascii() and worker.isdecimal() and f"{stem}-{worker}" != job.label


def dump_marker(marker: Marker) -> bytes:
    """Write a marker."""
    return msgspec.json.encode(marker) + b"\n"


def renewed(marker: Marker, now: str, *, after: str = "", claims: bool = False, ended: bool = False) -> Marker:
    """The same marker, of now."""
    return msgspec.structs.replace(marker, beat=now, claims=claims, ended=ended, after=after)


def last_seen(marker: Marker) -> str:
    """Name a run that has not ended well, as a marker can hold it."""
    return f"{described(marker)}, last sign of it {marker.beat}"[:255]


def parse_marker(raw: bytes, relative: str) -> Marker:
    """Read the marker at a path below its output; raises ValueError with a sentence about what is wrong with it."""
    if len(raw) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
    try:
        marker = _DECODER.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no marker: {error}") from error
    if relative != f"{_START}{marker.label}{_END}":
        raise ValueError(f"no marker: it is the one of {marker.label!r}")
    seconds(marker.started)
    seconds(marker.beat)
    return marker


def seconds(time: str) -> float:
    """The seconds since 1970 of an RFC 3339 time with a zone; raises ValueError."""
    found = _TIME.fullmatch(time)
    if found is None:
        raise ValueError(f"no marker: {time[:40]!r} is no time with a zone")
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):  # noqa: PLR2004 - the calendar's
        raise ValueError(f"no marker: {time[:40]!r} is no time with a zone")
    zone = int(f"{found[8]}1") * (int(found[9]) * 60 + int(found[10])) if found[8] else 0
    days = _days(year, month, day)
    return days * 86400.0 + (hour * 60 + minute - zone) * 60.0 + second + float(found[7] or 0)


def utc(moment: float) -> str:
    """The RFC 3339 of seconds since 1970, to the second."""
    days, rest = divmod(int(moment), 86400)
    era, day = divmod(days + 719468, 146097)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    date = f"{year + era * 400 + month // 10:04d}-{month + (3 if month < 10 else -9):02d}"  # noqa: PLR2004 - March is 0
    return f"{date}-{day - (153 * month + 2) // 5 + 1:02d}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}Z"


def _days(year: int, month: int, day: int) -> int:
    """The days since 1970 of a date of the Gregorian calendar, its years begun in March."""
    year -= month < 3  # noqa: PLR2004 - March
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    era, year = divmod(year, 400)
    return era * 146097 + year * 365 + year // 4 - year // 100 + of_year - 719468


def judge(markers: Iterable[Marker], mine: Marker, now: float, alive_here: Callable[[Owner], bool | None]) -> Verdict:
    """What the markers of an output mean for mine. `alive_here` says of a process whether it runs, None if unknown.

    The same job is no rival: its other workers write beside this one, and an earlier attempt of this worker is taken
    over, unless its process is seen to run here.
    """
    rivals, gone, cut_off, remarks = [], [], [], []
    for other in markers:
        alive = None if other.owner is None else alive_here(other.owner)
        standing = _standing(other, mine, now, alive=alive)
        if standing == "rival":
            rivals.append(Rival(marker=other, sure=alive is True, until=_until(other)))
        elif standing in ("gone", "silent"):
            gone.append(other)
        if standing in ("gone", "silent", "earlier") and not other.ended:
            cut_off.append(other)
        remark = _REMARKS.get(standing)
        if remark:
            remarks.append(remark.format(name=described(other), beat=other.beat))
        if standing == "rival" and seconds(other.beat) > now + SKEW:
            remarks.append(f"{described(other)} is from the future, {other.beat}: a clock is wrong")
    return Verdict(rivals=tuple(rivals), gone=tuple(gone), cut_off=tuple(cut_off), remarks=tuple(remarks))


def described(marker: Marker) -> str:
    """Name a run: its job, its worker, its host."""
    return f"job {marker.job!r} (worker-{marker.worker} on {marker.host!r})"


def _standing(other: Marker, mine: Marker, now: float, *, alive: bool | None) -> Standing:
    same = other.job == mine.job
    if other.token == mine.token or (same and other.worker != mine.worker):
        return "beside"
    if other.ended or alive is False:
        return "gone"
    if alive:
        return "rival"
    if same:
        return "earlier"
    return "rival" if now <= _until(other) else "silent"


def yields(mine: Marker, rivals: Iterable[Rival]) -> Rival | None:
    """Whom a claim gives way to: everyone who is settled, and of two that came together the smaller token."""
    return next((rival for rival in rivals if not rival.marker.claims or rival.marker.token < mine.token), None)


def in_use(output: str, folder: Location, rival: Rival) -> str:
    """Say who writes to an output already."""
    other = rival.marker
    until = (
        f"its process {other.owner.pid} runs on this node"
        if rival.sure and other.owner
        else f"it counts as running until {utc(rival.until)}"
    )
    return (
        f"{output}: {folder.url} is in use by {described(other)}, which has been writing there since {other.started}; "
        f"last sign of it {other.beat}, {until}"
    )


def refusal(output: str, folder: Location, rival: Rival) -> StageError:
    """Refuse to start beside a run that writes to the same output."""
    wait = "wait until it has ended" if rival.sure else "wait until then"
    return StageError(
        in_use(output, folder, rival),
        code="output-in-use",
        action=(
            f"Give this job another obs_url for its output, {wait}, or set LAUNCHER_OUTPUT_IN_USE=warn. If that run is "
            f"gone for sure, remove {marker_at(folder, rival.marker.label).url}."
        ),
        exit_code=Exit.INVALID,
    )


def _until(marker: Marker) -> float:
    return seconds(marker.beat) + BEATS * marker.every + SKEW
