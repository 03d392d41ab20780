"""The logs on their way to their target: what goes, under which name, whole lines while they grow, each state once."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec
import pytest
from fake_store import FakeStore, make_plan, never

from launcher.core.plan import LogRules, Process
from launcher.core.urls import Location
from launcher.streams.logs import LogFile
from launcher.sync.documents import Documents
from launcher.sync.reader import LINE_BYTES, FileReader

LABEL = "logs/modelarts-job-id1-worker-0"
SECRET = b"hunter2hunter2"


class Desk:
    """A log folder, and the documents in it at their target."""

    def __init__(self, root: Path, *, processes: int = 0, secrets: tuple[bytes, ...] = (SECRET,)) -> None:
        self.folder = root / "log"
        self.folder.mkdir()
        self.store = FakeStore()
        plan = make_plan(str(root), log_target=Location("b", "logs/"))
        own = tuple(
            Process(
                rank=rank, local_rank=rank, argv=("x",), env={}, cwd="/", log=f"{self.folder}/job-proc-rank-{rank}.txt"
            )
            for rank in range(processes)
        )
        self.log = plan.files.log
        target = plan.log_target
        assert target is not None
        self.documents = Documents(msgspec.structs.replace(plan, processes=own), target, self.store, secrets)

    def send(self, *, last: bool = False) -> None:
        paths = self.documents.segments()
        self.documents.expect(paths)
        for path in paths:
            self.documents.send(path, never, last=last)

    def put(self) -> list[str]:
        """The keys that were put since this was last asked."""
        keys = self.store.keys_of("stored")
        self.store.journal.clear()
        return keys


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_every_log_goes_under_a_name_of_its_own_the_last_words_first(tmp_path: Path) -> None:
    desk = Desk(tmp_path, processes=2)
    for name in ("run.log", "run.log.2", "run.log.10", "run.log.old", "job-proc-rank-0.txt", "job-proc-rank-1.txt.1"):
        (desk.folder / name).write_text(f"{name}\n")
    desk.send(last=True)
    keys = desk.put()
    assert keys == [
        f"{LABEL}.log",
        "logs/job-proc-rank-0.txt",
        f"{LABEL}.log.10",
        f"{LABEL}.log.2",
        "logs/job-proc-rank-1.txt.1",
    ]
    assert desk.store.objects["logs/job-proc-rank-1.txt.1"] == b"job-proc-rank-1.txt.1\n"
    assert desk.documents.synced().failed == (), "a process that had no log of its own is nothing that is missing"


def test_what_only_has_the_name_of_a_segment_is_said_once_and_left_alone(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(desk.folder / "run.log.5")
    (desk.folder / "run.log.6").mkdir()
    (desk.folder / "secret").write_text("of somebody else\n")
    (desk.folder / "run.log.7").symlink_to(desk.folder / "secret")
    with caplog.at_level(logging.WARNING, logger="launcher"):
        log = LogFile(desk.log, LogRules(segment_bytes=10))
        log.write(b"segment 8\n")
        desk.send()
        log.write(b"the last\n")
        log.close()
        desk.send()
        desk.send(last=True)
    desk.documents.give_up()
    assert desk.store.objects == {f"{LABEL}.log.8": b"segment 8\n", f"{LABEL}.log": b"the last\n"}
    assert desk.documents.synced().failed == ()
    assert [record.getMessage() for record in caplog.records] == [
        f"log: {desk.log}.{number} is no regular file and no part of the log; it is left alone" for number in (5, 6, 7)
    ]


def test_a_segment_is_sent_once(desk: Desk) -> None:
    log = LogFile(desk.log, LogRules(segment_bytes=10))
    for number in range(4):
        log.write(b"segment %d\n" % number)
        desk.send()
    log.close()
    assert sorted(desk.put()) == sorted([*[f"{LABEL}.log"] * 4, *(f"{LABEL}.log.{number}" for number in (1, 2, 3))])
    desk.send()
    desk.send(last=True)
    assert desk.put() == []
    texts = [desk.store.objects[f"{LABEL}.log{end}"] for end in (".1", ".2", ".3", "")]
    assert texts == [b"segment %d\n" % number for number in range(4)]


def test_a_log_that_becomes_a_segment_while_it_is_sent_is_not_taken_for_the_next_one(desk: Desk) -> None:
    log = LogFile(desk.log, LogRules(segment_bytes=10))
    log.write(b"the first\n")

    def rotate() -> None:
        log.write(b"the other\n")

    desk.store.faults["put", f"{LABEL}.log"] = [rotate]
    desk.send()
    assert desk.store.objects[f"{LABEL}.log"] == b"the first\n", "it was opened before it was put aside"
    desk.send()
    log.close()
    assert desk.store.objects == {f"{LABEL}.log": b"the other\n", f"{LABEL}.log.1": b"the first\n"}
    desk.put()
    desk.send(last=True)
    assert desk.put() == []


def test_half_a_line_leaves_with_the_last_upload_only(desk: Desk) -> None:
    log = LogFile(desk.log)
    log.write(b"key=" + SECRET[:9])
    desk.send()
    assert desk.put() == []
    log.write(SECRET[9:] + b"\n50%\rnext " + SECRET[:9])
    desk.send()
    assert desk.store.objects[f"{LABEL}.log"] == b"key=******\n50%\r"
    desk.send(last=True)
    assert desk.store.objects[f"{LABEL}.log"] == b"key=******\n50%\rnext " + SECRET[:9]
    log.close()
    assert desk.put() == [f"{LABEL}.log"] * 2


def test_a_line_longer_than_any_is_held_back_by_its_end(desk: Desk) -> None:
    (desk.folder / "run.log").write_bytes(b"y" * (LINE_BYTES + 1000))
    desk.send()
    assert desk.store.objects[f"{LABEL}.log"] == b"y" * 1000


def test_a_segment_without_a_line_end_is_final_and_goes_whole(desk: Desk) -> None:
    (desk.folder / "run.log.1").write_bytes(b"binary")
    desk.send()
    assert desk.store.objects == {f"{LABEL}.log.1": b"binary"}


def test_a_secret_of_several_lines_is_masked_between_ranks_too(tmp_path: Path) -> None:
    desk = Desk(tmp_path, secrets=(b"-----BEGIN-----\nMIIEvQIBADAN\nxyz=\n-----END KEY-----",))
    (desk.folder / "run.log").write_bytes(b"[rank 0] -----BEGIN-----\n[rank 0] MIIEvQIBADAN\n[rank 0] xyz=\n")
    desk.send(last=True)
    assert desk.store.objects[f"{LABEL}.log"] == b"[rank 0] ******\n[rank 0] ******\n[rank 0] xyz=\n"


def test_passwords_in_urls_are_masked_without_any_secret(tmp_path: Path) -> None:
    desk = Desk(tmp_path, secrets=())
    (desk.folder / "run.log").write_bytes(b"see https://me:pw@host/x and http://host/a@b\n")
    desk.send(last=True)
    assert desk.store.objects[f"{LABEL}.log"] == b"see https://me:******@host/x and http://host/a@b\n"


def test_a_reader_ends_at_a_line_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a line\nhalf")
    with FileReader(str(tmp_path), str(path), never) as reader:
        reader.end_at_line()
        assert (b"".join(reader.chunks()), reader.size) == (b"a line\n", 7)
    path.write_bytes(b"")
    with FileReader(str(tmp_path), str(path), never) as reader:
        reader.end_at_line()
        assert (b"".join(reader.chunks()), reader.size) == (b"", 0)


def test_only_the_last_attempt_says_what_is_not_in_its_place(desk: Desk) -> None:
    Path(desk.log).mkdir()  # as a boot file may do to any document for a while
    desk.send()
    assert desk.documents.synced().failed == ()
    desk.send(last=True)
    assert [each.key for each in desk.documents.synced().failed] == [LABEL.removeprefix("logs/") + ".log"]
    Path(desk.log).rmdir()
    Path(desk.log).write_bytes(b"line\n")
    desk.send(last=True)
    assert desk.documents.synced().failed == ()
