"""Each run keeps a sign in its outputs: it shows at once that they may be written, and keeps other jobs out of them."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from ends import PATIENCE_S, await_line, until
from fronts import Fault, s3_error
from rig import COPY_TREE, LAUNCHER, Result, Rig
from servers import AnyStore

from launcher.core.occupancy import EVERY, Marker, dump_marker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fronts import Front
    from servers import S3Server

SIGNS = "out/.launcher/running-"
SIGN = f"{SIGNS}modelarts-job-job-1-worker-0.json"
WAITS = "import os\nprint('ready', flush=True)\nopen(os.environ['GATE']).read()\n"
"""Ends when the test opens the gate, or is over; so does what a killed launcher leaves behind."""


@pytest.fixture
def fronted_rig(moto_server: S3Server, fronted: Callable[[S3Server], Front], tmp_path: Path) -> tuple[Rig, Front]:
    """A whole job whose every request passes the front; the objects are laid down behind its back."""
    front = fronted(moto_server)
    env = {**moto_server.env, "S3_ENDPOINT": front.endpoint}
    rig = Rig(AnyStore("moto", moto_server.capability, env=env, server=moto_server), tmp_path)
    rig.code(COPY_TREE)
    return rig, front


class Gate:
    """A FIFO that boot files wait at, of which the test holds the other end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._end: int | None = os.open(path, os.O_RDWR)

    def open(self) -> None:
        """Let everybody through."""
        if self._end is not None:
            os.close(self._end)
            self._end = None
            opened = self.path.with_suffix(".open")
            opened.touch()
            opened.replace(self.path)  # whoever comes later does not wait at all


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """What boot files wait at."""
    found = Gate(tmp_path / "gate")
    try:
        yield found
    finally:
        found.open()


def waiting(rig: Rig, gate: Gate, more: str = "") -> Rig:
    """A rig whose boot file copies its input to its output, says that it is ready, and waits at the gate."""
    rig.code(COPY_TREE.replace('print("copied", flush=True)\n', "") + more + WAITS)
    rig.algorithm["environments"] = {"GATE": str(gate.path)}
    return rig


def another(first: Rig, job: str = "job-2") -> Rig:
    """Another job of the same output, at another root of the same node."""
    folder = first.folder / job
    folder.mkdir()
    second = Rig(first.store, folder)
    second.bucket = first.bucket
    second.job = copy.deepcopy(first.job)
    second.job["metadata"]["id"] = job
    return second


def signs(rig: Rig) -> list[str]:
    return [key for key in rig.store.listing(rig.bucket, "out/") if key.startswith(SIGNS)]


def verified(rig: Rig) -> Any:
    """What `launcher verify` says of the output, which must be whole."""
    argv = (*LAUNCHER, "verify", f"obs://{rig.bucket}/out/", *rig.store.launcher_args, "--content", "--json")
    done = subprocess.run(argv, env=rig.env(), capture_output=True, check=False, timeout=60, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def nothing_was_done(rig: Rig, result: Result) -> bool:
    """Whether it ended before anything was staged or trained."""
    run = result.run_json
    code = rig.root / "home/ma-user/modelarts/user-job-dir/code/train.py"
    return not (
        run["staged"] or run["processes"] or run["synced"] or rig.inputs.joinpath("a.csv").exists() or code.exists()
    )


# an output that may not be written


def test_an_output_that_may_not_be_written_is_told_before_anything_is_done(fronted_rig: tuple[Rig, Front]) -> None:
    rig, front = fronted_rig
    front.lay(s3_error(403, "AccessDenied", method="PUT", target="/out/"))
    result = rig.run()
    assert (result.code, result.run_json["phase"], nothing_was_done(rig, result)) == (77, "Failed", True)
    assert (front.count("GET", r"/(code|data)/\w"), front.count("PUT", "/out/")) == (0, 1)
    cause = result.run_json["cause"]
    for words in ("(train_url)", f"obs://{rig.bucket}/out/", SIGN, "REQ-AccessDenied"):
        assert words in cause["message"], cause
    assert cause["action"].startswith("Give these credentials the right to do this here"), cause
    assert [cause["message"] in line for line in result.errors] == [True]
    sent = json.loads(rig.stored("log/")["modelarts-job-job-1-worker-0.run.json"])
    assert (sent["exit_code"], sent["cause"]) == (77, cause)


def test_a_file_where_the_folder_should_be_is_told_before_anything_is_done(local_rig: Rig) -> None:
    local_rig.code(COPY_TREE)
    local_rig.store.seed(local_rig.bucket, {"out": b"a file where the folder should be"})
    result = local_rig.run()
    assert (result.code, nothing_was_done(local_rig, result)) == (77, True), result.err
    message = result.run_json["cause"]["message"]
    assert "(train_url)" in message
    assert f"obs://{local_rig.bucket}/out/" in message
    assert local_rig.store.read(local_rig.bucket, "out") == b"a file where the folder should be"


def test_the_one_of_two_outputs_that_may_not_be_written_is_named_and_the_other_is_left_as_it_was(
    fronted_rig: tuple[Rig, Front],
) -> None:
    rig, front = fronted_rig
    rig.algorithm["outputs"].append({"name": "model_url", "remote": {"obs": {"obs_url": f"obs://{rig.bucket}/model/"}}})
    front.lay(s3_error(403, "AccessDenied", method="PUT", target="/model/"))
    result = rig.run()
    assert (result.code, "(model_url)" in result.run_json["cause"]["message"]) == (77, True), result.err
    assert rig.store.listing(rig.bucket, "out/") == {}


def test_an_output_whose_bucket_is_not_there_is_told_before_anything_is_done(rig: Rig) -> None:
    rig.code(COPY_TREE)
    rig.algorithm["outputs"][0]["remote"]["obs"]["obs_url"] = "obs://no-such-bucket/out/"
    result = rig.run()
    assert (result.code, nothing_was_done(rig, result)) == (66, True), result.err
    assert "(train_url): obs://no-such-bucket/out/ cannot be written" in result.run_json["cause"]["message"]


@pytest.mark.parametrize(
    ("fault", "code", "cause"),
    [
        (s3_error(403, "InsufficientStorageSpace"), 77, "store-full"),
        (s3_error(403, "SignatureDoesNotMatch"), 77, "store-keys"),
        (Fault("reset"), 69, "store-broken"),
    ],
    ids=["full", "signature", "reset"],
)
def test_an_output_that_cannot_be_written_is_told_as_the_store_tells_it(
    fronted_rig: tuple[Rig, Front], fault: Fault, code: int, cause: str
) -> None:
    rig, front = fronted_rig
    front.lay(replace(fault, method="PUT", target="/out/"))
    result = rig.run()
    assert (result.code, result.cause, nothing_was_done(rig, result)) == (code, cause, True), result.err
    assert "(train_url)" in result.run_json["cause"]["message"]


# where the sign is, and when


def test_the_sign_is_there_while_the_run_goes_on_and_gone_when_it_is_over(rig: Rig, gate: Gate) -> None:
    waiting(rig, gate)
    with rig.running() as process:
        await_line(process, "ready")
        assert signs(rig) == [SIGN]
        (told,) = signs_of(rig)
        assert (told["job"], told["worker"], told["host"]) == ("job-1", 0, rig.run_json()["node"]["host"])
        assert told["owner"]["pid"] == process.pid
        gate.open()
        result = rig.finish(process)
    assert (result.code, signs(rig)) == (0, []), result.err
    assert rig.stored() == {"a.csv": b"1,2\n"}
    found = verified(rig)
    assert (found["objects"], found["unnamed"], found["running"]) == (1, 0, [])


def signs_of(rig: Rig) -> list[Any]:
    return [json.loads(rig.store.read(rig.bucket, key)) for key in signs(rig)]


@pytest.mark.parametrize("last", ["sys.exit(3)", "os.kill(os.getpid(), 9)", "raise OSError('no')"])
def test_a_run_that_fails_takes_its_sign_away(local_rig: Rig, last: str) -> None:
    local_rig.code(f"{COPY_TREE}{last}\n")
    assert local_rig.run().code not in (0, 73)
    assert (local_rig.stored(), signs(local_rig)) == ({"a.csv": b"1,2\n"}, [])
    assert verified(local_rig)["whole"]


def test_a_run_that_cannot_be_staged_takes_its_sign_away(rig: Rig) -> None:
    result = rig.run()
    assert (result.code, signs(rig)) == (66, []), result.err


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_run_that_is_stopped_while_it_trains_takes_its_sign_away(rig: Rig, gate: Gate, number: str) -> None:
    waiting(rig, gate)
    with rig.running() as process:
        await_line(process, "ready")
        assert signs(rig) == [SIGN]
        os.kill(process.pid, getattr(signal, number))
        result = rig.finish(process)
    assert (result.run_json["phase"], signs(rig)) == ("Terminated", []), result.err
    assert verified(rig)["whole"]


def test_a_run_that_is_stopped_while_it_stages_takes_its_sign_away(fronted_rig: tuple[Rig, Front]) -> None:
    rig, front = fronted_rig
    front.lay(Fault("hang", method="GET", target=r"/data/\w"))
    with rig.running("--grace", "20") as process:
        until(lambda: front.count("GET", r"/data/\w"))
        assert signs(rig) == [SIGN]
        process.terminate()
        result = rig.finish(process)
    assert (result.code, result.run_json["phase"], signs(rig)) == (143, "Terminated", []), result.err


def test_a_run_that_is_stopped_while_it_takes_its_output_leaves_no_sign(fronted_rig: tuple[Rig, Front]) -> None:
    rig, front = fronted_rig
    front.lay(Fault("slow", method="PUT", target=SIGNS, seconds=1.0))
    with rig.running("--grace", "20") as process:
        until(lambda: front.count("PUT", SIGNS))
        process.terminate()
        result = rig.finish(process)
    assert (result.code, result.run_json["phase"], signs(rig)) == (143, "Terminated", []), result.err


def test_who_may_not_delete_says_that_it_is_over(fronted_rig: tuple[Rig, Front]) -> None:
    rig, front = fronted_rig
    front.lay(s3_error(403, "AccessDenied", method="DELETE", target=SIGNS))
    assert rig.run().code == 0
    (told,) = signs_of(rig)
    assert told["ended"] is True
    found = verified(rig)
    assert (found["unnamed"], found["running"]) == (0, [])
    second = another(rig)
    front.clear()
    result = second.run()
    assert (result.code, signs(rig)) == (0, []), result.err


# an output that another job writes to


def test_a_second_job_of_the_same_output_is_refused_before_anything_is_done(rig: Rig, gate: Gate) -> None:
    waiting(rig, gate)
    with rig.running() as process:
        await_line(process, "ready")
        (told,) = signs_of(rig)
        second = another(rig)
        result = second.run()
        assert (result.code, result.cause, nothing_was_done(second, result)) == (65, "output-in-use", True), result.err
        cause = result.run_json["cause"]
        for words in ("(train_url)", f"obs://{rig.bucket}/out/", "job 'job-1'", told["host"], told["started"]):
            assert words in cause["message"], cause
        assert f"process {process.pid} runs on this node" in cause["message"]
        for words in ("LAUNCHER_OUTPUT_IN_USE=warn", f"obs://{rig.bucket}/{SIGN}"):
            assert words in cause["action"], cause
        assert signs(rig) == [SIGN], "the sign of the first is left alone, and there is none of the second"
        gate.open()
        assert rig.finish(process).code == 0
    assert (rig.stored(), verified(rig)["job"]) == ({"a.csv": b"1,2\n"}, "job-1")
    assert second.run().code == 0, "now that it is over, the output is free"


def test_the_same_job_started_twice_is_refused_too(local_rig: Rig, gate: Gate) -> None:
    waiting(local_rig, gate)
    with local_rig.running() as process:
        await_line(process, "ready")
        twin = another(local_rig, "twin")
        twin.job["metadata"]["id"] = "job-1"
        result = twin.run()
        assert (result.code, result.cause, signs(local_rig)) == (65, "output-in-use", [SIGN]), result.err
        gate.open()
        assert local_rig.finish(process).code == 0


def test_a_second_job_may_be_let_with_a_warning(local_rig: Rig, gate: Gate) -> None:
    waiting(local_rig, gate)
    with local_rig.running() as process:
        await_line(process, "ready")
        second = another(local_rig)
        second.code(COPY_TREE)
        result = second.run(env={"LAUNCHER_OUTPUT_IN_USE": "warn"})
        assert (result.code, signs(local_rig)) == (0, [SIGN]), result.err
        lines = (second.log_dir / "events.jsonl").read_text().splitlines()
        warned = [each["message"] for each in map(json.loads, lines) if each["level"] == "Warning"]
        assert [each for each in warned if "is in use by job 'job-1'" in each and "is in danger" in each], warned
        gate.open()
        assert local_rig.finish(process).code == 0
    assert signs(local_rig) == []


@pytest.mark.parametrize("attempt", range(3))
def test_of_two_jobs_that_start_together_one_goes_on(local_rig: Rig, gate: Gate, attempt: int) -> None:
    assert_that_one_stays(waiting(local_rig, gate), another(local_rig, f"job-{attempt + 2}"), gate)


def test_of_two_jobs_that_saw_nobody_when_they_came_one_goes_on(fronted_rig: tuple[Rig, Front], gate: Gate) -> None:
    rig, front = fronted_rig
    both_have_looked = threading.Barrier(2, timeout=PATIENCE_S)

    def wait_for_the_other() -> None:
        both_have_looked.wait()

    front.lay(Fault("pass", method="PUT", target=SIGNS, times=2, after=wait_for_the_other))
    assert_that_one_stays(waiting(rig, gate), another(rig), gate)
    assert not both_have_looked.broken


def assert_that_one_stays(first: Rig, second: Rig, gate: Gate) -> None:
    """Two jobs whose boot files wait at the gate are started: one trains, the other is refused."""
    jobs = (first, second)
    with first.running() as one, second.running() as two:
        both = (one, two)
        until(lambda: [each.poll() for each in both] != [None, None])
        stays = [place for place, each in enumerate(both) if each.poll() is None]
        assert len(stays) == 1, [each.communicate()[1] for each in both if each.poll() is not None]
        gate.open()
        results = [each.finish(process) for each, process in zip(jobs, both, strict=True)]
    assert sorted(each.code for each in results) == [0, 65], [each.err for each in results]
    assert (signs(first), verified(first)["job"]) == ([], jobs[stays[0]].job["metadata"]["id"])


def test_outputs_of_an_earlier_run_are_not_put_where_another_job_writes_by_now(local_rig: Rig, gate: Gate) -> None:
    waiting(local_rig, gate)
    with local_rig.running() as process:
        await_line(process, "ready")
        process.kill()
        process.wait()
    second = another(local_rig)
    with second.running() as process:
        await_line(process, "ready")
        sync = (*LAUNCHER, "sync", str(local_rig.log_dir / "run.json"), *local_rig.store.launcher_args)
        done = subprocess.run(sync, env=local_rig.env(), capture_output=True, check=False, text=True, timeout=60)
        assert (done.returncode, "is in use by job 'job-2'" in done.stderr) == (65, True), done.stderr
        gate.open()
        assert second.finish(process).code == 0
    assert verified(local_rig)["job"] == "job-2"


READS_TOGETHER = """
import importlib, sys, threading
from launcher.core import occupancy
sys.setswitchinterval(1e-6)
for _ in range(100):
    rules = importlib.reload(occupancy)  # made anew, as in a launcher that has just started
    raw, gate = sys.argv[1].encode(), threading.Barrier(8)
    def read():
        gate.wait()
        rules.parse_marker(raw, sys.argv[2])
    threads = [threading.Thread(target=read) for _ in range(8)]
    for each in threads: each.start()
    for each in threads: each.join()
"""


def test_threads_that_read_their_first_sign_together_all_live() -> None:
    """Each output has a thread; types that the first decoding makes are whole to one of them alone."""
    marker = sign_of("node-9", "2024-05-06T07:08:09Z")
    path = f".launcher/running-{marker.label}.json"
    argv = (sys.executable, "-c", READS_TOGETHER, dump_marker(marker).decode(), path)
    done = subprocess.run(argv, capture_output=True, check=False, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# an output that nobody writes to any more


@pytest.mark.parametrize("job", ["job-1", "job-2"])
def test_after_a_kill_the_next_job_on_the_same_machine_goes_on_at_once(rig: Rig, gate: Gate, job: str) -> None:
    waiting(rig, gate)
    with rig.running() as process:
        await_line(process, "ready")
        process.kill()
        process.wait()
        assert signs(rig) == [SIGN]
        second = another(rig, "next")
        second.job["metadata"]["id"] = job
        second.code(COPY_TREE)
        began = time.monotonic()
        result = second.run()
    assert (result.code, time.monotonic() - began < EVERY) == (0, True), result.err
    assert signs(rig) == [], "the sign of the one that is gone is taken away"
    assert (rig.stored(), verified(rig)["job"]) == ({"a.csv": b"1,2\n"}, job)


def sign_of(host: str, beat: str) -> Marker:
    """The sign of a job on a node that cannot be asked."""
    return Marker(
        job="job-9",
        label="modelarts-job-job-9-worker-0",
        worker=0,
        workers=1,
        host=host,
        owner=None,
        token="9" * 32,
        started=beat,
        beat=beat,
        every=EVERY,
    )


def left_by_another_node(rig: Rig, ago: float) -> None:
    """A sign that was last renewed so many seconds ago."""
    marker = sign_of("node-9", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago)))
    rig.store.seed(rig.bucket, {f"{SIGNS}{marker.label}.json": dump_marker(marker)})


def test_a_job_of_another_node_is_believed_as_long_as_it_may_be_running(rig: Rig) -> None:
    rig.code(COPY_TREE)
    left_by_another_node(rig, 60)
    result = rig.run()
    assert (result.code, nothing_was_done(rig, result)) == (65, True), result.err
    assert "job 'job-9' (worker-0 on 'node-9')" in result.run_json["cause"]["message"]
    assert "it counts as running until " in result.run_json["cause"]["message"]


def test_a_job_of_another_node_that_was_not_heard_of_for_long_is_taken_over_with_a_word(rig: Rig) -> None:
    rig.code(COPY_TREE)
    left_by_another_node(rig, 3600)
    result = rig.run()
    assert (result.code, signs(rig)) == (0, []), result.err
    assert [each for each in rig.events() if "job 'job-9'" in each and "its place is taken over" in each]


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff", b"{" * 9000, b'{"version": 1}'], ids=["empty", "binary", "deep", "bare"]
)
def test_what_is_no_sign_is_in_nobodys_way_and_stays(local_rig: Rig, content: bytes) -> None:
    local_rig.code(COPY_TREE)
    strange = f"{SIGNS}strange.json"
    local_rig.store.seed(local_rig.bucket, {strange: content})
    assert local_rig.run().code == 0
    assert local_rig.store.read(local_rig.bucket, strange) == content
