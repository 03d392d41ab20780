"""The logs that CANN writes of each rank, on their way to the log's target: bounded, masked, and nothing of another."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from fake_store import FakeClock, FakeRecord, FakeStore, make_plan, never, refused
from patience import Once

from launcher.core.plan import Process
from launcher.core.ranklogs import MOST_BYTES
from launcher.core.record import LATE
from launcher.core.urls import Location
from launcher.sync import Sync

if TYPE_CHECKING:
    from pathlib import Path

    from launcher.core.record import Synced

TARGET = "logs/modelarts-job-id1-worker-0/ascend/process_log"


class Ranks:
    """Two ranks with their logs, and a Sync that is to put them in place."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.logs = root / "log"
        self.folders = [self.logs / "job" / "ascend" / "process_log" / f"rank_{rank}" for rank in range(2)]
        for folder in self.folders:
            folder.mkdir(parents=True)
        (self.logs / "run.log").write_text("the log\n")
        processes = tuple(
            Process(rank=rank, local_rank=rank, argv=("x",), env={"ASCEND_PROCESS_LOG_PATH": str(folder)}, cwd="/")
            for rank, folder in enumerate(self.folders)
        )
        plan = make_plan(str(root), log_target=Location("b", "logs/"))
        self.plan = msgspec.structs.replace(plan, processes=processes)
        self.store = FakeStore()
        self.sync = Sync(
            self.plan, self.store, FakeRecord(), FakeClock(), {}, secrets=(b"hunter2hunter2",), retries=Once
        )

    def write(self, rank: int, name: str, text: str = "x", changed: int = 100) -> Path:
        path = self.folders[rank] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (changed, changed))
        return path

    def finish(self) -> Synced:
        (entry,) = self.sync.finish(never)
        return entry

    def put(self) -> list[str]:
        return sorted(key for key in self.store.objects if key.startswith(TARGET))


@pytest.fixture
def ranks(tmp_path: Path) -> Ranks:
    return Ranks(tmp_path)


def test_the_logs_of_every_rank_go_with_the_log_and_masked_as_it(ranks: Ranks) -> None:
    ranks.write(0, "debug/plog/plog-7_2024.log", "the key is hunter2hunter2\n")
    ranks.write(1, "run/plog/plog-8_2024.log", "fine\n")
    entry = ranks.finish()
    assert ranks.store.objects[f"{TARGET}/rank_0/debug/plog/plog-7_2024.log"] == b"the key is ******\n"
    assert ranks.store.objects[f"{TARGET}/rank_1/run/plog/plog-8_2024.log"] == b"fine\n"
    assert (entry.channel, entry.failed) == ("log", ())
    assert entry.objects >= 3


def test_a_rank_that_wrote_nothing_is_nothing_that_is_missing(ranks: Ranks) -> None:
    ranks.folders[0].rmdir()
    assert ranks.finish().failed == ()
    assert ranks.put() == []


def test_the_newest_go_and_what_does_not_fit_stays_and_is_counted(
    ranks: Ranks, caplog: pytest.LogCaptureFixture
) -> None:
    ranks.write(0, "old.log", changed=1)
    ranks.write(0, "new.log", changed=9)
    with (ranks.folders[0] / "huge.log").open("wb") as file:
        file.truncate(MOST_BYTES)
    os.utime(ranks.folders[0] / "huge.log", (5, 5))
    with caplog.at_level(logging.WARNING, logger="launcher"):
        assert ranks.finish().failed == ()
    assert ranks.put() == [f"{TARGET}/rank_0/new.log", f"{TARGET}/rank_0/old.log"]
    assert f"log: 1 older or too large files stay in {ranks.folders[0]}" in caplog.text


def test_what_a_boot_process_put_there_to_lead_elsewhere_is_left_alone(
    ranks: Ranks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("of somebody else\n")
    (ranks.folders[0] / "link").symlink_to(tmp_path / "secret" / "key")
    (ranks.folders[0] / "folder").symlink_to(tmp_path / "secret")
    os.mkfifo(ranks.folders[0] / "fifo")
    ranks.write(0, "a\nb", "odd name")
    (ranks.folders[0] / os.fsdecode(b"\xff")).write_text("odd name")
    ranks.write(0, "fine.log")
    ranks.folders[1].rmdir()
    ranks.folders[1].symlink_to(tmp_path / "secret")
    with caplog.at_level(logging.WARNING, logger="launcher"):
        assert ranks.finish().failed == ()
    assert ranks.put() == [f"{TARGET}/rank_0/fine.log"]
    assert f"log: 5 entries of {ranks.folders[0]} are left out: they are no plain files" in caplog.text
    assert f"{ranks.folders[1]} is a link" in caplog.text


def test_a_link_above_them_is_not_followed(ranks: Ranks, tmp_path: Path) -> None:
    (tmp_path / "secret" / "ascend" / "process_log" / "rank_0").mkdir(parents=True)
    (tmp_path / "secret" / "ascend" / "process_log" / "rank_0" / "key").write_text("of somebody else\n")
    (ranks.logs / "job").rename(tmp_path / "away")
    (ranks.logs / "job").symlink_to(tmp_path / "secret")
    assert ranks.finish().failed == ()
    assert ranks.put() == []


def test_what_the_store_refuses_is_named(ranks: Ranks) -> None:
    ranks.write(0, "plog.log")
    ranks.store.always["put", TARGET] = refused()
    assert [each.key for each in ranks.finish().failed] == [
        "modelarts-job-id1-worker-0/ascend/process_log/rank_0/plog.log"
    ]


def test_what_there_was_no_time_for_is_named_and_the_log_is_not(ranks: Ranks) -> None:
    ranks.write(0, "plog.log")
    (entry,) = ranks.sync.finish(lambda: True)
    assert [(each.key, each.error) for each in entry.failed] == [
        ("modelarts-job-id1-worker-0/ascend/process_log/rank_0/plog.log", LATE)
    ]
    assert ranks.sync.publish([ranks.plan.files.log], never) == ()


def test_a_log_that_stays_keeps_these_too(ranks: Ranks) -> None:
    ranks.write(0, "plog.log")
    sync = Sync(ranks.plan, ranks.store, FakeRecord(), FakeClock(), {}, with_log=False, retries=Once)
    sync.finish(never)
    assert ranks.put() == []
