"""One dataset from its manifest to the files that a boot file opens."""

from __future__ import annotations

import json
import os
import tracemalloc
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from launcher.core.dataset import Rules
from launcher.core.errors import Cancelled, StageError
from launcher.core.urls import Location
from launcher.stage.dataset import ASKED, Dataset, Limits, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AT = Location("own", "out/V1/V1.manifest")


def line(source: str, usage: str | None = "TRAIN", **fields: Any) -> bytes:
    return json.dumps({"source": source, "usage": usage, **fields}).encode() + b"\n"


def outlined(source: str, *outlines: str, usage: str = "TRAIN") -> bytes:
    annotation = [{"type": "modelarts/object_detection", "annotation-loc": outline} for outline in outlines]
    return line(source, usage, annotation=annotation)


def dataset(
    root: Path,
    *lines: bytes,
    at: Location = AT,
    stopped: Callable[[], bool] = lambda: False,
    limits: Limits | None = None,
    **rules: Any,
) -> Dataset:
    (root / "channel").mkdir(exist_ok=True)
    (root / "manifest").write_bytes(b"".join(lines))
    return Dataset(
        channel="data_url",
        at=at,
        root=str(root),
        source=str(root / "manifest"),
        folder=str(root / "channel"),
        rules=Rules(**rules),
        stopped=stopped,
        limits=limits,
    )


def keys(found: Dataset) -> list[str]:
    return [wanted.key for wanted in found.objects()]


def delivered(root: Path, name: str) -> list[Any]:
    return [json.loads(each) for each in (root / "channel" / name).read_bytes().splitlines()]


def names(root: Path) -> set[str]:
    return {entry.name for entry in (root / "channel").iterdir()}


def test_each_object_is_told_once_in_the_order_of_the_samples(tmp_path: Path) -> None:
    found = dataset(
        tmp_path,
        outlined("b.jpg", "s3://own/x.xml", "./y.xml"),
        b"\r\n",
        outlined("obs://own/out/V1/b.jpg", "s3://own/x.xml"),
        line("content://words"),
        line("s3://other/a.jpg"),
        buckets=("other",),
    )
    assert list(found.objects()) == [
        Wanted("data/own/out/V1/b.jpg", "own", "out/V1/b.jpg"),
        Wanted("data/own/x.xml", "own", "x.xml"),
        Wanted("data/own/out/V1/y.xml", "own", "out/V1/y.xml"),
        Wanted("data/other/a.jpg", "other", "a.jpg"),
    ]


def test_a_dataset_is_delivered_whole_and_by_usage(tmp_path: Path) -> None:
    found = dataset(
        tmp_path, line("1", "train"), line("2", "EVAL"), line("3", None), line("4", "Test"), line("5", "INFERENCE"),
        line("6", "TRAIN").rstrip(b"\n"),
    )  # fmt: skip
    (tmp_path / "channel" / ".launcher-part-whole").write_text("of a start that was killed")
    assert len(keys(found)) == 6
    summary = found.write()
    assert (summary.samples, summary.missing) == (6, 0)
    assert summary.usages == {"TRAIN": 2, "EVAL": 1, "none": 1, "TEST": 1, "INFERENCE": 1}
    assert set(summary.manifests) == names(tmp_path) == {
        *("V1.manifest", "train.manifest", "eval.manifest", "test.manifest")
    }  # fmt: skip
    folder = f"{tmp_path}/channel/data/own/out/V1"
    assert [each["source"] for each in delivered(tmp_path, "V1.manifest")] == [f"{folder}/{n}" for n in range(1, 7)]
    assert delivered(tmp_path, "train.manifest") == [
        {"source": f"{folder}/1", "usage": "train"},
        {"source": f"{folder}/6", "usage": "TRAIN"},
    ]
    assert [each["source"] for each in delivered(tmp_path, "eval.manifest")] == [f"{folder}/2"]
    assert [each["source"] for each in delivered(tmp_path, "test.manifest")] == [f"{folder}/4"]


def test_a_manifest_of_an_earlier_start_does_not_stay(tmp_path: Path) -> None:
    dataset(tmp_path, line("1", "TRAIN"), line("2", "EVAL")).write()
    dataset(tmp_path, line("1", "TRAIN")).write()
    assert names(tmp_path) == {"V1.manifest", "train.manifest"}


def test_a_whole_manifest_that_is_named_as_a_part_keeps_its_name(tmp_path: Path) -> None:
    summary = dataset(tmp_path, line("1", "TRAIN"), line("2", None), at=Location("own", "train.manifest")).write()
    assert summary.manifests == ("train.manifest",)
    assert len(delivered(tmp_path, "train.manifest")) == 2


def test_wrong_lines_are_told_together(tmp_path: Path) -> None:
    found = dataset(tmp_path, line("1"), line("../2"), line("3"), b"{\n" * 9)
    with pytest.raises(StageError) as raised:
        keys(found)
    assert str(raised.value).startswith(
        "input data_url: obs://own/out/V1/V1.manifest: line 2: source: the segment '..' cannot be part of a path; "
        "line 4: expected a whole JSON object"
    )
    assert str(raised.value).endswith("; and 2 more lines")
    assert (raised.value.code, raised.value.exit_code) == ("dataset-invalid", 65)


def test_objects_before_a_wrong_line_come_and_none_after_it(tmp_path: Path) -> None:
    objects = dataset(tmp_path, line("1"), line("../2"), line("3")).objects()
    assert next(objects).key == "out/V1/1"
    with pytest.raises(StageError, match="line 2"):
        next(objects)


@pytest.mark.parametrize(
    ("lines", "rules", "said"),
    [
        ([line("s3://other/a")], {}, "line 1: source: lies in the bucket 'other', the manifest in 'own'"),
        ([line("a"), line("b")], {"formats": ("CarbonData",)}, "line 1: source-type: expected the data_format"),
        ([line("a"), outlined("b", "c")], {"kinds": ("text_entity",)}, "line 2: annotation: expected the dataset_type"),
        ([line("a"), line("b", "")], {"segmentation": "segmented"}, "line 2: usage: expected one"),
        ([line("a")], {"segmentation": "segmented"}, "no sample has the usage EVAL or TEST"),
        ([line("a", "EVAL")], {"segmentation": "not segmented"}, "line 1: usage: expected none but TRAIN"),
        ([], {}, "no sample in it"),
        ([b"\n \n"], {}, "no sample in it"),
        ([line("a"), b"x" * 10_000_000 + b"\n", line("../c")], {}, "line 2: longer than 4.0 MB; line 3: source: "),
        ([line("a"), b" " * 10_000_000 + line("b")], {}, "line 2: longer than 4.0 MB"),
    ],
)  # fmt: skip
def test_a_dataset_that_is_not_what_was_asked_for_is_refused(
    tmp_path: Path, lines: list[bytes], rules: dict[str, Any], said: str
) -> None:
    with pytest.raises(StageError) as raised:
        keys(dataset(tmp_path, *lines, **rules))
    assert str(raised.value).startswith("input data_url: obs://own/out/V1/V1.manifest: ")
    assert said in str(raised.value)
    assert raised.value.exit_code == 65


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(samples=2), "line 4: more than 2 samples"),
        (Limits(size=50), "a manifest of 103 bytes, 50 bytes is the most"),
        (Limits(line=10), "line 1: longer than 10 bytes; line 3: longer than 10 bytes"),
    ],
)
def test_the_limits_of_a_manifest_hold(tmp_path: Path, limits: Limits, said: str) -> None:
    with pytest.raises(StageError) as raised:
        keys(dataset(tmp_path, line("a"), b"\n", line("b"), line("c"), limits=limits))
    assert said in str(raised.value)


def test_a_line_as_long_as_the_limit_is_taken(tmp_path: Path) -> None:
    one = line("a")
    assert keys(dataset(tmp_path, one, one, limits=Limits(line=len(one) - 1))) == ["out/V1/a"]


def test_the_first_missing_object_ends_it_where_none_may_be(tmp_path: Path) -> None:
    found = dataset(tmp_path, line("a"), outlined("b", "x.xml"), outlined("c", "x.xml"))
    keys(found)
    with pytest.raises(StageError) as raised:
        found.missing("own", "out/V1/x.xml")
    assert str(raised.value) == (
        "input data_url: obs://own/out/V1/V1.manifest: an object is not in the store, none may be missing: "
        "line 2: obs://own/out/V1/x.xml"
    )
    assert (raised.value.code, raised.value.exit_code) == ("dataset-missing", 66)


def test_samples_that_lack_an_object_are_left_out_up_to_the_share(tmp_path: Path) -> None:
    lines = [
        outlined(f"{number}.jpg", f"{number}.xml", usage="EVAL" if number == 3 else "TRAIN") for number in range(10)
    ]
    found = dataset(tmp_path, *lines, missing=0.2)
    keys(found)
    for name in ("3.jpg", "3.xml", "3.jpg", "7.xml"):
        found.missing("own", f"out/V1/{name}")
    summary = found.write()
    assert (summary.samples, summary.missing, summary.usages) == (8, 2, {"TRAIN": 8})
    left = [each["source"].rpartition("/")[2] for each in delivered(tmp_path, "V1.manifest")]
    assert left == [f"{number}.jpg" for number in range(10) if number not in (3, 7)]
    assert names(tmp_path) == {"V1.manifest", "train.manifest"}


def test_it_ends_as_soon_as_the_share_cannot_be_kept(tmp_path: Path) -> None:
    found = dataset(tmp_path, *(line(f"{number}.jpg") for number in range(10)), missing=0.29)
    keys(found)
    found.missing("own", "out/V1/1.jpg")
    found.missing("own", "out/V1/4.jpg")
    with pytest.raises(StageError) as raised:
        found.missing("own", "out/V1/9.jpg")
    assert str(raised.value).endswith(
        "3 of 10 samples lack an object in the store, 29 % may be missing: line 2: obs://own/out/V1/1.jpg, "
        "line 5: obs://own/out/V1/4.jpg, line 10: obs://own/out/V1/9.jpg"
    )


def test_one_object_of_many_samples_counts_for_all_of_them(tmp_path: Path) -> None:
    found = dataset(tmp_path, *(outlined(f"{number}.jpg", "all.xml") for number in range(10)), missing=0.9)
    keys(found)
    with pytest.raises(StageError, match=r"10 of 10 samples lack .*line 3: obs://own/out/V1/all.xml and 7 more"):
        found.missing("own", "out/V1/all.xml")


def test_an_object_that_later_lines_name_too_is_counted_with_them(tmp_path: Path) -> None:
    plain = [line(f"{number}.txt") for number in range(4)]
    found = dataset(tmp_path, *plain, *(outlined(f"{number}.jpg", "all.xml") for number in range(8)), missing=0.5)
    objects = found.objects()
    assert [next(objects).key for _ in range(6)][-1] == "out/V1/all.xml"
    found.missing("own", "out/V1/all.xml")  # one sample of two that have been seen, or of the five
    with pytest.raises(StageError, match="8 of 12 samples"):
        list(objects)


def test_samples_that_lack_two_objects_end_nothing_too_early(tmp_path: Path) -> None:
    lines = [outlined(f"{number}.jpg", f"{number}.xml") for number in range(20)]
    found = dataset(tmp_path, *lines, missing=0.5)
    keys(found)
    for number in range(10):
        found.missing("own", f"out/V1/{number}.jpg")
        found.missing("own", f"out/V1/{number}.xml")
    with pytest.raises(StageError, match="11 of 20 samples"):
        found.missing("own", "out/V1/10.xml")


def test_a_missing_object_that_nobody_named_hurts_nobody(tmp_path: Path) -> None:
    found = dataset(tmp_path, line("a"))
    keys(found)
    found.missing("own", "elsewhere")
    assert found.write().missing == 0


def test_a_wrong_line_is_no_matter_of_missing_objects(tmp_path: Path) -> None:
    found = dataset(tmp_path, line("a"), b"{\n", line("b"), missing=0.5)
    next(found.objects())
    found.missing("own", "out/V1/a")
    with pytest.raises(StageError, match="line 2"):
        found.write()


def test_nothing_is_written_where_too_much_is_missing_at_the_end(tmp_path: Path) -> None:
    found = dataset(tmp_path, line("a"), line("b"), missing=0.5)
    keys(found)
    found.missing("own", "out/V1/a")
    (tmp_path / "manifest").write_bytes(line("a"))
    with pytest.raises(StageError, match="1 of 1 samples"):
        found.write()
    assert names(tmp_path) == set()


def test_workers_may_tell_what_is_missing_while_the_manifest_is_read(tmp_path: Path) -> None:
    found = dataset(tmp_path, *(line(f"{number}.jpg") for number in range(3000)), missing=0.5)
    objects = found.objects()
    lost = [next(objects) for _ in range(400)]

    def tell(part: list[Wanted]) -> None:
        for each in part:
            found.missing(each.bucket, each.key)

    workers = [Thread(target=tell, args=(lost[start::4],)) for start in range(4)]
    for worker in workers:
        worker.start()
    rest = list(objects)
    for worker in workers:
        worker.join()
    assert len(rest) == 2600
    summary = found.write()
    assert (summary.samples, summary.missing) == (2600, 400)


def test_reading_stops_when_it_is_asked_to(tmp_path: Path) -> None:
    asked = []

    def stopped() -> bool:
        asked.append(1)
        return len(asked) > 1

    found = dataset(tmp_path, *(line(f"{number}") for number in range(2 * ASKED)), stopped=stopped)
    with pytest.raises(Cancelled):
        keys(found)
    assert len(asked) == 2
    with pytest.raises(Cancelled):
        found.write()
    assert names(tmp_path) == set()


def test_memory_does_not_grow_with_the_manifest(tmp_path: Path) -> None:
    peaks = []
    for many in (2_000, 20_000):
        found = dataset(tmp_path, *(line(f"{number % 500}.jpg", note="x" * 200) for number in range(many)))
        tracemalloc.start()
        assert sum(1 for _ in found.objects()) == 500
        found.write()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000


@pytest.mark.parametrize("what", ["manifest", "channel"])
def test_what_the_file_system_refuses_is_told(tmp_path: Path, what: str) -> None:
    found = dataset(tmp_path, line("a"))
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / what).rename(elsewhere)
    os.symlink(elsewhere, tmp_path / what)
    with pytest.raises(StageError, match="data_url") as raised:
        found.write()
    assert raised.value.code in ("file-broken", "file-refused")
    assert not elsewhere.is_dir() or not list(elsewhere.iterdir())


def test_a_folder_that_has_the_name_of_a_manifest_is_told_and_no_part_is_left(tmp_path: Path) -> None:
    found = dataset(tmp_path, line("a"))
    (tmp_path / "channel" / "V1.manifest").mkdir()
    with pytest.raises(StageError, match="write the manifests of data_url"):
        found.write()
    assert names(tmp_path) == {"V1.manifest"}
