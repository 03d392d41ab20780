"""A search from Python: the same trials, samplers and storage that `launcher search` has, around a loop of your own.

    >>> from contextlib import closing
    >>> from launcher.study import Dimension, Ending, Metric, Policy, Tpe, best, join
    >>> policy = Policy(
    ...     space=(
    ...         Dimension(name="lr", kind="float", low=1e-4, high=1e-1, log=True),
    ...         Dimension(name="layers", kind="int", low=1, high=4),
    ...     ),
    ...     reward=Metric(name="loss", mode="min", regex="loss ([0-9.]+)"),
    ...     algorithm=Tpe(n_initial_points=5),
    ...     num_samples=10,
    ... )
    >>> with closing(join(policy, "study.db", "digits")) as study:
    ...     while trial := study.claim("here"):
    ...         for step in range(3):
    ...             loss = abs(trial.values["lr"] - 0.01) + trial.values["layers"] / (step + 1)
    ...             worse_than_others = study.report(trial, step, loss)
    ...             to_be_ended = study.beat([trial])
    ...         counts = study.finish(trial, Ending(state="COMPLETE", reward=loss))
    ...     found = best(policy, study.trials())
    >>> sorted(found.values), 0 < found.reward < 2
    (['layers', 'lr'], True)

Run it in as many processes as you like, on one storage: each claims trials of its own until all `num_samples` are done.
Nothing here runs a boot file or reads a log.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from launcher.adapters import study as adapter
from launcher.core.search import Anneal, Bayes, Dimension, Ending, Metric, Owner, Policy, Tpe, Trial
from launcher.core.search.slots import Standing, standing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.protocols import Study

__all__ = [
    "Anneal",
    "Bayes",
    "Dimension",
    "Ending",
    "Metric",
    "Owner",
    "Policy",
    "Standing",
    "Tpe",
    "Trial",
    "best",
    "importance",
    "join",
    "standing",
    "this_process",
]

importance = adapter.importance


def join(
    policy: Policy,
    storage: str,
    name: str,
    *,
    owner: Owner | None = None,
    alive: Callable[[Owner], bool | None] = lambda _owner: None,
    stopped: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = lambda _sentence: None,
    patience: float = adapter.PATIENCE_S,
    beat_s: float = adapter.BEAT_S,
    grace_s: float = adapter.GRACE_S,
    since: float = 0.0,
) -> Study:
    """The study of this name, joined; begun where it is not there. Raises `StudyError` (launcher.core.errors).

    `storage` is the path of a file on a local disk or postgresql://user:password@host/database. Call `beat` for what
    runs every `beat_s` seconds: what was not heard of for `grace_s` is given to another worker. `alive` may know that
    an owner is dead before that. What failed before `since`, in seconds since 1970, does not end the search.
    """
    study = adapter.open_study(
        storage,
        name,
        this_process() if owner is None else owner,
        alive=alive,
        stopped=stopped,
        note=note,
        patience=patience,
        beat_s=beat_s,
        grace_s=grace_s,
        since=since,
    )
    try:
        study.join(policy)
    except BaseException:
        study.close()
        raise
    return study


def best(policy: Policy, trials: Sequence[Trial]) -> Trial | None:
    """The best of the finished trials."""
    return standing(policy, trials).best


def this_process() -> Owner:
    """An owner for those who name none: the host and this process."""
    return Owner(worker=socket.gethostname(), boot="", pid=os.getpid(), start=0)
