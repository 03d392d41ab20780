"""Notices of a preemption: found in files, told to a desk before the signal, passed on to who can hear it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fake_processes import FAKE_PID, FakeClock, FakeProcesses
from fake_store import make_plan
from msgspec.structs import replace
from talking import Talking, becomes, state_of
from threadless import no_threads

from launcher.adapters.process import SystemProcesses
from launcher.core.kin import Relative
from launcher.core.lifecycle import Again, Announced, Event, Exited, Phase, Signalled
from launcher.core.plan import Process
from launcher.core.preemption import WELL_KNOWN
from launcher.core.resilience import Preemption, Resilience
from launcher.hurry import Hurry
from launcher.opening import WATCHED, forewarned
from launcher.preemption import Notices
from launcher.report import Report
from launcher.supervise import Desk

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.core.plan import Plan
    from launcher.core.record import Cause
    from launcher.protocols import Processes

SECRET = "hunter2hunter2"


class World:
    """As much of a world as notices need."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.clock = FakeClock()


class Listening(Desk):
    """A desk that keeps what it hears."""

    def __init__(self, processes: Processes) -> None:
        super().__init__(processes, FakeClock(), 20)
        self.events: list[Event] = []
        self.told = threading.Event()

    def hear(self, event: Event) -> None:
        self.events.append(event)
        self.told.set()


class Place:
    """A folder for everything, and notices that look there."""

    def __init__(self, top: Path, *, named: bool = True, passed: bool = False) -> None:
        self.top = top
        self.file = top / "notice"
        (top / "log").mkdir()
        rules = Preemption(file=str(self.file) if named else None, passed=passed)
        plan = make_plan(str(top))
        files = replace(plan.files, notice=str(top / "log/.launcher-preempted"))
        self.plan: Plan = replace(plan, resilience=Resilience(preemption=rules), files=files)
        self.processes = FakeProcesses(FakeClock())
        self.desk = Listening(self.processes)
        self.report = Report(self.plan, FakeClock(), [SECRET])

    def notices(self, kind: type[Notices] = Notices, **more: Any) -> Notices:
        if self.plan.resilience.preemption.file is None:
            more.setdefault("top", str(self.top))
        world: Any = World(more.pop("processes", self.processes))
        return kind(self.plan, world, self.report, self.desk, **more)

    def write(self, path: str, text: str) -> None:
        file = self.top / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    @property
    def passed(self) -> Any:
        return json.loads((self.top / "log/.launcher-preempted").read_text())

    def events(self) -> list[str]:
        lines = (self.top / self.plan.files.events).read_text().splitlines()
        return [json.loads(line)["message"] for line in lines]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def passing(tmp_path: Path) -> Place:
    return Place(tmp_path, passed=True)


def told(found: Cause | None) -> str:
    assert found is not None
    assert found.code == "preempted"
    return found.message


# looking


def test_there_is_none_until_the_file_appears(place: Place) -> None:
    notices = place.notices()
    assert notices.look() is None
    place.file.write_text("spot reclaim\n")
    assert told(notices.look()) == f"The machine is taken away, says the platform in {place.file}: spot reclaim."


def test_a_file_without_words_is_a_notice_too(place: Place) -> None:
    place.file.touch()
    assert "no reason is given" in told(place.notices().look())


@pytest.mark.parametrize(
    ("path", "text", "who"),
    [
        ("/etc/podinfo/annotations", 'launcher/preempted="drain"\n', "Kubernetes"),
        ("/user/restore/reset/config/reset.json", '{"GracefulExit": 1}', "MindCluster"),
        ("/run/systemd/shutdown/scheduled", "USEC=1\nMODE=reboot\n", "systemd"),
        ("/run/nologin", "System is going down.", "the system"),
    ],
)
def test_well_known_places_are_looked_at(tmp_path: Path, path: str, text: str, who: str) -> None:
    place = Place(tmp_path, named=False)
    notices = place.notices()
    place.write(path, "nothing of it")
    assert notices.look() is None
    place.write(path, text)
    assert f"says {who} in {path}: " in told(notices.look())


def test_a_hostile_file_is_read_to_a_bound_and_holds_nothing_up(place: Place) -> None:
    os.mkfifo(place.file)
    notices = place.notices()
    assert "no reason is given" in told(notices.look_soon())
    place.file.unlink()
    place.file.write_text("\x1b[2J" + "x" * 1_000_000)
    assert len(told(notices.look())) < 400
    place.file.unlink()
    place.file.mkdir()
    assert "no reason is given" in told(notices.look())


UNREAD = """
import os, sys
from fake_processes import FakeClock
from test_preemption import Place
from pathlib import Path
os.chdir(sys.argv[1])
place = Place(Path())
notices = place.notices()
place.file.write_text("spot")
place.file.chmod(0)
os.chmod(".", 0o755)
os.setgid(65534)
os.setuid(65534)
found = notices.look()
print(found and found.message)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_file_that_may_not_be_read_is_a_notice_all_the_same(tmp_path: Path) -> None:
    tests = Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tests, tests.parent)))}
    done = subprocess.run(
        (sys.executable, "-c", UNREAD, str(tmp_path)), env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "The machine is taken away, says the platform in notice: it may not be read.\n", done.stderr


def test_a_look_that_takes_long_is_told_of_later(place: Place) -> None:
    go_on = threading.Event()

    class Slow(Notices):
        def look(self, *, meanwhile: bool = False) -> Cause | None:
            go_on.wait(30)
            return super().look(meanwhile=meanwhile)

    place.file.write_text("spot")
    assert place.notices(Slow).look_soon() is None
    assert place.desk.events == []
    go_on.set()
    assert place.desk.told.wait(30)
    (event,) = place.desk.events
    assert isinstance(event, Announced)
    assert event.cause.message.endswith("spot.")


def test_without_a_thread_nobody_waits(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    notices = place.notices()
    with no_threads():
        assert notices.look_soon() is None
        with notices.watching():
            pass
    assert "at a SIGTERM only" in caplog.text


# watching


def test_a_notice_is_told_once(place: Place) -> None:
    with place.notices().watching():
        place.file.write_text("spot")
        assert place.desk.told.wait(30)
    assert [type(each) for each in place.desk.events] == [Announced]


def test_what_stood_there_before_is_of_an_earlier_time(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.file.write_text("old")
    notices = place.notices()
    with notices.watching():
        assert "speaks of the end of the machine already: old" in caplog.text
        assert notices.look() is None
        place.file.unlink()
        place.file.write_text("new")
        assert told(notices.look()).endswith("new.")


def test_annotations_count_by_what_they_say(tmp_path: Path) -> None:
    place = Place(tmp_path, named=False)
    place.write(WATCHED[0], 'launcher/preempted="old"\n')
    notices = place.notices()
    with notices.watching():
        place.write(WATCHED[0], 'a="b"\nlauncher/preempted="old"\n')
        assert notices.look() is None
        place.write(WATCHED[0], 'launcher/preempted="new"\n')
        assert place.desk.told.wait(30)


def test_what_counts_at_a_signal_alone_is_not_watched(tmp_path: Path) -> None:
    place = Place(tmp_path, named=False)
    place.write("/run/nologin", "System is going down.")
    assert place.notices().look(meanwhile=True) is None
    assert place.notices().look() is not None


def test_what_is_watched_is_known_before_anything_is_imported() -> None:
    assert tuple(each.path for each in WELL_KNOWN if each.watched) == WATCHED


# passing on


CATCHES = (
    "import os, signal\n"
    "signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'heard\\n'))\n"
    "print('ready', flush=True)\n"
    "while True: signal.pause()\n"
)
DOES_NOT = "import signal\nprint('ready', flush=True)\nwhile True: signal.pause()\n"
FAMILY = (
    f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {CATCHES!r}])\nimport signal\n"
    "while True: signal.pause()\n"
)


def test_nobody_is_told_who_did_not_ask(place: Place) -> None:
    place.processes.relatives[7] = [relative(os.getpid())]
    place.notices().pass_on(taken(place), [7], 5.0)
    assert place.events()[-1] == taken(place).message
    assert not (place.top / "log/.launcher-preempted").exists()
    assert place.processes.sent == []


def test_the_file_says_why_and_how_long(passing: Place) -> None:
    passing.notices().pass_on(taken(passing), [], 18.75)
    assert passing.passed == {"version": 1, "reason": taken(passing).message, "time": "at 1000", "seconds": 18.75}


def test_no_secret_is_told(passing: Place) -> None:
    passing.file.write_text(f"token {SECRET}")
    found = passing.notices().look()
    assert found is not None
    passing.notices().pass_on(found, [], None)
    assert SECRET not in (passing.top / "log/.launcher-preempted").read_text()
    assert SECRET not in passing.events()[-1]


def test_a_full_disk_keeps_no_signal_back(passing: Place, caplog: pytest.LogCaptureFixture) -> None:
    (passing.top / "log/.launcher-preempted").mkdir()
    (passing.top / "log/.launcher-preempted/x").touch()
    caplog.set_level("INFO")
    passing.notices().pass_on(taken(passing), [], None)
    assert "cannot be written" in caplog.text
    assert "SIGUSR1 to 0 processes" in caplog.text


def test_only_who_has_a_handler_gets_the_signal(passing: Place) -> None:
    with SystemProcesses() as processes:
        children = [Talking(processes, script, sys.executable, "-c") for script in (CATCHES, DOES_NOT, FAMILY)]
        for each in children:
            assert each.line() == "ready"
        notices = passing.notices(processes=processes)
        notices.pass_on(taken(passing), [each.pid for each in children], None)
        assert children[0].line() == "heard"
        assert children[2].line() == "heard", "a worker of a launcher of its own"
        assert state_of(children[1].pid) == "S"
        for each in children:
            processes.signal(each.pid, signal.SIGKILL)
            each.said.close()


def test_who_is_gone_is_passed_over(passing: Place) -> None:
    passing.processes.relatives[7] = [relative(999_999_999), replace(relative(os.getpid()), state="Z")]
    passing.notices().pass_on(taken(passing), [7], None)
    assert passing.processes.sent == []


def relative(pid: int) -> Relative:
    return Relative(pid=pid, parent=1, name="x", state="S", threads=1, waits_in=None, catches_quit=False)


def taken(place: Place) -> Cause:
    place.file.write_text("spot")
    found = place.notices().look()
    assert found is not None
    return found


# at the desk


class Told:
    """What a desk does in a hurry, in its order."""

    def __init__(self, desk: Desk, processes: FakeProcesses, found: Callable[[], Cause | None]) -> None:
        self._processes = processes
        self.order: list[object] = []
        desk.hurry.foretold = found
        desk.hurry.pass_on = lambda cause, pids, seconds: self.order.append((cause.code, tuple(pids), seconds))
        desk.hurry.hasten = lambda: self.order.append(("hasten", len(processes.sent)))


def attend(desk: Desk) -> None:
    process = Process(rank=0, local_rank=0, argv=("x",), env={}, cwd="/")
    desk.attend(Phase.RUN, [process], {}, lambda _: ((), ()))


def test_why_is_told_before_the_signal_and_with_the_time_that_is_left(place: Place) -> None:
    processes = FakeProcesses(FakeClock(), [Signalled(signal.SIGTERM)], [Exited(FAKE_PID, 0)])
    desk = Desk(processes, processes.clock, 20)
    seen = Told(desk, processes, lambda: taken(place))
    attend(desk)
    assert seen.order == [("preempted", (FAKE_PID,), 15.0), ("hasten", 0), ("hasten", 2)]
    assert processes.sent[:1] == [(FAKE_PID, signal.SIGTERM)]
    assert desk.state.announced == taken(place)


def test_a_notice_ahead_of_the_signal_hastens_and_ends_nothing(place: Place) -> None:
    processes = FakeProcesses(FakeClock())
    desk = Desk(processes, processes.clock, 20)
    seen = Told(desk, processes, lambda: pytest.fail("it is known already"))
    processes.script = [
        [Announced(taken(place))],
        lambda: [Announced(taken(place))] if processes.sent == [] else pytest.fail("somebody was signalled"),
        [Signalled(signal.SIGTERM)],
        [Signalled(signal.SIGTERM)],
        [Exited(FAKE_PID, 0)],
    ]
    attend(desk)
    assert seen.order == [("preempted", (FAKE_PID,), None), ("hasten", 0), ("hasten", 2)], "once more at the signal"


def test_a_notice_between_two_attempts_hastens_as_well(place: Place) -> None:
    processes = FakeProcesses(FakeClock(), [Exited(FAKE_PID, 1)])
    desk = Desk(processes, processes.clock, 20)
    seen = Told(desk, processes, lambda: pytest.fail("nobody asks for the end"))
    attend(desk)
    desk.heed(Again(2))
    processes.script = [[Announced(taken(place))], [Announced(taken(place))]]
    desk.until(Phase.READY, lambda: not processes.script)
    assert [each[0] for each in seen.order if isinstance(each, tuple)] == ["preempted", "hasten"]


def test_any_end_hastens_and_a_sigint_asks_nobody_why(place: Place) -> None:
    processes = FakeProcesses(FakeClock(), [Signalled(signal.SIGINT)], [Exited(FAKE_PID, 0)])
    desk = Desk(processes, processes.clock, 20)
    seen = Told(desk, processes, lambda: taken(place))
    attend(desk)
    assert seen.order == [("hasten", 2)], "the signal, and that a stopped one goes on"
    assert desk.state.announced is None


def test_a_training_that_ends_by_itself_hastens_nothing(place: Place) -> None:
    processes = FakeProcesses(FakeClock(), [Exited(FAKE_PID, 1)])
    desk = Desk(processes, processes.clock, 20)
    seen = Told(desk, processes, lambda: taken(place))
    attend(desk)
    assert seen.order == []


def test_by_itself_a_desk_knows_of_nothing() -> None:
    hurry = Hurry()
    assert hurry.foretold() is None
    assert hurry.pass_on(None, (), None) is None  # type: ignore[arg-type]


# for a whole run


def test_a_run_looks_only_once_it_is_asked_to_end(tmp_path: Path) -> None:
    place = Place(tmp_path, named=False)
    before = threading.active_count()
    world: Any = World(place.processes)
    with forewarned(place.plan, world, place.report, place.desk):
        assert threading.active_count() == before
        assert place.desk.hurry.foretold() is None


def test_a_run_watches_a_file_that_was_named(passing: Place) -> None:
    (passing.top / "log/.launcher-preempted").write_text("of an earlier run")
    world: Any = World(passing.processes)
    with forewarned(passing.plan, world, passing.report, passing.desk):
        assert not (passing.top / "log/.launcher-preempted").exists()
        passing.file.write_text("spot")
        assert passing.desk.told.wait(30)
        (event,) = passing.desk.events
        assert isinstance(event, Announced)
        passing.desk.hurry.pass_on(event.cause, [], None)
        assert passing.passed["seconds"] is None
    becomes(lambda: not any(each.name == "notices" for each in threading.enumerate()))
