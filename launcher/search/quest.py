"""What a search is given: the decided policy, the job that each trial runs, where trials run, and where results go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from launcher.core.search import Policy, Trial
from launcher.core.search.lanes import Lane
from launcher.core.spec import Job
from launcher.protocols import Study


class Drawn(Struct, frozen=True, kw_only=True):
    """The report of a search as HTML, and how much each hyperparameter matters: name, mean, deviation."""

    report: bytes
    importances: tuple[tuple[str, float, float], ...]


class Quest(Struct, frozen=True, kw_only=True):
    """A search, ready to be carried out.

    `name` is the study's, and `study` joins it, and gives up when its argument says so; `local`: it is this worker's
    alone. `whole` is the job as it was given, `job` as one trial runs it. `command` starts a launcher, up to the job's
    file; `store` and `options` stand after it. `environ` are settings for a trial's launcher, as no child gets this
    one's. `roots` holds the trials' roots, `results` what the search writes. `port` gives a free one. `clear` ends what
    the launcher of a trial, killed in this root, left running. `draw` makes the report; None where what draws it is not
    installed. What failed before `since`, in seconds since 1970, does not end the search. `beat_s` is between two signs
    of life.
    """

    policy: Policy
    name: str
    study: Callable[[Callable[[], bool]], Study]
    whole: Job
    job: Job
    lanes: tuple[Lane, ...]
    command: tuple[str, ...]
    store: tuple[str, ...]
    options: tuple[str, ...]
    environ: Mapping[str, str]
    roots: str
    results: str
    local: bool
    port: Callable[[], int]
    clear: Callable[[str], Sequence[str]]
    draw: Callable[[Policy, tuple[Trial, ...], str], Drawn] | None
    since: float = 0.0
    beat_s: float = 10.0
