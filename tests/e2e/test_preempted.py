"""Whole jobs whose machine is taken away: with a notice and without, with boot files that hear and that do not."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ends import Ends, children_of, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rig import Rig
    from servers import AnyStore

OUT = "import os, signal, sys\nout = sys.argv[2].partition('=')[2]\n"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
READY = "print('ready', flush=True)\n"
WAITS = "while True: signal.pause()\n"
CONTENT = "(b'whole' * 400_000)"
TELLS = """
import json
def tell(number, _):
    print(signal.Signals(number).name, os.path.exists(os.environ['MA_LAUNCHER_NOTICE']), flush=True)
    if number == signal.SIGTERM:
        sys.exit(0)
signal.signal(signal.SIGUSR1, tell)
signal.signal(signal.SIGTERM, tell)
"""
LEAVES = """
import json
def leave(*_):
    print(json.load(open(os.environ['MA_LAUNCHER_NOTICE']))['seconds'], flush=True)
    sys.exit(143)
signal.signal(signal.SIGUSR1, leave)
"""


class Patient(Ends):
    """A rig whose outputs have an hour between two uploads, and whose container is ended as platforms do that."""

    def __init__(self, store: AnyStore, folder: Path) -> None:
        super().__init__(store, folder)
        self.algorithm["outputs"][0]["period"] = 3600

    def has(self, name: str) -> bool:
        """Whether the store has this file of the output."""
        return name in self.stored()

    @contextmanager
    def running(
        self, *arguments: str, command: str = "run", env: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        """Run the launcher beside the test; with the block all are killed, the launcher first."""
        with super().running(*arguments, command=command, env=env) as process:
            try:
                yield process
            finally:
                boots = children_of(process.pid)
                process.kill()
                for pid in boots:
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def patient(any_store: AnyStore, tmp_path: Path) -> Patient:
    return Patient(any_store, tmp_path)


@pytest.fixture
def noticed(local_rig: Rig, tmp_path: Path) -> tuple[Rig, Path, dict[str, str]]:
    """A job, the file in which a preemption is announced, and the variables that say so."""
    file = tmp_path / "spot"
    return local_rig, file, {"LAUNCHER_PREEMPTION_FILE": str(file)}


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def test_what_stood_still_is_saved_before_a_deaf_boot_file_is_killed(patient: Patient) -> None:
    patient.code(OUT + DEAF + f"open(out + '/model-1.ckpt', 'wb').write({CONTENT})\n" + READY + WAITS)
    with patient.running() as process:
        assert line(process) == "ready"
        process.terminate()
        until(partial(patient.has, "model-1.ckpt"))
        assert process.poll() is None
    assert patient.stored() == {"model-1.ckpt": b"whole" * 400_000}


def test_the_last_checkpoint_is_saved_too(patient: Patient) -> None:
    saves = (
        "def save(*_):\n    open(out + '/last.ckpt', 'w').write('saved')\n    print('saved', flush=True)\n"
        "signal.signal(signal.SIGTERM, save)\n"
    )
    patient.code(OUT + saves + READY + WAITS)
    with patient.running() as process:
        assert line(process) == "ready"
        process.terminate()
        assert line(process) == "saved"
        until(partial(patient.has, "last.ckpt"))
    assert patient.stored() == {"last.ckpt": b"saved"}


def test_a_checkpoint_that_is_being_written_is_never_half_in_the_store(patient: Patient, tmp_path: Path) -> None:
    """Others come and go beside it, so that it is seen again and again, always the same, while it is open."""
    go = tmp_path / "go"
    os.mkfifo(go)
    patient.code(
        OUT
        + DEAF
        + f"file = open(out + '/model-2.ckpt', 'wb')\nfile.write({CONTENT})\nfile.flush()\n"
        + READY
        + f"for name in 'ab':\n    open({str(go)!r}).read()\n    open(f'{{out}}/{{name}}.ckpt', 'w').write(name)\n"
        + f"open({str(go)!r}).read()\nfile.write({CONTENT})\nfile.close()\n"
        + WAITS
    )
    with patient.running() as process:
        assert line(process) == "ready"
        process.terminate()
        for name in ("a", "b"):
            go.write_text("on")
            until(partial(patient.has, f"{name}.ckpt"))
        assert sorted(patient.stored()) == ["a.ckpt", "b.ckpt"]
        go.write_text("on")
        until(partial(patient.has, "model-2.ckpt"))
        assert patient.stored()["model-2.ckpt"] == b"whole" * 800_000


def test_a_sigterm_with_a_notice_is_a_preemption(noticed: tuple[Rig, Path, dict[str, str]]) -> None:
    rig, file, env = noticed
    rig.code(OUT + "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n" + READY + WAITS)
    with rig.running(env=env) as process:
        assert line(process) == "ready"
        file.write_text("spot reclaim in 120 s\n")
        process.terminate()
        result = rig.finish(process)
    assert (result.code, result.run_json["phase"], result.cause) == (143, "Terminated", "preempted")
    message = result.run_json["cause"]["message"]
    assert message.startswith(f"The machine is taken away, says the platform in {file}: spot reclaim in 120 s.")
    assert message.endswith("SIGTERM interrupted the training; the boot process ended with exit code 0.")
    assert f"The machine is taken away, says the platform in {file}: spot reclaim in 120 s." in rig.events()


def test_one_that_comes_while_the_job_is_staged_is_told_too(noticed: tuple[Rig, Path, dict[str, str]]) -> None:
    rig, file, env = noticed
    rig.code("print('never')", {"pip-requirements.txt": b"./slow\n"})
    slow = rig.folder / "python"
    slow.write_text("#!/bin/sh\necho ready\nexec sleep 1000\n")
    slow.chmod(0o755)
    with rig.running(env={**env, "MA_SCRIPT_INTERPRETER": str(slow)}) as process:
        assert line(process) == "ready"
        file.write_text("drain")
        process.terminate()
        result = rig.finish(process)
    assert (result.code, result.cause) == (143, "preempted")


def test_a_notice_from_before_the_run_is_no_reason(noticed: tuple[Rig, Path, dict[str, str]]) -> None:
    rig, file, env = noticed
    file.write_text("of last week")
    rig.code(OUT + "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n" + READY + WAITS)
    with rig.running(env=env) as process:
        assert line(process) == "ready"
        process.terminate()
        result = rig.finish(process)
    assert (result.code, result.cause) == (143, "interrupted")


def test_who_asks_is_told_before_the_signal(noticed: tuple[Rig, Path, dict[str, str]]) -> None:
    rig, file, env = noticed
    rig.code(OUT + TELLS + READY + WAITS)
    with rig.running("--grace", "20", env={**env, "LAUNCHER_PREEMPTION_NOTICE": "1"}) as process:
        assert line(process) == "ready"
        file.write_text("spot")
        process.terminate()
        assert line(process) == "SIGUSR1 True"
        assert line(process) == "SIGTERM True"
        assert rig.finish(process).code == 143
    told = json.loads((rig.log_dir / ".launcher-preempted").read_text())
    assert set(told) == {"version", "reason", "time", "seconds"}
    assert told["seconds"] in (15.0, None), "None where the lookout was quicker than the signal"


def test_a_notice_alone_is_passed_on_and_who_leaves_for_it_has_not_failed(
    noticed: tuple[Rig, Path, dict[str, str]],
) -> None:
    rig, file, env = noticed
    rig.job["metadata"]["annotations"] = {"launcher/preemption-notice": "true"}
    rig.code(OUT + LEAVES + READY + WAITS)
    with rig.running(env=env) as process:
        assert line(process) == "ready"
        file.write_text("spot")
        assert line(process) == "None"
        result = rig.finish(process)
    assert (result.code, result.run_json["phase"], result.cause) == (143, "Terminated", "preempted")


def test_a_notice_alone_ends_nobody_who_does_not_know_of_it(noticed: tuple[Rig, Path, dict[str, str]]) -> None:
    rig, file, env = noticed
    rig.algorithm["outputs"][0]["period"] = 3600
    rig.code(
        OUT + "open(out + '/x.ckpt', 'w').write('1')\n" + READY + "sys.stdin = open(sys.argv[3][7:])\n" + "input()"
    )
    go = rig.folder / "go"
    os.mkfifo(go)
    rig.algorithm["parameters"] = [{"name": "fifo", "value": str(go), "constraint": {"type": "String"}}]
    with rig.running(env={**env, "LAUNCHER_PREEMPTION_NOTICE": "1"}) as process:
        assert line(process) == "ready"
        file.write_text("spot")
        until(lambda: "x.ckpt" in rig.stored())
        go.write_text("end\n")
        result = rig.finish(process)
    assert (result.code, result.run_json["phase"]) == (0, "Completed")
    assert any(each.startswith("The machine is taken away") for each in rig.events())


def test_who_does_not_ask_is_told_nothing(noticed: tuple[Rig, Path, dict[str, str]]) -> None:
    rig, file, env = noticed
    rig.code(
        OUT
        + "signal.signal(signal.SIGUSR1, lambda *_: print('told', flush=True))\n"
        + "signal.signal(signal.SIGTERM, lambda *_: sys.exit('MA_LAUNCHER_NOTICE' in os.environ))\n"
        + READY
        + WAITS
    )
    with rig.running(env=env) as process:
        assert line(process) == "ready"
        file.write_text("spot")
        process.terminate()
        result = rig.finish(process)
    assert (result.code, result.out) == (143, "")
    assert not (rig.log_dir / ".launcher-preempted").exists()


def test_the_boot_file_of_the_page_saves_and_leaves(noticed: tuple[Rig, Path, dict[str, str]]) -> None:
    rig, file, env = noticed
    page = (Path(__file__).parents[2] / "docs/preemption.md").read_text(encoding="utf-8")
    (boot,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    rig.code(boot)
    with rig.running(env={**env, "LAUNCHER_PREEMPTION_NOTICE": "1"}) as process:
        assert line(process) == "step 0"
        file.write_text("spot")
        result = rig.finish(process)
    assert (result.code, result.cause) == (143, "preempted")
    assert list(rig.stored().values()) == [b"saved"]


def test_a_run_that_nobody_ends_knows_nothing_of_it(local_rig: Rig) -> None:
    local_rig.code("")
    argv = (sys.executable, "-X", "importtime", *local_rig.argv()[1:])
    done = subprocess.run(argv, env=local_rig.env(), capture_output=True, text=True, check=True, timeout=60)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "launcher.hurry" in imported
    assert not imported & {"launcher.preemption", "launcher.core.preemption", "launcher.sync.haste"}
