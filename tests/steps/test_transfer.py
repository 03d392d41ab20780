"""What a second start brings again, and large objects in ranges: by what is asked of the store."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from fake_store import (
    BUCKET,
    FakeRecord,
    FakeStore,
    broken,
    make_input,
    make_output,
    make_plan,
    missing,
    never,
    refused,
)
from msgspec.structs import replace

from launcher.core.errors import Cancelled, StageError, StoreError
from launcher.core.record import Moving
from launcher.core.stored import StoredObject
from launcher.core.urls import Location
from launcher.core.window import Window
from launcher.retry import Retries
from launcher.stage import stage
from launcher.stage.arrival import Arrivals
from launcher.stage.channel import Channel
from launcher.stage.landing import Folder
from launcher.stage.marks import BYTES, Marks
from launcher.stage.room import Room
from launcher.stage.transfer import MEMORY, RANGE_BYTES, Transfers
from launcher.stage.wanted import Wanted, present

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from launcher.core.plan import Plan

LARGE = 2 * RANGE_BYTES + 5 * 1024**2
RANGES = [(0, RANGE_BYTES), (RANGE_BYTES, 2 * RANGE_BYTES), (2 * RANGE_BYTES, LARGE)]


def large(seed: int) -> bytes:
    return hashlib.sha256(bytes([seed])).digest() * (LARGE // 32)


class Ranged(FakeStore):
    """It notes each range that is asked for, gives it in two pieces, and knows an ETag that is no checksum."""

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        super().__init__(objects)
        self.ranges: list[tuple[int, int]] = []
        self.unranged = False
        self.broken_at: dict[int, Exception | Callable[[], None]] = {}

    def lay(self, key: str, content: bytes, etag: str) -> None:
        self.objects[key], self.etags[key] = content, etag

    def read(
        self, bucket: str, item: StoredObject, start: int, end: int, stopped: Callable[[], bool]
    ) -> Iterator[bytes]:
        if self.unranged and (start, end) != (0, item.size):
            raise StoreError("no ranges", code="store-unranged", action="None.")
        if item.etag and item.etag != self._entry(item.key).etag:
            raise StoreError("it is another one now", code="store-changed", action="Start again.")
        self.ranges.append((start, end))
        for piece in super().read(bucket, item, start, end, stopped):
            yield piece[: len(piece) // 2]
            fault = self.broken_at.pop(start, None)
            if isinstance(fault, Exception):
                raise fault
            if fault is not None:
                fault()
            yield piece[len(piece) // 2 :]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "log").mkdir()
    return make_plan(str(tmp_path), inputs=(make_input(str(tmp_path)),))


def folder(tmp_path: Path) -> Path:
    return tmp_path / "inputs/data_url_0"


def files(tmp_path: Path) -> list[str]:
    return sorted(str(each.relative_to(folder(tmp_path))) for each in folder(tmp_path).rglob("*") if each.is_file())


def run(plan: Plan, store: FakeStore, stopped: Callable[[], bool] = never) -> FakeRecord:
    record = FakeRecord()
    store.journal.clear()
    stage(plan, store, record, stopped)
    return record


def test_a_second_start_brings_nothing_that_is_as_it_was(plan: Plan, tmp_path: Path) -> None:
    store = FakeStore({f"data/{n}": b"x" * n for n in range(50)})
    store.etags = {f"data/{n}": f'"{n}-2"' for n in range(50)}  # multipart: no checksum could tell
    run(plan, store)
    record = run(plan, store)
    assert store.keys_of("read") == []
    (staged,) = record.stagings
    assert (staged.objects, staged.bytes, staged.kept) == (0, 0, 50)
    run(plan, store)
    assert store.keys_of("read") == []


def test_marks_do_not_pile_up(plan: Plan, tmp_path: Path) -> None:
    store = FakeStore({f"data/{n}": b"x" for n in range(50)})
    for _ in range(4):
        run(plan, store)
    assert sum(each.stat().st_size for each in (tmp_path / "log").iterdir()) == 50 * BYTES


def test_what_was_touched_is_brought_again_unless_its_checksum_is_right(plan: Plan, tmp_path: Path) -> None:
    store = FakeStore({"data/a": b"aa", "data/b": b"bb", "data/c": b"cc", "data/d": b"dd"})
    store.etags["data/c"] = '"0-2"'
    run(plan, store)
    os.utime(folder(tmp_path) / "a", ns=(1, 1))
    (folder(tmp_path) / "b").write_bytes(b"XX")
    os.utime(folder(tmp_path) / "c", ns=(1, 1))
    run(plan, store)
    assert sorted(store.keys_of("read")) == ["data/b", "data/c"]
    assert (folder(tmp_path) / "b").read_bytes() == b"bb"
    run(plan, store)
    assert store.keys_of("read") == []


def test_an_object_that_has_changed_is_brought_again_though_it_is_as_long(plan: Plan, tmp_path: Path) -> None:
    store = FakeStore({"data/a": b"old", "data/b": b"old"})
    store.etags = {"data/a": '"1-2"', "data/b": '"1-2"'}
    run(plan, store)
    store.objects["data/a"], store.etags["data/a"] = b"new", '"2-2"'
    run(plan, store)
    assert store.keys_of("read") == ["data/a"]
    assert (folder(tmp_path) / "a").read_bytes() == b"new"


def test_a_file_of_the_right_size_without_any_mark_of_its_content_is_brought_again(plan: Plan) -> None:
    store = FakeStore({"data/a": b"aa"})
    store.etags["data/a"] = ""
    run(plan, store)
    run(plan, store)
    assert store.keys_of("read") == ["data/a"]


def test_what_a_killed_start_has_finished_is_not_brought_again(plan: Plan) -> None:
    store = FakeStore({f"data/{n:02}": b"x" for n in range(20)})
    store.etags = dict.fromkeys(store.objects, '"0-2"')
    stop = threading.Event()
    store.faults["read", "data/10"] = [stop.set]
    with pytest.raises(Cancelled):
        run(plan, store, stop.is_set)
    done = sum(1 for each in os.scandir(plan.inputs[0].path))
    run(plan, store)
    assert 0 < len(store.keys_of("read")) == 20 - done
    run(plan, store)
    assert store.keys_of("read") == []


def test_predownloaded_files_that_are_kept_are_in_the_baseline(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    plan = make_plan(str(tmp_path), outputs=(make_output(str(tmp_path), predownload=True),))
    store = Ranged()
    store.lay("train_url/small", b"1", '"0-2"')
    store.lay("train_url/large", large(1), '"0-9"')
    first = stage(plan, store, FakeRecord(), never)
    store.ranges.clear()
    second = stage(plan, store, FakeRecord(), never)
    assert store.ranges == []
    assert second.baseline == first.baseline
    assert set(second.baseline["train_url"]) == {"small", "large"}


# ranges


def test_a_large_object_comes_in_ranges_each_once(plan: Plan, tmp_path: Path) -> None:
    store = Ranged()
    store.lay("data/x", large(1), '"1-3"')
    record = run(plan, store)
    assert sorted(store.ranges) == RANGES
    assert (folder(tmp_path) / "x").read_bytes() == large(1)
    assert files(tmp_path) == ["x"]
    assert (record.stagings[0].objects, record.stagings[0].bytes) == (1, LARGE)
    store.ranges.clear()
    assert run(plan, store).stagings[0].kept == 1
    assert store.ranges == []


def test_a_start_goes_on_with_the_ranges_that_a_failed_one_has_finished(plan: Plan, tmp_path: Path) -> None:
    store = Ranged()
    store.lay("data/x", large(1), '"1-3"')
    store.broken_at[RANGES[2][0]] = refused()
    one_by_one = replace(plan, transfers=replace(plan.transfers, most=1))
    with pytest.raises(StageError, match="403 AccessDenied"):
        run(one_by_one, store)
    (left,) = files(tmp_path)
    assert left.startswith(".launcher-part-of-")
    store.ranges.clear()
    record = run(one_by_one, store)
    assert store.ranges == RANGES[2:]
    assert (folder(tmp_path) / "x").read_bytes() == large(1)
    assert files(tmp_path) == ["x"]
    assert record.stagings[0].bytes == LARGE


def test_a_part_of_another_version_is_not_gone_on_with_and_removed_at_the_end(plan: Plan, tmp_path: Path) -> None:
    store = Ranged()
    store.lay("data/x", large(1), '"1-3"')
    store.broken_at[RANGES[2][0]] = refused()
    with pytest.raises(StageError):
        run(plan, store)
    store.lay("data/x", large(2), '"2-3"')
    store.ranges.clear()
    run(plan, store)
    assert sorted(store.ranges) == RANGES
    assert (folder(tmp_path) / "x").read_bytes() == large(2)
    assert files(tmp_path) == ["x"]


def test_an_object_that_changes_on_its_way_is_never_mixed(plan: Plan, tmp_path: Path) -> None:
    store = Ranged()
    store.lay("data/x", large(1), '"1-3"')
    store.broken_at[RANGES[0][0]] = lambda: store.lay("data/x", large(2), '"2-3"')
    one_by_one = replace(plan, transfers=replace(plan.transfers, most=1))
    with pytest.raises(StageError, match="it is another one now"):
        run(one_by_one, store)
    assert all(name.startswith(".launcher-part-of-") for name in files(tmp_path))
    run(one_by_one, store)
    assert (folder(tmp_path) / "x").read_bytes() == large(2)


def test_a_store_without_ranges_is_read_whole_and_once(plan: Plan, tmp_path: Path) -> None:
    store = Ranged()
    store.unranged = True
    store.lay("data/x", large(1), '"1-3"')
    run(plan, store)
    assert store.ranges == [(0, LARGE)]
    assert (folder(tmp_path) / "x").read_bytes() == large(1)


def test_a_range_that_breaks_off_comes_again_and_only_it(plan: Plan, tmp_path: Path) -> None:
    store = Ranged()
    store.lay("data/x", large(1), '"1-3"')
    store.broken_at[RANGES[1][0]] = broken()
    record, seen = FakeRecord(), list[Moving]()

    @contextmanager
    def shown(moving: Callable[[], Sequence[Moving]]) -> Iterator[None]:
        yield
        seen.extend(moving())

    stage(plan, store, record, never, shown=shown)
    assert [(one.bytes, one.known_bytes) for one in seen] == [(LARGE, LARGE)]
    assert sorted(store.ranges) == sorted([*RANGES, RANGES[1]])
    assert (folder(tmp_path) / "x").read_bytes() == large(1)
    assert (record.stagings[0].bytes, record.stagings[0].retries) == (LARGE, 1)


def test_a_large_file_of_the_same_checksum_is_kept(plan: Plan, tmp_path: Path) -> None:
    store = Ranged({"data/x": large(1)})
    folder(tmp_path).mkdir(parents=True)
    (folder(tmp_path) / "x").write_bytes(large(1))
    run(plan, store)
    assert store.ranges == []


def test_only_lasting_parts_outlive_a_failure(plan: Plan, tmp_path: Path) -> None:
    store = Ranged({f"data/{n}": b"1" for n in range(10)})
    store.lay("data/a", large(1), '"1-3"')
    store.broken_at[RANGES[1][0]] = refused()
    with pytest.raises(StageError):
        run(plan, store)
    assert [name for name in files(tmp_path) if name.startswith(".launcher-part-") and "-of-" not in name] == []


# hung transfers


@pytest.mark.parametrize("size", [1024, LARGE])
def test_a_transfer_that_was_left_behind_writes_into_no_file_that_is_opened_later(
    plan: Plan, tmp_path: Path, size: int
) -> None:
    hanging, release, over = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        release.wait(60)

    class Hung(Ranged):
        def read(self, *arguments: object) -> Iterator[bytes]:
            try:
                yield from super().read(*arguments)  # type: ignore[arg-type]
            finally:
                over.set()

    store = Hung()
    store.lay("data/x", b"\xff" * size, '"1-3"')
    store.broken_at[0] = hang
    one = replace(plan, transfers=replace(plan.transfers, most=1))
    with pytest.raises(Cancelled):
        run(one, store, hanging.is_set)
    later = [os.open(tmp_path / f"later{n}", os.O_RDWR | os.O_CREAT) for n in range(64)]
    try:
        release.set()
        assert over.wait(30)
        assert [os.fstat(descriptor).st_size for descriptor in later] == [0] * 64
    finally:
        for descriptor in later:
            os.close(descriptor)


# what manifests name: objects of which nobody knows the size


class Doubles:
    """A channel of objects of unknown size, and the transfers for it."""

    def __init__(self, tmp_path: Path, store: FakeStore, marks: type[Marks] = Marks) -> None:
        root = str(tmp_path)
        (tmp_path / "log").mkdir(exist_ok=True)
        self.lock = threading.Lock()
        self.done: list[Channel] = []
        want = Wanted(kind="input", name="d", label="d", source=Location(BUCKET, "data/"), path=f"{root}/in")
        Folder(root, want.path).leave()
        room = Room()
        room.user("d", want.path)
        there = present(want, root)
        self.channel = Channel(want, there, Retries(), room=room, lock=self.lock, began=0.0)
        self.room = room
        self.marks = marks(f"{root}/log/staged")
        arrivals = Arrivals(
            root,
            marks=self.marks,
            window=Window(1),
            lock=self.lock,
            monotonic=lambda: 0.0,
            done=self.done.append,
        )
        self.transfers = Transfers(root, store, arrivals, marks=self.marks, lock=self.lock, cache=None, ratio=1)

    def bring(self, *keys: str) -> Channel:
        return self.bring_all(StoredObject(key, -1, "") for key in keys)

    def bring_all(self, items: Iterable[StoredObject]) -> Channel:
        self.channel.supply = [self.channel.known(item.key.rpartition("/")[2], item) for item in items]
        for _, work in self.transfers.jobs(self.channel):
            left = work(never)
            if left is not None:
                left[1](never)
        return self.channel


def test_sizes_that_become_known_are_summed_up_right(tmp_path: Path) -> None:
    store = FakeStore({"data/a": b"12345", "data/b": b"", "data/c": b"1"})
    first = Doubles(tmp_path, store)
    channel = first.bring("data/a", "data/b", "data/c")
    assert (channel.staged().objects, channel.staged().bytes, channel.staged().kept) == (3, 6, 0)
    moving = channel.moving()
    assert (moving.objects, moving.bytes, moving.known_bytes) == (3, 6, 6)
    (mount,) = first.room._mounts.values()
    assert (mount.bytes, mount.entries) == (0, 0)
    assert first.done == [channel]


def test_what_a_manifest_names_is_kept_by_its_checksum(tmp_path: Path) -> None:
    store = FakeStore({"data/a": b"12345", "data/b": b"1"})
    Doubles(tmp_path, store).bring("data/a", "data/b")
    store.objects["data/b"] = b"new"
    store.journal.clear()
    second = Doubles(tmp_path, store)
    channel = second.bring("data/a", "data/b")
    assert store.keys_of("read") == ["data/b"]
    assert (channel.staged().objects, channel.staged().bytes, channel.staged().kept) == (1, 3, 1)
    assert channel.moving().bytes == channel.moving().known_bytes == 8
    (mount,) = second.room._mounts.values()
    assert (mount.bytes, mount.entries) == (0, 0)


class OneInode(Marks):
    """A file system that gives every file the same inode: it may give the number of one that is gone to the next."""

    def of_range(self, part: str, version: str, start: int, inode: int) -> bytes:
        return super().of_range(part, version, start, 0)


def test_marked_ranges_are_believed_of_no_file_but_that_one(tmp_path: Path) -> None:
    store = Ranged()
    store.lay("data/x", large(1), '"1-3"')
    item = StoredObject("data/x", LARGE, '"1-3"')
    for failing in (2, 1):
        store.broken_at[RANGES[failing][0]] = refused()
        with pytest.raises(StoreError):
            Doubles(tmp_path, store, OneInode).bring_all([item])
        (left,) = os.listdir(tmp_path / "in")
        if failing == 2:
            (tmp_path / "in" / left).unlink()
    store.ranges.clear()
    Doubles(tmp_path, store, OneInode).bring_all([item])
    assert store.ranges == RANGES[1:]
    assert (tmp_path / "in/x").read_bytes() == large(1)
    (tmp_path / "in/x").unlink()
    Doubles(tmp_path, store, OneInode).bring_all([item])
    assert (tmp_path / "in/x").read_bytes() == large(1)


def test_an_object_that_grows_between_two_tries_is_no_mixture(tmp_path: Path) -> None:
    store = Ranged({"data/a": b"a long old text"})

    def shrink() -> None:
        store.objects["data/a"] = b"new"
        raise broken()

    store.broken_at[0] = shrink
    Doubles(tmp_path, store).bring("data/a")
    assert (tmp_path / "in/a").read_bytes() == b"new"


def test_an_object_that_is_missing_where_no_dataset_may_lack_one_is_an_error(tmp_path: Path) -> None:
    store = FakeStore()
    store.always["read", "data/a"] = missing("data/a")
    with pytest.raises(StoreError, match="no such object"):
        Doubles(tmp_path, store).bring("data/a")
    assert os.listdir(tmp_path / "in") == []


def test_a_transfer_holds_no_more_than_is_reckoned_with() -> None:
    assert MEMORY * 4 == 8 * 1024**2
