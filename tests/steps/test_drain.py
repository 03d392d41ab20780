"""How long an output is waited for at the end; the time, the pumps and the readers are made by hand."""

from __future__ import annotations

import logging

import pytest

from launcher.streams.drain import DRAIN_S, LEAST_S, LET_GO_S, SLOW_S, STUCK_S, Drain

HELD = "an output is held open by a process that did not end; it is read no further"
LATE = "an output could not be passed on in time; what is left of it is dropped"


class Mover:
    """A pump."""

    def __init__(self) -> None:
        self.over = self.owes = self.left = self.told = False
        self.moved = 0
        self.error: BaseException | None = None

    def ending(self) -> None:
        self.told = True

    def leave(self) -> None:
        self.left = True


class Way:
    """An outlet."""

    def __init__(self, name: str = "stdout", lost: int = 0) -> None:
        self.name = name
        self.passed = 0
        self.patient = True
        self._lost = lost

    def let_go(self) -> None:
        self.patient = False

    def take_up(self) -> int:
        self.patient = True
        return self._lost


class End:
    """A drain, and a time that passes as it says."""

    def __init__(self, pump: Mover, *outlets: Way, limit: float | None = None) -> None:
        self.at = 1000.0
        self.limit = limit
        self.drain = Drain((pump,), outlets, self.at)  # type: ignore[arg-type]

    def step(self) -> bool:
        look = self.drain.look(self.at, self.limit)
        if look is not None:
            assert look > self.at
            self.at = look
        return look is not None

    def until(self, at: float) -> None:
        while self.at < at:
            assert self.step()

    def all(self) -> float:
        while self.step():
            pass
        self.drain.close()
        return self.at


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, logger="launcher")
    return caplog


def test_what_is_over_is_not_waited_for(said: pytest.LogCaptureFixture) -> None:
    pump = Mover()
    pump.over = True
    assert End(pump, Way()).all() == 1000
    assert (said.messages, pump.told, pump.left) == ([], True, True)


def test_what_is_held_open_is_read_shortly_and_no_reader_is_let_go_of(said: pytest.LogCaptureFixture) -> None:
    outlet = Way()
    end = End(Mover(), outlet)
    end.until(1001)
    outlet.passed += 1  # of others, for ever
    assert end.all() == 1000 + DRAIN_S
    assert said.messages == [HELD]


@pytest.mark.parametrize(("limit", "until"), [(1000.7, 1000.7), (990.0, 1000 + LEAST_S)])
def test_what_is_held_open_may_not_eat_the_budget(limit: float, until: float) -> None:
    assert End(Mover(), Way(), limit=limit).all() == until


def test_a_reader_that_takes_nothing_is_let_go_of(said: pytest.LogCaptureFixture) -> None:
    pump, outlet = Mover(), Way(lost=7)
    pump.owes = True
    end = End(pump, outlet, Way("stderr"))
    end.until(1000 + STUCK_S)
    patient = [outlet.patient]
    assert end.step()
    patient.append(outlet.patient)
    assert patient == [True, False]
    pump.over = True
    assert end.all() <= 1000 + STUCK_S + DRAIN_S
    assert said.messages == ["7 bytes were not passed on to stdout: its reader took nothing for 10 s; the log has them"]
    assert outlet.patient


def test_a_reader_that_takes_something_is_waited_for_but_not_for_ever(said: pytest.LogCaptureFixture) -> None:
    pump, outlet = Mover(), Way(lost=9)
    pump.owes = True
    end = End(pump, outlet)
    for second in range(1, int(SLOW_S) + 1):
        end.until(1000 + second)
        assert outlet.patient
        outlet.passed += 1
    end.until(1000 + SLOW_S + LEAST_S)
    assert not outlet.patient
    pump.owes = False
    assert end.all() == 1000 + SLOW_S + DRAIN_S
    assert said.messages == [
        HELD,
        "9 bytes were not passed on to stdout: its reader was not done within 60 s; the log has them",
    ]


@pytest.mark.parametrize(("limit", "let_go", "until"), [(1005.0, 1005 - LET_GO_S, 1005.0), (990.0, 1000.1, 1000.2)])
def test_no_reader_may_eat_the_budget(
    said: pytest.LogCaptureFixture, limit: float, let_go: float, until: float
) -> None:
    pump, outlet = Mover(), Way(lost=1)
    pump.owes = True
    end = End(pump, outlet, limit=limit)
    end.until(let_go)
    assert outlet.patient
    assert end.all() == pytest.approx(until)
    assert said.messages == [
        LATE,
        "1 bytes were not passed on to stdout: no time was left to wait for its reader; the log has them",
    ]


def test_a_budget_that_comes_while_a_reader_is_waited_for_counts(said: pytest.LogCaptureFixture) -> None:
    pump = Mover()
    pump.owes = True
    end = End(pump, Way())
    end.until(1003)
    end.limit = 1004
    assert end.all() == 1004


def test_what_moved_meanwhile_is_waited_for_anew() -> None:
    pump = Mover()
    end = End(pump)
    end.until(1001)
    pump.moved += 1
    assert end.all() == pytest.approx(1001 + DRAIN_S, abs=0.11)


def test_a_defect_is_raised_when_all_were_left() -> None:
    pump = Mover()
    pump.over, pump.error = True, ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        End(pump).all()
    assert pump.left
