"""What every store does alike, on each of the three."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from shelf import chunks, item_at, never, opened, sizes

from launcher.core.errors import Cancelled, StoreError
from launcher.core.stored import StoredObject
from launcher.core.urls import Location

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import AnyStore

MEBIBYTE = 1024**2


def test_lists_every_object_below_a_folder_and_nothing_beside_it(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    any_store.seed(bucket, {"in/x": b"1", "in/deep/er/y": b"22", "in-not/z": b"3", "inn": b"4"})
    assert sizes(opened(any_store), Location(bucket, "in/")) == {"in/x": 1, "in/deep/er/y": 2}


def test_a_folder_may_be_spelled_without_its_slash(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    any_store.seed(bucket, {"in/x": b"1", "inn": b"4"})
    assert sizes(opened(any_store), Location(bucket, "in")) == {"in/x": 1}


def test_lists_a_whole_bucket(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    any_store.seed(bucket, {"a": b"1", "b/c": b"22"})
    assert sizes(opened(any_store), Location(bucket)) == {"a": 1, "b/c": 2}


def test_lists_more_than_a_page(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    count = 1100
    any_store.seed(bucket, {f"in/{number:05}": b"x" for number in range(count)})
    assert len(sizes(opened(any_store), Location(bucket, "in/"))) == count


def test_a_folder_that_is_not_there_holds_nothing(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    store = opened(any_store)
    assert sizes(store, Location(bucket, "no/")) == {}
    assert sizes(store, Location(bucket)) == {}
    assert not store.occupied(Location(bucket, "no/"))


def test_an_empty_file_is_a_file(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    any_store.seed(bucket, {"in/__init__.py": b"", "in/sub/empty": b"", "in/sub/x": b"1"})
    expected = {"in/__init__.py": 0, "in/sub/empty": 0, "in/sub/x": 1}
    assert sizes(opened(any_store), Location(bucket, "in/")) == expected


def test_a_missing_bucket_is_told_as_such(any_store: AnyStore) -> None:
    any_store.bucket()
    store = opened(any_store)
    nowhere = Location("no-such-bucket", "x")
    for ask in (
        lambda: list(store.walk(nowhere.folder)),
        lambda: store.stat(nowhere),
        lambda: store.occupied(nowhere.folder),
        lambda: store.put(nowhere, iter([b"x"]), 1),
    ):
        with pytest.raises(StoreError, match="no such bucket") as caught:
            ask()
        assert caught.value.exit_code == 66
        assert caught.value.code == "store-no-bucket"


def test_stat_finds_exactly_one_key(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    any_store.seed(bucket, {"in/x": b"123"})
    store = opened(any_store)
    found = item_at(store, Location(bucket, "in/x"))
    assert (found.key, found.size) == ("in/x", 3)
    assert found == next(store.walk(Location(bucket, "in/")))
    for key in ("in", "in/xx", "in/x/y", "no/x", *(["in/x/"] if any_store.capability.markers else [])):
        assert store.stat(Location(bucket, key)) is None, key


@pytest.mark.parametrize("size", [0, 1, MEBIBYTE, MEBIBYTE + 1, 33 * MEBIBYTE + 7])
def test_what_was_put_is_fetched(any_store: AnyStore, tmp_path: Path, size: int) -> None:
    bucket = any_store.bucket()
    content = os.urandom(size)
    store, at = opened(any_store), Location(bucket, "out/deep/model.bin")
    store.put(at, chunks(content), size)
    assert any_store.read(bucket, at.key) == content
    path = tmp_path / "copy"
    store.fetch(bucket, item_at(store, at), str(path), never)
    assert path.read_bytes() == content
    assert any_store.listing(bucket) == {at.key: size}


def test_what_another_client_laid_down_is_fetched(any_store: AnyStore, tmp_path: Path) -> None:
    bucket = any_store.bucket()
    objects = {f"in/{number}": os.urandom(number * 1000) for number in range(8)}
    any_store.seed(bucket, objects)
    store = opened(any_store)
    for number, item in enumerate(store.walk(Location(bucket, "in/"))):
        path = tmp_path / str(number)
        store.fetch(bucket, item, str(path), never)
        assert path.read_bytes() == objects[item.key]


@pytest.mark.parametrize(
    "name", ["a b+c", "a%20b%", "ünï/中文", "e\u0301", "#?&=", "😀", "-x", "~", "[a]{b}", "..x", "x..", 'a"b', "a'b\\c"]
)
def test_names_come_back_as_they_went(any_store: AnyStore, tmp_path: Path, name: str) -> None:
    bucket = any_store.bucket()
    store, at = opened(any_store), Location(bucket, f"in/{name}")
    store.put(at, iter([b"x"]), 1)
    assert any_store.listing(bucket) == {at.key: 1}
    assert sizes(store, Location(bucket, "in/")) == {at.key: 1}
    store.fetch(bucket, item_at(store, at), str(tmp_path / "copy"), never)
    assert (tmp_path / "copy").read_bytes() == b"x"
    store.remove(at)
    assert any_store.listing(bucket) == {}


def test_put_replaces(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    store, at = opened(any_store), Location(bucket, "out/log")
    for content in (b"first", b"2nd"):
        store.put(at, iter([content]), len(content))
    assert any_store.read(bucket, "out/log") == b"2nd"


def test_put_sends_what_comes_even_if_it_is_not_what_was_announced(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    store, at = opened(any_store), Location(bucket, "out/log")
    store.put(at, iter([b"grown", b" since"]), 2)
    assert any_store.read(bucket, "out/log") == b"grown since"


@pytest.mark.parametrize("before", [1, 20])
def test_a_reader_that_fails_leaves_no_object(any_store: AnyStore, before: int) -> None:
    bucket = any_store.bucket()
    store, at = opened(any_store), Location(bucket, "out/half")

    def failing() -> Iterator[bytes]:
        for _ in range(before):
            yield b"x" * MEBIBYTE
        raise OSError(5, "the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        store.put(at, failing(), 100 * MEBIBYTE)
    assert any_store.listing(bucket) == {}
    assert not store.occupied(Location(bucket))


def test_remove_takes_one_object_away_and_minds_no_other(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    any_store.seed(bucket, {"out/a": b"1", "out/b": b"2"})
    store = opened(any_store)
    for key in ("out/a", "out/a", "out/none", "no/where"):
        store.remove(Location(bucket, key))
    assert any_store.listing(bucket) == {"out/b": 1}


def test_occupied_sees_one_object_deep_down(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    any_store.seed(bucket, {"out/a/b/c": b"", "x": b"1"})
    store = opened(any_store)
    assert store.occupied(Location(bucket, "out/"))
    assert store.occupied(Location(bucket, "out"))
    assert not store.occupied(Location(bucket, "ou/"))


def test_fetch_never_writes_over_a_file_or_through_a_link(any_store: AnyStore, tmp_path: Path) -> None:
    bucket = any_store.bucket()
    any_store.seed(bucket, {"x": b"new"})
    store = opened(any_store)
    item = item_at(store, Location(bucket, "x"))
    (tmp_path / "there").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("there", "link", "no/folder"):
        with pytest.raises(StoreError):
            store.fetch(bucket, item, str(tmp_path / name), never)
    assert (tmp_path / "there").read_bytes() == b"old"
    assert not (tmp_path / "elsewhere").exists()


def test_fetch_of_what_is_gone_is_missing(any_store: AnyStore, tmp_path: Path) -> None:
    bucket = any_store.bucket()
    for key in ("gone", "gone/deep"):
        with pytest.raises(StoreError, match=rf"read obs://{bucket}/{key}: no such object") as caught:
            opened(any_store).fetch(bucket, StoredObject(key, 1, ""), str(tmp_path / "x"), never)
        assert (caught.value.exit_code, caught.value.code) == (66, "store-missing")
    assert list(tmp_path.glob("x")) == []


@pytest.mark.parametrize("size", [3, 3 * MEBIBYTE, 40 * MEBIBYTE])
def test_an_object_that_changed_since_it_was_listed_is_refused(any_store: AnyStore, tmp_path: Path, size: int) -> None:
    bucket = any_store.bucket()
    any_store.seed(bucket, {"x": b"a" * size})
    store = opened(any_store)
    item = item_at(store, Location(bucket, "x"))
    any_store.seed(bucket, {"x": b"b" * size})
    with pytest.raises(StoreError, match="changed after it was listed") as caught:
        store.fetch(bucket, item, str(tmp_path / "x"), never)
    assert caught.value.exit_code == 66
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("size", [1, 5 * MEBIBYTE, 40 * MEBIBYTE])
def test_a_transfer_stops_when_it_is_asked_to(any_store: AnyStore, tmp_path: Path, size: int) -> None:
    bucket = any_store.bucket()
    any_store.seed(bucket, {"x": b"a" * size})
    store = opened(any_store)
    item = item_at(store, Location(bucket, "x"))
    asked = threading.Event()

    def stopped() -> bool:
        asked.set()
        return True

    with pytest.raises(Cancelled):
        store.fetch(bucket, item, str(tmp_path / "x"), stopped)
    assert asked.is_set()
    assert not (tmp_path / "x").exists()


def test_new_files_obey_the_umask(any_store: AnyStore, tmp_path: Path) -> None:
    bucket = any_store.bucket()
    any_store.seed(bucket, {"x": b"1"})
    store = opened(any_store)
    store.fetch(bucket, item_at(store, Location(bucket, "x")), str(tmp_path / "x"), never)
    (tmp_path / "model").write_bytes(b"")
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "model").stat().st_mode


def test_many_threads_share_one_store(any_store: AnyStore, tmp_path: Path) -> None:
    bucket = any_store.bucket()
    objects = {f"in/{number}": os.urandom(2000) for number in range(24)}
    any_store.seed(bucket, objects)
    store = opened(any_store)
    items = list(store.walk(Location(bucket, "in/")))

    def labour(part: int) -> None:
        for item in items[part::4]:
            store.fetch(bucket, item, str(tmp_path / item.key.replace("/", "-")), never)
            store.put(Location(bucket, item.key.replace("in/", "out/")), iter([objects[item.key]]), item.size)

    threads = [threading.Thread(target=labour, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.name.replace("-", "/"): path.read_bytes() for path in tmp_path.glob("in-*")} == objects
    assert {key: any_store.read(bucket, key.replace("in/", "out/")) for key in objects} == objects
