"""Files with stacks on their way to the log's target: under the run's label, masked, and only those that are ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fake_store import FakeStore, make_plan, never
from msgspec.structs import replace

from launcher.core.urls import Location
from launcher.sync.documents import STACKS, Documents

if TYPE_CHECKING:
    from pathlib import Path

LABEL = "modelarts-job-id1-worker-0"
SECRET = b"hunter2hunter2"


def documents(root: Path, store: FakeStore, *, stem: str = f"{LABEL}-stacks") -> Documents:
    (root / "log").mkdir(exist_ok=True)
    plan = make_plan(str(root), log_target=Location("b", "logs/"))
    plan = replace(plan, files=replace(plan.files, stacks=stem and f"{root}/log/{stem}"))
    assert plan.log_target is not None
    return Documents(plan, plan.log_target, store, (SECRET,))


def send(one: Documents, *, last: bool = False) -> None:
    for path in one.segments():
        one.send(path, never, last=last)


def test_stacks_go_beside_the_log_under_the_label_the_newest_first(tmp_path: Path) -> None:
    store = FakeStore()
    one = documents(tmp_path, store)
    log = tmp_path / "log"
    (log / "run.log").write_text("a line\n")
    (log / f"{LABEL}-stacks-9.txt").write_bytes(b"load " + SECRET)
    (log / f"{LABEL}-stacks-10.txt").write_text("save")
    (log / f"{LABEL}-stacks-10-nccl-rank-3").write_bytes(b"\x80\x02record")
    send(one)
    prefix = f"logs/{LABEL}"
    assert store.keys_of("stored") == [
        f"{prefix}.log",
        f"{prefix}.stacks-10-nccl-rank-3",
        f"{prefix}.stacks-10.txt",
        f"{prefix}.stacks-9.txt",
    ]
    assert store.objects[f"{prefix}.stacks-9.txt"] == b"load ******"
    store.journal.clear()
    send(one, last=True)
    assert store.keys_of("stored") == [], "nothing has changed"
    assert one.synced().failed == ()


def test_what_a_boot_process_put_there_is_not_followed_and_not_without_end(tmp_path: Path) -> None:
    store = FakeStore()
    one = documents(tmp_path, store)
    log = tmp_path / "log"
    (tmp_path / "secret").write_text("secret")
    (log / f"{LABEL}-stacks-1.txt").symlink_to(tmp_path / "secret")
    (log / f"{LABEL}-stacks-x.txt").write_text("other")
    (log / f"{LABEL}-stacks-2.txt").mkdir()
    send(one, last=True)
    assert store.keys_of("stored") == []
    assert [each.key for each in one.synced().failed] == [f"{LABEL}.log"], "of stacks, nothing was to be sent"
    for number in range(3, STACKS + 6):
        (log / f"{LABEL}-stacks-{number}.txt").touch()
    assert sum("-stacks-" in path for path in one.segments()) == STACKS


def test_without_stacks_or_a_folder_there_are_none(tmp_path: Path) -> None:
    one = documents(tmp_path, FakeStore(), stem="")
    assert one.segments() == [f"{tmp_path}/log/run.log"]
    gone = documents(tmp_path, FakeStore(), stem="nowhere/x")
    assert gone.segments() == [f"{tmp_path}/log/run.log"]
