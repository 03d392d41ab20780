"""A manifest's lines as samples: the vendor's own, the broken ones among them, and hostile ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.dataset.faults import SampleError, undecodable
from launcher.core.dataset.kinds import label_kind
from launcher.core.dataset.sample import BOM, Sample, read_sample

SAMPLES = Path(__file__).parent.parent / "data" / "datasets"


def lines_of(name: str) -> list[tuple[int, bytes]]:
    lines = (SAMPLES / f"{name}.manifest").read_bytes().splitlines(keepends=True)
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def read(**fields: Any) -> Sample:
    return read_sample(json.dumps({"source": "a.jpg", **fields}).encode(), 7)


def problem(line: bytes, number: int = 3) -> str | None:
    try:
        read_sample(line, number)
    except SampleError as error:
        return str(error)
    return None


def said(line: bytes | dict[str, Any], number: int = 7) -> str:
    raw = line if isinstance(line, bytes) else json.dumps({"source": "a.jpg", **line}).encode()
    with pytest.raises(SampleError) as raised:
        read_sample(raw, number)
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "kinds", "medium", "usage"),
    [
        ("image_classification", ("image_classification",), None, "TRAIN"),
        ("object_detection", ("object_detection",), None, "TRAIN"),
        ("image_segmentation", ("image_segmentation",), "image", "TRAIN"),
        ("text_classification", ("text_classification",), "text", ""),
        ("text_entity", ("text_entity",), "text", "TRAIN"),
        ("text_triplet", ("text_triplet",), "text", "TRAIN"),
        ("audio_classification", ("audio_classification",), None, ""),
        ("audio_content", ("audio_content",), None, ""),
        ("audio_segmentation", ("audio_segmentation",), None, "TRAIN"),
        ("video", ("video",), "image", "TRAIN"),
    ],
)
def test_the_specifications_sample_of_every_labelling_type_is_read(
    name: str, kinds: tuple[str, ...], medium: str | None, usage: str
) -> None:
    ((number, line),) = lines_of(f"specification/{name}")
    sample = read_sample(line, number)
    assert (sample.kinds, sample.medium, sample.used_for) == (kinds, medium, usage)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("V002", {("image_classification",)}),
        ("V010-first-40", {("image_classification",)}),
        ("audio_classification_mutiple_label", {("audio_classification",)}),
        ("audio_content", {("audio_content",)}),
        ("audio_content_write_2", {("audio_content",)}),
        ("binary1557487619292", {("table",)}),
        ("carbon-V003", {("table",)}),
        (
            "classification-detection-multi-xy-V201902220937263726",
            {("image_classification", "object_detection"), ()},
        ),
        ("detect-multi-local-voc-filter", {("object_detection",)}),
        ("detect-multi-s3-voc", {("object_detection",)}),
        ("obsbinary1557717977531", {("table",)}),
        ("text_entity_duplicate_label", {("text_entity",)}),
    ],
)
def test_the_manifests_of_the_vendors_sdk_are_read(name: str, kinds: set[tuple[str, ...]]) -> None:
    assert {read_sample(line, number).kinds for number, line in lines_of(f"sdk/{name}")} == kinds


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        (
            "specification/text_triplet.as-printed",
            {
                1: (
                    "line 1: not JSON at column 23 (expecting ',' delimiter), "
                    'found "Three Body\\" is a series of lon"; a quotation mark inside a text is written \\"'
                )
            },
        ),
        (
            "sdk/audio_content_inference",
            {3: "line 3: annotation[0].name: missing; audio_classification needs the name of the label"},
        ),
        (
            "sdk/text_classification_multiple_label",
            {
                4: "line 4: annotation[0].property.@modelarts:start_index: expected a whole number from 0, found null",
            },
        ),
    ],
)
def test_the_invalid_ones_of_the_vendor_are_told_with_their_line(name: str, wrong: dict[int, str]) -> None:
    found = {number: problem(line, number) for number, line in lines_of(name)}
    assert {number: text for number, text in found.items() if text} == wrong


def test_a_sample_that_is_broken_over_lines_is_told_at_its_first_line() -> None:
    number, line = lines_of("specification/audio_classification.as-printed")[0]
    assert said(line, number) == (
        "line 1: expected a whole JSON object, found the end of the line; a sample is one line"
    )
    number, line = lines_of("specification/audio_classification.as-printed")[1]
    assert said(line, number).startswith("line 2: expected a JSON object, whole on one line, found ")


def test_a_byte_order_mark_may_stand_at_the_very_start_and_nowhere_else() -> None:
    assert read_sample(BOM + b'{"source":"a"}', 1).source == "a"
    assert "expected a JSON object" in said(BOM + b'{"source":"a"}', 2)


@pytest.mark.parametrize("usage", ["TRAIN", "train", "Eval", "TEST", "inference", "", None])
def test_the_usage_is_read_in_any_case(usage: str | None) -> None:
    assert read(usage=usage).used_for == (usage or "").upper()


@pytest.mark.parametrize("key", ["annotation-loc", "annotation_loc"])
@pytest.mark.parametrize("form", [{}, {"annotation-format": "PASCAL VOC"}, {"annotation_format": "Pascal VOC"}])
def test_an_outline_may_be_spelled_both_ways(key: str, form: dict[str, str]) -> None:
    assert read(annotation=[{"type": "modelarts/object_detection", key: "a.xml", **form}]).kinds == (
        "object_detection",
    )


def entity(**changes: Any) -> dict[str, Any]:
    found = {"@modelarts:start_index": 0, "@modelarts:end_index": 3} | changes
    return {"type": "text_entity", "id": "E1", "property": found}


def relation(**changes: Any) -> dict[str, Any]:
    return {
        "type": "modelarts/text_triplet",
        "id": "R1",
        "property": {"@modelarts:from": "E1", "@modelarts:to": "E1"},
    } | changes


def timed(start: Any, end: Any) -> dict[str, Any]:
    return {
        "type": "modelarts/audio_segmentation",
        "property": {"@modelarts:start_time": start, "@modelarts:end_time": end},
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"annotation": None},
        {"annotation": []},
        {"hard": True, "hard-coefficient": 0.8},
        {"hard": "False", "hard-coefficient": "1e-1"},
        {"sample-type": 6},
        {"sample-type": "0"},
        {"unknown": {"a": [1]}, "inference-loc": 3},
        {"annotation": [{"type": "bare/of/mine", "confidence": 1}]},
        {"annotation": [{"type": "mine/image_classification", "name": "x", "confidence": "0.5"}]},
        {"annotation": [{"type": "sound_classification", "name": "x", "property": None}]},
        {"annotation": [{"type": "modelarts/text_entity", "property": json.dumps(entity()["property"])}]},
        {"annotation": [timed("00:00:00.000", "00:00:00.000")]},
        {"annotation": [timed("99:59:59.999", "100:00:00.000")]},
        {"source-type": "carbondata"},
        {"source-type": "CSV", "property": "x"},
        {"source-type": "CarbonData", "property": {"schema": {"a": "int"}}},
        {"property": {"@modelarts:parent_source": 3}},
    ],
)
def test_what_the_specification_leaves_open_is_taken(fields: dict[str, Any]) -> None:
    assert read(**fields).source == "a.jpg"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{}", "source: missing"),
        (b"[1]", "expected a JSON object, whole on one line, found [1]"),
        (b'{"source":null}', "source: expected text, found null"),
        (b'{"source":""}', "source: empty"),
        (b'{"source":"a"} x', 'not JSON at column 16 (extra data), found "x"'),
        (b'{"source":"a', "expected a whole JSON object, found the end of the line; a sample is one line"),
        (b'{"source":"\xff"}', "expected UTF-8, found the byte 0xff at byte 12"),
        (b'{"source":"a","x":"\xc3"}', "expected UTF-8, found the byte 0xc3 at byte 20"),
        (
            b'{"source":"a\x00b"}',
            'not JSON at column 13 (invalid control character at), found "\\u0000b\\"}"',
        ),
        (
            b'{"source":"\\ud800"}',
            "a lone surrogate (\\ud800 to \\udfff), which is no Unicode text",
        ),
        (
            b'{"source":"a","annotation":[{"type":"a/b","confidence":1e999}]}',
            "annotation[0].confidence: number out of range",
        ),
        (b'{"source":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"source":"a","annotation":' + b"[" * 100_000, "nested too deeply"),
        ({"usage": "VALIDATE"}, 'usage: expected one of TRAIN, EVAL, TEST, INFERENCE, in any case, found "VALIDATE"'),
        ({"sample-type": 3}, "sample-type: expected one of 0, 1, 2, 4, 6, 9, found 3"),
        ({"sample-type": 1.5}, "sample-type: expected a whole number or text or null, found 1.5"),
        ({"hard": "maybe"}, 'hard: expected true or false, found "maybe"'),
        ({"hard-coefficient": "much"}, 'hard-coefficient: expected a number, found "much"'),
        ({"annotation": {}}, "annotation: expected a list or null, found {}"),
        ({"annotation": [{"name": "x"}]}, "annotation[0].type: missing"),
        ({"annotation": [{"type": "a/b"}, {"type": 3}]}, "annotation[1].type: expected text, found 3"),
        (
            {"annotation": [{"type": "modelarts/image_clasification"}]},
            (
                "annotation[0].type: expected modelarts/ and one of image_classification, object_detection, "
                "image_segmentation, text_classification, text_entity, text_triplet, audio_classification, "
                'audio_content, audio_segmentation, found "modelarts/image_clasification"'
            ),
        ),
        (
            {"annotation": [{"type": "a/b", "confidence": 1.5}]},
            "annotation[0].confidence: expected a number from 0 to 1, found 1.5",
        ),
        (
            {"annotation": [{"type": "a/b", "confidence": "high"}]},
            'annotation[0].confidence: expected a number from 0 to 1, found "high"',
        ),
        ({"annotation": [{"type": "a/b", "hard": "x"}]}, 'annotation[0].hard: expected true or false, found "x"'),
        (
            {"annotation": [{"type": "modelarts/text_classification"}]},
            "annotation[0].name: missing; text_classification needs the name of the label",
        ),
        (
            {"annotation": [{"type": "modelarts/image_segmentation"}]},
            "annotation[0].annotation-loc: missing; image_segmentation needs the place of its PASCAL VOC file",
        ),
        (
            {"annotation": [{"type": "object_detection", "annotation-loc": "a.xml", "annotation-format": "COCO"}]},
            'annotation[0].annotation-format: expected "PASCAL VOC", found "COCO"',
        ),
        ({"annotation": [{"type": "text_entity"}]}, "annotation[0].property: expected an object, found null"),
        (
            {"annotation": [{"type": "text_entity", "property": "[1]"}]},
            'annotation[0].property: expected an object, found "[1]"',
        ),
        (
            {"annotation": [entity(**{"@modelarts:start_index": True})]},
            "annotation[0].property.@modelarts:start_index: expected a whole number from 0, found true",
        ),
        (
            {"annotation": [entity(**{"@modelarts:end_index": -1})]},
            "annotation[0].property.@modelarts:end_index: expected a whole number from 0, found -1",
        ),
        (
            {"annotation": [entity(**{"@modelarts:end_index": 0})]},
            (
                "annotation[0].property.@modelarts:end_index: "
                "expected more than @modelarts:start_index, which is 0, found 0"
            ),
        ),
        ({"annotation": [relation(id="E1")]}, 'annotation[0].id: expected R and a number, found "E1"'),
        ({"annotation": [relation(id=None)]}, "annotation[0].id: expected R and a number, found null"),
        (
            {"annotation": [relation(), entity(), relation(property={"@modelarts:from": "E1"})]},
            "annotation[2].property.@modelarts:to: expected the id of an entity of this sample, found null",
        ),
        (
            {"annotation": [relation()]},
            'annotation[0].property.@modelarts:from: expected the id of an entity of this sample, found "E1"',
        ),
        (
            {"annotation": [{"type": "audio_content", "property": {"@modelarts:content": 3}}]},
            "annotation[0].property.@modelarts:content: expected text, found 3",
        ),
        (
            {"annotation": [timed("0:00:01.0", "00:00:02.000")]},
            'annotation[0].property.@modelarts:start_time: expected a time as hh:mm:ss.SSS, found "0:00:01.0"',
        ),
        (
            {"annotation": [timed("00:00:01.000", None)]},
            "annotation[0].property.@modelarts:end_time: expected a time as hh:mm:ss.SSS, found null",
        ),
        (
            {"annotation": [timed("00:00:02.000", "00:00:01.000")]},
            'annotation[0].property.@modelarts:end_time: expected a time after 00:00:02.000, found "00:00:01.000"',
        ),
        (
            {"source-type": "CarbonData", "property": "x"},
            'property: expected an object with the schema, or text that holds one, found "x"',
        ),
        (
            {"source-type": "CarbonData", "property": {"@modelarts:schema": [1]}},
            "property.@modelarts:schema: expected an object of column names and types, found [1]",
        ),
        (
            {"source-type": "CarbonData", "source": "content://x"},
            'source: expected a part of a table, found "content://x"',
        ),
    ],
)
def test_what_is_wrong_is_told_with_line_and_place(line: bytes | dict[str, Any], message: str) -> None:
    assert said(line) == f"line 7: {message}"


def test_a_long_value_is_told_short() -> None:
    told = said({"usage": "x" * 10_000_000})
    assert len(told) < 200
    assert told.endswith("…")


def test_a_property_that_cannot_be_held_counts_as_none() -> None:
    deep = b'{"source":"a","annotation":[{"type":"text_entity","property":{"@modelarts:start_index":1e999}}]}'
    assert said(deep).endswith("start_index: expected a whole number from 0, found null")


def test_what_only_the_decoder_dislikes_is_told_in_its_words() -> None:
    assert undecodable('{"source":"a"}', msgspec.DecodeError("it is so")).message == (
        "no JSON object that can be read: it is so"
    )


def test_a_path_that_leads_nowhere_shows_what_it_came_to() -> None:
    told = undecodable('{"a":3}', msgspec.ValidationError("Expected `str`, got `int` - at `$.a.b[0]`"))
    assert (told.where, told.message) == ("a.b[0]", "expected text, found 3")


def test_kinds_have_one_name() -> None:
    assert label_kind("modelarts/sound_classification") == "audio_classification"
    assert label_kind("theirs/sound_classification") == "audio_classification"
    assert label_kind("theirs/own") == ""
    assert label_kind("own") is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_sample_or_a_problem_with_its_line(line: bytes) -> None:
    told = problem(line) or "line 3: "
    assert told.startswith("line 3: ")
    assert told.encode()


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
KEYS = st.sampled_from(
    [
        *("source", "usage", "annotation", "property", "hard", "hard-coefficient", "sample-type", "source-type"),
        *("type", "name", "id", "confidence", "annotation-loc", "annotation-format", "@modelarts:start_index"),
    ]
)


@given(st.dictionaries(KEYS, VALUES | st.lists(st.dictionaries(KEYS, VALUES), max_size=2)))
def test_any_object_is_a_sample_or_a_problem_with_its_line(fields: dict[str, Any]) -> None:
    told = problem(json.dumps(fields).encode()) or "line 3: "
    assert told.startswith("line 3: ")
    assert "\n" not in told


def test_numbers_of_any_size_hurt_nobody() -> None:
    digits = b"9" * 10_000
    assert len(digits) > getattr(sys, "get_int_max_str_digits", lambda: 0)()
    assert read_sample(b'{"source":"a","x":' + digits + b"}", 1).source == "a"
    assert said(b'{"source":"a","sample-type":' + digits + b"}").startswith("line 7: sample-type: ")
