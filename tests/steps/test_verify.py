from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from fake_store import BUCKET, FakeStore, missing, never, refused

from launcher.core.errors import Cancelled, Exit, LauncherError, StoreError
from launcher.core.manifest import Entry, Manifest, dump_manifest
from launcher.core.occupancy import Marker, dump_marker
from launcher.core.stored import StoredObject
from launcher.core.urls import Location
from launcher.verify import Verified, verify

if TYPE_CHECKING:
    from collections.abc import Iterator

OUT = Location(BUCKET, "out/")
TIME = "2024-05-06T07:08:09.000+00:00"
FILES = {"a.pt": b"aaa", "b/c.pt": b"cc", "b/d": b"", "名.pt": b"n"}


def entry(key: str, content: bytes) -> Entry:
    return Entry(key=key, size=len(content), sha256=hashlib.sha256(content).hexdigest(), time=TIME)


def manifest(files: dict[str, bytes], worker: int = 0, workers: int = 1, job: str = "job-1") -> bytes:
    objects = tuple(entry(key, content) for key, content in files.items())
    return dump_manifest(Manifest(job=job, worker=worker, workers=workers, objects=objects))


def output(files: dict[str, bytes], *manifests: bytes) -> FakeStore:
    store = FakeStore({f"out/{key}": content for key, content in files.items()})
    for worker, raw in enumerate(manifests):
        store.objects[f"out/.launcher/manifest-worker-{worker}.json"] = raw
    return store


def problems(store: FakeStore, **how: Any) -> list[tuple[str, str, str]]:
    found = verify(store, OUT, never, **how)
    assert found.whole is not bool(found.problems)
    return [(each.key, each.expected, each.found) for each in found.problems]


@pytest.mark.parametrize("content", [False, True])
def test_a_whole_output_is_whole(content: bool) -> None:  # noqa: FBT001 - a parameter
    store = output(FILES, manifest(FILES))
    assert verify(store, OUT, never, content=content) == Verified(
        url="obs://b/out/",
        whole=True,
        job="job-1",
        workers=1,
        objects=4,
        bytes=6,
        content=content,
        unnamed=0,
        running=(),
        problems=(),
    )
    assert {verb for verb, _ in store.journal} == {"walk", "read"}


def test_the_content_is_read_only_when_it_is_asked_for() -> None:
    store = output(FILES, manifest(FILES))
    store.objects["out/a.pt"] = b"xxx"
    assert problems(store) == []
    assert store.keys_of("read") == ["out/.launcher/manifest-worker-0.json"]
    ((key, expected, found),) = problems(store, content=True)
    assert key == "a.pt"
    assert expected == f"SHA-256 {hashlib.sha256(b'aaa').hexdigest()}"
    assert found == f"SHA-256 {hashlib.sha256(b'xxx').hexdigest()}"


def test_all_that_differs_is_told_at_once() -> None:
    store = output(FILES, manifest({**FILES, "0": b"0", "b/cc": b"12345", "z": b"z"}))
    store.objects["out/a.pt"] = b"aaaa"
    assert problems(store) == [
        ("0", "1 bytes", "no object"),
        ("a.pt", "3 bytes", "4 bytes"),
        ("b/cc", "5 bytes", "no object"),
        ("z", "1 bytes", "no object"),
    ]


def test_the_objects_of_all_workers_make_one_output() -> None:
    mine, theirs = {"a": b"1", "c": b"3"}, {"b": b"2", "d": b"4"}
    found = verify(output({**mine, **theirs}, manifest(mine, 0, 2), manifest(theirs, 1, 2)), OUT, never)
    assert (found.whole, found.objects, found.workers) == (True, 4, 2)


def test_a_manifest_that_is_not_in_order_is_read_all_the_same() -> None:
    objects = tuple(entry(key, FILES[key]) for key in reversed(FILES))
    raw = msgspec.json.encode(Manifest(job="j", worker=0, workers=1, objects=objects))
    assert problems(output(FILES, raw)) == []


def test_keys_are_ordered_as_stores_do_it() -> None:
    files = {"\uffee": b"1", "\U0001f600": b"2", "a": b"3", "a/b": b"4", "a-b": b"5"}
    assert problems(output(files, manifest(files))) == []


class Bytes(FakeStore):
    """A store whose keys are names of files, also of those that are no UTF-8."""

    def walk(self, folder: Location, after: str = "") -> Iterator[StoredObject]:
        for key in sorted(self.objects, key=lambda key: key.encode(errors="surrogateescape")):
            if key.startswith(folder.key) and key > after:
                yield StoredObject(key, len(self.objects[key]), "")


def test_names_that_are_no_text_do_not_disturb_the_order() -> None:
    files = {"\u00e9": b"1", "\uffee": b"2"}
    store = Bytes(output(files, manifest(files)).objects)
    store.objects["out/\udc80"] = store.objects["out/\udcff"] = b"x"
    found = verify(store, OUT, never)
    assert (found.whole, found.unnamed) == (True, 2)


def test_objects_that_nobody_names_are_counted() -> None:
    store = output(FILES, manifest({"a.pt": b"aaa"}))
    store.objects["out/b/"] = b""
    found = verify(store, OUT, never)
    assert (found.whole, found.objects, found.unnamed) == (True, 1, 3)


def test_workers_whose_manifest_is_missing_are_named() -> None:
    store = output(FILES, manifest(FILES, 0, 4))
    store.objects["out/.launcher/manifest-worker-2.json"] = manifest({}, 2, 4)
    assert problems(store) == [(".launcher", "the manifests of 4 workers", "none of worker 1, 3")]


def test_a_manifest_of_uncountable_workers_costs_nothing() -> None:
    ((_, expected, found),) = problems(output(FILES, manifest(FILES, 0, 10**18)))
    assert expected == "the manifests of 1,000,000,000,000,000,000 workers"
    assert found.endswith(", 20 and 999,999,999,999,999,979 more")


@pytest.mark.parametrize(("job", "workers"), [("job-0", 2), ("job-1", 3)])
def test_manifests_of_two_runs_make_no_whole_output(job: str, workers: int) -> None:
    store = output(FILES, manifest(FILES, 0, 2), manifest({}, 1, workers, job))
    assert problems(store)[-1] == (
        ".launcher/manifest-worker-1.json",
        "job 'job-1' with 2 workers, as the first manifest",
        f"job {job!r} with {workers} workers",
    )


def test_a_manifest_under_the_name_of_another_is_told() -> None:
    ((key, expected, found),) = problems(output(FILES, manifest(FILES, 1, 2), manifest({}, 1, 2)))
    assert (key, expected, found) == (
        ".launcher/manifest-worker-0.json",
        "the manifest of worker 0",
        "that of worker 1",
    )


def test_two_workers_that_put_different_things_in_one_place_are_told() -> None:
    store = output({"a": b"1"}, manifest({"a": b"1"}, 0, 2), manifest({"a": b"22"}, 1, 2))
    ((key, expected, found),) = problems(store, content=True)
    assert (key, expected) == ("a", "one content")
    assert found.startswith("2 workers put there: 1 bytes, SHA-256 ")


def test_two_workers_may_put_the_same() -> None:
    store = output({"a": b"1"}, manifest({"a": b"1"}, 0, 2), manifest({"a": b"1"}, 1, 2))
    assert problems(store, content=True) == []


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "nothing in it: its run has not put everything in its place"),
        (b"{", "not a manifest: "),
        (b'{"version": 9}', "not a manifest: "),
        (b"[" * 10000, "not a manifest: "),
    ],
)
def test_what_is_no_manifest_is_a_problem(raw: bytes, said: str) -> None:
    ((key, expected, found),) = problems(output(FILES, raw))
    assert (key, expected) == (".launcher/manifest-worker-0.json", "the manifest of a worker")
    assert found.startswith(said)


def test_a_manifest_too_large_is_not_read() -> None:
    store = output(FILES, manifest(FILES))
    store.sizes["out/.launcher/manifest-worker-0.json"] = 2**30
    ((key, expected, found),) = problems(store)
    assert (key, found) == (".launcher/manifest-worker-0.json", "1,073,741,824 bytes")
    assert expected == "manifests of 268,435,456 bytes at most in all"
    assert store.keys_of("read") == []


def marker(job: str = "job-2", *, ended: bool = False) -> Marker:
    return Marker(
        job=job,
        label=f"modelarts-job-{job}-worker-0",
        worker=0,
        workers=1,
        host="h",
        owner=None,
        token="a" * 32,
        started=TIME,
        beat=TIME,
        every=30.0,
        ended=ended,
    )


def at(one: Marker) -> str:
    return f"out/.launcher/running-{one.label}.json"


def test_a_run_that_is_still_at_it_is_told() -> None:
    store = output(FILES, manifest(FILES))
    store.objects[at(marker())] = dump_marker(marker())
    store.objects[at(marker("job-3"))] = dump_marker(marker("job-3", ended=True))
    store.objects["out/.launcher/running-x.json"] = b"no marker"
    store.objects["out/.launcher/running-y.json"] = b"x" * 10**5
    found = verify(store, OUT, never)
    assert (found.whole, found.running, found.unnamed) == (True, (marker(),), 0)


def test_where_nothing_lies_there_is_nothing_to_verify() -> None:
    with pytest.raises(LauncherError, match="nothing lies there at all") as caught:
        verify(FakeStore(), OUT, never)
    assert (caught.value.code, caught.value.exit_code) == ("no-manifest", Exit.MISSING)


def test_an_output_without_a_manifest_is_told_with_who_writes_there() -> None:
    with pytest.raises(LauncherError, match="no run has put the whole of its output there"):
        verify(output(FILES), OUT, never)
    store = output(FILES)
    store.objects[at(marker())] = dump_marker(marker())
    with pytest.raises(LauncherError, match=r"job 'job-2' \(worker-0 on 'h'\) writes there, last sign of it 2024"):
        verify(store, OUT, never)


def test_an_object_that_goes_while_it_is_compared_is_a_problem() -> None:
    store = output(FILES, manifest(FILES))
    store.faults["read", "out/a.pt"] = [missing("out/a.pt")]
    ((key, _, found),) = problems(store, content=True)
    assert key == "a.pt"
    assert found == "an object that changed meanwhile: no such object out/a.pt"


@pytest.mark.parametrize("verb", ["walk", "read"])
def test_what_the_store_refuses_is_an_error(verb: str) -> None:
    store = output(FILES, manifest(FILES))
    store.always[verb, "out/"] = refused()
    with pytest.raises(StoreError, match="403"):
        verify(store, OUT, never, content=True)


def test_a_store_that_is_busy_is_asked_again() -> None:
    store = output(FILES, manifest(FILES))
    busy = StoreError("503", code="store-busy", action="Try again.")
    store.faults["walk", "out/"] = [busy]
    store.faults["read", "out/a.pt"] = [busy]
    assert problems(store, content=True) == []


def test_a_stop_breaks_it_off() -> None:
    with pytest.raises(Cancelled):
        verify(output(FILES, manifest(FILES)), OUT, lambda: True)


class Counted:
    """An object of a listing that counts how many of its kind are alive."""

    alive = most = 0
    size, etag = 1, ""

    def __init__(self, key: str) -> None:
        self.key = key
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self) -> None:
        Counted.alive -= 1


class Endless(FakeStore):
    def walk(self, folder: Location, after: str = "") -> Iterator[StoredObject]:
        yield from super().walk(folder, after)
        if folder == OUT:
            for number in range(10_000):
                yield cast("StoredObject", Counted(f"out/x{number:05d}"))


def test_the_listing_is_never_held() -> None:
    store = Endless(output({"a": b""}, manifest({"a": b""})).objects)
    assert verify(store, OUT, never).unnamed == 10_000
    assert 0 < Counted.most < 100
