"""What every store does alike, on each of the three."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from shelf import chunks, item_at, never, opened, read, sizes

from launcher.core.errors import Cancelled, StoreError
from launcher.core.stored import StoredObject
from launcher.core.urls import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

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
def test_what_was_put_is_read(any_store: AnyStore, size: int) -> None:
    bucket = any_store.bucket()
    content = os.urandom(size)
    store, at = opened(any_store), Location(bucket, "out/deep/model.bin")
    store.put(at, chunks(content), size)
    assert any_store.read(bucket, at.key) == content
    item = item_at(store, at)
    assert read(store, bucket, item) == content
    assert read(store, bucket, StoredObject(at.key, -1, ""), (0, -1)) == content
    assert any_store.listing(bucket) == {at.key: size}
    if any_store.capability.ranged and size:
        parts = [(start, min(start + 700_000, size)) for start in range(0, size, 700_000)][:20]
        assert b"".join(read(store, bucket, item, part) for part in parts) == content[: parts[-1][1]]
        assert read(store, bucket, item, (size - 1, size)) == content[-1:]


def test_what_another_client_laid_down_is_read(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    objects = {f"in/{number}": os.urandom(number * 1000) for number in range(8)}
    any_store.seed(bucket, objects)
    store = opened(any_store)
    assert {item.key: read(store, bucket, item) for item in store.walk(Location(bucket, "in/"))} == objects


@pytest.mark.parametrize(
    "name", ["a b+c", "a%20b%", "ünï/中文", "e\u0301", "#?&=", "😀", "-x", "~", "[a]{b}", "..x", "x..", 'a"b', "a'b\\c"]
)
def test_names_come_back_as_they_went(any_store: AnyStore, name: str) -> None:
    bucket = any_store.bucket()
    store, at = opened(any_store), Location(bucket, f"in/{name}")
    store.put(at, iter([b"x"]), 1)
    assert any_store.listing(bucket) == {at.key: 1}
    assert sizes(store, Location(bucket, "in/")) == {at.key: 1}
    assert read(store, bucket, item_at(store, at)) == b"x"
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


def test_remove_takes_one_object_away_and_minds_no_other(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    any_store.seed(bucket, {"out/a": b"1", "out/b": b"2"})
    store = opened(any_store)
    for key in ("out/a", "out/a", "out/none", "no/where"):
        store.remove(Location(bucket, key))
    assert any_store.listing(bucket) == {"out/b": 1}


def test_what_is_gone_is_missing(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    for key in ("gone", "gone/deep"):
        for item in (StoredObject(key, 1, ""), StoredObject(key, -1, "")):
            with pytest.raises(StoreError, match=rf"read obs://{bucket}/{key}: no such object") as caught:
                read(opened(any_store), bucket, item, (0, item.size))
            assert (caught.value.exit_code, caught.value.code) == (66, "store-missing")


@pytest.mark.parametrize("size", [3, 3 * MEBIBYTE, 40 * MEBIBYTE])
def test_an_object_that_changed_since_it_was_listed_is_refused(any_store: AnyStore, size: int) -> None:
    bucket = any_store.bucket()
    any_store.seed(bucket, {"x": b"a" * size})
    store = opened(any_store)
    item = item_at(store, Location(bucket, "x"))
    any_store.seed(bucket, {"x": b"b" * size})
    for part in [(0, size), *([(1, 2)] if any_store.capability.ranged else [])]:
        with pytest.raises(StoreError, match="changed after it was listed") as caught:
            read(store, bucket, item, part)
        assert caught.value.exit_code == 66


@pytest.mark.parametrize("size", [1, 5 * MEBIBYTE, 40 * MEBIBYTE])
def test_a_transfer_stops_when_it_is_asked_to(any_store: AnyStore, size: int) -> None:
    bucket = any_store.bucket()
    any_store.seed(bucket, {"x": b"a" * size})
    store = opened(any_store)
    item = item_at(store, Location(bucket, "x"))
    asked = threading.Event()

    def stopped() -> bool:
        asked.set()
        return True

    with pytest.raises(Cancelled):
        read(store, bucket, item, stopped=stopped)
    assert asked.is_set()


def test_pieces_are_small_enough_to_be_held(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    content = os.urandom(5 * MEBIBYTE + 3)
    any_store.seed(bucket, {"x": content})
    store = opened(any_store)
    item = item_at(store, Location(bucket, "x"))
    pieces = [memoryview(piece) for piece in store.read(bucket, item, 0, item.size, never)]
    assert max(len(piece) for piece in pieces) <= 3 * MEBIBYTE
    assert b"".join(pieces) == content


NAMES = ["a/z", "a-", "a.txt", "a b", "b", "Z", "ü", "中", "😀", "\ue000", "c/d/e", "c0", "c-1", "c/d-/e", "a/empty"]


def test_a_listing_is_in_the_order_of_keys_and_goes_on_after_any_of_them(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    any_store.seed(bucket, {f"in/{name}": b"1" * (name != "a/empty") for name in NAMES} | {"in-": b"", "inn": b"1"})
    store = opened(any_store)
    expected = sorted((f"in/{name}" for name in NAMES), key=str.encode)
    folder = Location(bucket, "in/")
    assert [item.key for item in store.walk(folder)] == expected
    for number, key in enumerate(expected, 1):
        assert [item.key for item in store.walk(folder, key)] == expected[number:], key
    for between, number in (("in/", 0), ("in/a/", expected.index("in/a/empty")), ("in/zzz", expected.index("in/ü"))):
        assert [item.key for item in store.walk(folder, between)] == expected[number:], between


def test_many_threads_share_one_store(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    objects = {f"in/{number}": os.urandom(2000) for number in range(24)}
    any_store.seed(bucket, objects)
    store = opened(any_store)
    items = list(store.walk(Location(bucket, "in/")))
    found: dict[str, bytes] = {}

    def labour(part: int) -> None:
        for item in items[part::4]:
            found[item.key] = read(store, bucket, item)
            store.put(Location(bucket, item.key.replace("in/", "out/")), iter([objects[item.key]]), item.size)

    threads = [threading.Thread(target=labour, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == objects
    assert {key: any_store.read(bucket, key.replace("in/", "out/")) for key in objects} == objects
