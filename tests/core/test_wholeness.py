"""Whether the newest checkpoint of a store is whole: what names, siblings, manifests and pointers say of it."""

from __future__ import annotations

import pytest
from gathered import gather

from launcher.core.checkpoints import Checkpoint, File
from launcher.core.manifest import Entry, Manifest
from launcher.core.wholeness import Evidence, Judged, evidence_of, has, is_named, is_pointer, judge, pointed_at

NOTHING = Evidence()


def stored(*paths: str, size: int = 1) -> tuple[Checkpoint, ...]:
    return gather([File(path=path, size=size) for path in paths])


def warning(found: tuple[Checkpoint, ...], evidence: Evidence = NOTHING) -> str:
    judged = judge(found, evidence)
    assert judged.note is None
    assert judged.warning is not None
    return judged.warning


def manifest(worker: int, *keys: str, workers: int = 1) -> Manifest:
    entries = tuple(Entry(key=key, size=1, sha256="0" * 64, time="") for key in keys)
    return Manifest(job="j", worker=worker, workers=workers, objects=entries)


def test_nothing_is_said_where_there_is_no_checkpoint() -> None:
    assert judge((), NOTHING) == Judged()


def test_nothing_is_said_of_one_that_the_manifest_names() -> None:
    found = stored("ckpt-9.pt", "ckpt-10.pt")
    assert judge(found, Evidence(sizes={"ckpt-10.pt": 1})) == Judged()
    assert judge(found, Evidence(sizes={"ckpt-10.pt": 1}, cut_off="worker 1 is missing")) == Judged()


def test_without_a_manifest_there_is_a_note() -> None:
    assert judge(stored("ckpt-9.pt"), NOTHING).note == (
        "no manifest tells whether ckpt-9.pt, the newest checkpoint, is whole"
    )


@pytest.mark.parametrize(
    ("paths", "sizes", "words"),
    [
        (
            ("ckpt-9.pt", "ckpt-10.pt"),
            {"ckpt-9.pt": 1},
            "ckpt-10.pt may be half-written: no manifest of a whole upload names it",
        ),
        (("ckpt-9.pt", "ckpt-10.pt"), {"ckpt-9.pt": 1}, "ckpt-9.pt is the newest that is whole"),
        (("ckpt-9.pt", "ckpt-10.pt"), {"ckpt-9.pt": 1, "ckpt-10.pt": 2}, "it has 1 bytes, and 2 in the manifest"),
        (("step_9/a.pt", "step_9/b"), {"step_9/a.pt": 1}, "no manifest of a whole upload names step_9/b of it"),
        (("step_9/a.pt",), {"step_9/a.pt": 3}, "it, step_9/a.pt, has 1 bytes, and 3 in the manifest"),
        (("ckpt-10.pt",), {}, "and there is no other"),
        (("ckpt-9.pt", "ckpt-10.pt"), {}, "ckpt-9.pt is the newest that seems whole"),
    ],
)
def test_what_the_manifest_does_not_name_as_it_is_may_be_half_written(
    paths: tuple[str, ...], sizes: dict[str, int], words: str
) -> None:
    assert words in warning(stored(*paths), Evidence(sizes=sizes))


def test_a_run_that_was_cut_off_leaves_doubts() -> None:
    said = warning(stored("ckpt-9.pt", "ckpt-10.pt"), Evidence(cut_off="job 'x' has not ended well there"))
    assert said.startswith(
        "ckpt-10.pt may be half-written: job 'x' has not ended well there; it was brought all the same"
    )
    assert said.endswith("ckpt-9.pt is the newest that seems whole")


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (("step_9/a.pt", "step_9/b.pt", "step_10/a.pt"), "step_10/ lacks b.pt, which step_9/ has"),
        (
            ("step_9/a.pt", "step_9/b.pt", "step_9/c.pt", "step_10/a.pt"),
            "step_10/ lacks b.pt and 1 more files, which step_9/ has",
        ),
        (
            ("a-step9.index", "a-step9.data-00000-of-00001", "a-step10.index"),
            "a-step10 lacks a-step9.data-00000-of-00001",
        ),
        (("step_10/m-00001-of-00003.pt", "step_10/m-00003-of-00003.pt"), "step_10/ has 2 of its 3 parts"),
        (("tmp-step_10/a.pt", "step_9/a.pt"), "tmp-step_10/ is named as one that is still being written"),
    ],
)
def test_what_is_made_of_many_files_may_lack_some(paths: tuple[str, ...], words: str) -> None:
    assert words in warning(stored(*paths))


@pytest.mark.parametrize(
    "paths",
    [
        ("step_8/a.pt", "step_9/a.pt", "step_9/b.pt", "step_10/a.pt"),
        ("step_9/rank_0.pt", "step_9/rank_1.pt", "step_10/rank_0.pt"),
        ("step_10/m-00001-of-00002.pt", "step_10/m-00002-of-00002.pt"),
        ("tmp-step_8/x.pt", "step_10/a.pt"),
    ],
)
def test_what_only_some_siblings_have_is_not_missed(paths: tuple[str, ...]) -> None:
    assert judge(stored(*paths), NOTHING).warning is None


def test_a_checkpoint_of_too_many_files_is_not_held_against_others() -> None:
    paths = (f"step_10/{'x' * (number % 90)}-{number}.pt" for number in range(8001))
    assert judge(stored("step_9/a.pt", *paths), NOTHING).warning is None


def test_manifests_of_all_workers_make_the_evidence() -> None:
    both = {0: manifest(0, "a", workers=2), 1: manifest(1, "b", workers=2)}
    assert evidence_of(both, ()) == Evidence(sizes={"a": 1, "b": 1})
    assert evidence_of({}, ()) == NOTHING
    assert evidence_of({}, ("one", "two")) == Evidence(cut_off="one")
    lacking = evidence_of({0: manifest(0, "a", workers=3)}, ())
    assert lacking == Evidence(sizes={"a": 1}, cut_off="2 of 3 workers have left no manifest")


def test_a_checkpoint_is_proven_by_all_of_its_files() -> None:
    (found,) = stored("step_9/a.pt", "step_9/b.pt")
    assert is_named(found, Evidence(sizes={"step_9/a.pt": 1, "step_9/b.pt": 1}))
    for sizes in (None, {}, {"step_9/a.pt": 1}, {"step_9/a.pt": 1, "step_9/b.pt": 2}):
        assert not is_named(found, Evidence(sizes=sizes))


@pytest.mark.parametrize(
    ("path", "content", "target"),
    [
        ("latest", b"global_step40\n", "global_step40"),
        ("a/LATEST", b"step_40", "step_40"),
        ("latest_checkpointed_iteration.txt", b"40", "40"),
        ("checkpoint", b'model_checkpoint_path: "m.ckpt-40"\n', "m.ckpt-40"),
        ("checkpoint", b"40", None),
        ("latest", b"two words", None),
        ("latest", b"", None),
        ("latest", b"\x00", None),
    ],
)
def test_what_a_pointer_names(path: str, content: bytes, target: str | None) -> None:
    assert is_pointer(path)
    assert pointed_at(path, content) == target


def test_other_files_are_no_pointers() -> None:
    assert not is_pointer("latest.pt")
    assert not is_pointer("latest/model.pt")


@pytest.mark.parametrize(
    ("path", "target", "there"),
    [
        ("latest", "global_step40", True),
        ("latest", "/anywhere/global_step40/", True),
        ("latest", "global_step4", False),
        ("latest_checkpointed_iteration.txt", "40", True),
        ("latest_checkpointed_iteration.txt", "50", False),
        ("other/latest_checkpointed_iteration.txt", "40", False),
    ],
)
def test_whether_what_is_named_is_there(path: str, target: str, *, there: bool) -> None:
    assert has(stored("global_step40/model.pt"), path, target) == there
