"""Datasets from their manifest in a store to what a boot file opens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fronts import s3_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fronts import Front
    from rig import Result, Rig
    from servers import S3Server

READ = """
import json, os, sys
folder = sys.argv[1].partition("=")[2]
found = {}
for name in sorted(os.listdir(folder)):
    if name.endswith(".manifest"):
        with open(os.path.join(folder, name)) as lines:
            samples = [json.loads(line) for line in lines]
        found[name] = [open(each["source"]).read() if each["source"][0] == "/" else each["source"] for each in samples]
print(json.dumps(found))
"""
MANIFEST = "set/annotation/V1/V1.manifest"


def line(source: str, usage: str | None = None, **more: Any) -> str:
    said = {"source": source, **({"usage": usage} if usage else {}), **more}
    return json.dumps(said)


def lay(rig: Rig, *lines: str, manifest: str = MANIFEST, objects: Mapping[str, bytes]) -> None:
    beside = manifest.rpartition("/")[0]
    samples = {f"{beside}/{key}": content for key, content in objects.items()}
    rig.store.seed(rig.bucket, {manifest: "\n".join(lines).encode(), **samples})
    rig.code(READ)
    rig.algorithm["inputs"][0]["remote"]["obs"]["obs_url"] = f"obs://{rig.bucket}/{manifest}"


def whole(rig: Rig) -> None:
    lay(
        rig,
        line(f"s3://{rig.bucket}/set/annotation/V1/one", "TRAIN"),
        line(f"obs://{rig.bucket}/set/annotation/V1/two", "eval"),
        line("three", "Test"),
        line("content://words", "train"),
        objects={"one": b"1", "two": b"2", "three": b"3"},
    )


DELIVERED = {
    "V1.manifest": ["1", "2", "3", "content://words"],
    "train.manifest": ["1", "content://words"],
    "eval.manifest": ["2"],
    "test.manifest": ["3"],
}


def read(result: Result) -> Any:
    assert result.code == 0, result.err
    return json.loads(result.out)


def staged(result: Result) -> Any:
    (one,) = [each for each in result.run_json["staged"] if each["channel"] == "data_url"]
    return one


def parts(rig: Rig) -> list[str]:
    return [path.name for path in rig.root.rglob(".launcher-part-*")]


def test_a_dataset_comes_whole_and_by_usage_and_is_not_downloaded_again(rig: Rig) -> None:
    whole(rig)
    result = rig.run()
    assert read(result) == DELIVERED
    assert (staged(result)["objects"], staged(result)["bytes"]) == (3, 3)
    assert parts(rig) == []
    again = rig.run()
    if rig.store.kind == "localfs":  # its marks are no checksums: only what a start has looked at can be kept
        again = rig.run()
    assert read(again) == DELIVERED
    assert (staged(again)["objects"], staged(again)["kept"]) == (0, 3)
    assert "WARNING" not in again.err


def test_a_folder_with_a_manifest_is_a_dataset_where_the_job_says_so(local_rig: Rig) -> None:
    whole(local_rig)
    local_rig.algorithm["inputs"][0]["remote"] = {"dataset": {"id": "d", "version_id": "v"}}
    result = local_rig.run("--dataset", f"d/v=obs://{local_rig.bucket}/set/annotation/V1/")
    assert read(result) == DELIVERED


def test_a_dataset_whose_folder_has_no_manifest_is_a_plain_folder(local_rig: Rig) -> None:
    local_rig.store.seed(local_rig.bucket, {"set/x": b"1"})
    local_rig.code("import os, sys; print(os.listdir(sys.argv[1].partition('=')[2]))")
    local_rig.algorithm["inputs"][0]["remote"] = {"dataset": {"id": "d", "version_id": "v"}}
    result = local_rig.run("--dataset", f"d/v=obs://{local_rig.bucket}/set/")
    assert (result.code, result.out) == (0, "['x']\n")
    assert "holds no manifest" in result.err


def test_a_dataset_without_a_place_is_told_with_the_option(local_rig: Rig) -> None:
    local_rig.code(READ)
    local_rig.algorithm["inputs"][0]["remote"] = {"dataset": {"id": "d", "version_id": "v"}}
    result = local_rig.run()
    assert result.code == 65
    assert "--dataset d/v=obs://" in result.err


def test_a_sample_that_is_missing_is_refused_with_its_line_and_nothing_half_stays(rig: Rig) -> None:
    lay(rig, line("one"), line("gone"), objects={"one": b"1"})
    result = rig.run()
    assert (result.code, result.out) == (66, "")
    assert "line 2" in result.err
    assert f"obs://{rig.bucket}/set/annotation/V1/gone" in result.err
    assert len(result.errors) == 1
    assert parts(rig) == []


@pytest.mark.parametrize("by", ["setting", "annotation"])
def test_a_share_that_may_be_missing_is_left_out_and_told(local_rig: Rig, by: str) -> None:
    lay(local_rig, line("one", "TRAIN"), line("gone", "TRAIN"), objects={"one": b"1"})
    env = {"LAUNCHER_DATASET_MISSING": "0.5" if by == "setting" else "0"}
    if by == "annotation":
        local_rig.job["metadata"]["annotations"] = {"launcher/dataset-missing": "0.5"}
    result = local_rig.run(env=env)
    assert read(result) == {"V1.manifest": ["1"], "train.manifest": ["1"]}
    assert "1 samples lack an object and are left out" in result.err


@pytest.mark.parametrize("by", [None, "setting", "annotation"])
def test_another_bucket_is_asked_only_where_it_is_named(local_rig: Rig, by: str | None) -> None:
    other = local_rig.store.bucket()
    local_rig.store.seed(other, {"x/one": b"there"})
    lay(local_rig, line(f"s3://{other}/x/one"), objects={})
    env = {"LAUNCHER_DATASET_BUCKETS": f"one, {other}"} if by == "setting" else {}
    if by == "annotation":
        local_rig.job["metadata"]["annotations"] = {"launcher/dataset-buckets": other}
    result = local_rig.run(env=env)
    if by is None:
        assert result.code != 0
        assert other in result.err
        assert "line 1" in result.err
    else:
        assert read(result) == {"V1.manifest": ["there"]}


@pytest.mark.parametrize(
    ("constraint", "said"),
    [
        ({"data_type": "obs"}, "data storage path only"),
        ({"data_type": "dataset", "attributes": [{"data_format": "CarbonData"}]}, "line 1"),
        ({"data_type": "dataset", "attributes": [{"data_segmentation": "segmented"}]}, "segmented"),
    ],
)
def test_a_dataset_that_breaks_a_constraint_is_refused(local_rig: Rig, constraint: dict[str, Any], said: str) -> None:
    lay(local_rig, line("one"), objects={"one": b"1"})
    local_rig.algorithm["inputs"][0]["remote_constraints"] = [constraint]
    result = local_rig.run()
    assert (result.code, result.out) == (65, "")
    assert said in result.err
    assert parts(local_rig) == []


def test_a_manifest_that_is_none_is_told_with_channel_and_line(local_rig: Rig) -> None:
    lay(local_rig, line("one"), '{"source": ', objects={"one": b"1"})
    result = local_rig.run()
    assert result.code == 65
    assert "data_url" in result.err
    assert "line 2" in result.err
    assert parts(local_rig) == []


def test_a_start_that_was_cut_off_goes_on_with_what_is_there(
    moto_rig: Rig, moto_server: S3Server, fronted: Callable[[S3Server], Front]
) -> None:
    front = fronted(moto_server)
    env = {**moto_rig.env(), "S3_ENDPOINT": front.endpoint, "LAUNCHER_TRANSFERS": "1"}
    lay(moto_rig, *(line(f"{n}") for n in range(20)), objects={str(n): b"x" for n in range(20)})
    front.lay(s3_error(403, "AccessDenied", method="GET", target="/V1/10$"))
    assert moto_rig.run(env=env).code == 77
    assert parts(moto_rig) == []
    front.clear()
    front.forget()
    result = moto_rig.run(env=env)
    assert read(result) == {"V1.manifest": ["x"] * 20}
    assert front.count("GET", r"/V1/\d+$") == 10
    assert staged(result)["kept"] == 10
