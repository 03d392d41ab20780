"""The record of a run while it is put together: what is looked at, when, and what becomes of what cannot be."""

from __future__ import annotations

import hashlib
import os
import signal
import struct
import threading
import time
import zlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fake_processes import FAKE_PID, FakeClock, FakeProcesses
from fake_store import FakeRecord, FakeStore, make_code, make_input, make_plan, never
from msgspec.structs import replace

from launcher.aside import Aside
from launcher.core.errors import BootError
from launcher.core.lifecycle import Exited, Phase, State, Woken
from launcher.core.listed import Listed
from launcher.core.plan import Process
from launcher.core.reproduce import Git, Packages
from launcher.core.stored import StoredObject
from launcher.gitfolder import git_of
from launcher.relisted import code_contents, hashes, relisted
from launcher.remembering import closed
from launcher.reproduce import Recording, _Question
from launcher.snapshot import code_here, hashes_here, lying, summed, tree_of
from launcher.stage import stage
from launcher.summing import HELD, Tally

if TYPE_CHECKING:
    from pathlib import Path

COMMIT, TREE = "c" * 40, "ab" * 20


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def listed_of(*files: tuple[str, int, str], kind: str = "code") -> Listed:
    total = sum(size for _, size, _ in files)
    return Listed(
        name=kind, kind=kind, source="obs://b/x/", objects=len(files), bytes=total, digest="d", files=tuple(files)
    )


def test_a_listing_is_summed_up_in_its_order() -> None:
    tally = Tally()
    tally.add("a/b", StoredObject("x/a/b", 3, '"0123"'))
    tally.add("ü", StoredObject("x/ü", 4, "m"))
    listed = tally.listed(name="n", kind="input", source="obs://b/x/")
    assert listed == Listed(
        name="n",
        kind="input",
        source="obs://b/x/",
        objects=2,
        bytes=7,
        digest=hashlib.sha256("a/b\x003\x000123\nü\x004\x00m\n".encode()).hexdigest(),
        files=(("a/b", 3, "0123"), ("ü", 4, "m")),
    )


def test_of_many_objects_none_is_remembered_and_all_count() -> None:
    tally = Tally(most=2)
    for number in range(HELD + 1):
        tally.add(f"{number:03}", StoredObject("k", 1, ""))
    listed = tally.listed(name="n", kind="input", source="s")
    text = "".join(f"{number:03}\x001\x00\n" for number in range(HELD + 1))
    assert (listed.objects, listed.files) == (HELD + 1, ())
    assert listed.digest == hashlib.sha256(text.encode()).hexdigest()


def test_staging_hands_out_what_it_listed_and_a_later_look_finds_the_same(tmp_path: Path) -> None:
    root = str(tmp_path)
    plan = make_plan(root, code=make_code(root), inputs=(make_input(root), make_input(root, key="one.csv", name="one")))
    store = FakeStore(
        {"code/a.py": b"1", "code/run.sh": b"22", "data/x": b"333", "data/.launcher/own": b"", "one.csv": b"4"}
    )
    os.makedirs(f"{root}/log")
    found = stage(plan, store, FakeRecord(), never).listed
    assert [(each.kind, each.name, each.objects, each.bytes) for each in found] == [
        ("code", "code", 2, 3),
        ("input", "data_url", 1, 3),
        ("input", "one", 1, 1),
    ]
    assert tuple(relisted(plan, store, never)) == found
    store.objects["data/x"] = b"334"
    assert [one == other for one, other in zip(relisted(plan, store, never), found, strict=True)] == [True, False, True]


def test_code_on_the_node_and_in_the_store_have_one_tree(tmp_path: Path) -> None:
    root = str(tmp_path)
    plan = make_plan(root, code=make_code(root))
    assert plan.code is not None
    assert plan.code.source is not None
    store = FakeStore({"code/a.py": b"1", "code/sub/run.sh": b"22", "code/.git/HEAD": b"ref"})
    os.makedirs(f"{root}/log")
    (listed,) = stage(plan, store, FakeRecord(), never).listed
    here = code_here(plan, listed, {}, None, never)
    there = code_contents(listed, plan.code.source, store, never)
    assert here.hashes == {"a.py": sha(b"1"), "sub/run.sh": sha(b"22")}
    assert here.tree == tree_of(there)
    assert (here.files, here.bytes, here.listed) == (2, 3, listed.digest)


def test_a_file_that_was_written_to_since_is_named_and_not_summed_up(tmp_path: Path) -> None:
    root = str(tmp_path)
    plan = make_plan(root, code=make_code(root))
    assert plan.code is not None
    folder = tmp_path / "job/code"
    folder.mkdir(parents=True)
    for name in ("kept.py", "written.py", "longer.py", "gone.py"):
        (folder / name).write_bytes(b"1")
    known = {"written.py": summed(root, f"{folder}/written.py")}
    known_files = {path: one for path, one in known.items() if one is not None}
    before = (folder / "longer.py").stat().st_ctime_ns
    (folder / "gone.py").unlink()
    (folder / "longer.py").write_bytes(b"12")
    (folder / "written.py").write_bytes(b"3")
    listed = listed_of(*((name, 1, "m") for name in ("kept.py", "written.py", "longer.py", "gone.py")))
    made = code_here(plan, listed, known_files, None, never)
    assert (made.tree, made.changed) == (None, ("gone.py", "longer.py"))
    assert made.hashes["written.py"] == sha(b"1"), "as it was before the training"
    assert summed(root, f"{folder}/longer.py", before - 1) is None
    assert code_here(plan, listed, {}, None, lambda: True).tree is None, "nobody waits for it"


def test_code_that_lay_there_already_is_looked_at_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__/a.pyc").write_bytes(b"x")
    (folder / "a.py").write_bytes(b"1")
    (folder / "link.py").symlink_to("/etc/passwd")
    code = replace(make_code(str(tmp_path)), source=None, path=str(folder))
    made = code_here(make_plan(str(tmp_path), code=code), None, {}, None, never)
    assert (made.source, made.files, made.hashes) == (f"file://{folder}", 1, {"a.py": sha(b"1")})


def test_inputs_are_summed_up_where_marks_are_no_checksums(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"1")
    marked, summed_up = listed_of(("a.csv", 1, "5-1"), kind="input"), listed_of(("a.csv", 1, "0" * 32), kind="input")
    later = time.time_ns() + 10**12
    assert hashes_here(marked, str(tmp_path), later, never) == {"a.csv": sha(b"1")}
    assert hashes_here(summed_up, str(tmp_path), later, never) == {}
    assert hashes_here(marked, str(tmp_path), 0, never) == {}, "it was written to since"
    store = FakeStore({"data/a.csv": b"1"})
    assert hashes(marked, make_input("/r").source, store, never) == {"a.csv": sha(b"1")}
    assert hashes(marked, make_input("/r", key="data/a.csv").source, store, never) == {"a.csv": sha(b"1")}


# --- beside the processes of a run ------------------------------------------------------------------------------------


def test_what_is_for_later_is_done_where_the_processes_are_waited_for() -> None:
    clock = FakeClock()
    aside = Aside(FakeProcesses(clock), clock.monotonic)
    done: list[float] = []
    aside.later(5.0, lambda: done.append(clock.time))
    assert aside.wait(2.0) == ()
    assert done == []
    assert aside.wait(8.0) == ()
    assert (done, clock.time) == ([1005.0], 1010.0)
    aside.later(1.0, lambda: done.append(0))
    aside.never()
    aside.wait(3.0)
    assert len(done) == 1


def test_what_happens_before_is_told_at_once() -> None:
    clock = FakeClock()
    aside = Aside(FakeProcesses(clock, (Woken(),)), clock.monotonic)
    aside.later(5.0, lambda: None)
    assert aside.wait(None) == (Woken(),)
    assert clock.time == 1000.0


def test_what_comes_at_the_very_moment_is_taken_before_anything_is_done() -> None:
    """After an end there may be nothing to be done any more: no interpreter is asked beside one who has just ended."""
    clock = FakeClock()
    event = Exited(7, 0, None, 0)

    def late() -> tuple[Exited]:
        clock.time += 5.0
        return (event,)

    aside = Aside(FakeProcesses(clock, late), clock.monotonic)
    done: list[float] = []
    aside.later(5.0, lambda: done.append(clock.time))
    assert (aside.wait(None), done) == ((event,), [])
    aside.wait(1.0)
    assert done == [1005.0]


def test_an_end_is_heard_before_anybody_is_told() -> None:
    clock = FakeClock()
    event = Exited(7, 0, None, 0)
    aside = Aside(FakeProcesses(clock, (event,)), clock.monotonic)
    heard: list[Exited] = []
    aside.ended = heard.append
    assert aside.wait(None) == (event,)
    assert heard == [event]


# --- .git, which somebody else has made -------------------------------------------------------------------------------


def entry(path: str, content: bytes) -> bytes:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).digest()
    raw = struct.pack(">10I20sH", *[0] * 6, 0o100644, 0, 0, len(content), blob, len(path)) + path.encode()
    return raw + b"\0" * (8 - len(raw) % 8)


def make_git(folder: Path, tracked: dict[str, bytes], *, tree: str = TREE, packed: bool = False) -> None:
    top = folder / ".git"
    (top / f"objects/{COMMIT[:2]}").mkdir(parents=True)
    (top / "HEAD").write_text("ref: refs/heads/main\n")
    if packed:
        (top / "packed-refs").write_text(f"{COMMIT} refs/heads/main\n")
    else:
        (top / "refs/heads").mkdir(parents=True)
        (top / "refs/heads/main").write_text(COMMIT + "\n")
        commit = zlib.compress(b"commit 46\0tree " + TREE.encode() + b"\n")
        (top / f"objects/{COMMIT[:2]}/{COMMIT[2:]}").write_bytes(commit)
    known = b"\x001 0\n" + bytes.fromhex(tree)
    raw = b"DIRC" + struct.pack(">II", 2, len(tracked)) + b"".join(entry(*each) for each in sorted(tracked.items()))
    raw += b"TREE" + struct.pack(">I", len(known)) + known
    (top / "index").write_bytes(raw + hashlib.sha1(raw).digest())
    for path, content in tracked.items():
        (folder / path).write_bytes(content)


def test_a_clean_tree_is_told_to_be_clean(tmp_path: Path) -> None:
    make_git(tmp_path, {"a.py": b"1\n"})
    assert git_of(str(tmp_path), never) == Git(commit=COMMIT, branch="main", dirty=False)


@pytest.mark.parametrize("how", ["changed", "removed", "added"])
def test_a_changed_tree_is_told_to_be_dirty(tmp_path: Path, how: str) -> None:
    make_git(tmp_path, {"a.py": b"1\n"}, tree=TREE if how != "added" else "cd" * 20)
    if how == "changed":
        (tmp_path / "a.py").write_bytes(b"2\n")
    elif how == "removed":
        (tmp_path / "a.py").unlink()
    assert git_of(str(tmp_path), never) == Git(commit=COMMIT, branch="main", dirty=True)


def test_what_cannot_be_told_without_git_is_said(tmp_path: Path) -> None:
    make_git(tmp_path, {"a.py": b"1\n"}, packed=True)
    told = git_of(str(tmp_path), never)
    assert told is not None
    assert (told.commit, told.dirty) == (COMMIT, None)
    assert "packed away" in str(told.note)
    (tmp_path / ".gitattributes").write_text("* text=auto\n")
    (tmp_path / "a.py").write_bytes(b"1\r\n")
    told = git_of(str(tmp_path), never)
    assert told is not None
    assert "git changes files" in str(told.note)


@pytest.mark.parametrize("rules", [".gitattributes", "sub/.gitattributes", ".git/info/attributes"])
def test_where_git_may_change_files_is_looked_for_wherever_it_may_stand(tmp_path: Path, rules: str) -> None:
    (tmp_path / "sub").mkdir()
    make_git(tmp_path, {"sub/a.py": b"1\n"})
    (tmp_path / "sub/a.py").write_bytes(b"1\r\n")
    assert getattr(git_of(str(tmp_path), never), "dirty", None) is True
    (tmp_path / rules).parent.mkdir(exist_ok=True)
    (tmp_path / rules).write_text("* text=auto\n")
    assert getattr(git_of(str(tmp_path), never), "dirty", True) is None


def test_nothing_leads_out_of_the_folder(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    assert git_of(str(code), never) is None
    (code / ".git").write_text(f"gitdir: {tmp_path}\n")
    assert "not followed" in str(git_of(str(code), never))
    (code / ".git").unlink()
    (tmp_path / "secret").write_text(COMMIT)
    (code / ".git").mkdir()
    (code / ".git/HEAD").symlink_to(tmp_path / "secret")
    assert git_of(str(code), never) == Git(note=".git names no commit")


def test_a_huge_file_is_no_index(tmp_path: Path) -> None:
    make_git(tmp_path, {"a.py": b"1\n"})
    os.truncate(tmp_path / ".git/index", 1 << 33)
    told = git_of(str(tmp_path), never)
    assert told is not None
    assert told.dirty is None


# --- the question to the interpreter ----------------------------------------------------------------------------------


def test_a_question_is_signalled_only_as_long_as_its_number_is_its_own() -> None:
    clock = FakeClock()
    inner = FakeProcesses(clock)
    answers: list[str] = []
    question = _Question(Aside(inner, clock.monotonic), answers.append)
    plan = make_plan("/r")
    plan = replace(plan, processes=(Process(rank=0, local_rank=0, argv=(), env={"PYTHONPATH": "/p"}, cwd="/"),))
    assert question.put(plan, {"A": "1"}) == FAKE_PID
    ((argv, env, cwd),) = inner.started
    assert (argv[0], argv[1], argv[-3], env, cwd) == (plan.interpreter, "-I", "/p", {"A": "1"}, "/")
    question.heard(Exited(1, 0, None, 0))
    question.end()
    question.heard(Exited(FAKE_PID, 0, None, 0))
    question.end()
    assert inner.sent == [(FAKE_PID, signal.SIGKILL)]


def test_an_interpreter_that_cannot_be_started_has_no_answer() -> None:
    clock = FakeClock()
    inner = FakeProcesses(clock)
    inner.refusal = BootError("no", code="program-not-found", action="a", exit_code=127)
    answered = threading.Event()
    question = _Question(Aside(inner, clock.monotonic), lambda _: answered.set())
    plan = replace(make_plan("/r"), processes=(Process(rank=0, local_rank=0, argv=(), env={}, cwd="/"),))
    assert question.put(plan, {}) is None
    assert answered.wait(30)
    question.end()
    assert inner.sent == []


def test_a_defect_of_the_record_ends_no_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Names that no file can have, a desk that breaks: as whatever nobody has thought of."""
    root = str(tmp_path)
    plan = make_plan(root, code=make_code(root))
    assert plan.code is not None
    os.makedirs(plan.code.path)
    clock = FakeClock()
    processes = Aside(FakeProcesses(clock), clock.monotonic)
    desk = SimpleNamespace(listener=bool)
    listed = {("code", "code"): listed_of(("a\0b", 1, "m"))}
    given: tuple[Any, ...] = (plan, None, None, desk)
    made = Recording(*given, processes=processes, listed=listed)
    made.begin()
    made.settle()
    assert [line.message for line in caplog.records] == ["a defect ended a part of the record of the run"] * 2


def test_what_is_missing_is_said_at_the_end() -> None:
    process = Process(rank=0, local_rank=0, argv=("python", "a.py"), env={}, cwd="/")
    plan = replace(make_plan("/r"), processes=(process,))
    made = closed(plan, None, looked=False, asked=True)
    assert (len(made.notes), made.finished, made.argv) == (2, False, ("python", "a.py"))
    assert made.notes[1] == "the interpreter did not say in time what it could load"
    assert "was not asked" in closed(plan, None, looked=False, asked=False).notes[1]
    whole = replace(made, notes=(), job={}, packages=Packages(python="3", versions={}))
    assert closed(plan, whole, looked=True, asked=True).finished
    assert "trial" in closed(replace(plan, staged="/x"), whole, looked=True, asked=False).notes[0]


class Asked:
    """A record of a run whose desk is told of each state, and the questions that it puts meanwhile."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.inner = FakeProcesses(self.clock)
        self.inner.alive = lambda *_: True
        self.desk = SimpleNamespace(listener=bool, state=State(grace=1.0))
        process = Process(rank=0, local_rank=0, argv=(), env={}, cwd="/")
        plan = replace(make_plan("/r"), code=None, processes=(process,))
        world = SimpleNamespace(environ={}, origin=None, processes=self.inner, clock=self.clock)
        self.aside = Aside(self.inner, self.clock.monotonic)
        given: tuple[Any, ...] = (plan, world, SimpleNamespace(secrets=()), self.desk)
        self.made = Recording(*given, processes=self.aside, listed={})
        self.made.begin()

    def state(self, **changes: Any) -> None:
        self.desk.state = replace(self.desk.state, **changes)
        self.desk.listener(self.desk.state)

    def runs(self, attempt: int) -> None:
        self.state(phase=Phase.RUN, running=(7,), attempt=attempt)

    def ended(self, pid: int) -> None:
        self.inner.script.append((Exited(pid, 0, None, 0),))
        self.aside.wait(None)

    def after(self, seconds: float) -> int:
        """How many questions there are then."""
        self.aside.wait(seconds)
        return len(self.inner.started)


def test_an_attempt_asks_what_the_one_before_it_has_not() -> None:
    """The first is over within its first seconds, and the pause goes on over the moment at which it was to be asked."""
    asked = Asked()
    asked.runs(attempt=1)
    asked.state(phase=Phase.CHECK, running=())
    assert asked.after(60.0) == 0
    asked.runs(attempt=2)
    assert (asked.after(4.0), asked.after(2.0)) == (0, 1)


def test_a_question_that_another_end_has_cut_off_is_put_again() -> None:
    asked = Asked()
    asked.runs(attempt=1)
    assert asked.after(6.0) == 1
    asked.ended(8)
    assert asked.inner.sent == [(FAKE_PID, signal.SIGKILL)]
    asked.ended(FAKE_PID)
    assert asked.after(6.0) == 2
    asked.ended(FAKE_PID + 1)
    assert asked.after(60.0) == 2, "one that says nothing by itself is not put again"


def test_between_two_trials_nobody_is_asked_and_then_one_is() -> None:
    asked = Asked()
    asked.runs(attempt=1)
    asked.state(running=())
    assert asked.after(6.0) == 0
    asked.state(running=(9,))
    assert asked.after(6.0) == 1


def test_what_lies_in_a_folder_is_counted_so_far_and_no_further(tmp_path: Path) -> None:
    assert lying(f"{tmp_path}/none", 9, never) == ([], True)
    (tmp_path / "sub/.launcher").mkdir(parents=True)
    (tmp_path / ".launcher").mkdir()
    (tmp_path / ".launcher/manifest.json").write_text("")
    for name in ("a", "b", "sub/c"):
        (tmp_path / name).write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    assert lying(str(tmp_path), 9, never) == (["a", "b", "link", "sub/c"], True)
    assert lying(str(tmp_path), 2, never)[1] is False
    assert lying(str(tmp_path), 9, lambda: True) == ([], False)
