"""By which rules a run meets what goes wrong on the way: restarts, hangs, no progress, preemption. Times in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from launcher.core.frozen import Record
from launcher.core.parse.job import ALWAYS_RETRY, HANG_RETRY, RETRIES

if TYPE_CHECKING:
    from launcher.core.annotations import JobSettings
    from launcher.core.facts import Facts
    from launcher.core.settings import Switch
    from launcher.core.spec import Job


class Retrying(Record, frozen=True, kw_only=True):
    """How often a training is started again in this container, and after what.

    At most `most` times for infrastructure's failures (`core.retrying`), with `unconditional` for any failure, and as
    many times more where it hangs (`hang`), three in a row. The longest pause before the first restart is `pause_s`;
    devices that others hold are waited for no longer than `device_wait_s`.
    """

    most: int = 0
    unconditional: bool = False
    hang: bool = False
    pause_s: float = 10.0
    device_wait_s: float = 60.0

    @property
    def any(self) -> bool:
        """Whether a training may be started again at all."""
        return self.most > 0 or self.hang


class Hanging(Record, frozen=True, kw_only=True):
    """When a training counts as hung (`core.hang`).

    Looked at every `period_s`: still for `periods` of them, then its devices for `window_s`, whose use varies by no
    more than `variance` (percent squared). What sleeps, or computes without a trace, has `long_periods`. `native`:
    stacks are shown with their native frames.
    """

    watched: bool = False
    period_s: float = 60.0
    periods: int = 5
    long_periods: int = 30
    window_s: float = 60.0
    variance: float = 1.0
    native: bool = False


class Preemption(Record, frozen=True, kw_only=True):
    """How the end of the machine is announced: `file` appears. `passed`: boot processes hear, by a file and SIGUSR1."""

    file: str | None = None
    passed: bool = False


class Gain(Record, frozen=True, kw_only=True):
    """By what a restart is judged: by files of the outputs that are `checkpoints`, and by steps in the log.

    `checkpoints` are patterns; without any they are known by their usual names. The first group of `step`, a regular
    expression, is the number of a step.
    """

    checkpoints: tuple[str, ...] = ()
    step: str | None = None


class Resilience(Record, frozen=True, kw_only=True):
    """All of these rules for one run. `resume` is the URL of a folder from which the first output is filled."""

    retrying: Retrying = Retrying()
    hanging: Hanging = Hanging()
    preemption: Preemption = Preemption()
    gain: Gain = Gain()
    resume: str | None = None


def resilience(job: Job, facts: Facts, own: JobSettings | None) -> Resilience:
    """The rules that a job and its node's settings make. A trial of a search is started again by the search alone."""
    settings, said = facts.settings, job.metadata.annotations or {}
    trial = settings.staged is not None
    hang_retry = not trial and _is_true(said.get(HANG_RETRY))
    return Resilience(
        retrying=replace(
            settings.retrying,
            most=0 if trial else int(said.get(RETRIES) or "0"),
            unconditional=_is_true(said.get(ALWAYS_RETRY)),
            hang=hang_retry,
        ),
        hanging=replace(
            settings.hanging,
            watched=_is_watched((own.hang if own else None) or settings.hang, facts, hang_retry=hang_retry),
        ),
        preemption=replace(
            settings.preemption,
            passed=settings.preemption.passed if own is None or own.notice is None else own.notice,
        ),
        gain=Gain(checkpoints=own.checkpoints if own else (), step=(own.step if own else None) or settings.step),
        resume=facts.resume,
    )


def _is_watched(switch: Switch, facts: Facts, *, hang_retry: bool) -> bool:
    return switch == "on" or (switch == "auto" and (hang_retry or facts.devices.type != "CPU"))


def _is_true(text: str | None) -> bool:
    return (text or "").lower() == "true"
