"""Archives in a staging: unpacked once, kept while nobody touches them, counted and told as any channel."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from archives import tarred, zipped
from fake_store import FakeRecord, FakeStore, broken, make_input, make_plan, never
from msgspec.structs import replace

from launcher.core.errors import Exit, StageError, StoreError
from launcher.core.members import GROWTH_LEAST
from launcher.stage import StageResult, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from launcher.core.plan import Plan
    from launcher.core.record import Moving
    from launcher.core.stored import StoredObject

FILES = {"a.txt": b"one", "d/b.bin": bytes(range(256)) * 64}


class Torn(FakeStore):
    """It gives small pieces, and breaks off after so many bytes, once."""

    breaks_after = -1

    def read(
        self, bucket: str, item: StoredObject, start: int, end: int, stopped: Callable[[], bool]
    ) -> Iterator[bytes]:
        for piece in super().read(bucket, item, start, end, stopped):
            for at in range(0, len(piece), 100):
                yield piece[at : at + 100]
                if 0 <= self.breaks_after <= at:
                    self.breaks_after = -1
                    raise broken()


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "log").mkdir()
    return str(tmp_path)


def asked(root: str, key: str = "data/", **transfers: int) -> Plan:
    plan = make_plan(root, inputs=(replace(make_input(root, key), extract=True),))
    return replace(plan, transfers=replace(plan.transfers, **transfers))


def run(plan: Plan, store: FakeStore, record: FakeRecord | None = None) -> StageResult:
    store.journal.clear()
    return stage(plan, store, record or FakeRecord(), never)


def tree(root: str) -> dict[str, bytes]:
    top = f"{root}/inputs/data_url_0"
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(top) for name in names]
    found = {}
    for path in paths:
        with open(path, "rb") as file:
            found[os.path.relpath(path, top)] = file.read()
    return found


@pytest.mark.parametrize(
    ("name", "content"), [("x.tar.gz", tarred(FILES)), ("x.tar", tarred(FILES, "w")), ("x.zip", zipped(FILES))]
)
@pytest.mark.parametrize("by_name", [True, False])
def test_an_archive_is_unpacked_and_on_a_second_start_kept(
    root: str, name: str, content: bytes, *, by_name: bool
) -> None:
    store = Torn({f"data/{name}": content, "data/.launcher/x": b""})
    plan = asked(root, f"data/{name}" if by_name else "data/")
    record = FakeRecord()
    assert run(plan, store, record).warnings == ()
    assert tree(root) == FILES
    (staged,) = record.stagings
    assert (staged.objects, staged.bytes, staged.kept) == (1, len(content), 0)
    record = FakeRecord()
    assert run(plan, store, record).warnings == ()
    assert store.keys_of("read") == []
    assert (record.stagings[0].objects, record.stagings[0].kept) == (0, 1)
    assert tree(root) == FILES


def test_what_was_touched_is_unpacked_again(root: str) -> None:
    store = FakeStore({"data/x.zip": zipped(FILES)})
    run(asked(root), store)
    with open(f"{root}/inputs/data_url_0/a.txt", "w", encoding="utf-8") as file:
        file.write("two")
    assert run(asked(root), store).warnings == ()
    assert store.keys_of("read")
    assert tree(root) == FILES
    run(asked(root), store)
    assert not store.keys_of("read")


def test_of_another_version_only_what_it_lacks_is_told(root: str) -> None:
    store = FakeStore({"data/x.zip": zipped(FILES)})
    run(asked(root), store)
    store.objects["data/x.zip"] = zipped({"a.txt": b"new"})
    (warning,) = run(asked(root), store).warnings
    assert "holds 1 files that obs://b/data/ does not have, the first is 'd/b.bin'" in warning
    assert tree(root)["a.txt"] == b"new"


def watched(plan: Plan, store: FakeStore, record: FakeRecord) -> list[tuple[int, int]]:
    """Stage; the bytes of each channel that have come in the end, and those that were known."""
    seen: list[Moving] = []

    @contextmanager
    def shown(moving: Callable[[], Sequence[Moving]]) -> Iterator[None]:
        yield
        seen.extend(moving())

    stage(plan, store, record, never, shown=shown)
    return [(one.bytes, one.known_bytes) for one in seen]


def test_a_stream_that_breaks_off_goes_on_where_it_was(root: str) -> None:
    content = tarred({"x": os.urandom(5000)}, "w")
    store = Torn({"data/x.tar": content})
    store.breaks_after = 3000
    record = FakeRecord()
    assert watched(asked(root), store, record) == [(len(content), len(content))]
    assert store.keys_of("read") == ["data/x.tar"] * 2
    assert record.stagings[0].retries == 1


def test_an_archive_of_which_some_is_read_twice_has_come_once(root: str) -> None:
    content = zipped(FILES)
    assert watched(asked(root), FakeStore({"data/x.zip": content}), FakeRecord()) == [(len(content), len(content))]


@pytest.mark.parametrize(
    ("objects", "said", "exit_code"),
    [
        ({"data/a.zip": b"", "data/b.zip": b""}, "holds more than one object", Exit.INVALID),
        ({"data/": b""}, "holds no object", Exit.MISSING),
        ({"data/a.7z": b"x"}, "is no archive that can be unpacked", Exit.MISSING),
        ({"data/a.zip": b"PK"}, "is cut off", Exit.MISSING),
        ({"data/a.tar.gz": tarred({"../evil": b"x"})}, "holds '../evil'", Exit.MISSING),
    ],
)
def test_what_cannot_be_unpacked_is_refused(root: str, objects: dict[str, bytes], said: str, exit_code: Exit) -> None:
    with pytest.raises(StageError, match=rf"^inputs\[0\] \(data_url\): .*{said}") as caught:
        run(asked(root), FakeStore(objects))
    assert caught.value.exit_code == exit_code
    assert not os.path.exists(f"{root}/evil")


def test_a_bomb_is_refused_by_the_ratio_that_was_set(root: str) -> None:
    content = bytes(GROWTH_LEAST + 1)
    store = FakeStore({"data/x.zip": zipped({"x": content})})
    with pytest.raises(StageError, match=r"^inputs\[0\] \(data_url\): the archive 'x.zip' "):
        run(asked(root, extract_ratio=1), store)
    run(asked(root, extract_ratio=5000), store)
    assert tree(root) == {"x": content}


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_a_store_without_ranges_is_read_whole(root: str, name: str) -> None:
    class Unranged(FakeStore):
        def read(
            self, bucket: str, item: StoredObject, start: int, end: int, stopped: Callable[[], bool]
        ) -> Iterator[bytes]:
            if (start, end) != (0, item.size):
                raise StoreError("no ranges", code="store-unranged", action="None.")
            return super().read(bucket, item, start, end, stopped)

    store = Unranged({f"data/{name}": zipped(FILES) if name.endswith("zip") else tarred(FILES)})
    run(asked(root), store)
    assert tree(root) == FILES
    assert store.keys_of("read") == [f"data/{name}"]


def test_two_archives_of_two_channels_are_counted_apart(root: str) -> None:
    inputs = tuple(
        replace(make_input(root, f"{name}/", name), extract=True, path=f"{root}/inputs/{name}") for name in ("a", "b")
    )
    store = FakeStore({f"{name}/x.tar": tarred({f"{n}": b"x" * 3000 for n in range(50)}, "w") for name in ("a", "b")})
    record = FakeRecord()
    run(make_plan(root, inputs=inputs), store, record)
    assert [one.bytes for one in record.stagings] == [len(store.objects["a/x.tar"])] * 2
