"""The words for the trip of a run: its phases, what can happen, what can be done about it, and the state between.

What an event makes of a state is in `decide.py`, what is due when in `deadlines.py`.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

import msgspec

from launcher.core.record import Cause


class Phase(Enum):
    """Where the trip is. READY waits for the other nodes of a job.

    The sync puts outputs in place, the report then the log and the documents that tell of it.
    """

    CHECK = "check"
    STAGE = "stage"
    INSTALL = "install"
    READY = "ready"
    RUN = "run"
    SYNC = "sync"
    REPORT = "report"
    END = "end"


LOST = "peer-lost"
"""The cause that another node is to this one when nothing is heard of it any more."""


class Failure(msgspec.Struct, frozen=True):
    """Why a step did not do its work."""

    exit_code: int
    cause: Cause


class Entered(msgspec.Struct, frozen=True):
    """A phase begins."""

    phase: Phase


class Started(msgspec.Struct, frozen=True):
    """A child of this phase runs."""

    pid: int


class StartFailed(msgspec.Struct, frozen=True):
    """A child of this phase could not be started."""

    failure: Failure


class Signalled(msgspec.Struct, frozen=True):
    """The launcher got a signal."""

    number: int


class Finished(msgspec.Struct, frozen=True):
    """A step on a worker thread ended; without a failure everything that it had to do is done."""

    failure: Failure | None = None


class Exited(msgspec.Struct, frozen=True):
    """A child ended: `code` is its exit code, or 128 + n when signal n ended it (then `signal` is n)."""

    pid: int
    code: int
    signal: int | None = None
    peak_rss_bytes: int | None = None


class Released(msgspec.Struct, frozen=True):
    """Every node is ready: all may start."""


class PeerEnded(msgspec.Struct, frozen=True):
    """Another node has ended before its training was done, or the nodes did not come together: this one ends too.

    `number` is that node's among all; told again of the same node, it is better known why. `stopped`: it was asked to
    end, and did not fail.
    """

    number: int
    failure: Failure
    stopped: bool = False

    @property
    def lost(self) -> bool:
        """Whether nothing is heard of it any more."""
        return self.failure.cause.code == LOST


class Over(msgspec.Struct, frozen=True):
    """The nodes that train are done: what only serves them may end."""


class Again(msgspec.Struct, frozen=True):
    """The training is started once more, as attempt number `attempt` of this run; the first is 1."""

    attempt: int


class Suspected(msgspec.Struct, frozen=True):
    """The training may hang: where it stands is shown, and it goes on."""


class Hung(msgspec.Struct, frozen=True):
    """The training hangs and is to be ended for it."""

    cause: Cause


class GivenUp(msgspec.Struct, frozen=True):
    """Starting the training again would lead nowhere: that is how the run ended."""

    failure: Failure


class Announced(msgspec.Struct, frozen=True):
    """The machine is to be taken away; `cause` tells who said so."""

    cause: Cause


class Woken(msgspec.Struct, frozen=True):
    """Something else happened that is worth a look: a thread called, an adopted orphan ended."""


class Tick(msgspec.Struct, frozen=True):
    """Time went by."""


Event = (
    Entered
    | Started
    | StartFailed
    | Signalled
    | Finished
    | Exited
    | Released
    | PeerEnded
    | Over
    | Again
    | Suspected
    | Hung
    | GivenUp
    | Announced
    | Woken
    | Tick
)


class Forward(msgspec.Struct, frozen=True):
    """Send a signal to the groups of this phase's children, or to what is left of them."""

    number: int


class Kill(msgspec.Struct, frozen=True):
    """SIGKILL to the same groups."""


class Cancel(msgspec.Struct, frozen=True):
    """Transfers stop between parts."""


class Suspend(msgspec.Struct, frozen=True):
    """Stop the launcher itself, until somebody continues it."""


class Dump(msgspec.Struct, frozen=True):
    """Ask every process of this phase for its stacks, and go on; `gently` where nobody has asked for it."""

    gently: bool = False


class Warn(msgspec.Struct, frozen=True):
    """Say that the job will be stopped soon."""


class Expire(msgspec.Struct, frozen=True):
    """The job has had its time."""


class Leave(msgspec.Struct, frozen=True):
    """Wait no longer for what does not end."""


Action = Forward | Kill | Cancel | Leave | Suspend | Dump | Warn | Expire


class Stop(msgspec.Struct, frozen=True):
    """Why a run is to end before its training has; `number` is the signal that came, or that is sent in its stead."""

    why: Literal["signal", "auto-stop", "peer", "hang"]
    number: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides what comes next. Times are monotonic seconds."""

    grace: float
    serves: bool = False
    """The boot processes serve other nodes: they are done when those are, and are ended then."""
    trials: bool = False
    """The boot processes are trials of a search: they come and go, and none that fails ends the others."""
    attempt: int = 1
    """Which attempt at the training this is."""
    phase: Phase = Phase.CHECK
    running: tuple[int, ...] = ()
    ended_at: float | None = None
    """When the last child of this phase ended, or the first one failed; from then on what is left is stopped."""
    boot_code: int | None = None
    """How the first boot process that failed ended; 0 as long as none has."""
    boot_signal: int | None = None
    first: int | None = None
    """The pid of the boot process that `boot_code` tells of."""
    released: bool = False
    over: bool = False
    peer: PeerEnded | None = None
    """The node that ended first of all others, as far as it was told."""
    stopped: Stop | None = None
    """Why the run was to end, if that was before the boot processes had ended."""
    signals: int = 0
    signalled_at: float | None = None
    stop_by: float | None = None
    """When children are killed: the rest of the budget belongs to the uploads."""
    end_by: float | None = None
    """When the whole run is over."""
    expires_at: float | None = None
    """When the job has had its time, if it is limited."""
    expired: bool = False
    """It has had it: seen when that was due, or between two attempts."""
    warn_at: float | None = None
    warned: bool = False
    failure: Failure | None = None
    """The first one."""
    hung: Cause | None = None
    """Why the training was ended as hung."""
    given_up: Failure | None = None
    """Why it was not started again although it might have been."""
    announced: Cause | None = None
    """Who said that the machine is to be taken away."""
    synced: bool = False
    done: tuple[Action, ...] = ()
    """The timed actions of this phase that were taken."""

    @property
    def going(self) -> bool:
        """Whether the next step towards the training may start."""
        return self.stopped is None and self.failure is None

    @property
    def left(self) -> bool:
        """Whether this phase gave up waiting."""
        return Leave() in self.done
