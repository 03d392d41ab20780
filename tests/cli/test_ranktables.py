"""Waiting for a rank table: what is not ready, what is wrong, and who may write it when."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from launcher.cli.ranktables import rank_table
from launcher.core.errors import PlanError

if TYPE_CHECKING:
    from launcher.core.ranktable import RankTable

DATA = Path(__file__).parent.parent / "data" / "ranktables"
OLD, NEW = ((DATA / f"two-by-eight.{version}.json").read_text(encoding="utf-8") for version in ("0.1", "1.0"))
OWN = {
    "MA_CURRENT_INSTANCE_NAME": "modelarts-job-a1b2c3d4-0000-4000-8000-000000000001-worker-1",
    "MA_CURRENT_HOST_IP": "192.0.2.11",
}


class Cluster:
    """Where a table is to come. `steps` are done one by one, whenever something is said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "jobstart_hccl.json"
        self.steps: list[str] = []
        self.said: list[str] = []

    def say(self, words: str) -> None:
        self.said.append(words)
        if self.steps:
            self.file.write_text(self.steps.pop(0), encoding="utf-8")

    def table(
        self, timeout_s: float = 0.0, *, preview: bool = False, needed: bool = True, say_s: float = 0.0, **environ: str
    ) -> RankTable | None:
        return rank_table(
            {**OWN, **environ},
            timeout_s,
            preview=preview,
            say=self.say,
            needed=needed,
            look_s=0.001,
            say_s=say_s,
            folder=str(self.folder),
        )

    def refusal(self, timeout_s: float = 0.0, place: str = "") -> PlanError:
        with pytest.raises(PlanError) as error:
            self.table(timeout_s, RANK_TABLE_FILE=place)
        return error.value


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    folder = tmp_path / "config"
    folder.mkdir()
    return Cluster(folder)


def test_a_table_that_is_there_is_taken_without_a_word(cluster: Cluster) -> None:
    cluster.file.write_text(OLD)
    table = cluster.table()
    assert table is not None
    assert (table.path, table.own, cluster.said) == (str(cluster.file), 1, [])


def test_it_is_waited_for_until_it_is_completed(cluster: Cluster) -> None:
    cluster.steps = [OLD[:100], json.dumps({"status": "initializing"}), OLD]
    table = cluster.table(600.0)
    assert table is not None
    assert table.size == 16
    assert cluster.said[0] == f"Wait for Rank table file ready: {cluster.file} (it is not there)"
    assert "no valid JSON in line" in cluster.said[1]
    assert cluster.said[2].endswith("its status is 'initializing'")
    assert cluster.said[1].startswith(f"There is still no completed rank table at {cluster.file} after 0 s")


def test_between_two_lines_it_is_looked_for_in_silence(cluster: Cluster) -> None:
    cluster.steps = [OLD]
    assert cluster.table(600.0, say_s=600.0) is not None
    assert len(cluster.said) == 1


@pytest.mark.parametrize(
    ("text", "last"),
    [
        (None, "it is not there"),
        ("", "the document is empty"),
        ('{"status": "initializing"}', "its status is 'initializing'"),
        ("{}", "its status is 'no status'"),
        ("x" * 5_000_000, "the document is larger than"),
    ],
)
def test_when_time_is_over_the_last_state_is_told(cluster: Cluster, text: str | None, last: str) -> None:
    if text is not None:
        cluster.file.write_text(text)
    error = cluster.refusal()
    assert (error.exit_code, error.code) == (71, "rank-table-late")
    assert f"no completed rank table at {cluster.file} after 0 s: {last}" in str(error)
    assert "LAUNCHER_RANK_TABLE_TIMEOUT" in error.action


def test_a_completed_table_that_is_wrong_is_not_waited_for(cluster: Cluster) -> None:
    document = json.loads(OLD)
    document["group_list"][0]["device_count"] = "17"
    cluster.file.write_text(json.dumps(document))
    error = cluster.refusal(600.0)
    assert (error.exit_code, error.code) == (65, "rank-table-wrong")
    assert "says 17, 16 devices are listed" in str(error)


def test_what_is_no_file_is_no_table(cluster: Cluster, tmp_path: Path) -> None:
    os.mkfifo(cluster.file)
    assert str(cluster.refusal()).endswith("no regular file stands there")
    assert "not a directory" in str(cluster.refusal(place=f"{cluster.file}/x"))
    (tmp_path / "folder" / "jobstart_hccl.json").mkdir(parents=True)
    folder = str(tmp_path / "folder")
    assert "is a directory" in str(cluster.refusal(place=folder))


REFUSED = """
import os, sys
from launcher.cli.ranktables import rank_table
from launcher.core.errors import PlanError
if os.geteuid() == 0:
    os.setuid(65534)  # root may read everything
try:
    rank_table({"RANK_TABLE_FILE": sys.argv[1]}, 600.0, preview=False, say=print)
except PlanError as error:
    print(error.exit_code, error.code)
"""


def test_a_table_that_may_not_be_read_is_not_waited_for(cluster: Cluster) -> None:
    cluster.file.write_text(OLD)
    cluster.file.chmod(0)
    argv = (sys.executable, "-c", REFUSED, str(cluster.folder))
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "71 rank-table-refused\n"


def test_a_preview_never_waits(cluster: Cluster) -> None:
    assert cluster.table(600.0, preview=True) is None
    cluster.file.write_text(OLD[:100])
    assert cluster.table(600.0, preview=True) is None
    cluster.file.write_text(OLD)
    assert cluster.table(600.0, preview=True) is not None
    assert cluster.said == []


def test_one_card_waits_only_for_a_table_that_is_named(cluster: Cluster) -> None:
    assert cluster.table(600.0, needed=False) is None
    assert cluster.said == []
    with pytest.raises(PlanError):
        cluster.table(0.0, needed=False, RANK_TABLE_FILE=str(cluster.folder))
    cluster.file.write_text(OLD)
    assert cluster.table(0.0, needed=False) is not None


@pytest.mark.parametrize("name", ["jobstart_hccl.json", "table.json", "table"])
def test_the_variable_may_name_the_folder_or_the_file(cluster: Cluster, tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.write_text(OLD)
    table = cluster.table(RANK_TABLE_FILE=str(place))
    assert table is not None
    assert table.path == str(place)


def test_a_folder_with_the_name_of_a_file(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "tables.json"
    folder.mkdir()
    (folder / "jobstart_hccl.json").write_text(OLD)
    table = cluster.table(RANK_TABLE_FILE=str(folder))
    assert table is not None
    assert table.path == f"{folder}/jobstart_hccl.json"


def test_a_table_of_version_1_0_that_is_named_wins(cluster: Cluster, tmp_path: Path) -> None:
    cluster.file.write_text(OLD)
    (tmp_path / "notebook").write_text(NEW)
    table = cluster.table(RANK_TABLE_FILE_V_1_0=str(tmp_path / "notebook"), RANK_TABLE_FILE="")
    assert table is not None
    assert (table.version, table.path) == ("1.0", str(tmp_path / "notebook"))


def test_links_are_followed_as_a_cluster_mounts_its_files(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "table").write_text(OLD)
    cluster.file.symlink_to(tmp_path / "..data" / "table")
    assert cluster.table() is not None


WAITING = """
import os, signal, sys
from launcher.cli.interrupts import Interrupted, interruptible
from launcher.cli.ranktables import rank_table
try:
    with interruptible():
        rank_table({"RANK_TABLE_FILE": sys.argv[1]}, 600.0, preview=False, say=lambda words: os.kill(os.getpid(), 15))
except Interrupted as stop:
    print(stop.number)
"""


def test_a_signal_ends_the_wait(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", WAITING, str(tmp_path))
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "15\n"
