"""Whole jobs through faults: every end is right to the byte, or tells the one true error."""

from __future__ import annotations

import json
import random
import signal
from typing import TYPE_CHECKING, Any

import pytest
from fronts import BUT_THE_SIGN, Fault, s3_error
from rig import Rig
from servers import AnyStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fronts import Front
    from servers import S3Server

COPY = (
    "import os, shutil, sys\nsource, target = (each.partition('=')[2] for each in sys.argv[1:3])\n"
    "for name in sorted(os.listdir(source)): shutil.copy(os.path.join(source, name), os.path.join(target, name))\n"
    "print('copied', flush=True)\n"
)


@pytest.fixture
def fronted_rig(moto_server: S3Server, fronted: Callable[[S3Server], Front], tmp_path: Path) -> tuple[Rig, Front]:
    """A whole job whose every request passes the front; the objects are laid down behind its back."""
    front = fronted(moto_server)
    env = {**moto_server.env, "S3_ENDPOINT": front.endpoint}
    rig = Rig(AnyStore("moto", moto_server.capability, env=env, server=moto_server), tmp_path)
    rig.code(COPY)
    rig.store.seed(rig.bucket, {"data/b.bin": random.Random(1).randbytes(100_000)})
    return rig, front


def fault(kind: Any, **how: Any) -> Fault:
    return Fault(kind, **how)


@pytest.mark.parametrize(
    "passing",
    [
        s3_error(503, "SlowDown", times=3),
        fault("answer", status=500, times=2),
        fault("reset", times=2),
        fault("truncate", method="GET", target="b.bin", times=1),
        fault("reset", method="PUT", times=1),
        s3_error(503, "SlowDown", method="PUT", times=2),
    ],
    ids=lambda each: f"{each.kind}-{each.method or 'any'}-{each.status}",
)
def test_a_fault_that_passes_costs_nothing_but_time(fronted_rig: tuple[Rig, Front], passing: Fault) -> None:
    rig, front = fronted_rig
    front.lay(passing)
    result = rig.run()
    assert result.code == 0, result.err
    assert rig.stored() == rig.stored("data/")


@pytest.mark.parametrize(
    ("lasting", "code", "processes"),
    [
        (s3_error(503, "SlowDown"), 69, 0),
        (s3_error(403, "AccessDenied"), 77, 0),
        (fault("answer", status=200, body=b"<html>welcome</html>"), 69, 0),
        (fault("truncate", method="GET", target="b.bin"), 69, 0),
        (fault("spoil", method="GET", target="b.bin"), 69, 0),
        (s3_error(403, "AccessDenied", method="PUT"), 77, 0),
        (s3_error(403, "AccessDenied", method="PUT", target=BUT_THE_SIGN), 73, 1),
    ],
    ids=lambda each: f"{each.kind}-{each.method or 'any'}-{each.status}" if isinstance(each, Fault) else None,
)
def test_a_fault_that_stays_is_the_one_error_that_is_told(
    fronted_rig: tuple[Rig, Front], lasting: Fault, code: int, processes: int
) -> None:
    rig, front = fronted_rig
    front.lay(lasting)
    result = rig.run()
    assert result.code == code, result.err
    assert len(result.run_json["processes"]) == processes
    assert result.run_json["cause"]["message"]
    assert "Traceback" not in result.err


def test_a_store_that_goes_away_while_the_boot_file_runs_is_73(fronted_rig: tuple[Rig, Front]) -> None:
    rig, front = fronted_rig
    waiting = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
    rig.code(waiting + COPY + "signal.sigwait([signal.SIGUSR1])\n")
    with rig.running(env={"LAUNCHER_STORE_PATIENCE": "5"}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "copied\n"
        front.lay(fault("reset"))
        process.send_signal(signal.SIGUSR1)  # goes through to the boot file, which then ends
        result = rig.finish(process)
    assert (result.code, result.run_json["phase"], result.cause) == (73, "Failed", "output-not-saved")
    (synced,) = [entry for entry in result.run_json["synced"] if entry["channel"] == "train_url"]
    assert {each["key"] for each in synced["failed"]} >= {"a.csv", "b.bin"}


def test_a_signal_during_a_transfer_that_hangs_ends_the_run_in_time(fronted_rig: tuple[Rig, Front]) -> None:
    rig, front = fronted_rig
    front.lay(fault("hang", method="GET", target="b.bin"))
    with rig.running("--grace", "3") as process:
        while not front.count("GET", "b.bin"):
            assert process.poll() is None
        process.terminate()
        result = rig.finish(process)
    assert (result.code, result.run_json["phase"]) == (143, "Terminated")


@pytest.mark.parametrize("seed", range(8))
def test_a_launcher_that_is_killed_leaves_the_truth_and_the_next_one_is_right(local_rig: Rig, seed: int) -> None:
    # The point of the kill is random, by the number of lines that the launcher has written; its seed is in the name.
    chance = random.Random(seed)
    local_rig.code(COPY)
    local_rig.store.seed(local_rig.bucket, {f"data/{index}": chance.randbytes(50_000) for index in range(40)})
    with local_rig.running() as process:
        assert process.stderr is not None
        for _ in range(chance.randrange(12)):
            process.stderr.readline()
        process.kill()
    killed = local_rig.run_json()
    assert killed is None or killed["phase"] in {"Abnormal", "Completed"}
    objects = local_rig.stored()
    truth = local_rig.stored("data/")
    assert all(truth[key] == content for key, content in objects.items()), "no object is half of one"
    assert local_rig.run().code == 0
    assert local_rig.stored() == truth
    assert not list(local_rig.folder.rglob("*.launcher-part-*"))
    manifest = json.loads(local_rig.store.read(local_rig.bucket, "out/.launcher/manifest-worker-0.json"))
    assert {entry["key"]: entry["size"] for entry in manifest["objects"]} == {key: len(x) for key, x in truth.items()}
