"""A job that is started again in its container: after which failures, with what still there, and how it is told."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from ends import compiled, until
from fronts import front, s3_error
from rig import LAUNCHER, Rig
from servers import LOCALFS, AnyStore

if TYPE_CHECKING:
    from pathlib import Path

    from rig import Result
    from servers import S3Server

ECC = "RuntimeError: CUDA error: uncorrectable ECC error encountered"
FAILS = """
import os, sys
folder = sys.argv[2].partition("=")[2]
attempt = len(os.listdir(folder))
open(f"{{folder}}/model-{{attempt}}", "w").write("attempt " + str(attempt))
text = f"attempt {{attempt}} {{os.listdir(sys.argv[1].partition('=')[2])}}"
os.write(1, text.encode() + bytes([10]))
if attempt < {times}:
    print({words!r}, file=sys.stderr)
    sys.exit(3)
"""
QUICK = {"LAUNCHER_RETRY_PAUSE": "0.05"}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    directory = tmp_path / "store"
    directory.mkdir()
    return Rig(AnyStore("localfs", LOCALFS, ("--store", str(directory)), directory=directory), tmp_path)


def annotated(rig: Rig, **annotations: str) -> Rig:
    named = {f"fault-tolerance/{name.replace('_', '-')}": text for name, text in annotations.items()}
    rig.job["metadata"]["annotations"] = named
    return rig


def attempts(result: Result) -> list[Any]:
    return [(each["exit_code"], (each["cause"] or {}).get("code")) for each in result.run_json["attempts"]]


def test_a_job_whose_hardware_fails_is_started_again_with_what_is_there(rig: Rig) -> None:
    rig.code(FAILS.format(times=2, words=ECC))
    result = annotated(rig, job_retry_num="2").run("--no-precheck", env=QUICK)
    assert result.code == 0, result.err
    assert attempts(result) == [(3, "gpu-ecc"), (3, "gpu-ecc"), (0, None)]
    assert result.out.splitlines() == [f"attempt {number} ['a.csv']" for number in range(3)]
    assert sorted(rig.stored()) == ["model-0", "model-1", "model-2"]
    told = subprocess.run(
        [*LAUNCHER, "explain", rig.log_dir / "run.json"], capture_output=True, check=True, timeout=60, text=True
    ).stdout
    assert [line.partition(":")[0] for line in told.splitlines() if "attempt" in line] == [
        "attempt 1 failed",
        "attempt 2 failed",
    ]
    assert len([each for each in rig.events() if "Training code downloaded" in each]) == 1
    assert [each["phase"] for each in result.run_json["timeline"]].count("run") == 3


def test_each_attempt_has_its_own_segment_of_the_log(rig: Rig) -> None:
    rig.code(FAILS.format(times=1, words=ECC))
    result = annotated(rig, job_retry_num="1").run("--no-precheck", env=QUICK)
    first, last = [each["log"] for each in result.run_json["attempts"]]
    logs = {name: (rig.log_dir / name).read_text() for name in (*first, *last)}
    assert len(logs) == 2
    assert "attempt 0" in logs[first[0]]
    assert "attempt 1" not in logs[first[0]]
    assert "attempt 1" in logs[last[0]]
    assert "Attempt 1 failed: The GPU reports" in logs[first[0]]
    assert set(logs) <= set(rig.stored("log/"))


def test_the_retries_come_to_an_end_and_the_last_failure_is_told(rig: Rig) -> None:
    rig.code(FAILS.format(times=9, words=ECC))
    result = annotated(rig, job_retry_num="2").run("--no-precheck", env=QUICK)
    assert (result.code, result.cause) == (3, "gpu-ecc")
    assert attempts(result) == [(3, "gpu-ecc")] * 3
    assert any("not started again: the job may be started again 2 times" in each for each in rig.events())


@pytest.mark.parametrize(("unconditional", "count"), [("false", 1), ("true", 3)])
def test_the_users_own_failure_is_tried_again_only_where_the_job_says_so(
    rig: Rig, unconditional: str, count: int
) -> None:
    rig.code(FAILS.format(times=9, words="ValueError: bad"))
    annotated(rig, job_retry_num="2", job_unconditional_retry=unconditional)
    result = rig.run("--no-precheck", env=QUICK)
    assert result.code == 3
    assert len(attempts(result)) == count


def test_a_store_that_is_away_at_the_start_is_tried_again(rig: Rig) -> None:
    rig.code(FAILS.format(times=0, words=""))
    annotated(rig, job_retry_num="1")
    rig.store = AnyStore(
        "away",
        LOCALFS,
        ("--store", "http://127.0.0.1:9"),
        env={
            "S3_ENDPOINT": "http://127.0.0.1:9",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "hidden-secret",
            "LAUNCHER_STORE_PATIENCE": "0.5",
        },
    )
    result = rig.run("--no-precheck", env=QUICK)
    assert (result.code, result.cause) == (69, "store-unreachable")
    assert attempts(result) == [(69, "store-unreachable")] * 2


def test_a_signal_in_the_pause_ends_the_run_and_outputs_are_in_their_place(rig: Rig) -> None:
    rig.code(FAILS.format(times=9, words=ECC))
    annotated(rig, job_retry_num="3")
    with rig.running("--no-precheck", env={"LAUNCHER_RETRY_PAUSE": "300"}) as process:
        until(
            lambda: (rig.log_dir / "events.jsonl").exists() and any("Attempt 2 begins" in each for each in rig.events())
        )
        process.send_signal(signal.SIGTERM)
        result = rig.finish(process)
    assert result.code == 143
    assert result.run_json["phase"] == "Terminated"
    assert "for attempt 2" in result.run_json["cause"]["message"]
    assert attempts(result) == [(3, "gpu-ecc"), (143, "interrupted")]
    assert sorted(rig.stored()) == ["model-0"]


def test_the_node_is_checked_again_before_each_attempt(rig: Rig) -> None:
    rig.code(FAILS.format(times=1, words=ECC))
    checks = {f"LAUNCHER_CHECK_{name}": "1" for name in ("ROOT", "SHM", "CACHE", "NOFILE", "NPROC")}
    result = annotated(rig, job_retry_num="1").run("--precheck", env={**QUICK, **checks})
    phases = [each["phase"] for each in result.run_json["timeline"]]
    if result.code == 71:
        pytest.skip(f"this node does not meet the least that a pre-check asks for: {result.run_json['cause']}")
    assert result.code == 0, result.err
    assert phases.count("check") == 2


STUCK = """
import os, sys
folder = sys.argv[2].partition("=")[2]
if not os.listdir(folder):
    open(f"{folder}/ckpt-40.pt", "w").write("x")
print("RuntimeError: CUDA error: uncorrectable ECC error encountered", file=sys.stderr)
sys.exit(1)
"""


def test_three_attempts_that_come_no_further_are_the_last(rig: Rig) -> None:
    # The first leaves a checkpoint, the three after it nothing new.
    rig.code(STUCK)
    result = annotated(rig, job_retry_num="3", hang_retry="true").run("--no-precheck", env=QUICK)
    assert (result.code, result.cause) == (122, "no-progress")
    assert len(attempts(result)) == 4
    rig.store.seed(rig.bucket, {"out/ckpt-40.pt": b"x"})
    rig.algorithm["outputs"][0]["prefetch_to_local"] = True
    result = rig.run("--no-precheck", env=QUICK)
    assert (result.code, result.cause) == (122, "no-progress")
    assert result.run_json["phase"] == "Failed"
    assert "ckpt-40.pt" in result.run_json["cause"]["message"]
    assert attempts(result) == [(1, "gpu-ecc"), (1, "gpu-ecc"), (122, "no-progress")]
    assert all(each["gain"] for each in result.run_json["attempts"])


def test_attempts_that_never_trained_are_not_judged_by_one_that_did(moto_server: S3Server, tmp_path: Path) -> None:
    """It trains once, from a checkpoint, and leaves nothing new; then the store is too busy for each pre-check."""
    flag = tmp_path / "trained"
    with front(moto_server.endpoint) as busy:
        server = moto_server.through(busy.endpoint)
        rig = Rig(AnyStore("moto", server.capability, env=server.env, server=server), tmp_path)
        rig.code(f"open({str(flag)!r}, 'a').write('x')\n" + STUCK)
        rig.store.seed(rig.bucket, {"out/ckpt-40.pt": b"x"})
        rig.algorithm["outputs"][0]["prefetch_to_local"] = True
        slow_down = s3_error(503, "SlowDown", method="PUT", target="precheck-worker-0", when=lambda _: flag.exists())
        busy.lay(slow_down)
        checks = {f"LAUNCHER_CHECK_{name}": "1" for name in ("ROOT", "SHM", "CACHE", "NOFILE", "NPROC")}
        env = {**QUICK, **checks, "LAUNCHER_STORE_PATIENCE": "1"}
        result = annotated(rig, job_retry_num="3").run("--precheck", env=env)
    if not flag.exists():
        pytest.skip(f"this node does not meet the least that a pre-check asks for: {result.run_json['cause']}")
    assert (result.code, result.cause) == (71, "store-busy"), result.err
    assert attempts(result) == [(1, "gpu-ecc"), *[(71, "store-busy")] * 3]
    assert [each["gain"] for each in result.run_json["attempts"]][1:] == ["the training had not begun"] * 3
    assert flag.read_text() == "x"


def test_a_device_that_is_gone_after_an_attempt_is_found_by_the_next_pre_check(rig: Rig, tmp_path: Path) -> None:
    folder, gone = tmp_path / "nvml", tmp_path / "gone"
    folder.mkdir()
    os.rename(compiled(folder, "nvml_stub", "-shared", "-fPIC"), folder / "libnvidia-ml.so.1")
    rig.code(f"open({str(gone)!r}, 'w').close()\n" + FAILS.format(times=1, words=ECC))
    stub = {"LD_LIBRARY_PATH": str(folder), "NVML_STUB_GPUS": "2", "NVML_STUB_GONE": str(gone), "LAUNCHER_HANG": "off"}
    checks = {f"LAUNCHER_CHECK_{name}": "1" for name in ("ROOT", "SHM", "CACHE", "NOFILE", "NPROC")}
    result = annotated(rig, job_retry_num="1").run("--precheck", env={**QUICK, **stub, **checks})
    if not gone.exists():
        pytest.skip(f"this node does not meet the least that a pre-check asks for: {result.run_json['cause']}")
    assert (result.code, result.cause) == (71, "precheck-failed")
    assert "gpu-check" in result.run_json["cause"]["message"]
    assert attempts(result) == [(3, "gpu-ecc"), (71, "precheck-failed")]


def test_devices_that_somebody_holds_are_waited_for_and_the_holder_is_named(rig: Rig, tmp_path: Path) -> None:
    folder = tmp_path / "nvml"
    folder.mkdir()
    os.rename(compiled(folder, "nvml_stub", "-shared", "-fPIC"), folder / "libnvidia-ml.so.1")
    rig.code(FAILS.format(times=1, words=ECC))
    with subprocess.Popen(["sleep", "600"]) as holder:
        stub = {"LD_LIBRARY_PATH": str(folder), "NVML_STUB_GPUS": "1", "NVML_STUB_PID": str(holder.pid)}
        try:
            env = {**QUICK, **stub, "LAUNCHER_DEVICE_WAIT": "0.3", "LAUNCHER_HANG": "off"}
            result = annotated(rig, job_retry_num="1").run("--no-precheck", env=env)
        finally:
            holder.kill()
    assert result.code == 0, result.err
    told = [each for each in rig.events() if f"process {holder.pid}" in each]
    assert ["Waiting until" in told[0], "still held" in told[1]] == [True, True], rig.events()
