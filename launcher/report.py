"""What a run leaves for people and programs: run.json, events, termination message. It never stops a run."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from launcher.core.errors import Exit
from launcher.core.outcome import Outcome
from launcher.core.record import Attempt, Cause, Ended, Level, Memory, Spell, Staged, Synced
from launcher.core.redact import mask, masked, redact, to_json
from launcher.core.termination import termination_message
from launcher.streams.segments import segments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.core.plan import Plan
    from launcher.protocols import Clock

_log = logging.getLogger(__name__)
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""A link or a FIFO that a boot file put in the place of a document is not written to, and holds nothing up."""

_LEVELS: dict[Level, int] = {"Info": logging.INFO, "Warning": logging.WARNING, "Error": logging.ERROR}


class Report:
    """The record of one run: it begins as `Abnormal`, so that a launcher that is killed leaves the truth."""

    def __init__(self, plan: Plan, clock: Clock, secrets: Sequence[str], *, owed: bool = False) -> None:
        self._plan = redact(plan, secrets)
        self._clock = clock
        self._secrets = secrets
        self._owed = owed
        self._staged: list[Staged] = []
        self._synced: list[Synced] = []
        self._processes: list[Ended] = []
        self._limits: dict[str, int | None] | None = None
        self._log: dict[str, int] | None = None
        self._timeline: list[Spell] = []
        self._attempts: list[Attempt] = []
        self._segments = set(segments(plan.files.log))
        self._gain: str | None = None
        self._started = clock.now()
        self._ended: str | None = None
        self._outcome: Outcome | None = None
        self._broken: set[str] = set()
        self._writing = threading.Lock()
        self.reproduced: object = None  # by what the run can be made again, told by whoever records it
        self._put(write_whole, plan.files.plan, to_json(self._plan, secrets))
        self._put(write_whole, plan.files.events, b"")

    @property
    def secrets(self) -> Sequence[str]:
        """What is masked in all that leaves."""
        return self._secrets

    def hide(self, secrets: Sequence[str]) -> None:
        """Mask these as well from here on."""
        self._secrets = (*self._secrets, *secrets)

    def event(self, message: str, level: Level = "Info") -> None:
        """Note a moment in the service's words: one line of events.jsonl, and one of the log."""
        message = mask(message, self._secrets)
        _log.log(_LEVELS[level], "%s", message)
        self._put(append, self._plan.files.events, event_line(self._clock.now(), message, level))

    def staged(self, entry: Staged) -> None:
        """Note what one channel brought."""
        self._staged.append(entry)

    def synced(self, entry: Synced) -> None:
        """Note what one channel's folder put in place, in place of what was noted of it before."""
        self._synced = [*(each for each in self._synced if each.channel != entry.channel), entry]

    def trains(self) -> None:
        """Note that the boot processes run: what an earlier run owes is now this run's to put in place."""
        self._owed = False

    def process(self, entry: Ended) -> None:
        """Note a boot process that ended."""
        self._processes.append(entry)

    def gained(self, words: str) -> None:
        """Note how far the attempt that ended just now has come."""
        self._gain = words

    def again(self, outcome: Outcome, why: str) -> None:
        """Note how an attempt ended that another one follows, and why. All of its log stands in segments by now."""
        log = self._own_segments()
        self._segments.update(log)
        entry = Attempt(
            exit_code=outcome.exit_code,
            cause=outcome.cause,
            started=self._started,
            ended=self._clock.now(),
            log=tuple(map(os.path.basename, log)),
            processes=tuple(self._processes),
            gain=self._gain,
            again=why,
        )
        self._attempts.append(entry)
        self._processes, self._gain, self._started = [], None, self._clock.now()

    def memory(self, before: Memory | None, after: Memory | None) -> None:
        """Note what the kernel counted before the boot processes began, and when they had ended."""
        now = after or before
        if now is None:
            return
        self._limits = {
            "memory_bytes": now.limit_bytes,
            "oom_kills_before": before.oom_kills if before else None,
            "oom_kills_after": after.oom_kills if after else None,
            "memory_peak_bytes": after.peak_bytes if after else None,
        }

    def log(self, lost: int, dropped: int) -> None:
        """Note what the log on the node lacks: bytes that could not be written, and those that came too fast."""
        self._log = {"lost_bytes": lost, "dropped_bytes": dropped}

    def phase(self, name: str) -> None:
        """Note that a phase begins, and write run.json as it stands."""
        self._close_phase()
        self._timeline.append(Spell(phase=name, started=self._clock.now()))
        self.write()

    def finish(self, outcome: Outcome) -> None:
        """Note how it went; run.json, its second copy and the termination message say the same."""
        self._outcome = outcome
        self._close_phase()
        self._ended = self._clock.now()
        self.write()
        if self._plan.files.report:
            self._put(write_where_asked, self._plan.files.report, self._document())
        if self._plan.files.termination:
            message = termination_message(self._masked_outcome(), self._unsaved())
            self._put(write_where_asked, self._plan.files.termination, message)

    def shown(self, outcome: Outcome) -> Outcome:
        """An outcome as it may leave: without secrets, those included that came to be known during the run."""
        return msgspec.convert(masked(msgspec.to_builtins(outcome), self._secrets), Outcome)

    @property
    def outcome(self) -> Outcome | None:
        """How it went, if that was told."""
        return self._outcome

    @property
    def unwritten(self) -> bytes | None:
        """run.json as it should be on the node, where it could not be written; it can still be sent."""
        return self._document() if self._plan.files.run_json in self._broken else None

    def defect(self, error: BaseException) -> None:
        """Note that the launcher itself broke; the traceback goes to whoever called."""
        cause = Cause(
            code="defect",
            message=f"A defect of the launcher ended the run: {type(error).__name__}: {error}",
            action="Report it with the log; outputs that are not in their place are still on the node.",
        )
        self.finish(Outcome(phase="Abnormal", exit_code=Exit.DEFECT, cause=cause))

    def write(self) -> None:
        """Replace run.json by what is known now."""
        with self._writing:
            self._put(_write_making_room, self._plan.files.run_json, self._document())

    def _close_phase(self) -> None:
        if self._timeline and self._timeline[-1].ended is None:
            self._timeline[-1] = msgspec.structs.replace(self._timeline[-1], ended=self._clock.now())

    def _unsaved(self) -> list[str]:
        """What is not in its place, as a person would look for it."""
        found = [f"{entry.channel}: {failed.key}" for entry in self._synced for failed in entry.failed]
        return [mask(each, self._secrets) for each in found]

    def _masked_outcome(self) -> dict[str, Any]:
        if self._outcome is None:
            return {"phase": "Abnormal", "exit_code": None, "cause": None}
        return dict(msgspec.to_builtins(self.shown(self._outcome)))

    def _document(self) -> bytes:
        plan, outcome = self._plan, self._masked_outcome()
        process = plan.processes[0]
        document = {
            "version": 1,
            "job": {"id": plan.job.id, "name": plan.job.name},
            "node": plan.node,
            "plan": plan.files.plan,
            "owed": self._owed,
            **outcome,
            "command": {"argv": process.argv, "cwd": process.cwd, "env": process.env},
            "processes": self._processes,
            "devices": plan.devices,
            "limits": self._limits,
            "log": self._log,
            "staged": self._staged,
            "synced": self._synced,
            "timeline": self._timeline,
            "attempts": [*self._attempts, self._attempt(outcome)],
            "reproduce": self.reproduced,
        }
        return to_json(document, self._secrets)

    def _own_segments(self) -> list[str]:
        """The segments of the log that belong to this attempt, oldest first."""
        return [each for each in reversed(segments(self._plan.files.log)) if each not in self._segments]

    def _attempt(self, outcome: dict[str, Any]) -> dict[str, Any]:
        return {
            "exit_code": outcome["exit_code"],
            "cause": outcome["cause"],
            "started": self._started,
            "ended": self._ended,
            "log": [os.path.basename(each) for each in (*self._own_segments(), self._plan.files.log)],
            "processes": self._processes,
            "gain": self._gain,
            "again": None,
        }

    def _put(self, how: Callable[[str, bytes], None], path: str, content: bytes) -> None:
        """Write without ever stopping the run; what cannot be written is said once, until it can again."""
        try:
            how(path, content)
        except OSError as error:
            if path not in self._broken:
                _log.warning("%s cannot be written (%s); the run goes on without it", path, error.strerror)
            self._broken.add(path)
        else:
            self._broken.discard(path)


def event_line(time: str, message: str, level: Level) -> bytes:
    """One line of events.jsonl. The service marks what one task says by its name in front."""
    source = "Task" if message.startswith("[") else "Job"
    line = {"time": time, "level": level, "message": message, "source": source}
    return (json.dumps(line, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def write_whole(path: str, content: bytes) -> None:
    """Write a file that is whole at every moment. Raises OSError."""
    part = f"{os.path.dirname(path)}/.launcher-part-{os.path.basename(path)}-{os.getpid()}"
    try:
        with os.fdopen(os.open(part, _FLAGS | os.O_TRUNC, 0o644), "wb") as file:
            file.write(content)
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            os.unlink(part)
        raise


def _write_making_room(path: str, content: bytes) -> None:
    """Write a file whole; where there is no room for two, none is better than one that is not true any more."""
    try:
        write_whole(path, content)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        with suppress(OSError):
            os.unlink(path)
        write_whole(path, content)


def append(path: str, content: bytes) -> None:
    """Add to a regular file, and to nothing that lies in its place. Raises OSError."""
    with os.fdopen(os.open(path, _FLAGS | os.O_APPEND, 0o644), "ab") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        file.write(content)


def write_where_asked(path: str, content: bytes) -> None:
    """Write to a place that a person named: a device or a mount is written in place. Raises OSError."""
    if not os.path.exists(path) or os.path.isfile(path):
        try:
            write_whole(os.path.realpath(path), content)
        except OSError as error:
            # A mounted file, as the termination log is, cannot be replaced, nor can one in a folder of root's.
            if error.errno not in (errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS):
                raise
        else:
            return
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC), "wb") as file:
        file.write(content)
