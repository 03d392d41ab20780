"""Jobs that are ended while they are about to begin again: by their time, by a notice, and by nobody else's start."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from ends import compiled, until
from several import Nodes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rig import Rig

ECC = "RuntimeError: CUDA error: uncorrectable ECC error encountered"
FAILS = f"""
import os, signal, sys
folder = sys.argv[2].partition("=")[2]
attempt = len(os.listdir(folder)) + 1
open(f"{{folder}}/of-{{attempt}}", "w").close()
print("attempt", attempt, flush=True)
if attempt == int(os.environ.get("WAITS", 0)):
    signal.pause()
print({ECC!r}, file=sys.stderr)
sys.exit(3)
"""
"""Fails by its hardware in every attempt; the one that WAITS names stands still instead."""
WAITS = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nprint('ready', flush=True)\n"
WAITS += "while True: signal.pause()\n"
LONG = {"LAUNCHER_RETRY_PAUSE": "300"}
QUICK = {"LAUNCHER_RETRY_PAUSE": "0.01"}
SOON = {"LAUNCHER_AUTO_STOP": "2"}


@pytest.fixture
def failing(local_rig: Rig) -> Rig:
    """A job that may be started again, and whose hardware fails each time; the store gets its outputs in the end."""
    local_rig.code(FAILS)
    local_rig.job["metadata"]["annotations"] = {"fault-tolerance/job-retry-num": "3"}
    local_rig.algorithm["outputs"][0]["period"] = 3600
    return local_rig


def attempts(run_json: Any) -> list[Any]:
    return [(each["exit_code"], (each["cause"] or {}).get("code")) for each in run_json["attempts"]]


def in_its_pause(rig: Rig) -> bool:
    """Whether the first attempt has failed, and the second is about to begin."""
    told = rig.log_dir / "events.jsonl"
    return told.exists() and "Attempt 2 begins" in told.read_text()


def test_a_job_whose_time_is_over_in_a_pause_ends_there(failing: Rig) -> None:
    result = failing.run("--no-precheck", env={**LONG, **SOON})
    assert (result.code, result.run_json["phase"], result.cause) == (124, "Terminated", "auto-stop"), result.err
    assert attempts(result.run_json) == [(3, "gpu-ecc"), (124, "auto-stop")]
    assert result.run_json["cause"]["message"].endswith("the boot process had not started for attempt 2.")
    assert result.out == "attempt 1\n"
    assert [each["phase"] for each in result.run_json["timeline"]][-2:] == ["pause", "sync"]
    assert sorted(failing.stored()) == ["of-1"]


def test_the_time_of_a_job_goes_on_from_attempt_to_attempt(failing: Rig) -> None:
    failing.algorithm["environments"] = {"WAITS": "2"}
    result = failing.run("--no-precheck", env={**QUICK, **SOON})
    assert (result.code, result.cause) == (124, "auto-stop"), result.err
    assert attempts(result.run_json) == [(3, "gpu-ecc"), (124, "auto-stop")]
    assert result.out == "attempt 1\nattempt 2\n"
    assert sorted(failing.stored()) == ["of-1", "of-2"]


def test_who_waits_for_devices_ends_with_the_time_of_the_job(failing: Rig, tmp_path: Path) -> None:
    folder = tmp_path / "nvml"
    folder.mkdir()
    os.rename(compiled(folder, "nvml_stub", "-shared", "-fPIC"), folder / "libnvidia-ml.so.1")
    with subprocess.Popen(["sleep", "600"]) as holder:
        stub = {"LD_LIBRARY_PATH": str(folder), "NVML_STUB_GPUS": "1", "NVML_STUB_PID": str(holder.pid)}
        try:
            env = {**QUICK, **SOON, **stub, "LAUNCHER_DEVICE_WAIT": "600", "LAUNCHER_HANG": "off"}
            result = failing.run("--no-precheck", env=env)
        finally:
            holder.kill()
    assert (result.code, result.cause) == (124, "auto-stop"), result.err
    assert attempts(result.run_json) == [(3, "gpu-ecc"), (124, "auto-stop")]
    assert any("Waiting until the devices are free" in each for each in failing.events())


def test_a_node_whose_time_is_over_in_the_pause_ends_the_others_too(failing: Rig) -> None:
    failing.code(FAILS.replace("signal.pause()", "open(os.environ['GO']).read()"))
    os.mkfifo(failing.folder / "go")
    said = ("--nodes", "2", "--master", "127.0.0.1", "--no-precheck")
    with ExitStack() as stack:
        nodes = Nodes(failing, stack)
        fails = nodes.begin(0, {**LONG}, *said, "--node-index", "0", "--env", "WAITS=1")
        ends = nodes.begin(1, {**LONG, **SOON}, *said, "--node-index", "1", "--env", "WAITS=1")
        assert [each.line() for each in (fails, ends)] == ["attempt 1"] * 2
        (failing.folder / "go").write_text("go")
        assert [each.end() for each in (fails, ends)] == [124, 124], (fails.err, ends.err)
    assert (fails.cause[0], ends.cause[0]) == ("peer-stopped", "auto-stop")
    assert [[code for code, _ in attempts(each.run_json)] for each in (fails, ends)] == [[3, 124]] * 2


def test_a_notice_in_the_pause_is_told_and_why_the_job_ended(failing: Rig) -> None:
    file = failing.folder / "spot"
    with failing.running("--no-precheck", env={**LONG, "LAUNCHER_PREEMPTION_FILE": str(file)}) as process:
        until(lambda: in_its_pause(failing))
        file.write_text("spot reclaim\n")
        process.terminate()
        result = failing.finish(process)
    assert (result.code, result.run_json["phase"], result.cause) == (143, "Terminated", "preempted")
    assert "spot reclaim. SIGTERM came" in result.run_json["cause"]["message"]
    assert attempts(result.run_json) == [(3, "gpu-ecc"), (143, "preempted")]
    assert sorted(failing.stored()) == ["of-1"]


def test_a_notice_in_the_pause_hastens_the_uploads(failing: Rig) -> None:
    file = failing.folder / "spot"
    with failing.running("--no-precheck", env={**LONG, "LAUNCHER_PREEMPTION_FILE": str(file)}) as process:
        until(lambda: in_its_pause(failing))
        assert failing.stored() == {}
        file.write_text("spot reclaim\n")
        until(lambda: "of-1" in failing.stored())
        process.terminate()
        result = failing.finish(process)
    assert (result.code, result.cause) == (143, "preempted")


LEAVES = f"""
import os, subprocess, sys
deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
left = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
left.stdout.readline()
print("attempt 1", flush=True)
print({ECC!r}, file=sys.stderr)
sys.exit(3)
"""


def test_a_job_whose_time_is_over_while_leftovers_are_stopped_ends_with_its_failure(failing: Rig) -> None:
    failing.code(LEAVES)
    result = failing.run("--no-precheck", env={**LONG, "LAUNCHER_AUTO_STOP": "3"})
    assert (result.code, result.run_json["phase"], result.cause) == (3, "Failed", "gpu-ecc"), result.err
    assert attempts(result.run_json) == [(3, "gpu-ecc")]
    told = " ".join(failing.events())
    assert "not started again: the job has had the time that auto_stop gives it" in told
    assert "Attempt 2" not in told


def test_a_notice_of_an_attempt_before_counts_for_the_one_that_is_ended(failing: Rig) -> None:
    file, go = failing.folder / "spot", failing.folder / "go"
    os.mkfifo(go)
    failing.code(FAILS.replace("signal.pause()", "open(os.environ['GO']).read()\nelse: signal.pause()"))
    failing.algorithm["environments"] = {"WAITS": "1", "GO": str(go)}
    with failing.running("--no-precheck", env={**QUICK, "LAUNCHER_PREEMPTION_FILE": str(file)}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "attempt 1\n"
        file.write_text("drain")
        until(lambda: any("taken away" in each for each in failing.events()))
        go.write_text("go")
        assert process.stdout.readline() == "attempt 2\n"
        until(lambda: "of-2" in failing.stored())  # at once, for the notice still holds
        process.terminate()
        result = failing.finish(process)
    assert (result.code, result.cause) == (143, "preempted")
    assert attempts(result.run_json) == [(3, "gpu-ecc"), (143, "preempted")]
    assert len([each for each in failing.events() if "taken away" in each]) == 1


STRANGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (lambda path: path.mkdir(), "no reason is given"),
    "a fifo that nobody writes to": (os.mkfifo, "no reason is given"),
    "a device without an end": (lambda path: path.symlink_to("/dev/zero"), "no reason is given"),
    "nothing in it": (lambda path: path.touch(), "no reason is given"),
    "no text": (lambda path: path.write_bytes(b"\xff\xfe s\x00pot \x1b[31m\xe2\x80\xae"), "�� s?pot ?[31m?"),
    "a line without an end": (lambda path: path.write_bytes(b"x" * 5_000_000), "x" * 200),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_whatever_lies_where_a_notice_is_awaited_is_one_and_holds_nothing_up(local_rig: Rig, kind: str) -> None:
    lay, reason = STRANGE[kind]
    file = local_rig.folder / "spot"
    local_rig.code(WAITS)
    with local_rig.running(env={"LAUNCHER_PREEMPTION_FILE": str(file)}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        lay(file)
        process.terminate()
        result = local_rig.finish(process)
    assert (result.code, result.cause) == (143, "preempted"), result.err
    assert f"says the platform in {file}: {reason}. SIGTERM" in result.run_json["cause"]["message"]


def test_a_link_that_leads_nowhere_is_no_notice(local_rig: Rig) -> None:
    file = local_rig.folder / "spot"
    local_rig.code(WAITS)
    with local_rig.running(env={"LAUNCHER_PREEMPTION_FILE": str(file)}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        file.symlink_to(file)
        process.terminate()
        result = local_rig.finish(process)
    assert (result.code, result.cause) == (143, "interrupted")


def test_a_notice_that_is_taken_back_was_one(local_rig: Rig) -> None:
    file = local_rig.folder / "spot"
    local_rig.code(WAITS)
    with local_rig.running(env={"LAUNCHER_PREEMPTION_FILE": str(file)}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        file.write_text("spot")
        until(lambda: any("taken away" in each for each in local_rig.events()))
        file.unlink()
        process.terminate()
        result = local_rig.finish(process)
    assert (result.code, result.cause) == (143, "preempted")


def test_nobody_else_starts_in_the_place_of_a_job_in_its_pause(failing: Rig) -> None:
    with failing.running("--no-precheck", env=LONG) as process:
        until(lambda: in_its_pause(failing))
        second = failing.run("--no-precheck", env=QUICK)
        assert (second.code, second.out) == (71, "")
        assert f"another launcher (pid {process.pid}) runs a job" in second.err
        root, failing.root = failing.root, failing.folder / "another"
        third = failing.run("--no-precheck", env=QUICK)
        assert (third.code, third.out) == (65, ""), "the output is still that of the job in its pause"
        failing.root = root
        process.send_signal(signal.SIGINT)
        result = failing.finish(process)
    assert (result.code, attempts(result.run_json)) == (130, [(3, "gpu-ecc"), (130, "interrupted")])


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_a_job_without_its_streams_begins_again_all_the_same(failing: Rig, closed: tuple[int, ...]) -> None:
    failing.code(FAILS.replace("sys.exit(3)", "sys.exit(3 if attempt < 2 else 0)"))
    shut = "import os, sys\nfor each in sys.argv[1].split(): os.close(int(each))\nos.execvp(sys.argv[2], sys.argv[2:])"
    argv = failing.argv("run", "--no-precheck")
    done = subprocess.run(
        (argv[0], "-c", shut, " ".join(map(str, closed)), *argv),
        env=failing.env(QUICK),
        capture_output=True,
        check=False,
        start_new_session=True,  # no terminal either
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "" if 1 in closed else "attempt 1\nattempt 2\n")
    assert attempts(failing.run_json()) == [(3, "gpu-ecc"), (0, None)]
    assert sorted(failing.stored()) == ["of-1", "of-2"]
