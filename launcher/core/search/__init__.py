"""The words of a search: the space, the reward, the algorithm that searches, and a trial as the study keeps it.

What a job's policy makes of them is in `policy.py`, what is tried next and when it is over in `slots.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from launcher.core.frozen import Record

Scalar = float | int | str
Verdict = Literal["boot", "no-reward", "lost", "superseded"]


class Dimension(Record, frozen=True, kw_only=True):
    """A hyperparameter that is searched, and its values: numbers from `low` to `high`, both included, or `choices`.

    `points`: only so many, evenly apart, both ends among them. `log`: a factor counts as much anywhere in the range.
    The texts of `choices` are passed to the boot file as they are.
    """

    name: str
    kind: Literal["float", "int", "choice"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    points: int | None = None
    choices: tuple[str, ...] = ()


class Metric(Record, frozen=True, kw_only=True):
    """Something that the boot file prints: whether more of it is better, and the expression that finds it."""

    name: str
    mode: Literal["max", "min"]
    regex: str


class Tpe(Record, frozen=True, kw_only=True, tag="tpe_search"):
    """Tree of Parzen estimators: the first `n_initial_points` are drawn, `gamma` divides the good from the rest."""

    gamma: float = 0.25
    n_initial_points: int = 20


class Anneal(Record, frozen=True, kw_only=True, tag="anneal_search"):
    """Simulated annealing around one of the best so far, in a neighbourhood that shrinks."""

    avg_best_idx: float = 2.0
    shrink_coef: float = 0.1


class Bayes(Record, frozen=True, kw_only=True, tag="bayes_opt_search"):
    """A Gaussian process, and where its upper bound, its expected improvement or the chance of one is largest."""

    kind: Literal["ucb", "ei", "poi"] = "ucb"
    kappa: float = 2.5
    xi: float = 0.0


Algorithm = Tpe | Anneal | Bayes
Pruner = Literal["median", "percentile", "halving", "hyperband", "patient"]


class Policy(Record, frozen=True, kw_only=True):
    """A search, decided: what is searched, by what it is judged, how, and how long.

    `others` are recorded beside the reward. `take`: a trial's reward is its last match, or its best one. `pruner` ends
    trials early. More than `most_failed` failed trials end the search.
    """

    space: tuple[Dimension, ...]
    reward: Metric
    others: tuple[Metric, ...] = ()
    algorithm: Algorithm = Tpe()
    num_samples: int = 20
    seed: int = 1
    take: Literal["last", "best"] = "last"
    pruner: Pruner | None = None
    most_failed: int = 10


class Trial(Record, frozen=True, kw_only=True):
    """One trial, as the study keeps it.

    `number` is its place among all, `id` its name (8 hex digits), `slot` which of the policy's `num_samples` it is for,
    `draw` the how-maniest values drawn for that slot, from 0. `state` and `verdict` say how it is: a COMPLETE or PRUNED
    one is finished; one that FAILed did so by its boot file ("boot", "no-reward"), through no fault of its own ("lost":
    its values are tried again), or was told twice ("superseded"). `steps` are the rewards in their order. `metrics` are
    the last texts of every metric, as printed. Times are seconds since 1970. `worker` is who runs it.
    """

    number: int
    id: str
    slot: int
    draw: int = 0
    values: Mapping[str, Scalar] = {}
    state: Literal["RUNNING", "COMPLETE", "PRUNED", "FAIL"] = "RUNNING"
    verdict: Verdict | None = None
    why: str | None = None
    reward: float | None = None
    steps: tuple[float, ...] = ()
    metrics: Mapping[str, str] = {}
    unread: int = 0
    started: float | None = None
    ended: float | None = None
    worker: str = ""
    pid: int | None = None

    @property
    def finished(self) -> bool:
        """Whether it counts towards the number of samples."""
        return self.state in ("COMPLETE", "PRUNED")


class Ending(Record, frozen=True, kw_only=True):
    """How a trial ended, as its worker tells the study. `unread` counts matches that were no numbers."""

    state: Literal["COMPLETE", "PRUNED", "FAIL"]
    verdict: Verdict | None = None
    why: str | None = None
    reward: float | None = None
    metrics: Mapping[str, str] = {}
    unread: int = 0


class Slot(Record, frozen=True, kw_only=True):
    """What is to be tried next: `values` where they are given (a trial that was lost is tried again), else a draw."""

    index: int
    draw: int
    values: Mapping[str, Scalar] | None = None


class Owner(Record, frozen=True, kw_only=True):
    """Who runs a trial: a worker's name, and what tells its process from all others of its machine.

    `boot` is the kernel's boot id and the pid namespace; `start` is the process's start as the kernel counts.
    """

    worker: str
    boot: str
    pid: int
    start: int
