"""What a sample names, where it lies here, the line that says so, and the files that are made of a manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.dataset.faults import WrongError
from launcher.core.dataset.names import choose_manifest, is_manifest, whole_name
from launcher.core.dataset.references import Origin, locate, place, references, rewritten
from launcher.core.dataset.sample import BOM, read_sample
from launcher.core.dataset.tally import Tally
from launcher.core.dataset.verdicts import allowed, invalid, lacking, told
from launcher.core.errors import Problem, StageError
from launcher.core.urls import Location

SAMPLES = Path(__file__).parent.parent / "data" / "datasets"
HERE = Origin(Location("own", "out/V1/V1.manifest"), ("other", "path", "input", "manifest"))
FOLDER = "/home/ma-user/inputs/data_url_0"


def moved(line: bytes) -> Any:
    return json.loads(rewritten(line, read_sample(line, 1), HERE, FOLDER))


@pytest.mark.parametrize(
    ("url", "place_"),
    [
        ("a.jpg", "data/own/out/V1/a.jpg"),
        ("./voc/a b.xml", "data/own/out/V1/voc/a b.xml"),
        ("s3://own/k/a.jpg", "data/own/k/a.jpg"),
        ("S3://other/a.jpg", "data/other/a.jpg"),
        ("s3a://own/a.jpg", "data/own/a.jpg"),
        ("obs://own/向日葵.jpg", "data/own/向日葵.jpg"),
        ("/own/k/a.jpg", "data/own/k/a.jpg"),
        ("obs://own/100%25#?.jpg", "data/own/100%25#?.jpg"),
    ],
)
def test_a_reference_is_read_in_every_spelling(url: str, place_: str) -> None:
    assert place(locate(url, HERE)) == place_


def test_a_manifest_at_the_top_of_a_bucket_names_what_lies_beside_it() -> None:
    assert locate("./a", Origin(Location("own", "x.manifest"))) == Location("own", "a")


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("https://h/a?Signature=s3cr3t", "expected s3://, obs:// or a path relative to the manifest, found https://"),
        ("content://text", "expected s3://, obs:// or a path relative to the manifest, found content://"),
        ("s3://foreign/a", "lies in the bucket 'foreign', the manifest in 'own'; allow it by name"),
        ("/Users/x/a", "'Users' is no bucket name (3-63 lower-case letters, digits, '-' and '.')"),
        ("s3://own", "names no object, only a bucket or a folder"),
        ("s3://audio0.wav", "names no object, only a bucket or a folder"),
        ("s3://own/a/", "names no object, only a bucket or a folder"),
        ("../a", "the segment '..' cannot be part of a path"),
        ("./", "names no object, only a bucket or a folder"),
        ("s3://own/a/../../../etc/passwd", "the segment '..' cannot be part of a path"),
        ("s3://own//etc/passwd", "a key that starts with '/' cannot be part of a path"),
        ("s3://own/a//b", "the segment '' cannot be part of a path"),
        ("a\tb", "a control character cannot be part of a path"),
        ("s3://own/\ud800", "a character that is not Unicode text cannot be part of a path"),
        ("s3://own/" + "x" * 256, "a segment of 256 bytes (255 is the most) cannot be part of a path"),
        ("s3://own/" + "ab/" * 400 + "c", "a key of 1,201 bytes (1,024 is the most)"),
        ("s3://own/.launcher-part-3", "a name that begins with '.launcher-part-', as the launcher's own files do"),
    ],
)
def test_a_reference_that_leads_nowhere_safe_is_refused(url: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        locate(url, HERE)
    assert str(raised.value) == wrong


def test_long_keys_and_the_launchers_word_inside_a_name_are_taken() -> None:
    assert locate("s3://own/" + "ab/" * 341 + "c", HERE).key.endswith("/c")
    assert locate("s3://own/.launcher-part-x/a", HERE).key == ".launcher-part-x/a"


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"source": "../a"}, "source"),
        (
            {"source": "a", "annotation": [{"type": "a/b"}, {"type": "a/b", "annotation-loc": "../a"}]},
            "annotation[1].annotation-loc",
        ),
        ({"source": "a", "annotation": [{"type": "a/b", "annotation_loc": "../a"}]}, "annotation[0].annotation_loc"),
        ({"source": "a", "property": {"@modelarts:parent_source": "../a"}}, "property.@modelarts:parent_source"),
    ],
)
def test_a_wrong_reference_is_told_where_it_stands(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(WrongError) as raised:
        references(read_sample(json.dumps(fields).encode(), 1), HERE)
    assert raised.value.where == where


def test_a_frame_of_a_video_names_itself_its_outlines_and_its_video() -> None:
    line = (SAMPLES / "specification/video.manifest").read_bytes()
    assert [at.url for at in references(read_sample(line, 1), HERE)] == [
        "obs://input/path/to/annotation1_t1.473722.jpg",
        "obs://path/to/annotation1_t1.473722.xml",
        "obs://path/to/annotation1.mp4",
    ]
    before, after = json.loads(line), moved(line)
    before["source"] = f"{FOLDER}/data/input/path/to/annotation1_t1.473722.jpg"
    before["annotation"][0]["annotation-loc"] = f"{FOLDER}/data/path/to/annotation1_t1.473722.xml"
    before["property"]["@modelarts:parent_source"] = f"{FOLDER}/data/path/to/annotation1.mp4"
    assert after == before
    assert list(after) == list(before)


def test_a_part_of_a_table_keeps_its_schema() -> None:
    line = (SAMPLES / "sdk/carbon-V003.manifest").read_bytes()
    before, after = json.loads(line), moved(line)
    assert after["property"] == before["property"]
    assert json.loads(after["property"])["@modelarts:schema"]["sourceBinary"] == "binary"
    assert after["source"].startswith(f"{FOLDER}/data/own/out/V1/carbon/ImageClassificationV003/carbondata/part-0-")
    old = (SAMPLES / "sdk/obsbinary1557717977531.manifest").read_bytes().splitlines()[0]
    assert moved(old)["property"] == json.loads(old)["property"]


def test_a_text_stays_in_its_line() -> None:
    line = (SAMPLES / "specification/text_triplet.manifest").read_bytes()
    assert references(read_sample(line, 1), HERE) == []
    assert moved(line) == json.loads(line)


def test_a_video_named_in_a_property_that_is_text_is_rewritten_in_the_text() -> None:
    inner = '{"@modelarts:time_in_video": 1.50, "@modelarts:parent_source": "v.mp4"}'
    found = moved(json.dumps({"source": "a", "property": inner}).encode())
    assert found["property"] == (
        f'{{"@modelarts:time_in_video":1.50,"@modelarts:parent_source":"{FOLDER}/data/own/out/V1/v.mp4"}}'
    )


def test_nothing_but_references_changes() -> None:
    line = BOM + (
        b'{ "n": 1.10, "big": 123456789012345678901234567890, "huge": 1e999,\r "s\\u006furce": "a",'
        b' "inference-loc": "/x/y",'
        b' "annotation": [{"confidence": 0.80, "type": "a/b", "annotation_loc": "b", "z": [1.0]}, {"type": "a/b"}]}\r\n'
    )
    assert rewritten(line, read_sample(line, 1), HERE, "/f") == (
        b'{"n":1.10,"big":123456789012345678901234567890,"huge":1e999,"source":"/f/data/own/out/V1/a",'
        b'"inference-loc":"/x/y","annotation":[{"confidence":0.80,"type":"a/b",'
        b'"annotation_loc":"/f/data/own/out/V1/b","z":[1.0]},{"type":"a/b"}]}'
    )


def test_a_carriage_return_inside_a_value_ends_no_line() -> None:
    line = b'{"source":"content://a\\r","x":[1,\r2]}'
    assert rewritten(line, read_sample(line, 1), HERE, "/f") == b'{"source":"content://a\\r","x":[1, 2]}'


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)
SEGMENTS = st.text(
    st.characters(min_codepoint=32, exclude_characters="/\x7f.:", exclude_categories=["Cs"]), min_size=1, max_size=9
)
URLS = st.builds(
    lambda head, tail: head + "/".join(tail),
    st.sampled_from(["", "./", "s3://own/", "obs://other/", "/own/"]),
    st.lists(SEGMENTS, min_size=1, max_size=3),
)


@given(URLS, st.lists(URLS, max_size=3), st.dictionaries(TEXT, VALUES, max_size=3))
def test_what_is_rewritten_reads_as_the_same_sample_elsewhere(
    source: str, outlines: list[str], rest: dict[str, Any]
) -> None:
    fields = {
        "extra": rest,
        "source": source,
        "usage": "eval",
        "annotation": [{"type": "object_detection", "annotation-loc": url, "more": rest} for url in outlines],
    }
    line = json.dumps(fields, ensure_ascii=False).encode()
    sample = read_sample(line, 1)
    written = rewritten(line, sample, HERE, FOLDER)
    again = read_sample(written, 1)
    found = json.loads(written)
    assert b"\n" not in written
    assert b"\r" not in written
    assert (again.kinds, again.used_for) == (sample.kinds, sample.used_for)
    paths = [f"{FOLDER}/{place(at)}" for at in references(sample, HERE)]
    assert [again.source, *(each.location for each in again.annotation or ())] == paths
    assert found["source"] == paths[0]
    found["source"] = source
    for annotation, url in zip(found["annotation"], outlines, strict=True):
        annotation["annotation-loc"] = url
    assert found == fields
    assert list(found) == list(fields)


def test_places_are_one_to_one() -> None:
    ats = [Location(bucket, key) for bucket in ("own", "own.a", "other") for key in ("a", "a/b", "own/a", "data/own/a")]
    assert len({place(at) for at in ats}) == len(ats)


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        ([], None),
        (["a.jpg", "V1/data.csv", "x.manifest.bak"], None),
        (["o/V1.manifest", "o/a.jpg"], "o/V1.manifest"),
        (["o/set.manifest", "o/old/set.manifest", "o/V1/V1.manifest"], "o/set.manifest"),
        (["o/V2/V2.manifest", "o/V2/train.manifest", "o/V2/x/x.manifest"], "o/V2/V2.manifest"),
        (["x.manifest", "o/x.manifest"], "x.manifest"),
    ],
)
def test_the_manifest_of_a_folder_is_the_one_that_stands_out(keys: list[str], chosen: str | None) -> None:
    assert choose_manifest(keys) == chosen
    assert choose_manifest(reversed(keys)) == chosen


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            ["o/V1/V1.manifest", "o/V2/V2.manifest"],
            "2 manifests lie there and none stands out: o/V1/V1.manifest, o/V2/V2.manifest",
        ),
        ([f"o/{number}.manifest" for number in range(6)], "and 2 more"),
    ],
)
def test_manifests_of_which_none_stands_out_are_told(keys: list[str], said: str) -> None:
    with pytest.raises(StageError, match="none stands out") as raised:
        choose_manifest(keys)
    assert said in str(raised.value)
    assert (raised.value.code, raised.value.exit_code) == ("dataset-ambiguous", 65)


def test_a_manifest_keeps_its_name_but_for_that_of_the_folder_of_samples() -> None:
    assert whole_name(Location("own", "out/V1.manifest")) == "V1.manifest"
    assert whole_name(Location("own", "out/data")) == "data.manifest"
    assert is_manifest("V1.manifest")


@given(st.lists(st.integers(0, 3000), max_size=50))
def test_a_tally_counts_each_object(numbers: list[int]) -> None:
    tally = Tally()
    assert [tally.add("own", str(number)) for number in numbers] == [
        number not in numbers[:index] for index, number in enumerate(numbers)
    ]
    assert len(tally) == len(set(numbers))
    assert {number: tally.count("own", str(number)) for number in numbers} == {
        number: numbers.count(number) for number in numbers
    }
    assert tally.count("other", "0") == 0


def test_a_tally_grows() -> None:
    tally = Tally()
    for _ in range(2):
        for number in range(5000):
            tally.add("own", str(number))
    assert len(tally) == 5000
    assert all(tally.count("own", str(number)) == 2 for number in range(5000))


@pytest.mark.parametrize(("share", "total", "most"), [(0.0, 10, 0), (0.29, 100, 29), (0.1, 5, 0), (1.0, 3, 3)])
def test_a_share_of_the_samples_is_rounded_down(share: float, total: int, most: int) -> None:
    assert allowed(share, total) == most


def test_the_verdicts_name_channel_manifest_and_lines() -> None:
    at = Location("own", "V1.manifest")
    problems = [Problem(path="line 3: usage", message="wrong"), Problem(path="line 4", message="no")]
    one, more = invalid("data_url", at, problems, 2), invalid("data_url", at, problems, 1002)
    assert str(one) == "input data_url: obs://own/V1.manifest: line 3: usage: wrong; line 4: no"
    assert str(more) == f"{one}; and 1,000 more lines"
    assert (one.code, one.exit_code) == ("dataset-invalid", 65)
    first = [told(17, Location("own", "a.jpg"))]
    gone, many = lacking("data_url", at, 0.0, (1, 1), first), lacking("data_url", at, 0.015, (40, 1000), first)
    assert str(gone) == (
        "input data_url: obs://own/V1.manifest: an object is not in the store, none may be missing: line 17: obs://own/a.jpg"
    )
    assert str(many) == (
        "input data_url: obs://own/V1.manifest: 40 of 1,000 samples lack an object in the store, 1.5 % may be missing: "
        "line 17: obs://own/a.jpg and 39 more"
    )
    assert (gone.code, gone.exit_code) == ("dataset-missing", 66)
