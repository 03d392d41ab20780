from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.manifest import Entry, Manifest, dump_manifest, manifest_at, parse_manifest
from launcher.core.urls import Location

DIGEST = "a" * 64
TIME = "2024-05-06T07:08:09.000+08:00"


def entry(key: str = "ckpt/1.pt", size: int = 3) -> Entry:
    return Entry(key=key, size=size, sha256=DIGEST, time=TIME)


def test_a_manifest_reads_as_documented() -> None:
    manifest = Manifest(job="id1", worker=1, workers=2, objects=(entry("b"), entry("a")))
    assert json.loads(dump_manifest(manifest)) == {
        "version": 1,
        "job": "id1",
        "worker": 1,
        "workers": 2,
        "objects": [
            {"key": "a", "size": 3, "sha256": DIGEST, "time": TIME},
            {"key": "b", "size": 3, "sha256": DIGEST, "time": TIME},
        ],
    }


def test_it_lies_in_the_launchers_own_folder_of_the_output() -> None:
    assert manifest_at(Location("b", "out"), 3) == Location("b", "out/.launcher/manifest-worker-3.json")


NAMES = st.text(
    st.characters(min_codepoint=32, exclude_characters="/\x7f.", exclude_categories=["Cs"]), min_size=1, max_size=9
)


@given(
    st.builds(
        Manifest,
        job=st.text(st.characters(exclude_categories=["Cs"])),
        worker=st.just(0),
        workers=st.integers(1, 9),
        objects=st.dictionaries(NAMES, st.integers(0, 2**40)).map(
            lambda sizes: tuple(entry(key, size) for key, size in sorted(sizes.items()))
        ),
    )
)
def test_what_is_written_is_read_again(manifest: Manifest) -> None:
    assert parse_manifest(dump_manifest(manifest)) == manifest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version 2 is unknown"),
        ({"worker": 2}, "worker 2 of 2"),
        ({"worker": -1}, "worker -1 of 2"),
        ({"objects": [{"key": "../x", "size": 1, "sha256": DIGEST, "time": TIME}]}, r"objects\[0\] \('../x'\)"),
        ({"objects": [{"key": "", "size": 1, "sha256": DIGEST, "time": TIME}]}, "names no file"),
        ({"objects": [{"key": "d/", "size": 1, "sha256": DIGEST, "time": TIME}]}, "names no file"),
        ({"objects": [{"key": "x", "size": -1, "sha256": DIGEST, "time": TIME}]}, "a size of -1"),
        ({"objects": [{"key": "x", "size": 1, "sha256": "AB", "time": TIME}]}, "'AB' is no SHA-256"),
        (
            {"objects": [{"key": "x", "size": 1, "sha256": DIGEST, "time": TIME}] * 2},
            r"objects\[1\].*the same key twice",
        ),
        ({"objects": [{"key": "x", "size": "1", "sha256": DIGEST, "time": TIME}]}, r"\$\.objects\[0\]\.size"),
        ({"workers": None}, "workers"),
    ],
)
def test_what_is_no_manifest_is_refused_with_the_place(change: dict[str, Any], said: str) -> None:
    whole: dict[str, Any] = {"version": 1, "job": "j", "worker": 0, "workers": 2, "objects": []}
    with pytest.raises(ValueError, match=said):
        parse_manifest(json.dumps({**whole, **change}).encode())


def test_a_manifest_of_some_files_is_read_again() -> None:
    manifest = Manifest(job="j", worker=0, workers=1, objects=(entry("b"), entry("a", size=0)))
    read = parse_manifest(dump_manifest(manifest))
    assert [entry.key for entry in read.objects] == ["a", "b"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"version":1}', b"\xff\xfe", b'{"x":' + b"[" * 100_000])
def test_broken_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a manifest"):
        parse_manifest(raw)
