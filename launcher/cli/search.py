"""`launcher search`: many runs of one job, to find its best hyperparameters; `run` does it where a job says so."""

from __future__ import annotations

import os
from typing import Any, get_args

import click

from launcher.cli.options import job_options, request
from launcher.core.search import Pruner

WISHES = ("jobs", "storage", "study", "pruner", "reward", "max_failed")


@click.command(name="search")
@job_options
@click.option(
    "--jobs", type=click.IntRange(1, 1024), metavar="N", help="Trials at once [default: one for each device]."
)
@click.option("--storage", metavar="URL|FILE", help="The study: postgresql://…, or a file [default: below the root].")
@click.option("--study", metavar="NAME", help="Its name [default: the job's id, else its name].")
@click.option(
    "--reward", type=click.Choice(["last", "best"]), default="last", help="Which match counts [default: last]."
)
@click.option("--pruner", type=click.Choice(get_args(Pruner)), help="End bad trials early [default: none].")
@click.option(
    "--max-failed",
    type=click.IntRange(0, 100_000),
    metavar="N",
    help="More failed trials end it [default: half of all, at least 3].",
)
@click.option("--stop", metavar="TRIAL", help="End one running trial of the study, and do nothing else.")
@click.option("-q", "--quiet", is_flag=True, help="Only warnings and errors of the launcher's own.")
@click.option("-v", "--verbose", is_flag=True, help="Everything.")
def command(quiet: bool, verbose: bool, stop: str | None, **options: Any) -> int:  # noqa: FBT001 - click passes by name
    """Find the best hyperparameters of a job: run it many times, and read the reward from what it prints.

    What is searched and how stands in the job (algorithm.policies.auto_search). Start the same command again after it
    was stopped, and it goes on.

    \b
    Example:
      launcher search examples/digits/search.json --store ./store --root ./root
      launcher search job.json --storage postgresql://user@host/db     # in each of many pods
      launcher search job.json --root ./root --stop 1b2c3d4e
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    wishes = {name: options.pop(name) for name in WISHES}
    for name, value in (("storage", wishes["storage"]), ("study", wishes["study"]), ("stop", stop)):
        if value == "":
            raise click.UsageError(f"--{name}: the value is empty; was a shell variable not set?")
    if stop is not None:
        return _stopped(options, wishes["storage"], wishes["study"], stop)
    from launcher.cli.quest import Wishes
    from launcher.cli.run import start

    return start(options, quiet=quiet, verbose=verbose, wishes=Wishes(**wishes))


def _stopped(options: dict[str, Any], storage: str | None, study: str | None, trial: str) -> int:
    from launcher.cli import say
    from launcher.cli.studies import stop_trial

    environ = dict(os.environ)
    stop_trial(request(environ, options), storage, study, trial, environ)
    say(f"trial {trial} is asked to end; it counts with its last reward")
    return 0
