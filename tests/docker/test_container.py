"""The image as a platform runs it: its entrypoint is PID 1 of a real container, its store a mounted folder."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest
from incontainer import docker, in_docker, one

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from incontainer import Container
    from rig import Rig

pytestmark = [pytest.mark.docker, in_docker]

LIMIT = 128 << 20
EAT = "held = []\nwhile True:\n    held.append(b'x' * (4 << 20))\n"
OUTPUT = "import os, signal, sys, time\nout = next(a for a in sys.argv if a.startswith('--train_url=')).split('=')[1]\n"
SAVES_AT_SIGTERM = (
    OUTPUT
    + "def save(*_):\n    open(out + '/last.ckpt', 'w').write('epoch 7')\n    sys.exit(0)\n"
    + "signal.signal(signal.SIGTERM, save)\nprint('ready', flush=True)\nwhile True: signal.pause()\n"
)
IGNORES_SIGTERM = (
    "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\n"
    "while True: signal.pause()\n"
)
# Each orphan's parent ends at once, so that it is PID 1's; then it ends itself. A zombie would stay in /proc for good.
LEAVES_ORPHANS = """
import os, time
reads, writes = os.pipe()
for _ in range(50):
    if os.fork() == 0:
        if os.fork() == 0:
            while os.getppid() != 1: time.sleep(0.001)
            os.write(writes, b"%d " % os.getpid())
        os._exit(0)
    os.wait()
os.close(writes)
orphans = []
with open(reads, "rb") as file:
    orphans = [int(pid) for pid in file.read().split()]
end = time.monotonic() + 10
while any(os.path.exists(f"/proc/{pid}") for pid in orphans) and time.monotonic() < end: time.sleep(0.01)
print(len(orphans), sum(os.path.exists(f"/proc/{pid}") for pid in orphans), flush=True)
"""
# It writes down which signal ended it: the end of the container would have left nobody the time to.
LEAVES_A_DAEMON = (
    OUTPUT
    + """
reads, writes = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        def told(number, frame):
            open(out + "/daemon", "w").write(str(number))
            os._exit(0)
        signal.signal(signal.SIGTERM, told)
        os.write(writes, b"up")
        while True: signal.pause()
    os._exit(0)
os.read(reads, 2)
"""
)


@pytest.fixture
def container(local_rig: Rig) -> Iterator[Container]:
    with one(local_rig) as found:
        yield found


@pytest.mark.parametrize(
    ("ending", "code"),
    [("", 0), ("sys.exit(3)", 3), ("sys.exit(255)", 255), ("sys.exit('no')", 1), ("os.kill(os.getpid(), 6)", 134)],
)
def test_the_boot_file_is_a_child_of_pid_1_and_its_code_the_container_s(
    container: Container, ending: str, code: int
) -> None:
    container.rig.code(f"import os, sys\nprint(os.getppid(), flush=True)\n{ending}\n")
    done = container.run()
    assert (done.returncode, done.stdout) == (code, "1\n"), done.stderr
    assert container.state["ExitCode"] == code
    assert container.run_json["exit_code"] == code


def test_docker_stop_reaches_the_boot_file_and_its_checkpoint_is_kept(container: Container) -> None:
    container.rig.code(SAVES_AT_SIGTERM)
    container.create()
    with container.running():
        docker("stop", "--time", "60", container.name)
    assert container.state["ExitCode"] == 143
    assert container.rig.stored() == {"last.ckpt": b"epoch 7"}
    assert (container.run_json["phase"], container.run_json["cause"]["code"]) == ("Terminated", "interrupted")


def test_docker_stop_ends_a_boot_file_that_does_not_listen(container: Container) -> None:
    container.rig.code(IGNORES_SIGTERM)
    container.create(arguments=("--grace", "2"))
    with container.running():
        docker("stop", "--time", "60", container.name)
    assert container.state["ExitCode"] == 137
    assert container.run_json["processes"][0]["signal"] == signal.SIGKILL
    assert b"ready\n" in container.rig.stored("log/")["modelarts-job-job-1-worker-0.log"]


def test_orphans_are_reaped_while_the_boot_file_runs(container: Container) -> None:
    container.rig.code(LEAVES_ORPHANS)
    done = container.run()
    assert (done.returncode, done.stdout) == (0, "50 0\n"), done.stderr


def test_a_daemon_that_is_left_behind_is_told_to_end(container: Container) -> None:
    container.rig.code(LEAVES_A_DAEMON)
    done = container.run()
    assert done.returncode == 0, done.stderr
    assert container.rig.stored() == {"daemon": b"15"}


def test_more_memory_than_the_container_has_is_told_with_the_limit(container: Container) -> None:
    container.rig.code(EAT)
    done = container.run("--memory", str(LIMIT), "--memory-swap", str(LIMIT))
    assert done.returncode == 137, done.stderr
    found = container.run_json
    assert found["cause"]["code"] == "oom-killed"
    assert found["limits"]["memory_bytes"] == LIMIT
    assert found["limits"]["oom_kills_after"] == found["limits"]["oom_kills_before"] + 1


def test_a_kill_by_hand_in_a_container_with_a_limit_is_not_called_out_of_memory(container: Container) -> None:
    container.rig.code("import os\nos.kill(os.getpid(), 9)\n")
    done = container.run("--memory", str(LIMIT))
    assert done.returncode == 137, done.stderr
    found = container.run_json
    assert found["cause"]["code"] == "killed"
    assert found["limits"]["memory_bytes"] == LIMIT
    assert found["limits"]["oom_kills_after"] == found["limits"]["oom_kills_before"]


def test_a_container_that_may_do_nothing_runs_the_job(container: Container) -> None:
    container.rig.code(OUTPUT + "open(out + '/model', 'w').write(f'{os.getuid()}:{os.getgid()}')\n")
    mine = "uid=1000,gid=1000,mode=700"
    done = container.run(
        *("--user", "1000:1000", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--tmpfs", "/tmp", "--tmpfs", f"/cache:{mine}", "--tmpfs", f"/home/ma-user/modelarts:{mine}"),
    )
    assert done.returncode == 0, done.stderr
    assert container.rig.stored() == {"model": b"1000:1000"}


@pytest.mark.parametrize(("ending", "phase", "code"), [("", "Completed", 0), ("raise OSError('no')", "Failed", 1)])
def test_the_termination_message_is_where_kubernetes_reads_it(
    container: Container, tmp_path: Path, ending: str, phase: str, code: int
) -> None:
    container.rig.code(ending + "\n")
    word = tmp_path / "termination-log"
    word.touch()
    word.chmod(0o666)
    done = container.run("--volume", f"{word}:/dev/termination-log")
    assert done.returncode == code, done.stderr
    told = json.loads(word.read_text())
    assert (told["phase"], told["exit_code"]) == (phase, code)
    assert (told["cause"] is None) == (code == 0)
