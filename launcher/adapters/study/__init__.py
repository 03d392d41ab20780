"""The study of a search: what was tried, what is being tried and what is tried next, in Optuna's storage.

Optuna and all that comes with it is imported when a study is opened: it costs a good part of a second.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from launcher.core.errors import Exit, StudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.adapters.study.stored import Stored
    from launcher.core.search import Owner, Policy, Trial

BEAT_S = 15.0
GRACE_S = 90.0
PATIENCE_S = 600.0
EXTRA = "pip install 'modelarts-launcher[search]'"
BUNDLE = "LOCK=search images/build bundle"
"""What makes a bundle for images that has all of it."""


def remedy() -> str:
    """What to do where a library of the searches is missing.

    The launcher of a bundle starts without `site` (python -S): it sees its own tree, and nothing that pip installs.
    """
    if sys.flags.no_site:
        return f"Take an image whose bundle has it ({BUNDLE}): pip does not reach the launcher of an image."
    return f"Install it: {EXTRA}."


def open_study(
    url: str,
    name: str,
    owner: Owner,
    *,
    alive: Callable[[Owner], bool | None] = lambda _owner: None,
    stopped: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = lambda _sentence: None,
    patience: float = PATIENCE_S,
    beat_s: float = BEAT_S,
    grace_s: float = GRACE_S,
    since: float = 0.0,
) -> Stored:
    """The study of this name, a `Study`; the database is asked with its first method.

    `url` is a file's path, sqlite:///PATH or postgresql://…. `alive` says whether an owner still runs, None where that
    cannot be known. `note` is told in sentences what a person may want to know: that the database is waited for.
    """
    try:
        from launcher.adapters.study.addresses import address
        from launcher.adapters.study.faults import Patience
        from launcher.adapters.study.rows import MOST_OWNER
        from launcher.adapters.study.stored import Stored
    except ModuleNotFoundError as error:
        raise StudyError(
            f"an auto search needs {error.name}, which is not installed",
            code="study-extra",
            action=remedy(),
            exit_code=Exit.NOT_FOUND,
        ) from error
    _check(name, owner, MOST_OWNER)
    where = address(url)
    return Stored(
        where,
        name,
        owner,
        alive=alive,
        patience=Patience(where.shown, patience, stopped, note, file=where.path is not None),
        note=note,
        beat_s=beat_s,
        grace_s=grace_s,
        since=since,
    )


def importance(policy: Policy, trials: Sequence[Trial]) -> tuple[tuple[str, float, float], ...]:
    """How much of the reward's variance each dimension explains: name, mean, standard deviation; the most first."""
    from launcher.adapters.study.importances import importances

    return importances(policy, trials)


def _check(name: str, owner: Owner, most: int) -> None:
    if not name.strip() or len(name) > MOST_NAME:
        raise StudyError(
            f"a study has a name of 1 to {MOST_NAME} characters, found {name[:40]!r}",
            code="study-name",
            action="Name it with --study.",
            exit_code=Exit.INVALID,
        )
    if max(len(owner.worker), len(owner.boot)) > most:  # others would not believe it
        raise StudyError(
            f"a worker has a name of at most {most} characters, found {owner.worker[:40]!r}",
            code="study-owner",
            action="Name the owner otherwise.",
            exit_code=Exit.INVALID,
        )


MOST_NAME = 512
