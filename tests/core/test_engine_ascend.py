"""Ascend's own way to start: a process for each card of this node, as its rank table says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from launcher.core.devices import Devices
from launcher.core.engines.ascend import MOST_CARDS, ascend
from launcher.core.engines.start import Engaged, Start
from launcher.core.errors import PlanError
from launcher.core.facts import Facts
from launcher.core.layout import Layout
from launcher.core.parse.ranktable import Own, read_rank_table
from launcher.core.parse.text import read_document
from launcher.core.plan import JobName
from launcher.core.ranktable import Card, RankTable, Server, to_v1
from launcher.core.settings import Settings
from launcher.core.spec import JobAlgorithm
from launcher.core.topology import Topology

DATA = Path(__file__).parent.parent / "data" / "ranktables"
MOUNT = "/home/ma-user/modelarts"
TABLE_FILE = "/home/ma-user/rank_table/jobstart_hccl.json"
LOGS = f"{MOUNT}/log/modelarts-job-i-1/ascend/process_log"


def two_by_eight(index: int = 1, version: str = "0.1") -> RankTable:
    name = f"modelarts-job-a1b2c3d4-0000-4000-8000-000000000001-worker-{index}"
    raw = (DATA / f"two-by-eight.{version}.json").read_bytes()
    own = Own(pod=name, address=f"192.0.2.{10 + index}")
    return read_rank_table(read_document(raw, "t.json"), "/user/config/t.json", own)


def npus(count: int | None, **more: Any) -> Devices:
    return Devices(type="Ascend", count=count, cpus=192.0, memory_bytes=None, limits_from="host", **more)


def started(facts: Facts, *, cards: int | None = 8, **more: Any) -> Engaged:
    start = Start(
        algorithm=more.pop("algorithm", JobAlgorithm()),
        boot_file="/code/train.py",
        interpreter="/bin/python",
        shell="/bin/bash",
        inputs=(),
        outputs=(),
        facts=facts,
        layout=Layout(),
        job=JobName(id="i-1", name="j", label="modelarts-job-i-1-worker-1"),
        user=more.pop("user", {}),
        cards=cards,
        **more,
    )
    return ascend(start)


def test_what_a_process_is_among_others_is_not_the_jobs_to_say() -> None:
    for launch in started(facts(rank_table=two_by_eight())).launches:
        assert launch.fixed == {"RANK_ID", "RANK_SIZE", "DEVICE_ID", "ASCEND_DEVICE_ID", "RANK_TABLE_FILE"}


def facts(workers: int = 2, index: int = 1, **more: Any) -> Facts:
    here = Topology(count=workers, workers=workers, index=index, source="VC_WORKER_NUM")
    environ = more.pop("environ", {})
    return Facts(**{"environ": environ, "host": "h", "started": "t", "topology": here, **more})


@pytest.mark.parametrize("version", ["0.1", "1.0"])
def test_one_process_for_each_card_of_this_node(version: str) -> None:
    table = two_by_eight(version=version)
    made = started(facts(rank_table=table, devices=npus(8)))
    assert (len(made.launches), made.per_node, made.pending, made.warnings) == (8, 8, (), ())
    third = made.launches[3]
    assert third.argv == ("/bin/python", "/code/train.py")
    assert (third.rank, third.local_rank) == (11, 3)
    assert third.env == {
        "RANK_TABLE_FILE": TABLE_FILE,
        "RANK_ID": "11",
        "RANK_SIZE": "16",
        "DEVICE_ID": "3",
        "ASCEND_DEVICE_ID": "3",
        "JOB_ID": "i-1",
        "HCCL_CONNECT_TIMEOUT": "1800",
        "ASCEND_PROCESS_LOG_PATH": f"{LOGS}/rank_11",
    }
    assert third.cwd == f"{MOUNT}/workspace/device3"
    assert third.log == "modelarts-job-i-1-proc-rank-11-device-3.txt"
    (document,) = made.documents
    assert (document.path, document.text) == (TABLE_FILE, to_v1(table))
    assert set(made.folders) == {
        "/home/ma-user/rank_table",
        *(f"{MOUNT}/workspace/device{index}" for index in range(8)),
        *(f"{LOGS}/rank_{rank}" for rank in range(8, 16)),
    }


def test_logical_ids_count_the_node_s_cards_by_their_physical_ones() -> None:
    cards = tuple(Card(device=device, rank=rank) for rank, device in enumerate(["10", "9", "2"]))
    table = RankTable(path="/t", version="1.0", servers=(Server(id="a", cards=cards),), own=0)
    made = started(facts(workers=1, index=0, rank_table=table), cards=3)
    assert [(each.rank, each.env["ASCEND_DEVICE_ID"]) for each in made.launches] == [(0, "2"), (1, "1"), (2, "0")]
    old = started(facts(workers=1, index=0, rank_table=table, devices=npus(3, driver="20.1.0")), cards=3)
    assert [each.env["DEVICE_ID"] for each in old.launches] == ["10", "9", "2"]
    assert all("ASCEND_DEVICE_ID" not in each.env for each in old.launches)


def test_what_the_job_or_the_platform_has_set_stands() -> None:
    environ = {"HCCL_CONNECT_TIMEOUT": "60"}
    user = {"ASCEND_PROCESS_LOG_PATH": "/mine"}
    made = started(facts(rank_table=two_by_eight(), environ=environ), user=user)
    assert not {"HCCL_CONNECT_TIMEOUT", "ASCEND_PROCESS_LOG_PATH"} & made.launches[0].env.keys()
    assert not any("process_log" in folder for folder in made.folders)


def test_a_working_folder_that_the_job_asks_for_wins() -> None:
    made = started(facts(rank_table=two_by_eight()), algorithm=JobAlgorithm(working_dir="/work"))
    assert {each.cwd for each in made.launches} == {None}
    assert not any("workspace" in folder for folder in made.folders)


def test_more_or_fewer_processes_than_cards_are_not_started_and_that_is_said() -> None:
    made = started(facts(rank_table=two_by_eight(), settings=Settings(processes=4)))
    assert len(made.launches) == 8
    assert made.warnings == (
        "4 processes are wanted on this node, and one for each of the 8 cards of its rank table is started",
    )
    assert started(facts(rank_table=two_by_eight(), settings=Settings(processes=8))).warnings == ()


def test_a_table_that_contradicts_the_devices_is_refused_with_both() -> None:
    with pytest.raises(PlanError) as error:
        started(facts(rank_table=two_by_eight(), devices=npus(4)))
    assert "/user/config/t.json has 8 cards for this node, and 4 devices are here" in str(error.value)
    assert error.value.exit_code == 71
    for devices in (npus(None), Devices(type="GPU", count=1, cpus=1.0, memory_bytes=None, limits_from="host")):
        assert len(started(facts(rank_table=two_by_eight(), devices=devices)).launches) == 8


def test_a_table_that_contradicts_the_topology_is_refused_with_both() -> None:
    with pytest.raises(PlanError) as error:
        started(facts(workers=4, rank_table=two_by_eight()))
    assert "/user/config/t.json has 2 nodes, and the job 4 (VC_WORKER_NUM)" in str(error.value)
    assert error.value.exit_code == 65


def test_one_card_on_one_node_needs_no_table() -> None:
    made = started(facts(workers=1, index=0), cards=1)
    (launch,) = made.launches
    assert (launch.env["DEVICE_ID"], launch.env["RANK_SIZE"], made.documents, made.pending) == ("0", "1", (), ())
    assert "RANK_TABLE_FILE" not in launch.env


def test_a_node_without_a_card_starts_the_boot_file_as_it_is() -> None:
    made = started(facts(workers=1, index=0), cards=0)
    (plain,) = made.launches
    assert (plain.env, plain.cwd, plain.argv) == ({}, None, ("/bin/python", "/code/train.py"))
    assert "this node has no NPU" in made.warnings[0]


@pytest.mark.parametrize("cards", [0, 1])
def test_a_preview_leaves_open_what_only_the_node_can_tell(cards: int) -> None:
    environ = {"RANK_TABLE_FILE_V_1_0": "/there"} if cards else {}
    made = started(facts(workers=1, index=0, preview=True, environ=environ), cards=cards)
    assert len(made.launches) == 1
    assert len(made.pending) == 2 - cards


def test_a_preview_shows_the_processes_and_what_it_cannot_know() -> None:
    made = started(facts(preview=True, environ={"RANK_TABLE_FILE": "/there"}))
    assert [each.rank for each in made.launches] == list(range(8, 16))
    assert made.launches[0].env["RANK_SIZE"] == "16"
    assert made.documents == ()
    (pending,) = made.pending
    assert pending.startswith("the rank table /there/jobstart_hccl.json, which says who has which rank")
    unknown = started(facts(preview=True), cards=None)
    assert len(unknown.launches) == 1
    assert unknown.pending[1] == "how many cards a node has: only the node tells"
    assert len(started(facts(preview=True), cards=10**9).launches) == MOST_CARDS


def test_a_node_whose_devices_nobody_could_count_needs_its_table() -> None:
    with pytest.raises(PlanError, match="unknown number"):
        started(facts(workers=1, index=0, devices=npus(None)), cards=None)


@pytest.mark.parametrize(("cards", "said"), [(8, "2 nodes with 8 cards"), (None, "with an unknown number of cards")])
def test_a_run_without_its_table_is_refused(cards: int | None, said: str) -> None:
    with pytest.raises(PlanError, match=said) as error:
        started(facts(), cards=cards)
    assert (error.value.exit_code, error.value.code) == (71, "rank-table-missing")


def test_own_ranks_of_a_shared_server_alone_are_started() -> None:
    table = two_by_eight()
    shared = replace(
        table, servers=(table.servers[0], replace(table.servers[1], pods=("a", "b"))), ranks=(12, 13, 14, 15)
    )
    made = started(facts(workers=3, rank_table=shared, devices=npus(4)))
    assert [(each.rank, each.local_rank) for each in made.launches] == [(12, 0), (13, 1), (14, 2), (15, 3)]
