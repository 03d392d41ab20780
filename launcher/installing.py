"""What is made ready on a node between staging and training: packages, the script before the boot file, keys of ssh.

Each is one child under the desk; the first that fails ends the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core import events
from launcher.core.errors import BootError, Exit, LauncherError, StageError
from launcher.core.lifecycle import Phase
from launcher.core.redact import secret_values, spellings
from launcher.install import pip_file, pip_process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.children import Attended, Sinks
    from launcher.core.plan import Plan, Process
    from launcher.report import Report
    from launcher.supervise import Desk
    from launcher.world import World


class Installing:
    """The children before the boot processes. `added` are variables for these, as the script before them set them."""

    def __init__(self, plan: Plan, world: World, report: Report, desk: Desk) -> None:
        self._plan = plan
        self._world = world
        self._report = report
        self._desk = desk
        self._begun = False
        self.added: Mapping[str, str] = {}

    def packages(self) -> None:
        """Install the pip file of the staged code, if it has one."""
        file = pip_file(self._plan) if self._desk.state.going else None
        if file is None:
            return
        name, task = file.rpartition("/")[2], self._plan.node.task
        self._begin()
        self._report.event(events.packages_installing(task, name))
        started = self._world.clock.monotonic()
        done = self._attend(pip_process(self._plan, file))
        if done is not None and done.code == 0:
            self._report.event(events.packages_installed(task, self._world.clock.monotonic() - started, name))
        elif done is not None:
            self._desk.fail(
                StageError(
                    f"{name} could not be installed (pip ended with {done.code}): {_last_line(done)}",
                    code="pip-failed",
                    action=f"Correct {name} in the code directory; pip's own words are in the log.",
                    exit_code=Exit.NODE,
                )
            )

    def script(self) -> None:
        """Run the script that prepares an Ascend node, if there is one beside the boot file."""
        if not (self._desk.state.going and self._plan.is_ascend):
            return
        from launcher import prestart  # noqa: PLC0415 - Ascend's alone

        file = prestart.prestart_file(self._plan)
        if file is None:
            return
        self._begin()
        self._report.event(f"[{self._plan.node.task}] {file.rpartition('/')[2]} is being run.")
        self._hide(prestart.prestart_secrets(file))
        done = self._attend(prestart.prestart_process(self._plan, file))
        if done is None or done.code:
            prestart.prestart_over(self._plan)
        if done is None:
            return
        if done.code:
            self._desk.fail(prestart.prestart_failed(file, done.code, _last_line(done)))
            return
        try:
            self.added = prestart.prestart_environment(self._plan, file, self._world.environ)
        except LauncherError as error:
            self._desk.fail(error)
        self._hide(secret_values(self.added.items()))

    def keys(self) -> None:
        """Make the keys by which mpirun reaches this node, where the plan has a folder for them."""
        if self._plan.ssh is None or not self._desk.state.going:
            return
        from launcher import ssh  # noqa: PLC0415 - MPI's alone

        self._begin()
        try:
            process = ssh.keygen_process(self._plan)
        except LauncherError as error:
            self._desk.fail(error)
            return
        done = self._attend(process)
        if done is not None and done.code:
            self._desk.fail(
                BootError(
                    f"The keys for mpirun could not be made (ssh-keygen ended with {done.code}): {_last_line(done)}",
                    code="ssh-key",
                    action="ssh-keygen's own words are in the log.",
                    exit_code=Exit.NODE,
                )
            )

    def _hide(self, secrets: Sequence[str]) -> None:
        """Let none of these leave, in any spelling."""
        hidden = spellings(secrets)
        if hidden:
            self._report.hide(hidden)
            self._world.log.hide([each.encode(errors="surrogateescape") for each in hidden])

    def _begin(self) -> None:
        if not self._begun:
            self._report.phase("install")
        self._begun = True

    def _attend(self, process: Process) -> Attended | None:
        done = self._desk.attend(Phase.INSTALL, (process,), self._world.environ, lambda _: as_it_is(self._world))
        return done[0] if done and self._desk.state.stopped is None else None


def install(plan: Plan, world: World, report: Report, desk: Desk) -> Mapping[str, str]:
    """Make all of it ready, one after the other; variables to lay over those of the boot processes."""
    work = Installing(plan, world, report, desk)
    work.packages()
    work.script()
    work.keys()
    return work.added


def as_it_is(world: World) -> Sinks:
    """Both streams of a process, each to its own and to the log."""
    return (world.log, world.out), (world.log, world.err)


def _last_line(done: Attended) -> str:
    """The last thing that a tool said."""
    lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it said nothing"])[-1]
