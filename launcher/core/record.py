"""What run.json, the events and the termination message are made of: frozen entries, filled in by the steps."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["Info", "Warning", "Error"]
Kind = Literal["code", "input", "output"]
LATE = "not uploaded in time"
"""What is said of a file whose turn did not come before the end."""


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """What one channel brought to the node. Sizes in bytes, durations in seconds.

    Of the `objects` that were brought `cached` came from the node's own cache; `kept` were there already, and are not
    among them. `retries` are requests that were made again.
    """

    channel: str
    kind: Kind
    source: str
    path: str
    objects: int
    bytes: int
    seconds: float
    kept: int = 0
    cached: int = 0
    retries: int = 0


class FailedKey(msgspec.Struct, frozen=True):
    """One file that could not be put in its place, and why."""

    key: str
    error: str


class Synced(msgspec.Struct, frozen=True, kw_only=True):
    """What one output folder, or the log, put in the store over the whole run."""

    channel: str
    target: str
    objects: int
    bytes: int
    seconds: float
    retries: int = 0
    failed: tuple[FailedKey, ...] = ()
    manifest: str | None = None


class Moving(msgspec.Struct, frozen=True, kw_only=True):
    """How far one channel is: what has moved, of what is known so far; `listed`: no more will be known later."""

    label: str
    objects: int
    bytes: int
    known_objects: int
    known_bytes: int
    listed: bool


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run ended as it did: a code for programs, a sentence and the next action for people."""

    code: str
    message: str
    action: str
    evidence: tuple[str, ...] = ()
    rank: int | None = None


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel says of this container's memory, in bytes; None for what it does not tell.

    `oom_kills` counts the processes that it has killed for want of memory, since the container was made.
    """

    source: Literal["cgroup v2", "cgroup v1"]
    limit_bytes: int | None
    peak_bytes: int | None
    oom_kills: int | None


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """One boot process from start to end. Times are RFC 3339."""

    rank: int
    local_rank: int
    pid: int
    exit_code: int | None
    signal: int | None
    started: str
    ended: str | None
    peak_rss_bytes: int | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at the training that was followed by another: how it ended, and why there was another.

    `log` names the segments of the log that hold it. `gain` says how far it came beyond where it began, if that is
    known.
    """

    exit_code: int
    cause: Cause | None
    started: str
    ended: str
    log: tuple[str, ...]
    processes: tuple[Ended, ...]
    gain: str | None
    again: str


class Spell(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of the trip on the timeline."""

    phase: str
    started: str
    ended: str | None = None
