"""Watching a training: looks that are made up, and what is said, shown and asked for then."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from fake_processes import FakeClock
from msgspec.structs import replace

from launcher.core.hang import LEAST_SAMPLES, Closely, Look
from launcher.core.plan import Process
from launcher.core.resilience import Hanging
from launcher.monitor import Monitor, watching
from launcher.senses import Senses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from launcher.core.record import Cause

# Real waits are as short as can be; that periods have a length is for the clock of the looks alone.
RULES = Hanging(watched=True, period_s=0.001, periods=3, long_periods=8, window_s=0.001)
PID = 4711
PROCESS = Process(rank=0, local_rank=0, argv=("x",), env={}, cwd="/")
NOTHING = lambda _: ((), ())  # noqa: E731 - sinks of a process that has none


class Steps:
    """A monitor that looks at what a test makes up, one period after the other; all that it says and asks for."""

    def __init__(self, use: Use | None = None, *, ends: bool = False, answers: Sequence[bool] = ()) -> None:
        self.clock = FakeClock()
        self.now: Look | None = Look(at=0.0)
        self.closely = Closely()
        self.pids: tuple[int, ...] = (PID,)
        self.suspected: list[str] = []
        self.ended: list[Cause] = []
        self.quiet: list[bool] = []
        self.looks = self.closer_looks = 0
        self.on_suspicion: Callable[[], object] = bool
        self._answers = list(answers)
        self.monitor = Monitor(
            RULES,
            Senses(activity=self, use=use),
            self.clock,
            lambda: self.pids,
            suspect=self.suspect,
            hung=self.ended.append,
            quiet=self.tell,
            ends=ends,
        )

    def look(self, pids: Sequence[int], at: float) -> Look | None:
        assert pids == (PID,)
        self.looks += 1
        return self.now and replace(self.now, at=at)

    def closer(self) -> Closely:
        self.closer_looks += 1
        return self.closely

    def suspect(self, words: str) -> None:
        self.suspected.append(words)
        self.monitor.shown("7 of 8 ranks wait in all_reduce\nrank 3 is in next")
        self.on_suspicion()

    def tell(self, quiet: bool) -> bool:  # noqa: FBT001 - as the monitor calls it
        self.quiet.append(quiet)
        return self._answers.pop(0) if self._answers else True

    def moves(self, **changes: int) -> None:
        assert self.now is not None
        self.now = replace(self.now, **(changes or {"comings": self.now.comings + 1}))

    def periods(self, count: int) -> None:
        for _ in range(count):
            self.clock.time += RULES.period_s
            assert self.monitor.step()


class Use:
    """Devices whose use is these numbers, the last for ever."""

    def __init__(self, *samples: int | OSError) -> None:
        self._samples = list(samples)
        self.asked = 0

    def sample(self) -> Sequence[int]:
        self.asked += 1
        found = self._samples.pop(0) if len(self._samples) > 1 else self._samples[0]
        if isinstance(found, OSError):
            raise found
        return (found,)


def test_a_training_that_moves_is_never_looked_into() -> None:
    steps = Steps()
    for _ in range(50):
        steps.periods(1)
        steps.moves()
    assert (steps.suspected, steps.closer_looks, steps.quiet) == ([], 0, [])


def test_one_that_stands_is_told_once_and_goes_on() -> None:
    steps = Steps()
    steps.periods(2 + RULES.periods)
    assert (len(steps.suspected), steps.ended) == (1, [])
    assert "no read, no write, no output, 0.0 % CPU in 1 process" in steps.suspected[0]
    steps.periods(1)
    assert len(steps.suspected) == 1


def test_it_is_told_again_at_doubling_times_and_after_it_has_moved() -> None:
    steps = Steps()
    steps.periods(2 + RULES.periods)
    steps.periods(RULES.periods)
    assert len(steps.suspected) == 2
    steps.periods(RULES.periods)
    assert len(steps.suspected) == 2, "three times as long is not twice twice"
    steps.moves()
    steps.periods(1)
    assert steps.quiet[-1] is False
    steps.periods(1 + RULES.periods)
    assert len(steps.suspected) == 3


def test_what_boot_processes_print_is_a_sign_of_life() -> None:
    steps = Steps()
    out, err = steps.monitor.counted(NOTHING)(PROCESS)
    for number in range(20):
        steps.periods(1)
        (out, err)[number % 2][0].write(b"x")
    out[0].end()
    assert steps.suspected == []


def test_the_sinks_that_were_there_still_get_all() -> None:
    steps = Steps()
    steps.monitor.counted(NOTHING)(PROCESS)
    taken: list[bytes] = []

    class Taking:
        def write(self, chunk: bytes | memoryview) -> None:
            taken.append(bytes(chunk))

        def end(self) -> None:
            """Nothing is held back."""

    out, err = steps.monitor.counted(lambda _: ((Taking(),), ()))(PROCESS)
    for sink in out:
        sink.write(b"line")
    assert (taken, len(out), len(err)) == ([b"line"], 2, 1)


def test_with_the_leave_it_is_ended_once_its_stacks_were_shown() -> None:
    steps = Steps(ends=True)
    steps.periods(2 + RULES.periods)
    (cause,) = steps.ended
    assert cause.code == "hung"
    assert cause.message == f"{steps.suspected[0]} 7 of 8 ranks wait in all_reduce"
    assert cause.evidence == ("7 of 8 ranks wait in all_reduce", "rank 3 is in next")
    assert "LAUNCHER_HANG" in cause.action


def test_stacks_that_are_never_shown_are_not_waited_for_for_ever() -> None:
    steps = Steps(ends=True)
    steps.monitor = Monitor(
        RULES,
        Senses(activity=steps),
        steps.clock,
        lambda: steps.pids,
        suspect=steps.suspected.append,
        hung=steps.ended.append,
        ends=True,
    )
    steps.periods(2 + RULES.periods)
    assert [cause.message for cause in steps.ended] == steps.suspected


def test_who_shows_its_stacks_itself_has_not_moved() -> None:
    steps = Steps(ends=True)
    steps.on_suspicion = lambda: steps.moves(said=1, moved=100_000)
    steps.periods(2 + RULES.periods)
    assert len(steps.ended) == 1


def test_one_that_moves_at_the_last_moment_is_left_alone() -> None:
    steps = Steps(ends=True)

    def look(pids: Sequence[int], at: float) -> Look | None:
        if steps.suspected:
            steps.moves()
        return Steps.look(steps, pids, at)

    steps.look = look  # type: ignore[method-assign]
    steps.periods(2 + RULES.periods)
    assert (len(steps.suspected), steps.ended) == (1, [])


def test_devices_whose_use_changes_are_at_work() -> None:
    use = Use(*[10, 90] * 200, 50)
    steps = Steps(use, ends=True)
    steps.periods(20)
    assert (steps.suspected, steps.ended) == ([], [])
    assert use.asked >= LEAST_SAMPLES


def test_devices_whose_use_stays_the_same_are_told() -> None:
    steps = Steps(Use(100))
    steps.periods(2 + RULES.periods)
    assert steps.suspected[0].endswith("and the use of its devices does not change.")


def test_a_spinning_training_with_devices_has_no_long_time() -> None:
    steps = Steps(Use(100))

    def look(pids: Sequence[int], at: float) -> Look | None:
        return Look(at=at, cpu=at, busiest=1.0)

    steps.look = look  # type: ignore[method-assign]
    steps.periods(2 + RULES.periods)
    assert "it computes without a trace" in steps.suspected[0]


def test_devices_that_cannot_be_read_are_said_once_and_the_rest_judges(caplog: pytest.LogCaptureFixture) -> None:
    use = Use(OSError(0, "no answer"))
    steps = Steps(use)
    steps.periods(2 + RULES.periods)
    steps.moves()
    steps.periods(2 + RULES.periods)
    assert (len(steps.suspected), use.asked) == (2, 1)
    assert "devices" not in steps.suspected[0]
    assert caplog.text.count("the use of the devices cannot be read") == 1


def test_a_job_of_several_nodes_hangs_when_nothing_moves_on_any() -> None:
    use = Use(100)
    steps = Steps(use, answers=(False, False, True))
    steps.periods(2 + RULES.periods)
    asked = use.asked
    steps.periods(1)
    assert (steps.suspected, steps.quiet) == ([], [True, True])
    steps.periods(1)
    assert (len(steps.suspected), use.asked) == (1, asked), "the devices were asked once"
    steps.moves()
    steps.periods(1)
    assert steps.quiet == [True, True, True, False]


def test_whoever_knows_of_all_nodes_has_stacks_shown_and_what_moves_then_tells_nothing() -> None:
    steps = Steps(answers=[False] * 100)
    steps.periods(1)
    assert steps.monitor.sentence == ""
    steps.periods(1 + RULES.periods)
    assert steps.monitor.sentence.startswith("The training has not moved for")
    steps.monitor.asked()
    steps.moves(said=1, moved=100_000)
    steps.periods(1)
    steps.moves(said=2, moved=200_000)
    steps.monitor.shown()
    steps.periods(2)
    assert (steps.suspected, set(steps.quiet)) == ([], {True})
    assert steps.monitor.sentence
    steps.moves()
    steps.periods(1)
    assert (steps.quiet[-1], steps.monitor.sentence) == (False, "")


def test_stacks_that_are_never_shown_do_not_blind_it_for_ever() -> None:
    steps = Steps()
    steps.periods(1)
    steps.monitor.asked()
    steps.moves(said=1)
    steps.periods(20)
    assert len(steps.suspected) >= 1


def test_between_two_attempts_nothing_is_looked_at() -> None:
    steps = Steps()
    steps.periods(1 + RULES.periods)
    steps.pids = ()
    steps.periods(10)
    steps.pids = (PID,)
    steps.periods(1 + RULES.periods)
    assert steps.suspected == []


def test_a_training_that_ends_while_it_is_judged_is_no_hang() -> None:
    steps = Steps(ends=True)
    steps.on_suspicion = lambda: setattr(steps, "pids", ())
    steps.periods(3 + RULES.periods)
    assert (len(steps.suspected), steps.ended) == (1, [])


def test_where_nothing_may_be_seen_it_is_said_and_left(caplog: pytest.LogCaptureFixture) -> None:
    steps = Steps()
    steps.now = None
    assert not steps.monitor.step()
    assert "will not be noticed" in caplog.text


def test_it_looks_on_a_thread_of_its_own_until_the_block_ends(caplog: pytest.LogCaptureFixture) -> None:
    steps, told = Steps(), threading.Event()
    steps.on_suspicion = told.set

    def look(pids: Sequence[int], at: float) -> Look | None:
        steps.clock.time += RULES.period_s
        return Look(at=steps.clock.time)

    steps.look = look  # type: ignore[method-assign]
    with caplog.at_level(logging.INFO), watching(steps.monitor) as monitor:
        assert told.wait(30)
        assert monitor is steps.monitor
    for thread in threading.enumerate():
        if thread.name == "monitor":
            thread.join(30)
    assert steps.ended == []
