from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core import members
from launcher.core.errors import StageError

NAMES = st.text(st.sampled_from("ab./\\\n\0é\udc80"), max_size=12)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.tar", "tar"),
        ("A.TAR", "tar"),
        ("a.tar.gz", "gzip"),
        ("a.Tgz", "gzip"),
        ("a.tar.zst", "zstd"),
        ("a.zip", "zip"),
        ("a.tar.bz2", None),
        ("a.gz", None),
        ("tar", None),
    ],
)
def test_the_ending_tells_the_format(name: str, form: str | None) -> None:
    assert members.archive_format(name) == form


def test_an_archive_may_grow_by_its_ratio_and_a_tiny_one_to_64_mib() -> None:
    rules = members.UnpackRules(ratio=10)
    assert rules.most(1) == 64 << 20
    assert rules.most(1 << 30) == 10 << 30


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a", "a"),
        ("a/b", "a/b"),
        ("a/b/", "a/b"),
        ("./a/b", "a/b"),
        ("././a", "a"),
        ("a//b", "a/b"),
        ("a/./b", "a/b"),
        ("a/.", "a"),
        (".", ""),
        ("./", ""),
        (".//", ""),
        ("é/😀", "é/😀"),
        ("._a", "._a"),
        ("__MACOSX/._a", "__MACOSX/._a"),
        ("a\\b", "a\\b"),
        ("..a/b..", "..a/b.."),
    ],
)
def test_a_name_stands_for_a_path_below_the_folder(name: str, path: str) -> None:
    assert members.member_path("x.tar", name) == path


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../a", "the segment '..'"),
        ("..", "the segment '..'"),
        ("a/../../b", "the segment '..'"),
        ("./../b", "the segment '..'"),
        ("a//..", "the segment '..'"),
        ("/etc/passwd", "starts with '/'"),
        ("//etc", "starts with '/'"),
        ("/", "starts with '/'"),
        ("/./", "starts with '/'"),
        ("", "an empty name"),
        ("a\nb", "a control character"),
        ("a\0b", "a control character"),
        ("a\udc80", "not Unicode text"),
        ("x" * 256, "255 is the most"),
        ("/".join("d" * 10_000), "4095 is the most"),
    ],
)
def test_a_name_that_is_no_path_is_refused_by_name(name: str, told: str) -> None:
    with pytest.raises(StageError, match=r"^the archive 'x\.tar' holds ") as caught:
        members.member_path("x.tar", name)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 500
    assert caught.value.code == "archive-refused"


def test_the_room_for_a_path_is_counted_in_bytes() -> None:
    assert members.member_path("x.tar", "é" * 5, 10) == "é" * 5
    with pytest.raises(StageError, match="a path of 12 bytes"):
        members.member_path("x.tar", "é" * 6, 10)


@given(NAMES)
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    try:
        path = members.member_path("x.tar", name)
    except StageError:
        return
    assert not path.startswith("/")
    assert not {"..", "."} & set(path.split("/"))
    assert path == "" or "" not in path.split("/")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a", "b"),
        ("a", "b/c"),
        ("a", "./b"),
        ("d/a", "../b"),
        ("d/a", ".."),
        ("d/e/a", "../../b"),
        ("a", "."),
        ("a", "b/"),
    ],
)
def test_a_link_inside_the_folder_is_taken(path: str, target: str) -> None:
    members.check_link("x.tar", path, target)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a", ".."),
        ("a", "../b"),
        ("d/a", "../../b"),
        ("d/a", "./../.././b"),
        ("a", "/etc/passwd"),
        ("a", ""),
        ("d/e/a", "s/../b"),
        ("d/e/a", "../s/.."),
    ],
)
def test_a_link_that_may_lead_elsewhere_is_refused(path: str, target: str) -> None:
    with pytest.raises(StageError, match="does not surely stay in the folder"):
        members.check_link("x.tar", path, target)


@pytest.mark.parametrize("target", ["a\nb", "a\udc80", "a/" * 2048 + "b"])
def test_a_link_to_what_is_no_path_is_refused(target: str) -> None:
    with pytest.raises(StageError, match="which is no path"):
        members.check_link("x.tar", "a", target)


def test_a_link_to_a_name_in_any_script_is_taken() -> None:
    members.check_link("x.tar", "a", "数据/b 1\u3000")


def test_a_hard_link_names_a_path_in_the_folder() -> None:
    assert members.copied_path("x.tar", "a", "./b/c") == "b/c"


@pytest.mark.parametrize(
    ("target", "told"), [("../b", "no path in the folder"), ("/b", "no path in the folder"), (".", "the folder itself")]
)
def test_a_hard_link_elsewhere_is_refused(target: str, told: str) -> None:
    with pytest.raises(StageError, match=f"holds 'a', a hard link to .*{told}"):
        members.copied_path("x.tar", "a", target)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(b"0", "file"), (b"\0", "file"), (b"7", "file"), (b"1", "copy"), (b"2", "link"), (b"5", "folder")],
)
def test_a_tars_types_are_kinds(code: bytes, kind: str) -> None:
    assert members.tar_kind("x.tar", "a", code) == kind


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (b"3", "a device"),
        (b"4", "a device"),
        (b"6", "a FIFO"),
        (b"S", "a sparse file"),
        (b"V", "of the unknown type 'V'"),
        (b"\xff", "of the unknown type 'ÿ'"),
    ],
)
def test_what_is_no_file_in_a_tar_is_refused_by_name(code: bytes, told: str) -> None:
    with pytest.raises(StageError, match=f"holds 'a', {told}"):
        members.tar_kind("x.tar", "a", code)


@pytest.mark.parametrize(
    ("name", "mode", "kind"),
    [
        ("a", 0, "file"),
        ("a", 0o100644, "file"),
        ("a", 0o120777, "link"),
        ("a", 0o040755, "folder"),
        ("a/", 0, "folder"),
    ],
)
def test_a_zips_modes_are_kinds(name: str, mode: int, kind: str) -> None:
    assert members.zip_kind("x.zip", name, mode) == kind


@pytest.mark.parametrize(
    ("mode", "told"),
    [(0o010644, "a FIFO"), (0o020644, "a device"), (0o060644, "a device"), (0o140644, "a socket"), (0o150000, "mode")],
)
def test_what_is_no_file_in_a_zip_is_refused_by_name(mode: int, told: str) -> None:
    with pytest.raises(StageError, match=told):
        members.zip_kind("x.zip", "a", mode)


def test_limits_say_what_to_do() -> None:
    grown = members.grown("x.zip", 2 << 20, members.UnpackRules(ratio=50))
    assert "grows to more than 100.0 MB, 2.0 MB as it is (50 times its size is the most)" in str(grown)
    assert "LAUNCHER_EXTRACT_RATIO" in grown.action
    assert members.clash("x.zip", "a", "b").code == "archive-clash"
    assert members.broken("x.zip", "is empty").code == "archive-broken"
