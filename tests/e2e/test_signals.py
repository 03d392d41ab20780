from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess

    from rig import Rig

READY = "print('ready', flush=True)\n"
TRAPS = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit({code}))\n" + READY + "signal.pause()\n"
IGNORES = (
    "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    + READY
    + "while True: signal.pause()\n"
)


def await_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


@pytest.mark.parametrize(("ends_with", "code"), [(0, 143), (3, 3)])
def test_sigterm_reaches_the_boot_file_and_its_code_is_told(local_rig: Rig, ends_with: int, code: int) -> None:
    local_rig.code(TRAPS.format(code=ends_with))
    with local_rig.running() as process:
        await_ready(process)
        process.terminate()
        result = local_rig.finish(process)
    assert (result.code, result.run_json["phase"], result.cause) == (code, "Terminated", "interrupted")


def test_sigint_is_130(local_rig: Rig) -> None:
    local_rig.code(
        "import signal, sys\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(0))\n" + READY + "signal.pause()"
    )
    with local_rig.running() as process:
        await_ready(process)
        process.send_signal(signal.SIGINT)
        assert local_rig.finish(process).code == 130


def test_a_boot_file_that_ignores_sigterm_is_killed_within_the_grace(local_rig: Rig) -> None:
    local_rig.code(IGNORES)
    with local_rig.running("--grace", "1") as process:
        await_ready(process)
        process.terminate()
        assert local_rig.finish(process).code == 137


def test_an_interrupted_training_keeps_its_checkpoint(rig: Rig) -> None:
    rig.code(
        "import signal, sys\n"
        "def save(*_):\n    open(sys.argv[2].partition('=')[2] + '/last.ckpt', 'w').write('saved')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n" + READY + "signal.pause()"
    )
    with rig.running() as process:
        await_ready(process)
        process.terminate()
        assert rig.finish(process).code == 143
    assert rig.stored() == {"last.ckpt": b"saved"}


def test_children_of_the_boot_file_are_stopped_with_it(local_rig: Rig) -> None:
    local_rig.code(
        "import subprocess, sys\nchild = subprocess.Popen(['sleep', '1000'])\nprint(child.pid, flush=True)\n"
    )
    result = local_rig.run()
    assert result.code == 0
    with pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(os_pidfd(int(result.out)), 0)


def os_pidfd(pid: int) -> int:
    import os  # noqa: PLC0415 - only here

    return os.pidfd_open(pid)


def test_a_signal_during_staging_ends_it_with_143(local_rig: Rig) -> None:
    local_rig.code("print('never')", {"pip-requirements.txt": b"./slow\n"})
    slow = local_rig.folder / "python"
    slow.write_text("#!/bin/sh\necho ready\nexec sleep 1000\n")
    slow.chmod(0o755)
    with local_rig.running(env={"MA_SCRIPT_INTERPRETER": str(slow)}) as process:
        await_ready(process)
        process.terminate()
        result = local_rig.finish(process)
    assert (result.code, result.run_json["phase"], "never" in result.out) == (143, "Terminated", False)


def test_a_second_sigterm_shortens_the_grace(local_rig: Rig) -> None:
    local_rig.code(IGNORES)
    with local_rig.running("--grace", "600") as process:
        await_ready(process)
        process.terminate()
        assert process.stderr is not None
        while "SIGTERM during run" not in process.stderr.readline():
            assert process.poll() is None
        process.terminate()
        assert local_rig.finish(process).code == 137
