"""A trial's own folder: its job laid there before, its run read from there after, and what nobody needs taken away."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core.errors import Exit, SpecError, StageError
from launcher.core.layout import Layout
from launcher.core.parse.job import job_document
from launcher.core.parse.run import MOST_BYTES, NAME, parse_run
from launcher.core.parse.stored import read_json
from launcher.core.redact import to_json
from launcher.core.search.endings import RunEnd
from launcher.core.search.policy import values_of
from launcher.core.search.trialjob import trial_job
from launcher.report import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.core.search import Policy, Trial
    from launcher.search.quest import Quest


JOB_FILE = "job.json"


def texts(policy: Policy, trial: Trial) -> Mapping[str, str]:
    """The values of a trial as the boot file gets them."""
    return {each.name: values_of(each, trial.values[each.name]) for each in policy.space if each.name in trial.values}


def lay_out(quest: Quest, trial: Trial, root: str) -> None:
    """Make a trial's root, with the job in it, for this user alone. Raises StageError."""
    job = trial_job(quest.job, trial.id, texts(quest.policy, trial))
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        write_whole(f"{root}/{JOB_FILE}", to_json(job_document(job)))
        os.chmod(f"{root}/{JOB_FILE}", 0o600)
    except OSError as error:
        raise StageError(
            f"the folder of a trial cannot be made: {root}: {disk.reason(error)}",
            code="trial-folder",
            action="Give the file system room, or --root DIR on another one.",
            exit_code=Exit.NODE,
        ) from error


def how_it_ran(root: str, code: int) -> RunEnd:
    """What the launcher of a trial left behind: with 128 + n for its code, it was ended by signal n."""
    try:
        with open(f"{Layout(root=root).log_dir}/run.json", "rb") as file:
            run = parse_run(read_json(file.read(MOST_BYTES + 1), NAME))
    except (OSError, SpecError):
        return RunEnd(code=code, owes=True)
    cause = run.cause
    return RunEnd(
        code=code,
        phase=run.phase,
        cause=cause.code if cause else None,
        message=cause.message if cause else "",
        booted=bool(run.processes),
        owes=run.owes,
    )


def clear_away(root: str, ran: RunEnd) -> None:
    """Remove what a trial needs no more: its job, and its outputs once they are in their place. Its logs stay."""
    import shutil  # noqa: PLC0415 - it brings half a dozen compressions along

    with suppress(OSError):
        os.unlink(f"{root}/{JOB_FILE}")  # it may hold secrets
    layout = Layout(root=root)
    shutil.rmtree(layout.cache, ignore_errors=True)
    if not ran.owes:  # what is not in its place is here, and `launcher sync` may put it there
        shutil.rmtree(f"{layout.mount}/outputs", ignore_errors=True)


def sweep(roots: str) -> None:
    """Clear away what the trials of a killed search have left; those roots are nobody else's."""
    try:
        names = os.listdir(roots)
    except OSError:
        return  # there was no trial here yet
    for name in names:
        if os.path.lexists(f"{roots}/{name}/{JOB_FILE}"):
            clear_away(f"{roots}/{name}", how_it_ran(f"{roots}/{name}", 0))
