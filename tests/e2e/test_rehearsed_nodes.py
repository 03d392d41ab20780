"""`--rehearse`: all nodes of a job on this machine, each a launcher in a root of its own, with made-up devices."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ends import Ends, await_line, children_of, cmdline, marked, state, until
from searching import BOOT, rows, searched
from servers import LOCALFS, AnyStore

from launcher.core.rehearsal import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAVES = """
import json, os, sys
given = dict(each[2:].partition("=")[::2] for each in sys.argv[1:])
def leave(rank):
    with open(f"{given['train_url']}/rank-{rank}.json", "w") as file:
        json.dump({"env": dict(os.environ), "argv": sys.argv[1:]}, file)
"""
ASCEND = LEAVES + "leave(os.environ['RANK_ID'])\n"
GPU = (
    LEAVES
    + """
cards = int(os.environ["MA_NUM_GPUS"])
children = []
for card in range(cards):
    pid = os.fork()
    if pid == 0:
        leave(int(given.get("rank", 0)) * cards + card)
        os._exit(0)
    children.append(pid)
assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
"""
)
"""As boot files of the preset form do, it starts a process for each device itself."""
FAILS = """
import os, signal
if os.environ["RANK_ID"] == "11":
    os._exit(3)
signal.pause()
"""
WAITS = """
import os, signal, sys
folder = next(each.partition("=")[2] for each in sys.argv[1:] if each.startswith("--train_url="))
def save(*_):
    open(f"{folder}/of-{os.environ['VC_TASK_INDEX']}", "w").write("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, save)
print("ready", flush=True)
while True:
    signal.pause()
"""


READY = "import signal\nprint('ready', flush=True)\nsignal.pause()\n"


def limited(limit: str) -> tuple[str, ...]:
    """What starts a program under a limit of its shell."""
    return ("sh", "-c", f'ulimit {limit} && exec "$@"', "sh")


class Rehearsal(Ends):
    """A rig whose job runs on two nodes of this machine."""

    def engine(self, name: str, nodes: int | None = 2) -> None:
        self.algorithm["engine"] = {"engine_name": name}
        if nodes is not None:
            self.job["spec"]["resource"] = {"node_count": nodes}

    def node(self, index: int) -> Path:
        return self.root / f"worker-{index}"

    def run_of(self, index: int) -> Any:
        return json.loads((self.node(index) / "home/ma-user/modelarts/log/run.json").read_text())

    def ranks(self) -> dict[int, Any]:
        """What each rank has left in the store, by its number."""
        found = self.stored()
        names = [name for name in found if name.startswith("rank-")]
        return {int(name[5:-5]): json.loads(found[name]) for name in names}

    def cause_of(self, index: int) -> str:
        return str(self.run_of(index)["cause"]["code"])

    def verified(self) -> subprocess.CompletedProcess[str]:
        argv = (*self.argv("verify", job="")[:4], f"obs://{self.bucket}/out/", *self.store.launcher_args)
        return subprocess.run(argv, env=self.env(), capture_output=True, text=True, check=False, timeout=60)

    def await_ready(self, process: subprocess.Popen[str]) -> None:
        """Wait until both nodes train."""
        assert process.stdout is not None
        found = {process.stdout.readline() for _ in range(2)}
        assert found == {"[worker-0] ready\n", "[worker-1] ready\n"}

    def launchers(self, process: subprocess.Popen[str]) -> list[int]:
        """The launchers of the nodes, in their order."""
        found = {each: cmdline(each) for each in children_of(process.pid)}
        return sorted(found, key=lambda each: found[each].partition(b"--node-index=")[2])


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    directory = tmp_path / "store"
    directory.mkdir()
    rig = Rehearsal(AnyStore("localfs", LOCALFS, ("--store", str(directory)), directory=directory), tmp_path)
    yield rig
    for pid in marked(rig.mark):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("engine", "boot", "kind"), [("PyTorch", GPU, "GPU"), ("Ascend-Powered", ASCEND, "Ascend")])
def test_two_nodes_with_eight_devices_each_are_rehearsed(
    rehearsal: Rehearsal, engine: str, boot: str, kind: str
) -> None:
    rehearsal.code(boot)
    rehearsal.engine(engine)
    result = rehearsal.run("--rehearse", "--fake-devices", f"{kind}:8")
    assert result.code == 0, result.err
    ranks = rehearsal.ranks()
    assert sorted(ranks) == list(range(16))
    for rank, left in ranks.items():
        node, env = rank // 8, left["env"]
        assert (env["VC_TASK_INDEX"], env["MA_NUM_HOSTS"], env["MA_REHEARSAL"]) == (str(node), "2", "1")
        assert env["VC_WORKER_HOSTS"] == "127.0.0.1,127.0.0.2"
        assert env["MA_CURRENT_IP"] == f"127.0.0.{node + 1}"
        assert f"--data_url={rehearsal.node(node)}/home/ma-user/modelarts/inputs/data_url_0" in left["argv"]
        assert not [name for name in env if name.startswith("LAUNCHER_")]
        if kind == "Ascend":
            assert (env["RANK_SIZE"], env["DEVICE_ID"]) == ("16", str(rank % 8))
    for index in (0, 1):
        found = rehearsal.run_of(index)["devices"]
        assert (found["type"], found["count"]) == (kind, 8)
        assert "made up" in found["notes"][0]
        assert rehearsal.run_of(index)["node"]["index"] == index
    manifests = sorted(each.name for each in (rehearsal.output_in_store / ".launcher").iterdir())
    assert manifests == ["manifest-worker-0.json", "manifest-worker-1.json"]
    assert rehearsal.verified().returncode == 0
    logs = rehearsal.stored("log/")
    assert {
        f"modelarts-job-job-1-worker-{index}.{end}" for index in (0, 1) for end in ("log", "run.json")
    } <= logs.keys()
    assert rehearsal.left() == []


def test_each_line_says_which_node_it_is_from_and_a_table_closes(rehearsal: Rehearsal) -> None:
    rehearsal.code("import sys\nprint('to stdout')\nprint('to stderr', file=sys.stderr)\nsys.stdout.write('no end')\n")
    result = rehearsal.run("--rehearse", "--rehearse-nodes", "2")
    assert result.code == 0, result.err
    assert sorted(result.out.splitlines()) == [
        f"[worker-{i}] {line}" for i in (0, 1) for line in ("no end", "to stdout")
    ]
    lines = result.err.splitlines()
    assert {"[worker-0] to stderr", "[worker-1] to stderr"} <= set(lines)
    assert [line.split()[:5] for line in lines[-2:]] == [
        [f"worker-{index}", "Completed", "exit", "code", "0"] for index in (0, 1)
    ]
    assert [line.endswith(str(rehearsal.node(index))) for index, line in enumerate(lines[-2:])] == [True, True]
    quiet = rehearsal.run("--rehearse", "--rehearse-nodes", "2", "--quiet")
    assert (quiet.code, [line for line in quiet.err.splitlines() if line.startswith("worker-")]) == (0, [])


def test_a_rank_that_fails_gives_its_code_and_is_named(rehearsal: Rehearsal) -> None:
    rehearsal.code(FAILS)
    rehearsal.engine("Ascend-Powered")
    result = rehearsal.run("--rehearse", "--fake-devices", "Ascend:8", "--grace", "10")
    assert result.code == 3, result.err
    assert (rehearsal.cause_of(0), rehearsal.run_of(1)["exit_code"]) == ("peer-failed", 3)
    assert rehearsal.run_of(1)["cause"]["rank"] == 11
    (told,) = result.errors
    assert told.startswith("error: worker-1: ")
    assert "exit code 3" in told
    assert rehearsal.left() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_all_nodes_which_save_what_they_have(
    rehearsal: Rehearsal, number: signal.Signals, code: int
) -> None:
    rehearsal.code(WAITS)
    with rehearsal.running("--rehearse", "--rehearse-nodes", "2") as process:
        rehearsal.await_ready(process)
        process.send_signal(number)
        result = rehearsal.finish(process)
    assert result.code == code, result.err
    assert rehearsal.stored() == {"of-0": b"saved", "of-1": b"saved"}
    assert [rehearsal.run_of(index)["phase"] for index in (0, 1)] == ["Terminated", "Terminated"]
    assert rehearsal.left() == []


def test_a_second_signal_hurries_and_still_lets_each_node_tell(rehearsal: Rehearsal) -> None:
    rehearsal.code(
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('ready', flush=True)\nsignal.pause()\n"
    )
    with rehearsal.running("--rehearse", "--rehearse-nodes", "2", "--grace", "600") as process:
        rehearsal.await_ready(process)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "SIGINT during run" not in (line := process.stderr.readline()):
            assert line, "it ended"
        process.send_signal(signal.SIGINT)
        result = rehearsal.finish(process)
    assert {rehearsal.run_of(index)["phase"] for index in (0, 1)} == {"Terminated"}, result.err
    assert result.code == 137
    assert rehearsal.left() == []


def test_a_rehearsal_that_is_killed_leaves_nobody(rehearsal: Rehearsal) -> None:
    rehearsal.code(WAITS)
    with rehearsal.running("--rehearse", "--rehearse-nodes", "2") as process:
        rehearsal.await_ready(process)
        process.kill()
        process.wait()
        until(lambda: not marked(rehearsal.mark))
    assert {rehearsal.run_of(index)["phase"] for index in (0, 1)} == {"Terminated"}
    assert rehearsal.stored() == {"of-0": b"saved", "of-1": b"saved"}


def test_a_node_that_does_not_end_in_time_is_killed_with_all_that_is_its_own(rehearsal: Rehearsal) -> None:
    rehearsal.code(f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{READY}")
    with rehearsal.running("--rehearse", "--rehearse-nodes", "2", "--grace", "1") as process:
        rehearsal.await_ready(process)
        first = rehearsal.launchers(process)[0]
        fifo = rehearsal.node(0) / "home/ma-user/modelarts/log/run.json"
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        while "[worker-0] [ModelArts" not in (line := process.stderr.readline()) or "SIGTERM during run" not in line:
            assert line, "it ended"
        os.kill(first, signal.SIGSTOP)
        fifo.unlink()
        os.mkfifo(fifo)
        result = rehearsal.finish(process)
    assert "warning: a node that did not end in time was killed" in result.err
    assert "warning: worker-0: an earlier run left process" in result.err
    (row,) = [line for line in result.err.splitlines() if line.startswith("worker-0  ")]
    assert row.split()[1:5] == ["Abnormal", "exit", "code", "137"]
    assert result.code == 137


def test_other_signals_reach_every_boot_process_and_a_stop_stops_all(rehearsal: Rehearsal) -> None:
    rehearsal.code(f"import signal\nsignal.signal(signal.SIGUSR1, lambda *_: print('heard', flush=True))\n{WAITS}")
    with rehearsal.running("--rehearse", "--rehearse-nodes", "2") as process:
        rehearsal.await_ready(process)
        assert process.stdout is not None
        process.send_signal(signal.SIGUSR1)
        assert {process.stdout.readline() for _ in range(2)} == {"[worker-0] heard\n", "[worker-1] heard\n"}
        process.send_signal(signal.SIGTSTP)
        until(lambda: {state(pid) for pid in marked(rehearsal.mark)} == {"T"})
        process.send_signal(signal.SIGCONT)
        until(lambda: "T" not in {state(pid) for pid in marked(rehearsal.mark)})
        os.kill(rehearsal.launchers(process)[1], signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        result = rehearsal.finish(process)
    assert result.code == 143, result.err
    assert rehearsal.stored() == {"of-0": b"saved", "of-1": b"saved"}


def test_a_rehearsal_ends_with_who_has_started_it(rehearsal: Rehearsal) -> None:
    rehearsal.code(READY)
    result = rehearsal.run("--rehearse", "--rehearse-nodes", "2", env={"LAUNCHER_PARENT": "1"})
    assert result.code == 143, result.err
    assert rehearsal.left() == []


@pytest.mark.parametrize("killed", [0, 1])
def test_a_node_whose_launcher_is_killed_is_gone_and_ends_the_other(rehearsal: Rehearsal, killed: int) -> None:
    rehearsal.code(WAITS)
    with rehearsal.running("--rehearse", "--rehearse-nodes", "2") as process:
        rehearsal.await_ready(process)
        os.kill(rehearsal.launchers(process)[killed], signal.SIGKILL)
        result = rehearsal.finish(process)
    assert result.code == 137, result.err
    assert rehearsal.cause_of(1 - killed) == "peer-lost"
    (row,) = [line for line in result.err.splitlines() if line.startswith(f"worker-{killed}  ")]
    assert row.split()[:5] == [f"worker-{killed}", "Abnormal", "exit", "code", "137"]
    assert rehearsal.left() == []


def test_ports_that_are_taken_are_not_used(rehearsal: Rehearsal) -> None:
    rehearsal.code(GPU)
    with ExitStack() as held:
        for port in (6665, 6666):
            taken = held.enter_context(socket.socket())
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                taken.bind(("127.0.0.1", port))
                taken.listen()
            except OSError:
                continue  # somebody else has it, which is as good
        result = rehearsal.run("--rehearse", "--rehearse-nodes", "2", "--fake-devices", "GPU:1")
    assert result.code == 0, result.err


def test_odd_roots_and_relative_ones_are_roots(rehearsal: Rehearsal) -> None:
    rehearsal.code(ASCEND)
    rehearsal.engine("Ascend-Powered")
    rehearsal.root = rehearsal.folder / "an odd 'root' \"$HOME\" ü"
    result = rehearsal.run("--rehearse", "--fake-devices", "Ascend:2")
    assert result.code == 0, result.err
    assert sorted(rehearsal.ranks()) == [0, 1, 2, 3]
    argv = [
        os.path.relpath(each, rehearsal.folder) if each.startswith(str(rehearsal.folder)) else each
        for each in rehearsal.argv()
    ]
    done = subprocess.run(
        (*argv, "--rehearse", "--fake-devices", "Ascend:2"),
        cwd=rehearsal.folder,
        env=rehearsal.env({"PYTHONPATH": str(Path(__file__).parents[2])}),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_one_node_is_rehearsed_in_this_process_and_root(rehearsal: Rehearsal) -> None:
    rehearsal.code(ASCEND)
    rehearsal.engine("Ascend-Powered", nodes=2)
    stale = {"VC_WORKER_HOSTS": "a,b,c", "VC_TASK_INDEX": "2", "CUDA_VISIBLE_DEVICES": ""}
    result = rehearsal.run("--rehearse", "--rehearse-nodes", "1", "--fake-devices", "Ascend:8", env=stale)
    assert result.code == 0, result.err
    assert sorted(rehearsal.ranks()) == list(range(8))
    assert result.run_json["phase"] == "Completed"
    assert not rehearsal.node(0).exists()


def test_what_the_command_line_says_reaches_every_node(rehearsal: Rehearsal) -> None:
    rehearsal.code(GPU)
    rehearsal.algorithm["parameters"] = [{"name": "lr", "value": "1"}]
    result = rehearsal.run(
        *(
            "--rehearse",
            "--rehearse-nodes",
            "2",
            "--fake-devices",
            "gpu:1",
            "--set",
            "lr=@env:RATE",
            "--env",
            "OWN=x y",
        ),
        *("--report", str(rehearsal.folder / "copy.json"), "--precheck", "--no-platform-args"),
        env={"RATE": "0.25", "LAUNCHER_CHECK_ROOT": "1", "LAUNCHER_CHECK_SHM": "1", "LAUNCHER_CHECK_CACHE": "1"},
    )
    assert result.code == 0, result.err
    (left,) = rehearsal.ranks().values()
    assert "--lr=0.25" in left["argv"]
    assert (left["env"]["OWN"], left["env"]["MA_DETECT_TRAIN_INJECT_CODE"]) == ("x y", "1")
    assert not [each for each in left["argv"] if each.startswith("--init_method")]
    assert "item gpu-check: ok: 1 GPU (made-up GPU)" in result.err
    for index in (0, 1):
        assert json.loads((rehearsal.folder / f"copy-worker-{index}.json").read_text())["node"]["index"] == index


def test_a_job_may_come_by_standard_input_or_by_a_variable(rehearsal: Rehearsal) -> None:
    rehearsal.code(GPU)
    rehearsal.engine("PyTorch")
    told = json.dumps(rehearsal.job)
    result = rehearsal.run("--rehearse", "--fake-devices", "GPU:2", job="-", text=told)
    assert (result.code, sorted(rehearsal.ranks())) == (0, [0, 1, 2, 3]), result.err
    assert sorted(each.name for each in rehearsal.root.iterdir()) == [".launcher.lock", "worker-0", "worker-1"]
    for variable in (told, "-"):
        env = {"LAUNCHER_JOB": variable}
        result = rehearsal.run("--rehearse", "--fake-devices", "GPU:2", job="", env=env, text=told)
        assert result.code == 0, result.err
    shown = rehearsal.run("--rehearse", "--json", command="preview", job="-", text=told)
    assert json.loads(shown.out)["node"]["count"] == 2


@pytest.mark.parametrize("nodes", ["1", "2"])
def test_documents_that_can_be_read_but_once_are_read_once(rehearsal: Rehearsal, nodes: str) -> None:
    rehearsal.code("")
    settings = {name: rehearsal.algorithm.pop(name) for name in ("code_dir", "boot_file")}
    rehearsal.algorithm["id"] = "by-name"
    algorithm = {"kind": "algorithm", "metadata": {"id": "by-name", "name": "by-name"}, "job_config": settings}
    documents = [rehearsal.folder / name for name in ("job.fifo", "algorithm.fifo")]
    for path in documents:
        os.mkfifo(path)
    argv = rehearsal.argv("run", "--algorithm", str(documents[1]), job=str(documents[0]))
    told = (*argv, "--rehearse", "--rehearse-nodes", nodes)
    with subprocess.Popen(told, env=rehearsal.env(), stderr=subprocess.PIPE, text=True) as process:
        for path, document in zip(documents, (rehearsal.job, algorithm), strict=True):
            path.write_text(json.dumps(document))
        _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err


def test_a_root_is_one_rehearsals_at_a_time(rehearsal: Rehearsal) -> None:
    rehearsal.code(WAITS)
    rehearsal.engine("Ascend-Powered")
    with rehearsal.running("--rehearse", "--fake-devices", "Ascend:1") as process:
        rehearsal.await_ready(process)
        table = (rehearsal.root / TABLE).read_text()
        for nodes in ("1", "2"):
            second = rehearsal.run("--rehearse", "--fake-devices", "Ascend:2", "--rehearse-nodes", nodes)
            assert second.code == 71
            (error,) = second.errors
            assert f"another launcher (pid {process.pid}) runs a job in {rehearsal.root}" in error
        assert (rehearsal.root / TABLE).read_text() == table
        process.send_signal(signal.SIGTERM)
        assert rehearsal.finish(process).code == 143


def test_what_another_launcher_runs_below_the_root_is_left_alone(rehearsal: Rehearsal) -> None:
    rehearsal.code(READY)
    other = Rehearsal(rehearsal.store, rehearsal.folder)
    other.job, other.root, other.bucket = rehearsal.job, rehearsal.node(0), rehearsal.bucket
    with other.running("--grace", "2") as process:
        await_line(process, "ready")
        rehearsal.prefix = limited("-n 16")
        refused = rehearsal.run("--rehearse", "--rehearse-nodes", "16")
        assert refused.code in (71, 126)
        assert "Too many open files" in refused.errors[0]
        assert not [line for line in refused.err.splitlines() if "defect" in line or "Traceback" in line]
        assert rehearsal.left() == []
        process.send_signal(signal.SIGTERM)
        assert other.finish(process).code == 143


def test_a_node_that_is_refused_at_its_start_ends_the_others_and_what_it_said_earlier_is_not_believed(
    rehearsal: Rehearsal,
) -> None:
    rehearsal.code("import os, sys\nsys.exit(71 if os.environ['VC_TASK_INDEX'] == '1' else 0)\n")
    first = rehearsal.run("--rehearse", "--rehearse-nodes", "2")
    assert (first.code, rehearsal.cause_of(1)) == (71, "boot-failed")
    lock = rehearsal.node(1) / "home/ma-user/modelarts/log/.launcher.lock"
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = rehearsal.run("--rehearse", "--rehearse-nodes", "2")
    assert second.code == 71
    assert "warning: worker-1 seems to have met nobody when it ended: the others are told to end" in second.err
    rows = [line.split()[:6] for line in second.err.splitlines()[-2:]]
    assert rows == [
        ["worker-0", "Terminated", "exit", "code", "143", "interrupted:"],
        ["worker-1", "Abnormal", "exit", "code", "71", "it"],
    ]


def test_a_reader_that_takes_nothing_holds_nobody_up(rehearsal: Rehearsal) -> None:
    rehearsal.code("print('hello')\n")
    rehearsal.engine("PyTorch")
    reads, writes = os.pipe()
    assert os.write(writes, bytes(fcntl.fcntl(writes, fcntl.F_GETPIPE_SZ))) > 0  # and nothing finds room any more
    argv = rehearsal.argv("run", "--rehearse", "--fake-devices", "GPU:1", "--quiet")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(argv, env=rehearsal.env(), stdout=full, stderr=writes, check=False, timeout=100)
    for fd in (reads, writes):
        os.close(fd)
    assert (done.returncode, rehearsal.left()) == (0, [])


def test_a_working_directory_that_is_gone_is_missed_by_nobody(rehearsal: Rehearsal) -> None:
    rehearsal.code("")
    gone = rehearsal.folder / "gone"
    gone.mkdir()
    rehearsal.prefix = ("sh", "-c", 'cd "$0" && rmdir "$0" && exec "$@"', str(gone))
    result = rehearsal.run("--rehearse", "--rehearse-nodes", "2")
    assert result.code == 0, result.err


def test_a_job_that_cannot_be_is_refused_once_and_starts_nobody(rehearsal: Rehearsal) -> None:
    rehearsal.code(GPU)
    rehearsal.engine("PyTorch")
    rehearsal.job["spec"]["resource"]["flavor_detail"] = {"flavor_type": "GPU", "flavor_info": {"gpu": {"unit_num": 4}}}
    result = rehearsal.run("--rehearse", "--fake-devices", "GPU:2")
    assert result.code == 71
    (error,) = result.errors
    assert "a rehearsal can do with made-up devices: --fake-devices GPU:4" in error
    assert not rehearsal.root.exists()
    alone = rehearsal.run("--rehearse", "--fake-devices", "Ascend:1", "--rehearse-nodes", "1")
    assert (alone.code, alone.cause) == (71, "constraints-unmet")
    assert "--fake-devices GPU:4" in alone.err


def test_an_engine_of_ascend_without_its_devices_is_refused(rehearsal: Rehearsal) -> None:
    rehearsal.code(ASCEND)
    rehearsal.engine("Ascend-Powered")
    result = rehearsal.run("--rehearse", "--fake-devices", "GPU:8")
    assert (result.code, result.errors[0].endswith("Give --fake-devices Ascend:8.")) == (71, True), result.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--fake-devices", "GPU:8"), 2, "--fake-devices is for a rehearsal: give --rehearse with it."),
        (("--rehearse-nodes", "2"), 2, "--rehearse-nodes is for a rehearsal: give --rehearse with it."),
        (("--rehearse", "--fake-devices", "TPU:8"), 2, "expected GPU:N or Ascend:N, N from 1 to 64."),
        (("--rehearse", "--fake-devices", "GPU:65"), 2, "expected GPU:N or Ascend:N, N from 1 to 64."),
        (("--rehearse", "--rehearse-nodes", "0"), 2, "--rehearse-nodes"),
        (("--rehearse", "--rehearse-nodes", "65"), 2, "expected at most 64."),
        (("--rehearse", "--root", "/"), 2, "--rehearse needs --root DIR"),
        (("--rehearse", "--rehearse-nodes", "2", "--nodes", "2"), 2, "are one of them."),
        (("--rehearse", "--rehearse-nodes", "2", "--hold"), 2, "--hold is rehearsed on one node, and 2 are wanted"),
        (("--rehearse", "--store", "http://127.0.0.1:9"), 2, "copy what the job reads into a folder"),
    ],
)
def test_options_that_cannot_be_are_refused_in_a_sentence(
    rehearsal: Rehearsal, arguments: tuple[str, ...], code: int, words: str
) -> None:
    rehearsal.code(GPU)
    result = rehearsal.run(*arguments)
    assert result.code == code, result.err
    (error,) = result.errors
    assert words in error
    assert not rehearsal.node(0).exists()


@pytest.mark.parametrize(
    ("nodes", "engine", "code", "words"),
    [
        (65, "PyTorch", 2, "the job asks for 65 nodes, and one machine rehearses at most 64"),
        (2, "MindSpore-GPU", 2, "msrun takes each of 2 nodes on one machine for the first"),
        (2, "Ascend-Powered", 71, "the rehearsal cannot write"),
        (2, "PyTorch", 71, "the rehearsal cannot write"),
    ],
)
def test_a_job_that_cannot_be_rehearsed_here_is_refused_in_a_sentence(
    rehearsal: Rehearsal, nodes: int, engine: str, code: int, words: str
) -> None:
    rehearsal.code(GPU)
    rehearsal.engine(engine, nodes)
    rehearsal.root.write_text("a file")
    method = {"MA_RUN_METHOD": "msrun"} if engine.startswith("MindSpore") else {}
    result = rehearsal.run("--rehearse", "--fake-devices", "Ascend:1", env=method)
    assert result.code == code, result.err
    (error,) = result.errors
    assert words in error


def test_a_node_whose_root_cannot_be_starts_nobody(rehearsal: Rehearsal) -> None:
    rehearsal.code(GPU)
    rehearsal.root.mkdir()
    rehearsal.node(1).write_text("a file")
    result = rehearsal.run("--rehearse", "--rehearse-nodes", "2")
    assert (result.code, len(result.errors)) == (71, 1), result.err
    assert f"the rehearsal cannot write {rehearsal.node(1)}: File exists" in result.errors[0]


def test_a_server_in_the_environment_is_no_store_for_a_rehearsal(rehearsal: Rehearsal) -> None:
    result = rehearsal.run("--rehearse", store=False, env={"S3_ENDPOINT": "http://127.0.0.1:9"})
    assert result.code == 2
    assert "http://127.0.0.1:9 is a server" in result.errors[0]


@pytest.mark.parametrize("nodes", ["1", "2"])
def test_a_rehearsal_without_a_store_is_told_to_name_a_folder(rehearsal: Rehearsal, nodes: str) -> None:
    result = rehearsal.run("--rehearse", "--rehearse-nodes", nodes, store=False)
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "is in an object store, and none is known" in result.errors[0]
    assert "Give --store DIR, a folder whose first level are the buckets" in result.errors[0]
    assert "S3_ENDPOINT" not in result.errors[0]


def test_a_broken_job_is_told_as_without_a_rehearsal(rehearsal: Rehearsal) -> None:
    rehearsal.algorithm["boot_file"] = "obs://elsewhere/train.py"
    assert rehearsal.run("--rehearse").errors == rehearsal.run().errors


def test_a_search_is_rehearsed_on_one_node_with_a_made_up_device_for_each_trial(rehearsal: Rehearsal) -> None:
    rehearsal.code(BOOT)
    searched(rehearsal, samples=2)
    flavor = {"flavor_type": "GPU", "flavor_info": {"gpu": {"unit_num": 1}}}
    rehearsal.job["spec"]["resource"] = {"node_count": 2, "flavor_id": "f", "flavor_detail": flavor}
    refused = rehearsal.run("--rehearse", "--fake-devices", "GPU:2")
    assert refused.code == 2
    assert "a search is rehearsed on one node, and 2 are wanted" in refused.errors[0]
    result = rehearsal.run("--rehearse", "--fake-devices", "GPU:2", "--rehearse-nodes", "1")
    assert result.code == 0, result.err
    assert len(rows(rehearsal)) == 2
    result = rehearsal.run("--rehearse", "--fake-devices", "GPU:2", "--rehearse-nodes", "1", command="search")
    assert result.code == 0, result.err


def test_a_preview_shows_the_first_node_and_touches_nothing(rehearsal: Rehearsal) -> None:
    rehearsal.code(ASCEND)
    rehearsal.engine("Ascend-Powered")
    result = rehearsal.run("--rehearse", "--fake-devices", "Ascend:8", "--json", command="preview")
    assert result.code == 0, result.err
    plan = json.loads(result.out)
    assert plan["pending"] == ["the ports of worker-0: a rehearsal picks free ones when it starts"]
    assert [each["env"]["RANK_ID"] for each in plan["processes"]] == [str(rank) for rank in range(8)]
    assert {each["env"]["RANK_SIZE"] for each in plan["processes"]} == {"16"}
    assert plan["root"] == str(rehearsal.node(0))
    assert (plan["node"]["count"], plan["node"]["hosts"]) == (2, ["127.0.0.1", "127.0.0.2"])
    assert "made up" in plan["devices"]["notes"][0]
    assert not rehearsal.root.exists()
    alone = rehearsal.run(
        "--rehearse", "--rehearse-nodes", "1", "--fake-devices", "Ascend:1", "--json", command="preview"
    )
    assert (alone.code, json.loads(alone.out)["pending"]) == (0, []), alone.err
    named = ("--rehearse", "--nodes", "2", "--node-index", "1", "--fake-devices", "Ascend:1", "--json")
    second = rehearsal.run(*named, command="preview")
    assert json.loads(second.out)["node"]["index"] == 1, second.err


def test_precheck_looks_at_made_up_devices(rehearsal: Rehearsal) -> None:
    result = rehearsal.run("--rehearse", "--fake-devices", "GPU:4", command="precheck", job="", store=False)
    assert "item gpu-check: ok: 4 GPU (made-up GPU)" in result.out


def test_a_plain_run_loads_nothing_of_this(rehearsal: Rehearsal) -> None:
    rehearsal.code("")
    result = rehearsal.run(env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert result.code == 0
    loaded = {line.rpartition("|")[2].strip() for line in result.err.splitlines() if line.startswith("import time:")}
    assert "launcher.job" in loaded
    assert not loaded & {"launcher.rehearse", "launcher.cli.rehearse", "launcher.cli.cast", "launcher.core.rehearsal"}
