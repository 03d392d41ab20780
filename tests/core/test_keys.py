from __future__ import annotations

import itertools
import posixpath
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core import keys
from launcher.core.errors import Exit, PlanError, StageError
from launcher.core.placing import Placing
from launcher.core.plan import CodeLimits
from launcher.core.stored import StoredObject
from launcher.core.urls import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

FOLDER = Location("b", "data/")
LIMITS = CodeLimits()


def item(key: str, size: int = 1) -> StoredObject:
    return StoredObject(key, size, "etag")


def listing(*relative: str) -> list[StoredObject]:
    return [item(f"data/{path}") for path in relative]


def test_files_bring_the_folders_above_them_parents_first() -> None:
    found = keys.arrange(listing("a/b/c.txt", "d.txt"), FOLDER)
    assert list(found.files) == ["a/b/c.txt", "d.txt"]
    assert found.files["d.txt"].key == "data/d.txt"
    assert found.folders == ("a", "a/b")
    assert (found.bytes, found.entries, found.depth, found.listed) == (2, 4, 3, 2)


def test_a_key_that_ends_in_a_slash_is_a_folder_whatever_its_size() -> None:
    found = keys.arrange([item("data/a/b/", 4096), item("data/a/b/x", 1)], FOLDER)
    assert found.folders == ("a", "a/b")
    assert list(found.files) == ["a/b/x"]
    assert found.bytes == 1


def test_the_marker_of_the_folder_itself_is_seen_but_is_no_entry() -> None:
    found = keys.arrange([item("data/", 0)], FOLDER)
    assert (found.listed, found.entries, found.depth) == (1, 0, 0)


def test_a_whole_bucket_is_a_folder() -> None:
    assert list(keys.arrange([item("x/y")], Location("b", "")).files) == ["x/y"]


@pytest.mark.parametrize(
    "relative",
    [
        "../x",
        "a/../../x",
        "a/..",
        "..",
        ".",
        "./x",
        "a/./x",
        "a//x",
        "/etc/passwd",
        "//x",
        "a//",
        "a\x00b",
        "a\nb",
        "a\x7f",
        "\x1b[31m",
        "x" * 256,
        "é" * 128,
        "a/\ud800",
    ],
)
def test_a_key_that_cannot_be_a_path_is_refused_by_name(relative: str) -> None:
    with pytest.raises(StageError) as caught:
        keys.arrange(listing("fine", relative), FOLDER)
    assert caught.value.code == "key-refused"
    assert caught.value.exit_code == Exit.MISSING
    assert repr(f"data/{relative}") in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize(
    "relative", ["x" * 255, "é" * 127, "a b", "a\\b", "-rf", "~", "名/字", "...", "..a", "a\u202eb"]
)
def test_odd_names_that_are_only_odd_are_taken(relative: str) -> None:
    assert list(keys.arrange(listing(relative), FOLDER).files) == [relative]


def test_a_key_outside_the_folder_asked_for_is_refused() -> None:
    with pytest.raises(StageError, match="does not lie below"):
        keys.arrange([item("other/x")], FOLDER)


def test_a_path_longer_than_the_room_is_refused() -> None:
    keys.arrange(listing("a/b"), FOLDER, room=3)
    with pytest.raises(StageError, match="4 bytes \\(3 is the most"):
        keys.arrange(listing("é/b"), FOLDER, room=3)


@pytest.mark.parametrize("pair", [("x", "x/y"), ("x/y", "x"), ("x", "x/"), ("a/x", "a/x/y/z")])
def test_an_object_beside_a_folder_of_its_name_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(StageError, match="an object and a folder at once") as caught:
        keys.arrange(listing(*pair), FOLDER)
    assert caught.value.code == "key-clash"


def test_an_object_listed_twice_is_refused() -> None:
    with pytest.raises(StageError, match="lists 'data/x' twice"):
        keys.arrange(listing("x", "x"), FOLDER)


def test_the_launchers_own_keys_are_left_out_and_counted() -> None:
    found = keys.arrange(listing(".launcher/manifest-worker-0.json", ".launcher", "a/.launcher-part-1-ff", "x"), FOLDER)
    assert list(found.files) == ["x"]
    assert (found.folders, found.own, found.listed) == ((), 3, 4)


def test_a_folder_named_like_ours_further_down_is_the_users() -> None:
    assert list(keys.arrange(listing("a/.launcher/x"), FOLDER).files) == ["a/.launcher/x"]


def test_files_and_folders_count_together_against_the_limit() -> None:
    keys.arrange(listing(*(f"f{n}" for n in range(1024))), FOLDER, limits=LIMITS)
    keys.arrange(listing(*(f"d/f{n}" for n in range(1023))), FOLDER, limits=LIMITS)
    with pytest.raises(PlanError, match=r"1,025 files and folders .* 1,024 is the most \(ModelArts\.2759\)") as caught:
        keys.arrange(listing(*(f"d/f{n}" for n in range(1024))), FOLDER, limits=LIMITS)
    assert caught.value.exit_code == Exit.INVALID
    assert "LAUNCHER_CODE_MAX_FILES" in caught.value.action


def test_a_listing_without_end_is_given_up() -> None:
    taken = 0

    def endless() -> Iterator[StoredObject]:
        nonlocal taken
        for taken in itertools.count():
            yield item(f"data/{taken}")

    with pytest.raises(PlanError, match="more than 10,240 files and folders"):
        keys.arrange(endless(), FOLDER, limits=LIMITS)
    assert taken == 10240


def test_a_listing_of_our_own_keys_without_end_is_given_up_too() -> None:
    endless = (item(f"data/.launcher/{n}") for n in itertools.count())
    with pytest.raises(PlanError, match="more than"):
        keys.arrange(endless, FOLDER, limits=LIMITS)


def test_code_may_have_five_gigabytes_and_no_byte_more() -> None:
    most = 5 * 1024**3
    keys.arrange([item("data/x", most)], FOLDER, limits=LIMITS)
    with pytest.raises(
        PlanError, match=r"5,368,709,121 bytes .* 5,368,709,120 \(5\.0 GB\) .*ModelArts\.2761"
    ) as caught:
        keys.arrange([item("data/x", most), item("data/y", 1)], FOLDER, limits=LIMITS)
    assert "LAUNCHER_CODE_MAX_BYTES" in caught.value.action


def test_code_may_have_32_levels_the_files_name_included() -> None:
    keys.arrange(listing("/".join("d" * 32)), FOLDER, limits=LIMITS)
    with pytest.raises(PlanError, match=r"33 levels .* 32 is the most \(ModelArts\.2760\)") as caught:
        keys.arrange(listing("/".join("d" * 33)), FOLDER, limits=LIMITS)
    assert "LAUNCHER_CODE_MAX_DEPTH" in caught.value.action


def test_inputs_have_no_limits() -> None:
    assert len(keys.arrange(listing(*(f"f{n}" for n in range(20000))), FOLDER).files) == 20000


def test_a_single_object_is_a_file_of_its_own_name() -> None:
    found = keys.arrange_one(item("a/b/model.onnx", 7), Location("b", "a/b/model.onnx"))
    assert list(found.files) == ["model.onnx"]
    assert (found.bytes, found.folders, found.listed) == (7, (), 1)


def test_a_single_object_of_an_impossible_name_is_refused() -> None:
    with pytest.raises(StageError, match="cannot be a file"):
        keys.arrange_one(item("a/.."), Location("b", "a/.."))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a", "b", False),
        ("README", "readme", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("x/A", "x/a", True),
        ("straße", "STRASSE", True),
        ("\u0345", "\u03b9", True),
    ],
)
def test_names_that_fold_together_are_one(one: str, other: str, *, same: bool) -> None:
    assert (keys.folded(one) == keys.folded(other)) is same


def test_a_part_of_a_large_object_is_known_by_its_version() -> None:
    stem = keys.lasting_part_stem("data/x", "etag", 9)
    others = {
        keys.lasting_part_stem(*one) for one in (("data/y", "etag", 9), ("data/x", "gate", 9), ("data/x", "etag", 8))
    }
    assert keys.lasting_part_stem("data/x", "etag", 9) == stem
    assert len(others | {stem}) == 4
    name = f"{stem}{'f' * 16}"
    assert keys.is_own(f"a/{name}")
    assert keys.is_lasting(f"a/{name}")
    assert not keys.is_lasting(f"{name}/x")
    assert not keys.is_lasting(keys.part_name(1))


@pytest.mark.parametrize(
    ("etag", "md5"),
    [
        ('"D41D8CD98F00B204E9800998ECF8427E"', "d41d8cd98f00b204e9800998ecf8427e"),
        ("d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e"),
        ('"d41d8cd98f00b204e9800998ecf8427e-3"', None),
        ("", None),
    ],
)
def test_only_a_plain_etag_is_an_md5(etag: str, md5: str | None) -> None:
    assert keys.plain_md5(etag) == md5


def test_large_code_is_worth_a_word() -> None:
    assert keys.large_code(50 * 1024**2) is None
    assert "50.0 MB" in (keys.large_code(50 * 1024**2 + 1) or "")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KB"), (5 * 1024**3, "5.0 GB"), (3 * 1024**4, "3.0 TB")],
)
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    assert keys.human_size(size) == text


def test_the_nearest_name_is_found() -> None:
    assert keys.nearest("trian.py", ["train.py", "model.py"]) == "train.py"
    assert keys.nearest("zzz", ["train.py"]) is None


def test_a_part_is_named_apart_and_stays_short() -> None:
    names = {keys.part_name(number) for number in range(10)}
    assert len(names) == 10
    assert all(keys.is_own(name) and len(name) < 40 for name in names)


def test_a_name_that_is_no_text_can_still_be_read() -> None:
    assert keys.readable("a\udcff") == "a\\udcff"


SEGMENT = st.sampled_from(["a", "b", "A", ".", "..", "", "x" * 255, "x" * 256, "é", "\x00", "\n", ".launcher", " "])
KEYS = st.lists(
    st.one_of(st.lists(SEGMENT, min_size=1, max_size=4).map("/".join), st.text(max_size=8)).map("data/".__add__),
    max_size=8,
)


@given(KEYS)
def test_any_listing_is_refused_or_becomes_paths_that_can_stand_side_by_side(found_keys: list[str]) -> None:
    try:
        found = keys.arrange([item(key) for key in found_keys], FOLDER, room=600)
    except StageError as error:
        assert error.code in ("key-refused", "key-clash")  # noqa: PT017 - either end is right
        return
    folders = set(found.folders)
    assert not folders & found.files.keys()
    for path in (*found.files, *folders):
        assert posixpath.normpath(posixpath.join("/top", path)) == f"/top/{path}"
        assert posixpath.dirname(path) in folders | {""}
        assert len(path.encode()) <= 600
        assert "\x00" not in path
    assert all(item.key == f"data/{path}" for path, item in found.files.items())
    kept = sum(not key.endswith("/") for key in found_keys) - len(found.files)
    assert 0 <= kept <= found.own


def placed(found_keys: Iterable[str], room: int = keys.PATH_MOST) -> tuple[list[str], list[str]]:
    """Files and folders, told one after the other."""
    placing = Placing(FOLDER, room)
    paths = [path for path in map(placing.place, found_keys) if path is not None]
    return [path for path in paths if path[-1] != "/"], sorted(path[:-1] for path in paths if path[-1] == "/")


@pytest.mark.parametrize(
    "pair", [("x", "x/y"), ("x", "x/"), ("a/x", "a/x/y/z"), ("x", "x!", "x/y"), ("x", "x!/z", "x/y")]
)
def test_an_object_beside_a_folder_of_its_name_is_refused_though_others_came_between(pair: tuple[str, ...]) -> None:
    with pytest.raises(StageError, match=r"'data/.*x' is an object and a folder at once") as caught:
        placed(f"data/{path}" for path in pair)
    assert caught.value.code == "key-clash"


def test_names_that_only_begin_alike_stand_side_by_side() -> None:
    names = ["a", "a b", "a.x", "a.x.y", "a1/", "a1/a", "a1/a.b", "ab", "b"]
    assert placed(f"data/{name}" for name in names) == ([name for name in names if name != "a1/"], ["a1"])


@pytest.mark.parametrize(
    ("second", "said"), [("data/b", "lists 'data/b' twice"), ("data/a", "lists 'data/a' after 'data/b', out of order")]
)
def test_a_listing_out_of_order_is_refused(second: str, said: str) -> None:
    with pytest.raises(StageError, match=said) as caught:
        placed(["data/b", second])
    assert (caught.value.code, caught.value.exit_code) == ("store-listing", Exit.UNREACHABLE)


def test_markers_and_our_own_keys_count_as_listed_and_have_no_place_of_a_file() -> None:
    placing = Placing(FOLDER)
    listed = ["data/", "data/.launcher/x", "data/a/", "data/a/.launcher-part-1", "data/b"]
    assert [placing.place(key) for key in listed] == [None, None, "a/", None, "b"]
    assert (placing.listed, placing.own) == (5, 2)


def told(work: Callable[[], tuple[list[str], list[str]]]) -> tuple[list[str], list[str]] | str:
    try:
        return work()
    except StageError as error:
        return error.code


def arranged(found_keys: list[str]) -> tuple[list[str], list[str]]:
    found = keys.arrange([item(key) for key in found_keys], FOLDER, room=600)
    return list(found.files), [folder for folder in found.folders if f"data/{folder}/" in found_keys]


NEAR = st.lists(st.sampled_from(["a", "b", "!", ".launcher", "é"]), min_size=1, max_size=3).map("".join)
CLOSE = st.lists(NEAR, min_size=1, max_size=3).map("/".join)
NEAR_KEYS = st.lists(st.one_of(CLOSE, CLOSE.map("{}/".format)).map("data/".__add__), max_size=10)


@given(st.one_of(KEYS, NEAR_KEYS), st.booleans())
def test_key_by_key_the_same_is_placed_and_refused_as_at_once(found_keys: list[str], twice: bool) -> None:  # noqa: FBT001
    once = sorted(set(found_keys))
    expected = told(lambda: arranged(once))
    found = told(lambda: placed(once, 600))
    if isinstance(expected, str):
        # what is wrong first differs, as a clash is seen at the end of a whole listing
        assert found in ("key-refused", "key-clash")
        assert found == expected or {found, expected} == {"key-refused", "key-clash"}
    else:
        assert found == expected
        if twice and once:
            assert told(lambda: placed([*once, once[-1]], 600)) == "store-listing"


def test_of_a_million_keys_none_is_held() -> None:
    placing = Placing(FOLDER)
    tracemalloc.start()
    try:
        for number in range(50_000):
            placing.place(f"data/{number:09}")
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
