from __future__ import annotations

import json
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from ends import PATIENCE_S, Ends, await_line, children_of, compiled, pid_1_or_skip, state, until
from servers import LOCALFS, AnyStore

if TYPE_CHECKING:
    from pathlib import Path

    from rig import Result

DRAIN_S = 2.0
SECRET = "correct-horse-battery"
SAVES = (
    "import os, signal, sys\nfolder = sys.argv[2].partition('=')[2]\n"
    "def save(*_):\n    open(folder + '/last.ckpt', 'w').write('saved')\n    os._exit({code})\n"
    "signal.signal(signal.SIGTERM, save)\nprint('ready', flush=True)\n"
)
# Not pause(): a signal may come just before it, and the interpreter calls its handler only after the wait.
WAITS = "while True: signal.sigtimedwait([], 0.05)\n"


@pytest.fixture(params=[False, True], ids=["outside pid 1", "pid 1"])
def as_pid_1(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """What makes the launcher PID 1, or nothing."""
    return pid_1_or_skip() if request.param else ()


@pytest.fixture
def ends(as_pid_1: tuple[str, ...], tmp_path: Path) -> Ends:
    directory = tmp_path / "store"
    directory.mkdir()
    return Ends(AnyStore("localfs", LOCALFS, ("--store", str(directory)), directory=directory), tmp_path, as_pid_1)


def output(text: str) -> str:
    return f"import sys; open(sys.argv[2].partition('=')[2] + '/model', 'w').write({text!r})\n"


# --- what a boot process ends with -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("boot", "code", "number"),
    [
        ("raise SystemExit(3)", 3, None),
        ("raise SystemExit(255)", 255, None),
        ("raise SystemExit('the text')", 1, None),
        ("raise ValueError('the text')", 1, None),
        ("import os; os.kill(os.getpid(), 9)", 137, 9),
        ("import os; os.kill(os.getpid(), 15)", 143, 15),
        ("import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()", 134, 6),
    ],
)
def test_the_boot_files_own_end_is_told(ends: Ends, boot: str, code: int, number: int | None) -> None:
    ends.code(output("x") + boot)
    result = ends.run()
    (process,) = result.run_json["processes"]
    assert (result.code, result.run_json["phase"], result.run_json["exit_code"]) == (code, "Failed", code)
    assert (process["signal"], process["exit_code"]) == (number, code if number is None else None)
    evidence = "\n".join(result.run_json["cause"]["evidence"])
    assert ("the text" in boot) == ("the text" in evidence), evidence
    assert ends.stored() == {"model": b"x"}, "what a failed training wrote is put in its place as well"


def test_an_upload_that_fails_is_no_success(ends: Ends) -> None:
    ends.code(ends.shuts_output + output("x"))
    result = ends.run()
    assert (result.code, result.run_json["phase"], result.cause) == (73, "Failed", "output-not-saved")
    failed = [each["key"] for entry in result.run_json["synced"] for each in entry["failed"]]
    assert [key for key in failed if key.endswith("model")], failed


def test_a_missing_boot_file_is_told_with_what_is_there(ends: Ends) -> None:
    ends.store.seed(ends.bucket, {"code/trian.py": b"", "code/model.py": b""})
    result = ends.run()
    message = result.run_json["cause"]["message"]
    assert (result.code, [name for name in ("train.py", "trian.py", "model.py") if name in message]) == (
        66,
        ["train.py", "trian.py", "model.py"],
    )


def test_a_missing_channel_is_named(ends: Ends) -> None:
    ends.code("print('never')")
    ends.algorithm["inputs"].append(
        {"name": "labels_url", "remote": {"obs": {"obs_url": f"obs://{ends.bucket}/labels/"}}}
    )
    result = ends.run()
    assert (result.code, "never" in result.out, "labels_url" in result.run_json["cause"]["message"]) == (
        66,
        False,
        True,
    )


def test_values_reach_the_boot_file_as_one_token_each(ends: Ends) -> None:
    ends.code("import json, sys; print(json.dumps({'argv': sys.argv[3:]}))")
    ends.algorithm["parameters"] = [
        {"name": "text", "value": "a b; echo X"},
        {"name": "x", "value": "-1"},
        {"name": "y", "value": "--help"},
        {"name": "z", "value": "$(touch gone) `id` 'q' \"q\" * ~ \\ \n"},
    ]
    result = ends.run()
    assert result.code == 0, result.err
    assert result.echo["argv"] == [
        "--text=a b; echo X",
        "--x=-1",
        "--y=--help",
        "--z=$(touch gone) `id` 'q' \"q\" * ~ \\ \n",
    ]


def test_a_value_that_no_program_could_take_is_refused_by_name(ends: Ends) -> None:
    ends.code("print('never')")
    ends.algorithm["parameters"] = [{"name": "prompt", "value": "x" * 140_000}]
    result = ends.run()
    assert (result.code, "--prompt has 140009 bytes" in result.err, "never" in result.out) == (65, True, False)


def test_a_secret_among_the_parameters_is_never_told(ends: Ends) -> None:
    ends.code(f"import sys\nassert '--api_key={SECRET}' in sys.argv\nprint(sys.argv[3:])\nsys.exit(4)\n")
    ends.algorithm["parameters"] = [{"name": "api_key", "value": SECRET}]
    message = ends.folder / "termination"
    result = ends.run("-v", env={"LAUNCHER_TERMINATION_LOG": str(message)})
    assert (result.code, SECRET in result.out) == (4, True), "its own stdout is the boot file's, byte for byte"
    sent = ends.stored("log/")
    documents = {name: (ends.log_dir / name).read_text() for name in ("run.json", "events.jsonl", "plan.json")}
    assert [name for name, content in sent.items() if SECRET.encode() in content] == []
    assert [name for name, content in documents.items() if SECRET in content] == []
    assert (len(sent), SECRET in result.err, SECRET in message.read_text()) == (3, False, False)


# --- what is left of it ------------------------------------------------------------------------------------------

FIVE_ORPHANS = """
import os, sys
for _ in range(5):
    if os.fork() == 0:
        if os.fork() == 0:
            os.close(0)
        os._exit(0)
    os.wait()
print("ready", flush=True)
import signal
signal.sigwait([signal.SIGUSR1])
"""


def test_five_orphans_are_no_zombies(ends: Ends) -> None:
    ends.code("import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n" + FIVE_ORPHANS)
    with ends.running() as process:
        await_line(process, "ready")
        launcher = ends.launcher_of(process)
        until(lambda: [state(pid) for pid in children_of(launcher)] == ["S"])
        ends.send(process, signal.SIGUSR1)
        assert ends.finish(process).code == 0


DAEMON = """
import os, signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        {more}
        os.write(told, b'.')
        while True: signal.pause()
    os._exit(0)
os.wait()
"""


def daemon(more: str) -> str:
    boot = "import os\nlistens, told = os.pipe()\n" + DAEMON.format(more=more)
    return boot + "os.read(listens, 1)\nprint('over', flush=True)\n"


def test_a_daemon_is_ended_with_the_job(ends: Ends) -> None:
    ends.code(daemon("for fd in (0, 1, 2): os.close(fd)"))
    with ends.running() as process:
        result = ends.finish(process)
    assert (result.code, result.out) == (0, "over\n")


HANDS_OUT = """
import os, socket
os.write(1, b'before\\n' * 1000)
with socket.socket(socket.AF_UNIX) as friend:
    friend.connect(%r)
    socket.send_fds(friend, [b'.'], [1, 2])
    friend.recv(1)
os.write(1, b'over\\n')
"""


def test_an_output_that_is_held_open_does_not_hold_up_the_end(ends: Ends) -> None:
    """We hold it, whom the launcher cannot end: no process of the job is left, and its pipes do not come to an end."""
    with socket.socket(socket.AF_UNIX) as place:
        place.bind(f"\0{ends.mark}")
        place.listen()
        place.settimeout(PATIENCE_S)
        ends.code(HANDS_OUT % place.getsockname())
        with ends.running() as process:
            friend, _ = place.accept()
            with friend:
                _, held, _, _ = socket.recv_fds(friend, 1, 2)
                os.write(held[0], b"ours\n")
                friend.sendall(b".")
                began = time.monotonic()
                result = ends.finish(process)
                took = time.monotonic() - began
        for fd in held:
            with pytest.raises(BrokenPipeError):
                os.write(fd, b"nobody reads it any more")
            os.close(fd)
    assert (result.code, result.run_json["phase"]) == (0, "Completed"), result.err
    assert sorted(result.out.splitlines()) == sorted(["before"] * 1000 + ["ours", "over"])
    assert DRAIN_S <= took < 15, "it reads on for two seconds, and no longer"
    log = next(content for name, content in ends.stored("log/").items() if name.endswith(".log")).decode()
    assert [said.count("an output is held open by a process that did not end") for said in (result.err, log)] == [1, 1]


def broken(ends: Ends, how: str) -> Result:
    """A run whose launcher comes upon an OSError that carries no errno while it waits."""
    library = compiled(ends.folder, "broken_poll", "-shared", "-fPIC", "-ldl")
    ends.code("import signal\nprint('ready', flush=True)\n" + WAITS)
    fault = {"LD_PRELOAD": library, "BROKEN_POLL": str(ends.folder / "broken"), "LAUNCHER_BROKEN": how}
    with ends.running(env=fault) as process:
        await_line(process, "ready")
        # A line of the launcher's own looks by poll(2) too whether somebody reads it: the last one is written by now.
        until(lambda: any("training started" in each for each in ends.events()))
        (ends.folder / "broken").touch()
        ends.send(process, signal.SIGWINCH)  # it looks up, and finds that it cannot wait
        return ends.finish(process)


@pytest.mark.parametrize("how", ["once", "for good"])
def test_a_defect_of_ours_is_70_and_leaves_nobody_behind(ends: Ends, how: str) -> None:
    """A launcher that exits with the number of such an error would tell of a success."""
    result = broken(ends, how)
    assert (result.code, result.run_json["phase"], result.run_json["exit_code"]) == (70, "Abnormal", 70)
    assert (result.cause, "Traceback" in result.err) == ("defect", True)


def test_a_defect_of_ours_leaves_no_sign_in_the_output(ends: Ends) -> None:
    assert broken(ends, "once").code == 70
    assert ends.store.listing(ends.bucket, "out/") == {}


# --- stopped from outside ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("own", "code"), [(0, 143), (3, 3)])
def test_sigterm_is_heard_within_the_grace_and_what_was_saved_is_put_in_its_place(
    ends: Ends, own: int, code: int
) -> None:
    ends.code(SAVES.format(code=own) + WAITS)
    with ends.running() as process:
        await_line(process, "ready")
        ends.send(process, signal.SIGTERM)
        result = ends.finish(process)
    assert (result.code, result.run_json["phase"], result.cause) == (code, "Terminated", "interrupted")
    assert ends.stored() == {"last.ckpt": b"saved"}


@pytest.mark.parametrize(
    ("own", "code"), [("lambda *_: os._exit(0)", 130), ("lambda *_: os._exit(9)", 9), ("signal.SIG_DFL", 130)]
)
def test_sigint_is_130_or_the_boot_files_own(ends: Ends, own: str, code: int) -> None:
    ends.code(f"import os, signal\nsignal.signal(signal.SIGINT, {own})\nprint('ready', flush=True)\n" + WAITS)
    with ends.running() as process:
        await_line(process, "ready")
        ends.send(process, signal.SIGINT)
        result = ends.finish(process)
    assert (result.code, result.run_json["phase"]) == (code, "Terminated")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_program_that_ignores_every_signal_is_killed_within_the_grace(ends: Ends, number: int) -> None:
    ends.command(f"exec {compiled(ends.folder, 'deaf', '-static')}")
    with ends.running("--grace", "1") as process:
        await_line(process, "ready")
        started = time.monotonic()
        ends.send(process, number)
        result = ends.finish(process)
        assert time.monotonic() - started < 20
    assert (result.code, result.run_json["phase"], result.run_json["processes"][0]["signal"]) == (137, "Terminated", 9)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("trap 'exit 5' TERM; echo ready; while :; do sleep 1000 & wait; done", 5),
        ("trap '' TERM; echo ready; while :; do sleep 1000; done", 137),
        ("echo ready; while :; do sleep 1000; done", 143),
    ],
    ids=["traps", "ignores", "default"],
)
def test_a_shell_and_what_it_started_end_together(ends: Ends, command: str, code: int) -> None:
    ends.command(command)
    with ends.running("--grace", "2") as process:
        await_line(process, "ready")
        ends.send(process, signal.SIGTERM)
        result = ends.finish(process)
    assert (result.code, result.run_json["phase"]) == (code, "Terminated")


STOPS_ITSELF = "os.kill(os.getpid(), signal.SIGSTOP)\n"


def await_stopped_child(ends: Ends, launcher: int) -> None:
    until(lambda: "T" in [state(pid) for pid in children_of(launcher)])


def test_a_stopped_boot_process_hears_sigterm_and_saves(ends: Ends) -> None:
    ends.code(SAVES.format(code=0) + STOPS_ITSELF + WAITS)
    with ends.running("--grace", "20") as process:
        await_line(process, "ready")
        await_stopped_child(ends, ends.launcher_of(process))
        started = time.monotonic()
        ends.send(process, signal.SIGTERM)
        result = ends.finish(process)
        assert time.monotonic() - started < 10, "it need not be waited for"
    assert (result.code, result.run_json["phase"], ends.stored()) == (143, "Terminated", {"last.ckpt": b"saved"})


def test_a_stopped_boot_process_that_handles_nothing_ends_of_sigterm(ends: Ends) -> None:
    ends.code("import os, signal\nprint('ready', flush=True)\n" + STOPS_ITSELF + WAITS)
    with ends.running("--grace", "4") as process:
        await_line(process, "ready")
        await_stopped_child(ends, ends.launcher_of(process))
        ends.send(process, signal.SIGTERM)
        result = ends.finish(process)
    assert (result.code, result.run_json["processes"][0]["signal"]) == (143, 15)


def test_a_job_is_suspended_and_goes_on(ends: Ends) -> None:
    """As PID 1 the launcher cannot stop itself; its children stop in any case."""
    boot = (
        "import signal, sys\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\nprint('ready', flush=True)\n"
    )
    ends.code(boot + "signal.sigwait([signal.SIGUSR1])\nprint('went on')\n")
    with ends.running() as process:
        await_line(process, "ready")
        launcher = ends.launcher_of(process)
        (boot_process,) = children_of(launcher)
        ends.send(process, signal.SIGTSTP)
        until(lambda: state(boot_process) == "T")
        if not ends.as_pid_1:
            until(lambda: state(launcher) == "T")
        ends.send(process, signal.SIGCONT)
        until(lambda: "T" not in (state(boot_process), state(launcher)))
        ends.send(process, signal.SIGUSR1)
        result = ends.finish(process)
    assert (result.code, result.out) == (0, "went on\n")


def test_sigquit_asks_and_the_run_goes_on(ends: Ends) -> None:
    boot = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\nprint('ready', flush=True)\n"
    ends.code(boot + "signal.sigwait([signal.SIGUSR1])\nprint('went on')\n")
    with ends.running() as process:
        await_line(process, "ready")
        ends.send(process, signal.SIGQUIT)
        ends.send(process, signal.SIGUSR1)
        result = ends.finish(process)
    assert (result.code, result.out, result.run_json["phase"]) == (0, "went on\n", "Completed")


DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\n"


@pytest.mark.parametrize(
    ("boot", "own", "saved"),
    [(SAVES.format(code=0), 0, True), (SAVES.format(code=3), 3, True), (DEAF, None, False)],
    ids=["saves", "ends with 3", "ignores SIGTERM"],
)
def test_a_run_is_stopped_at_its_time(ends: Ends, boot: str, own: int | None, *, saved: bool) -> None:
    ends.code(boot + WAITS)
    with ends.running("--grace", "1" if own is None else "20", env={"LAUNCHER_AUTO_STOP": "3"}) as process:
        await_line(process, "ready")
        result = ends.finish(process)
    assert (result.code, result.run_json["exit_code"], result.run_json["phase"]) == (124, 124, "Terminated")
    (boot_process,) = result.run_json["processes"]
    assert (result.cause, boot_process["exit_code"], boot_process["signal"]) == (
        "auto-stop",
        own,
        signal.SIGKILL if own is None else None,
    )
    assert ends.stored() == ({"last.ckpt": b"saved"} if saved else {})
    warned, stopped, ended = (moment(ends, words) for words in ("is stopped in", "is stopped now", "Training finished"))
    assert warned < stopped < ended


def moment(ends: Ends, words: str) -> tuple[int, str]:
    """Where the one event with these words stands among the others, and its time."""
    lines = [json.loads(line) for line in (ends.log_dir / "events.jsonl").read_text().splitlines()]
    (place,) = [place for place, line in enumerate(lines) if words in line["message"]]
    assert (lines[place]["level"] == "Warning") == ("auto_stop" in lines[place]["message"])
    return place, lines[place]["time"]


def test_a_run_that_is_over_before_its_time_is_not_stopped(ends: Ends) -> None:
    ends.code("print('over')")
    assert ends.run(env={"LAUNCHER_AUTO_STOP": "60"}).code == 0


# --- every signal, every manner, every place ---------------------------------------------------------------------

STOPS = {signal.SIGTERM, signal.SIGINT}
DEADLY = {*STOPS, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
NUMBERS = (*DEADLY, signal.SIGWINCH, signal.SIGCONT, signal.SIGQUIT)
PROBED, HEARD = 7, 3


def expected(number: int, manner: str) -> tuple[int, str]:
    """Exit code and phase. SIGQUIT is only passed on to who handles it; SIGWINCH and SIGCONT end nobody."""
    if manner == "traps":
        code = HEARD
    elif manner == "ignores":
        code = 137 if number in STOPS else PROBED
    else:
        code = 128 + number if number in DEADLY else PROBED
    return code, "Terminated" if number in STOPS else "Failed"


def child_hears(number: int, manner: str, session: str) -> bool:
    """In the group it hears what the group gets; in a session of its own, the SIGTERM for what is left behind.

    Who catches SIGQUIT shows its stacks, wherever it is.
    """
    return manner == "traps" and (number in (signal.SIGTERM, signal.SIGQUIT) or session == "same")


@pytest.mark.parametrize("session", ["same", "own"])
@pytest.mark.parametrize("manner", ["traps", "ignores", "default"])
@pytest.mark.parametrize("number", sorted(NUMBERS), ids=lambda number: signal.Signals(number).name)
def test_a_signal_does_what_it_should(ends: Ends, number: int, manner: str, session: str) -> None:
    # Of signals that come together the lower number is heard first, so that the probe comes second.
    probe = signal.SIGUSR2 if number == signal.SIGWINCH else signal.SIGWINCH
    ends.program("listener.py", NUMBER=int(number), MANNER=manner, SESSION=session, PROBE=int(probe))
    code, phase = expected(number, manner)
    with ends.running("--grace", "1" if code == 137 else "25") as process:
        await_line(process, "ready")
        ends.send(process, number)
        if code == PROBED:
            ends.send(process, probe)
        result = ends.finish(process)
    said = sorted(result.out.splitlines())
    assert (result.code, result.run_json["exit_code"], result.run_json["phase"]) == (code, code, phase)
    wanted = [*["boot heard"] * (code == HEARD), *["child heard"] * child_hears(number, manner, session)]
    assert said == [*wanted, *["probed"] * (code == PROBED)]
