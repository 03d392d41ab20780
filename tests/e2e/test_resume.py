"""Going on from saved checkpoints through the real launcher: predownload, `--resume-from`, and what is said of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fronts import s3_error
from rig import LAUNCHER, tree

from launcher.core.manifest import Entry, Manifest, dump_manifest
from launcher.core.occupancy import Marker, dump_marker

if TYPE_CHECKING:
    from collections.abc import Callable

    from fronts import Front
    from rig import Result, Rig
    from servers import S3Server

GOES_ON = """
import os, sys
folder = sys.argv[2].partition("=")[2]
found = sorted(os.path.join(top, name)[len(folder) + 1:] for top, _, names in os.walk(folder) for name in names)
print("found", *found)
open(os.path.join(folder, "ckpt-60.pt"), "w").write("sixty")
"""
"""Tells what its output holds at the start, and writes one checkpoint more."""
OLD = {"old/ckpt-9.pt": b"nine", "old/ckpt-40.pt": b"forty", "old/sub/notes.txt": b"n"}


def found(result: Result) -> list[str]:
    assert result.code == 0, result.err
    (line,) = [line for line in result.out.splitlines() if line.startswith("found")]
    return line.split()[1:]


def staged(result: Result) -> Any:
    (one,) = [each for each in result.run_json["staged"] if each["kind"] == "output"]
    return one


def manifest(*, objects: dict[str, bytes], worker: int = 0, workers: int = 1) -> bytes:
    entries = tuple(
        Entry(key=key, size=len(content), sha256="0" * 64, time="2024-01-01T00:00:00Z")
        for key, content in objects.items()
    )
    return dump_manifest(Manifest(job="job-0", worker=worker, workers=workers, objects=entries))


def marker() -> bytes:
    moment = "2024-01-01T00:00:00Z"
    return dump_marker(
        Marker(
            job="gone",
            label="modelarts-job-gone-worker-0",
            worker=0,
            workers=1,
            host="far",
            owner=None,
            token="0" * 32,
            started=moment,
            beat=moment,
            every=30,
        )
    )


def predownload(rig: Rig, objects: dict[str, bytes]) -> Result:
    rig.code(GOES_ON)
    rig.store.seed(rig.bucket, {f"out/{key}": content for key, content in objects.items()})
    rig.algorithm["outputs"][0]["prefetch_to_local"] = True
    return rig.run()


def warnings(result: Result) -> list[str]:
    """What the launcher says of checkpoints, beside that a boot file does not load any."""
    return [line for line in result.err.splitlines() if any(word in line for word in ("ckpt-", "heckpoint-", "whole"))]


def test_an_empty_output_is_filled_from_elsewhere_and_nothing_of_it_is_sent(rig: Rig) -> None:
    rig.code(GOES_ON)
    rig.store.seed(rig.bucket, OLD)
    result = rig.run("--resume-from", f"obs://{rig.bucket}/old/")
    assert found(result) == ["ckpt-40.pt", "ckpt-9.pt", "sub/notes.txt"]
    assert rig.stored() == {"ckpt-60.pt": b"sixty"}
    told = staged(result)
    assert (told["channel"], told["source"], told["objects"]) == ("train_url", f"obs://{rig.bucket}/old/", 3)


def test_what_the_training_changes_of_it_is_sent(rig: Rig) -> None:
    rig.code(GOES_ON.replace("ckpt-60.pt", "ckpt-40.pt"))
    rig.store.seed(rig.bucket, OLD)
    assert rig.run("--resume-from", f"s3://{rig.bucket}/old").code == 0
    assert rig.stored() == {"ckpt-40.pt": b"sixty"}


def test_one_object_is_enough(rig: Rig) -> None:
    rig.code(GOES_ON)
    rig.store.seed(rig.bucket, OLD)
    assert found(rig.run("--resume-from", f"/{rig.bucket}/old/ckpt-40.pt")) == ["ckpt-40.pt"]


def test_a_second_start_brings_nothing_again(rig: Rig) -> None:
    rig.code(GOES_ON.replace("open(", "0 and open("))
    rig.store.seed(rig.bucket, OLD)
    again = (rig.run("--resume-from", f"obs://{rig.bucket}/old/"), rig.run("--resume-from", f"obs://{rig.bucket}/old/"))
    assert [(staged(one)["objects"], staged(one)["kept"]) for one in again] == [(3, 0), (0, 3)]
    assert rig.stored() == {}


def test_the_outputs_own_objects_win_and_no_checkpoint_is_mixed(rig: Rig) -> None:
    rig.store.seed(
        rig.bucket,
        {
            "old/checkpoint-5/model.pt": b"old",
            "old/checkpoint-5/optimizer.pt": b"old",
            "old/checkpoint-4/model.pt": b"old",
            "old/notes.txt": b"old",
            "old/more.txt": b"old",
        },
    )
    rig.algorithm["outputs"][0]["prefetch_to_local"] = True
    rig.code(GOES_ON)
    rig.store.seed(rig.bucket, {"out/checkpoint-5/model.pt": b"own", "out/notes.txt": b"own"})
    result = rig.run("--resume-from", f"obs://{rig.bucket}/old/")
    assert found(result) == ["checkpoint-4/model.pt", "checkpoint-5/model.pt", "more.txt", "notes.txt"]
    assert tree(Path(rig.output))["checkpoint-5/model.pt"] == b"own"
    assert rig.stored() == {"checkpoint-5/model.pt": b"own", "ckpt-60.pt": b"sixty", "notes.txt": b"own"}


def test_the_outputs_own_place_is_its_predownload(rig: Rig) -> None:
    rig.code(GOES_ON)
    rig.store.seed(rig.bucket, {"out/ckpt-40.pt": b"forty"})
    result = rig.run("--resume-from", f"obs://{rig.bucket}/out")
    assert found(result) == ["ckpt-40.pt"]
    assert staged(result)["source"] == f"obs://{rig.bucket}/out/"


@pytest.mark.parametrize("place", ["nothing/", "nothing", "old/ckpt-4"])
def test_a_place_that_holds_nothing_is_66_with_what_was_looked_for(rig: Rig, place: str) -> None:
    rig.code(GOES_ON)
    rig.store.seed(rig.bucket, OLD)
    result = rig.run("--resume-from", f"obs://{rig.bucket}/{place}")
    assert (result.code, result.cause) == (66, "nothing-there")
    assert f"obs://{rig.bucket}/{place}" in result.err
    assert "--resume-from" in result.err


def test_a_folder_with_nothing_but_the_launchers_own_is_66(local_rig: Rig) -> None:
    local_rig.code(GOES_ON)
    local_rig.store.seed(local_rig.bucket, {"old/.launcher/manifest-worker-0.json": manifest(objects={})})
    assert local_rig.run("--resume-from", f"obs://{local_rig.bucket}/old/").code == 66


@pytest.mark.parametrize("url", ["", "relative/folder", "http://host/x", "obs://", "obs://bucket/../x"])
def test_what_is_no_url_is_refused_before_anything_begins(local_rig: Rig, url: str) -> None:
    local_rig.code(GOES_ON)
    result = local_rig.run("--resume-from", url)
    assert result.code == 2
    assert "--resume-from" in result.err


def test_a_job_without_an_output_has_no_folder_to_fill(local_rig: Rig) -> None:
    local_rig.code("")
    local_rig.algorithm["outputs"] = []
    result = local_rig.run("--resume-from", f"obs://{local_rig.bucket}/old/")
    assert result.code == 2
    assert "no output" in result.err


def test_a_place_above_the_output_is_refused(local_rig: Rig) -> None:
    local_rig.code(GOES_ON)
    result = local_rig.run("--resume-from", f"obs://{local_rig.bucket}/")
    assert result.code == 2
    assert "into itself" in result.err


def test_a_preview_shows_it_and_brings_nothing(local_rig: Rig) -> None:
    local_rig.code(GOES_ON)
    local_rig.store.seed(local_rig.bucket, OLD)
    url = f"obs://{local_rig.bucket}/old/"
    shown = local_rig.run("--resume-from", url, command="preview")
    assert shown.code == 0
    assert f"resumes  from {url}" in shown.out
    plan = json.loads(local_rig.run("--resume-from", url, "--json", command="preview").out)
    assert plan["resilience"]["resume"] == url
    assert not local_rig.root.exists()


def test_every_node_of_a_rehearsal_brings_it(local_rig: Rig) -> None:
    local_rig.code(GOES_ON)
    local_rig.store.seed(local_rig.bucket, OLD)
    local_rig.job["spec"]["resource"] = {"node_count": 2}
    result = local_rig.run("--rehearse", "--resume-from", f"obs://{local_rig.bucket}/old/", timeout=200)
    assert result.code == 0, result.err
    told = [line for line in result.out.splitlines() if "found" in line]
    assert len(told) == 2
    assert all("ckpt-40.pt ckpt-9.pt sub/notes.txt" in line for line in told)


def test_a_checkpoint_that_its_manifest_names_is_brought_without_a_word(rig: Rig) -> None:
    objects = {"ckpt-9.pt": b"nine", "ckpt-40.pt": b"forty"}
    result = predownload(rig, {**objects, ".launcher/manifest-worker-0.json": manifest(objects=objects)})
    assert found(result) == ["ckpt-40.pt", "ckpt-9.pt"]
    assert not warnings(result)


def test_a_newer_checkpoint_than_the_manifest_names_is_brought_with_a_warning(rig: Rig) -> None:
    objects = {"ckpt-9.pt": b"nine", "ckpt-10.pt": b"ten"}
    own = {".launcher/manifest-worker-0.json": manifest(objects=objects)}
    result = predownload(rig, {**objects, **own, "ckpt-11.pt": b"half"})
    assert found(result) == ["ckpt-10.pt", "ckpt-11.pt", "ckpt-9.pt"]
    (warning,) = warnings(result)
    assert "outputs[0]" in warning
    assert "ckpt-11.pt may be half-written: no manifest of a whole upload names it" in warning
    assert "ckpt-10.pt is the newest that is whole" in warning


def test_a_checkpoint_of_another_size_than_its_manifest_says_is_told(local_rig: Rig) -> None:
    own = {".launcher/manifest-worker-0.json": manifest(objects={"ckpt-9.pt": b"nine", "ckpt-40.pt": b"forty more"})}
    result = predownload(local_rig, {**own, "ckpt-9.pt": b"nine", "ckpt-40.pt": b"forty"})
    (warning,) = warnings(result)
    assert "ckpt-40.pt may be half-written: it has 5 bytes, and 10 in the manifest" in warning
    assert "ckpt-9.pt is the newest that is whole" in warning


def test_what_a_run_that_was_cut_off_has_left_is_told(rig: Rig) -> None:
    rig.code(GOES_ON)
    rig.store.seed(rig.bucket, {**OLD, "old/.launcher/running-modelarts-job-gone-worker-0.json": marker()})
    result = rig.run("--resume-from", f"obs://{rig.bucket}/old/")
    assert found(result) == ["ckpt-40.pt", "ckpt-9.pt", "sub/notes.txt"]
    (warning,) = [line for line in warnings(result) if "half-written" in line]
    assert "job 'gone' (worker-0 on 'far'), last sign of it 2024-01-01T00:00:00Z: it has not ended well" in warning
    assert "ckpt-9.pt is the newest that seems whole" in warning


def test_a_folder_that_lacks_files_of_its_siblings_is_half_written(rig: Rig) -> None:
    objects = {f"checkpoint-{step}/{name}": b"1" for step in (90, 95) for name in ("model.pt", "optimizer.pt", "rng")}
    result = predownload(rig, {**objects, "checkpoint-100/model.pt": b"1"})
    (warning,) = warnings(result)
    assert "checkpoint-100/ lacks optimizer.pt and 1 more files, which checkpoint-95/ has" in warning
    assert "checkpoint-95/ is the newest that seems whole" in warning


def test_without_any_manifest_there_is_a_note_and_no_warning(rig: Rig) -> None:
    result = predownload(rig, {"ckpt-9.pt": b"nine", "ckpt-40.pt": b"forty"})
    (note,) = warnings(result)
    assert "no manifest tells whether ckpt-40.pt, the newest checkpoint, is whole" in note
    assert not [line for line in (rig.log_dir / "events.jsonl").read_text().splitlines() if "ckpt-40" in line]


def test_an_output_without_checkpoints_says_nothing_of_them(local_rig: Rig) -> None:
    assert not warnings(predownload(local_rig, {"notes.txt": b"", "image-10.png": b""}))


@pytest.mark.parametrize(
    ("name", "content", "missing"),
    [
        ("latest", b"global_step40\n", False),
        ("latest", b"global_step50", True),
        ("latest_checkpointed_iteration.txt", b"40", False),
        ("latest_checkpointed_iteration.txt", b"50\n", True),
        ("checkpoint", b'model_checkpoint_path: "model.ckpt-50"\nall_model_checkpoint_paths: "x"\n', True),
        ("checkpoint", b"anything", False),
        ("latest", b"\x00\xff two words", False),
        ("latest", b"notes.txt", False),
        ("latest", b"../../etc/passwd", False),
    ],
)
def test_a_file_that_names_a_checkpoint_which_is_not_there_is_told(
    local_rig: Rig, name: str, content: bytes, *, missing: bool
) -> None:
    result = predownload(local_rig, {name: content, "global_step40/model.pt": b"1", "notes.txt": b"n"})
    assert result.code == 0, result.err
    assert ("which is not there" in result.err) == missing


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff" * 100, b'{"version":1,"job":"x"}', b"[" * 5000, b'{"x":' + b"[" * 100_000]
)
def test_a_manifest_that_is_none_stops_nothing(local_rig: Rig, content: bytes) -> None:
    objects = {".launcher/manifest-worker-0.json": content, "ckpt-9.pt": b"nine", "ckpt-40.pt": b"forty"}
    result = predownload(local_rig, objects)
    assert found(result) == ["ckpt-40.pt", "ckpt-9.pt"]
    (warning,) = [line for line in warnings(result) if "half-written" in line]
    assert ".launcher/manifest-worker-0.json is" in warning


def test_doubts_about_what_is_resumed_from_are_told_with_its_url(local_rig: Rig) -> None:
    local_rig.code(GOES_ON)
    own = {"old/.launcher/manifest-worker-0.json": manifest(objects={"ckpt-9.pt": b"nine"})}
    local_rig.store.seed(local_rig.bucket, {**OLD, **own})
    result = local_rig.run("--resume-from", f"obs://{local_rig.bucket}/old/")
    (warning,) = [line for line in warnings(result) if "half-written" in line]
    assert f"obs://{local_rig.bucket}/old/: ckpt-40.pt may be half-written" in warning
    (event,) = [
        json.loads(line)
        for line in (local_rig.log_dir / "events.jsonl").read_text().splitlines()
        if "half-written" in line
    ]
    assert event["level"] == "Warning"


def test_a_pod_is_told_to_go_on_from_there(local_rig: Rig) -> None:
    local_rig.code(GOES_ON)
    local_rig.job["metadata"]["name"] = "rig"
    (local_rig.folder / "job.json").write_text(json.dumps(local_rig.job))
    argv = (*LAUNCHER, "kube", str(local_rig.folder / "job.json"), "--image", "registry/train:1", "--json")
    wanted = ("--store", "https://obs.example.com", "--resume-from", f"/{local_rig.bucket}/old/$(X)/")
    done = subprocess.run(
        (*argv, *wanted), env=local_rig.env(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)["items"][-1]
    (pod,) = made["spec"]["template"]["spec"]["containers"]
    assert f"--resume-from=obs://{local_rig.bucket}/old/$$(X)/" in pod["args"]


def test_a_search_does_not_go_on_from_a_checkpoint(local_rig: Rig) -> None:
    local_rig.code(GOES_ON)
    local_rig.algorithm["parameters"] = [{"name": "lr", "value": "0.1", "type": "Float"}]
    local_rig.algorithm["policies"] = {
        "auto_search": {
            "reward_attrs": [{"name": "acc", "mode": "max", "regex": "acc=([0-9.]+)"}],
            "search_params": [
                {"name": "lr", "param_type": "continuous", "lower_bound": "0.01", "upper_bound": "1"},
            ],
            "algo_configs": [
                {"name": "tpe_search", "params": [{"key": "num_samples", "value": "2", "type": "Integer"}]}
            ],
        }
    }
    result = local_rig.run("--resume-from", f"obs://{local_rig.bucket}/old/")
    assert result.code == 2
    assert "each trial of a search begins anew" in result.err


def test_of_a_thousand_manifests_no_more_are_read_than_are_needed(
    moto_rig: Rig, moto_server: S3Server, fronted: Callable[[S3Server], Front]
) -> None:
    front = fronted(moto_server)
    objects = {"ckpt-9.pt": b"nine", "ckpt-40.pt": b"forty"}
    own = {
        f".launcher/manifest-worker-{worker}.json": manifest(
            objects=objects if not worker else {}, worker=worker, workers=9
        )
        for worker in range(9)
    }
    moto_rig.code(GOES_ON)
    moto_rig.store.seed(moto_rig.bucket, {f"out/{key}": content for key, content in {**objects, **own}.items()})
    moto_rig.algorithm["outputs"][0]["prefetch_to_local"] = True
    result = moto_rig.run(env={"S3_ENDPOINT": front.endpoint})
    assert found(result) == ["ckpt-40.pt", "ckpt-9.pt"]
    assert not warnings(result)
    assert front.count("GET", r"/out/\.launcher/manifest-worker-[0-9]") == 1


def test_manifests_that_may_not_be_read_stop_nothing(
    moto_rig: Rig, moto_server: S3Server, fronted: Callable[[S3Server], Front]
) -> None:
    front = fronted(moto_server)
    front.lay(s3_error(403, "AccessDenied", method="GET", target="/manifest-worker-0"))
    objects = {"ckpt-9.pt": b"nine", "ckpt-40.pt": b"forty"}
    own = {"out/.launcher/manifest-worker-0.json": manifest(objects=objects)}
    moto_rig.code(GOES_ON)
    moto_rig.store.seed(moto_rig.bucket, {**own, **{f"out/{key}": content for key, content in objects.items()}})
    moto_rig.algorithm["outputs"][0]["prefetch_to_local"] = True
    result = moto_rig.run(env={"S3_ENDPOINT": front.endpoint})
    assert found(result) == ["ckpt-40.pt", "ckpt-9.pt"]
    assert "whether the newest checkpoint is whole is not known" in result.err


@pytest.mark.parametrize("job", ["job-1", "job-2"])
def test_a_run_that_was_killed_is_told_to_the_next_that_goes_on(rig: Rig, job: str) -> None:
    rig.code("import os\nos.kill(os.getppid(), 9)\n")
    rig.algorithm["outputs"][0].update(prefetch_to_local=True, period=1)
    assert rig.run().code == -9
    rig.store.seed(rig.bucket, {"out/ckpt-9.pt": b"nine"})
    rig.code(GOES_ON)
    rig.job["metadata"]["id"] = job
    result = rig.run(env={"LAUNCHER_OUTPUT_IN_USE": "warn"})
    assert found(result) == ["ckpt-9.pt"]
    (warning,) = [line for line in warnings(result) if "half-written" in line]
    assert "job 'job-1' (worker-0" in warning
    assert "it has not ended well there" in warning
    again = rig.run()
    assert found(again) == ["ckpt-60.pt", "ckpt-9.pt"]
    assert not [line for line in warnings(again) if "half-written" in line]


def test_what_a_later_upload_finds_brought_from_elsewhere_stays_there(rig: Rig) -> None:
    rig.code(GOES_ON + "os.kill(os.getppid(), 9)\n")
    rig.store.seed(rig.bucket, OLD)
    assert rig.run("--resume-from", f"obs://{rig.bucket}/old/").code == -9
    argv = (*LAUNCHER, "sync", str(rig.log_dir / "run.json"), *rig.store.launcher_args)
    done = subprocess.run(argv, env=rig.env(), capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert rig.stored() == {"ckpt-60.pt": b"sixty"}
