"""A directory as the store: links, odd files, races, permissions; and any tree of names, by Hypothesis."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shelf import never, read, sizes

from launcher.adapters.localfs import LocalStore
from launcher.core.errors import StoreError
from launcher.core.stored import StoredObject
from launcher.core.urls import Location, wrong_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IN = Location("bucket", "in/")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "store"
    (directory / "bucket" / "in").mkdir(parents=True)
    return directory


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(str(root))


def refused(action: object) -> StoreError:
    with pytest.raises(StoreError) as caught:
        action()  # type: ignore[operator]
    return caught.value


def fetched(store: LocalStore, key: str) -> bytes:
    item = store.stat(Location("bucket", key))
    assert item is not None
    return read(store, "bucket", item)


def test_lists_in_the_order_of_the_keys_with_markers_for_empty_folders(store: LocalStore, root: Path) -> None:
    for name in ("b", "a/z", "a.txt", "a-", "empty/"):
        path = root / "bucket" / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_bytes(b"1")
    keys = [item.key for item in store.walk(IN)]
    assert keys == ["in/a-", "in/a.txt", "in/a/z", "in/b", "in/empty/"]
    assert keys == sorted(keys, key=str.encode)
    assert store.stat(Location("bucket", "in/empty/")) == StoredObject("in/empty/", 0, "")


def test_a_very_deep_tree_is_listed(store: LocalStore, root: Path) -> None:
    deep = "in/" + "d/" * 1200 + "x"
    store.put(Location("bucket", deep), iter([b"1"]), 1)
    found = sizes(store, IN)
    subprocess.run(["rm", "-r", str(root / "bucket" / "in" / "d")], check=True)  # pytest's own cleaning recurses
    assert found == {deep: 1}


def test_a_missing_bucket_names_those_that_are_there_nearest_first(store: LocalStore, root: Path) -> None:
    for name in ("alpha", "beta", "bukket"):
        (root / name).mkdir()
    error = refused(lambda: list(store.walk(Location("buckett"))))
    assert "no such bucket" in str(error)
    assert f"{root} has bucket, alpha, beta, bukket" in str(error)
    for bucket in ("..", ".", "", "bucket/in"):
        assert refused(lambda name=bucket: store.stat(Location(name, "x"))).exit_code == 66


def test_a_missing_store_is_told(tmp_path: Path) -> None:
    error = refused(lambda: list(LocalStore(str(tmp_path / "none")).walk(IN)))
    assert error.exit_code == 66
    assert "none is not there" in str(error)


def test_an_empty_store_says_what_a_bucket_is(tmp_path: Path) -> None:
    error = refused(lambda: list(LocalStore(str(tmp_path)).walk(IN)))
    assert f"{tmp_path} is empty" in str(error)
    assert str(tmp_path / "bucket") in error.action
    assert (error.code, error.exit_code) == ("store-no-bucket", 66)


def test_a_bucket_given_for_the_store_is_noticed(root: Path) -> None:
    error = refused(lambda: list(LocalStore(str(root / "bucket")).walk(IN)))
    assert "is the bucket itself" in str(error)
    assert error.action.endswith(f"--store {root}")


@pytest.mark.parametrize("name", ["none", "", "buckett"])
def test_nobody_is_sent_to_an_endpoint_that_a_directory_does_not_have(root: Path, name: str) -> None:
    error = refused(lambda: list(LocalStore(str(root / name)).walk(Location("other"))))
    assert "S3_ENDPOINT" not in error.action
    assert "--store" in error.action


@pytest.mark.parametrize("key", ["../other/x", "in/../../other/x", "in//x", "/etc/passwd", "in/./x", "in/\0", "\ud800"])
def test_keys_that_are_no_paths_reach_nothing(store: LocalStore, root: Path, key: str) -> None:
    (root / "other").mkdir()
    (root / "other" / "x").write_bytes(b"1")
    (root / "bucket" / "in" / "x").write_bytes(b"1")
    at = Location("bucket", key)
    assert store.stat(at) is None
    assert list(store.walk(at)) == []
    assert refused(lambda: read(store, "bucket", StoredObject(key, 1, ""))).exit_code == 66
    assert refused(lambda: store.put(at, iter([b"2"]), 1)).code == "store-key"
    store.remove(at)
    assert (root / "other" / "x").read_bytes() == b"1"


def test_links_that_stay_inside_are_followed(store: LocalStore, root: Path) -> None:
    (root / "real").mkdir()
    (root / "real" / "x").write_bytes(b"123")
    (root / "bucket" / "in" / "folder").symlink_to(root / "real")
    (root / "bucket" / "in" / "file").symlink_to("../../real/x")
    assert sizes(store, IN) == {"in/folder/x": 3, "in/file": 3}
    assert fetched(store, "in/folder/x") == fetched(store, "in/file") == b"123"
    store.put(Location("bucket", "in/folder/y"), iter([b"4"]), 1)
    assert (root / "real" / "y").read_bytes() == b"4"


def test_links_that_lead_out_are_refused_with_key_and_aim(store: LocalStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"secret")
    (root / "bucket" / "in" / "way").symlink_to(outside)
    here = Location("bucket", "in/way/x")
    for action in (
        lambda: list(store.walk(IN)),
        lambda: list(store.walk(Location("bucket", "in/way/"))),
        lambda: store.stat(here),
        lambda: read(store, "bucket", StoredObject(here.key, 6, "")),
        lambda: store.put(here, iter([b"2"]), 1),
        lambda: store.put(Location("bucket", "in/way/new/y"), iter([b"2"]), 1),
        lambda: store.remove(here),
    ):
        error = refused(action)
        assert "leads out of the store, to " + str(outside) in str(error)
        assert "in/way" in str(error)
        assert error.exit_code == 77
    assert (outside / "x").read_bytes() == b"secret"
    assert os.listdir(outside) == ["x"]


def test_a_link_at_the_target_is_replaced_not_followed(store: LocalStore, root: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"old")
    link = root / "bucket" / "in" / "x"
    link.symlink_to(tmp_path / "victim")
    store.put(Location("bucket", "in/x"), iter([b"new"]), 3)
    assert (tmp_path / "victim").read_bytes() == b"old"
    assert not link.is_symlink()
    assert link.read_bytes() == b"new"


@pytest.mark.parametrize("aim", [".", "..", "../in", "gone", "self"])
def test_loops_and_dead_links_end_with_a_name(store: LocalStore, root: Path, aim: str) -> None:
    (root / "bucket" / "in" / "self").symlink_to(aim)
    error = refused(lambda: list(store.walk(IN)))
    assert "obs://bucket/in/self" in str(error)
    assert error.code == "store-key"


def test_a_loop_through_two_folders_ends(store: LocalStore, root: Path) -> None:
    for name, aim in (("a", "b"), ("b", "a")):
        (root / "bucket" / "in" / name).mkdir()
        (root / "bucket" / "in" / name / "to").symlink_to(f"../{aim}")
    assert "a link to a folder above itself" in str(refused(lambda: list(store.walk(IN))))


def test_fifos_and_sockets_are_named(store: LocalStore, root: Path) -> None:
    path = root / "bucket" / "in" / "pipe"
    os.mkfifo(path)
    assert "obs://bucket/in/pipe: neither a file nor a folder" in str(refused(lambda: list(store.walk(IN))))
    error = refused(lambda: read(store, "bucket", StoredObject("in/pipe", 0, "")))
    assert error.exit_code == 66
    assert store.stat(Location("bucket", "in/pipe")) is None
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(root / "bucket" / "in", os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/sock")
        os.close(here)
    assert "obs://bucket/in/sock: neither" in str(refused(lambda: list(store.walk(IN))))


def test_names_that_are_not_utf8_are_named(store: LocalStore, root: Path) -> None:
    with open(os.fsencode(root / "bucket" / "in") + b"/\xff\xfe", "wb"):
        pass
    error = refused(lambda: list(store.walk(IN)))
    assert "the name is not UTF-8" in str(error)
    assert r"\xff\xfe" in str(error)
    str(error).encode()


def test_unfinished_files_are_no_objects(store: LocalStore, root: Path) -> None:
    (root / "bucket" / "in" / ".launcher-part-7").write_bytes(b"half")
    at = Location("bucket", "in/.launcher-part-7")
    assert sizes(store, IN) == {}
    assert store.stat(at) is None
    assert refused(lambda: store.put(at, iter([b""]), 0)).code == "store-key"


def test_a_half_written_object_is_never_seen(store: LocalStore, root: Path) -> None:
    seen: list[dict[str, int]] = []

    def chunks() -> Iterator[bytes]:
        yield b"first"
        seen.append(sizes(store, IN))
        yield b"second"

    store.put(Location("bucket", "in/x"), chunks(), 11)
    assert seen == [{}]
    assert os.listdir(root / "bucket" / "in") == ["x"]


def test_a_failed_put_leaves_nothing(store: LocalStore, root: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"first"
        raise KeyError("no more")

    with pytest.raises(KeyError):
        store.put(Location("bucket", "in/x"), chunks(), 11)
    assert os.listdir(root / "bucket" / "in") == []


def test_x_beside_x_y_cannot_be(store: LocalStore, root: Path) -> None:
    store.put(Location("bucket", "in/x"), iter([b"1"]), 1)
    store.put(Location("bucket", "in/y/z"), iter([b"1"]), 1)
    for key in ("in/x/y", "in/y"):
        error = refused(lambda name=key: store.put(Location("bucket", name), iter([b"2"]), 1))
        assert "x beside x/y" in str(error)
    assert sizes(store, IN) == {"in/x": 1, "in/y/z": 1}
    assert os.listdir(root / "bucket" / "in" / "y") == ["z"]


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite", "replace"])
def test_a_file_that_changes_while_it_is_read_is_refused(store: LocalStore, root: Path, change: str) -> None:
    path = root / "bucket" / "in" / "x"
    path.write_bytes(b"1" * 3_000_000)
    os.utime(path, ns=(1, 1))
    item = store.stat(Location("bucket", "in/x"))
    assert item is not None

    def other(piece: int) -> None:
        if piece != 1:
            return
        if change == "replace":
            path.rename(path.with_name("y"))
        with path.open({"grow": "ab", "shrink": "r+b"}.get(change, "wb")) as file:
            file.write(b"2" * 3_000_000)
            file.truncate(100 if change == "shrink" else None)

    def half_way() -> int:
        came = 0
        for number, piece in enumerate(store.read("bucket", item, 0, item.size, never)):
            other(number)
            came += len(memoryview(piece))
        return came

    if change == "replace":
        assert half_way() == item.size  # the version that was opened is still there, and whole
    else:
        assert refused(half_way).code == "store-changed"
    assert refused(lambda: read(store, "bucket", item)).code == "store-changed"


def test_a_read_that_is_given_up_leaves_no_file_open(store: LocalStore, root: Path) -> None:
    (root / "bucket" / "in" / "x").write_bytes(b"1" * 3_000_000)
    before = os.listdir("/proc/self/fd")
    reading = store.read("bucket", StoredObject("in/x", -1, ""), 0, -1, never)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_listing_goes_on_inside_a_folder_and_past_markers(store: LocalStore, root: Path) -> None:
    for name in ("a/b/c", "a/b-", "a/e/", "a/z", "a-", "d/", "e"):
        path = root / "bucket" / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_bytes(b"1")
    keys = [item.key for item in store.walk(IN)]
    assert keys == ["in/a-", "in/a/b-", "in/a/b/c", "in/a/e/", "in/a/z", "in/d/", "in/e"]
    for number, key in enumerate(keys, 1):
        assert [item.key for item in store.walk(IN, key)] == keys[number:]


def test_what_is_removed_while_it_is_listed_is_left_out(store: LocalStore, root: Path) -> None:
    for name in "abc":
        (root / "bucket" / "in" / name).write_bytes(b"1")
    listing = store.walk(IN)
    assert next(listing).key == "in/a"
    (root / "bucket" / "in" / "b").unlink()
    assert [item.key for item in listing] == ["in/c"]


def test_remove_of_a_folder_takes_only_an_empty_one(store: LocalStore, root: Path) -> None:
    store.put(Location("bucket", "in/a/x"), iter([b"1"]), 1)
    store.put(Location("bucket", "in/b/"), iter([]), 0)
    assert set(sizes(store, IN)) == {"in/a/x", "in/b/"}
    for key in ("in/a/", "in/b/", "in/a", "in/x/"):
        store.remove(Location("bucket", key))
    assert set(sizes(store, IN)) == {"in/a/x"}


KILLED = """
import os, signal, sys
from launcher.adapters.localfs import LocalStore
from launcher.core.urls import Location

def chunks():
    yield b"first"
    os.kill(os.getpid(), signal.SIGKILL)

LocalStore(sys.argv[1]).put(Location("bucket", "in/x"), chunks(), 11)
"""


def test_what_a_killed_launcher_left_is_swept_by_the_next_put_there(store: LocalStore, root: Path) -> None:
    folder = root / "bucket" / "in"
    subprocess.run([sys.executable, "-c", KILLED, str(root)], timeout=60, check=False)
    (left,) = os.listdir(folder)
    assert left.startswith(".launcher-part-")
    store.put(Location("bucket", "other/y"), iter([b"1"]), 1)
    assert os.listdir(folder) == [left], "only where something is put"
    store.put(Location("bucket", "in/y"), iter([b"1"]), 1)
    assert os.listdir(folder) == ["y"]


def test_what_is_being_written_is_not_swept(store: LocalStore, root: Path) -> None:
    foreign = ".launcher-part-1-00000000-0123456789abcdef"
    (root / "bucket" / "in" / foreign).write_bytes(b"another host's")

    def chunks() -> Iterator[bytes]:
        yield b"first"
        LocalStore(str(root)).put(Location("bucket", "in/y"), iter([b"1"]), 1)
        yield b"second"

    store.put(Location("bucket", "in/x"), chunks(), 11)
    assert sorted(os.listdir(root / "bucket" / "in")) == [foreign, "x", "y"]
    assert (root / "bucket" / "in" / "x").read_bytes() == b"firstsecond"


def test_a_folder_is_looked_through_once(store: LocalStore, root: Path) -> None:
    folder = root / "bucket" / "in"
    store.put(Location("bucket", "in/y"), iter([b"1"]), 1)
    subprocess.run([sys.executable, "-c", KILLED, str(root)], timeout=60, check=False)
    store.put(Location("bucket", "in/z"), iter([b"1"]), 1)
    assert len(os.listdir(folder)) == 3


HUMBLED = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: what lets root ignore modes
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
"""
ASKING = """
import sys
from launcher.adapters.localfs import LocalStore
from launcher.core.errors import StoreError
from launcher.core.urls import Location
store = LocalStore(sys.argv[1])
item = store.stat(Location("bucket", "in/x"))
for action in (
    lambda: list(store.read("bucket", item, 0, 1, lambda: False)),
    lambda: store.put(Location("bucket", "in/y"), iter([b"1"]), 1),
    lambda: store.remove(Location("bucket", "in/x")),
    lambda: list(store.walk(Location("bucket", "in/closed/"))),
):
    try:
        action()
    except StoreError as error:
        print(error.code, int(error.exit_code), error)
"""


def may_give_files() -> bool:
    """Root in a container without capabilities may not."""
    with tempfile.NamedTemporaryFile() as file:
        try:
            os.chown(file.name, 65534, 65534)
        except PermissionError:
            return False
    return True


@pytest.mark.skipif(not may_give_files(), reason="this user may not give files to another one")
def test_permissions_are_told_as_refusals(root: Path) -> None:
    folder = root / "bucket" / "in"
    (folder / "x").write_bytes(b"1")
    (folder / "closed").mkdir()
    for path, mode in ((folder / "x", 0o600), (folder / "closed", 0o700), (folder, 0o755)):
        path.chmod(mode)
        os.chown(path, 65534, 65534)
    argv = [sys.executable, "-c", HUMBLED, ASKING, str(root)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["file-refused", "77"]] * 4
    assert all("Permission denied" in line for line in lines)


SHUT_OUT = """
import sys
from launcher.adapters.localfs import LocalStore
from launcher.core.errors import StoreError
from launcher.core.urls import Location
store = LocalStore(sys.argv[1])
for action in (
    lambda: list(store.walk(Location("bucket", "in/"))),
    lambda: list(store.walk(Location("bucket"))),
    lambda: store.stat(Location("bucket", "in/x")),
    lambda: store.put(Location("bucket", "in/y"), iter([b"1"]), 1),
    lambda: store.remove(Location("bucket", "in/x")),
):
    try:
        action()
    except StoreError as error:
        print(error.code, int(error.exit_code), error)
"""


@pytest.mark.skipif(not may_give_files(), reason="this user may not give files to another one")
@pytest.mark.parametrize("closed", [".", "bucket"])
def test_a_store_or_bucket_that_lets_nobody_in_is_a_refusal(root: Path, closed: str) -> None:
    (root / "bucket" / "in" / "x").write_bytes(b"1")
    (root / closed).chmod(0o700)
    os.chown(root / closed, 65534, 65534)
    done = subprocess.run(
        [sys.executable, "-c", HUMBLED, SHUT_OUT, str(root)], capture_output=True, text=True, timeout=60, check=True
    )
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["file-refused", "77"]] * 5
    assert all("Permission denied" in line for line in lines)


names = st.text(min_size=1, max_size=12).filter(lambda name: "/" not in name and wrong_key(name) is None)
keys = st.lists(names.filter(lambda name: not name.startswith(".launcher-part-")), min_size=1, max_size=4).map("/".join)


@given(objects=st.dictionaries(keys, st.binary(max_size=200), max_size=8))
def test_any_tree_comes_back_as_it_went(tmp_path_factory: pytest.TempPathFactory, objects: dict[str, bytes]) -> None:
    directory = tmp_path_factory.mktemp("any")
    (directory / "bucket").mkdir()
    store = LocalStore(str(directory))
    kept: dict[str, bytes] = {}
    for key, content in objects.items():
        if any(key.startswith(other + "/") or other.startswith(key + "/") for other in kept):
            with pytest.raises(StoreError, match="x beside x/y"):
                store.put(Location("bucket", key), iter([content]), len(content))
        else:
            store.put(Location("bucket", key), iter([content]), len(content))
            kept[key] = content
    found = {item.key: item for item in store.walk(Location("bucket")) if not item.key.endswith("/")}
    assert {key: item.size for key, item in found.items()} == {key: len(content) for key, content in kept.items()}
    assert {key: read(store, "bucket", item) for key, item in found.items()} == kept
    assert list(found) == sorted(found)


def test_importing_it_brings_nothing_heavy() -> None:
    code = (
        "import sys, launcher.adapters.localfs, launcher.adapters.obs, launcher.adapters.boto;"
        "print([name for name in ('obstore', 'boto3', 'botocore', 'shutil', 'tempfile', 'pathlib', 'hashlib', 'random',"
        " 'urllib', 'datetime', 'dataclasses') if name in sys.modules])"
    )
    argv = [sys.executable, "-S", "-c", "import site; site.main();" + code]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    plain = subprocess.run(
        [sys.executable, "-c", "import sys, msgspec; print(list(sys.modules))"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    brought = [name for name in eval(done.stdout) if name not in eval(plain.stdout)]
    assert brought == []
