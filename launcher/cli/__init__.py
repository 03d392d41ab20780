"""The command line: one file per command, imported only when used; the only place that catches errors and exits."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import click

from launcher.core.errors import Exit, LauncherError, SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "run": "Run a training job: stage, supervise, sync, report.",
    "search": "Find the best hyperparameters by many runs of one job.",
    "local": "Run a job in a container on this machine's Docker.",
    "preview": "Show what run would do, and touch nothing.",
    "validate": "Check algorithm and job files.",
    "devices": "Show what this node has: devices, processors, memory.",
    "precheck": "Check this node before a job: devices, disks, limits, names, store.",
    "sync": "Put in place what a run could not.",
    "verify": "Check a finished output against its manifests.",
    "kube": "Print the manifests that run a job in a cluster.",
    "replay": "Run again what a run.json has recorded, and say what differs.",
    "explain": "Say why a run ended as it did, in words.",
}


class Commands(click.Group):
    """A group whose commands are modules of this package; help needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands in the order of a user's day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command of a module of the same name."""
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = import_module(f"launcher.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        """The list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001, FBT001 - click's
    if value and not ctx.resilient_parsing:
        from launcher import __version__

        click.echo(f"launcher {__version__}")
        ctx.exit()


@click.command(
    cls=Commands,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Version.")
def cli() -> None:
    """The runtime that starts ModelArts training jobs: in containers, in pods, and on a laptop with no server at all.

    \b
    Example:
      launcher run job.json --store ./store --root ./root
    """  # noqa: D301 - \b is click's mark for lines that stay as they are


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit code."""
    try:
        code = cli.main(args=arguments and list(arguments), prog_name="launcher", standalone_mode=False)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        say(f"error: {error.format_message()} See {context.command_path if context else 'launcher'} --help.")
        code = Exit.USAGE
    except click.Abort:
        code = 130
    except BrokenPipeError:
        code = 141  # whoever read our results has gone: what a shell says of SIGPIPE, and no defect
    except Exception as error:  # noqa: BLE001 - the boundary: every error leaves as a sentence and a code
        code = told(error)
    return int(code or 0)


def told(error: Exception, about: str = "") -> int:
    """Tell a person of an error, one line for each problem; returns the exit code. A defect keeps its traceback."""
    if not isinstance(error, LauncherError) or os.environ.get("LAUNCHER_DEBUG") == "1":
        import traceback
        from contextlib import suppress

        with suppress(OSError):
            traceback.print_exception(error)
    if not isinstance(error, LauncherError):
        say(f"error: {about}defect in the launcher: {type(error).__name__}: {error}")
        return Exit.DEFECT
    if isinstance(error, SpecError):
        for problem in error.problems:
            say(f"error: {about}{problem}")
    else:
        say(f"error: {about}{str(error).rstrip('.')}. {error.action}")
    return error.exit_code


def say(line: str) -> None:
    """One line for a person on stderr, without control characters; a stderr that is gone, full or stuck loses it."""
    from launcher.streams.lines import plain
    from launcher.streams.outlet import Outlet

    Outlet(2, "stderr").line(f"{plain(line)}\n".encode(errors="backslashreplace"))


def result(text: str) -> None:
    """What a program may read, on stdout. Raises LauncherError when stdout does not take it."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # an encoding that lacks a character gets its number
        click.echo(text, nl=not text.endswith("\n"))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LauncherError(
            f"the result cannot be written to standard output: {error.strerror}",
            code="result-unwritable",
            action="Free space there, or send it elsewhere.",
            exit_code=Exit.NOT_SAVED,
        ) from error
