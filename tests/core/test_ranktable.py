"""Rank tables in both versions: the conversion, the own node, and everything that may be wrong with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.errors import PlanError
from launcher.core.parse.ranktable import Own, read_rank_table, status
from launcher.core.parse.text import read_document
from launcher.core.ranktable import Card, RankTable, expected, pod_number, to_v1

DATA = Path(__file__).parent.parent / "data" / "ranktables"
POD = "modelarts-job-a1b2c3d4-0000-4000-8000-000000000001-worker-{}"


def parsed(document: Any, own: Own | None = None) -> RankTable:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_rank_table(read_document(raw, "table.json"), "/user/config/t.json", own or Own())


def pod(name: str, server: str, *devices: int | str) -> dict[str, Any]:
    return {
        "pod_name": name,
        "server_id": server,
        "devices": [{"device_id": device, "device_ip": f"198.51.100.{device}"} for device in devices],
    }


def cluster(*pods: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"status": "completed", "group_list": [{"instance_list": list(pods)}], **more}


def job(*servers: tuple[str, list[tuple[int, int]]], **more: Any) -> dict[str, Any]:
    listed = [
        {"server_id": name, "device": [{"device_id": str(device), "rank_id": str(rank)} for device, rank in cards]}
        for name, cards in servers
    ]
    return {"status": "completed", "version": "1.0", "server_list": listed, **more}


def refused(document: Any, own: Own | None = None) -> str:
    with pytest.raises(PlanError) as error:
        parsed(document, own)
    assert (error.value.exit_code, error.value.code) == (65, "rank-table-wrong")
    return str(error.value)


def test_a_cluster_s_table_of_two_by_eight_becomes_the_boot_processes_own() -> None:
    old, new = ((DATA / f"two-by-eight.{version}.json").read_bytes() for version in ("0.1", "1.0"))
    table = parsed(old, Own(pod=POD.format(1)))
    assert json.loads(to_v1(table)) == json.loads(new)
    assert (table.version, table.nodes, table.size, table.own) == ("0.1", 2, 16, 1)
    assert table.cards[0] == Card(device="0", ip="198.51.101.10", rank=8)
    assert [card.rank for card in table.cards] == list(range(8, 16))
    same = parsed(new, Own(address="192.0.2.11"))
    assert (same.version, same.nodes, same.own) == ("1.0", 2, 1)
    assert same.cards == table.cards


def test_every_scalar_of_the_text_is_text_and_what_the_table_lacks_stays_away() -> None:
    whole = job(("a", [(0, 0)]), server_count=1)
    whole["server_list"][0]["host_nic_ip"] = "reserve"
    made = json.loads(to_v1(parsed(whole)))
    assert made == {
        "status": "completed",
        "version": "1.0",
        "server_count": "1",
        "server_list": [
            {"server_id": "a", "device": [{"device_id": "0", "rank_id": "0"}], "host_nic_ip": "reserve"},
        ],
    }


def test_pods_are_ordered_by_the_number_behind_their_last_dash() -> None:
    table = parsed(cluster(pod("j-10", "c", 0), pod("j-9", "b", 0), pod("j-0", "a", 0)), Own(pod="j-9"))
    assert [server.id for server in table.servers] == ["a", "b", "c"]
    assert [card.rank for card in table.cards] == [1]
    assert (pod_number("j-10"), pod_number("j-x"), pod_number("7"), pod_number("j-" + "9" * 20)) == (10, None, 7, None)


def test_later_groups_keep_their_order_and_empty_ones_count_nothing() -> None:
    document = cluster(pod("w-1", "b", 0), pod("w-0", "a", 0))
    document["group_list"].insert(0, {"group_name": "none", "device_count": "0"})
    document["group_list"].append({"group_name": "rest", "instance_list": [pod("x", "d", 4), pod("no-card", "e")]})
    table = parsed(document, Own(pod="x"))
    assert [(server.id, [card.rank for card in server.cards]) for server in table.servers] == [
        ("b", [0]),
        ("a", [1]),
        ("d", [2]),
    ]
    assert table.nodes == 3


def test_pods_of_one_server_are_one_server_and_each_has_its_own_cards() -> None:
    document = cluster(pod("w-2", "a", 4, 5), pod("w-1", "b", 0), pod("w-0", "a", 0, 1))
    table = parsed(document, Own(pod="w-2"))
    assert [(server.id, server.pods) for server in table.servers] == [("a", ("w-0", "w-2")), ("b", ("w-1",))]
    assert [(card.device, card.rank) for card in table.servers[0].cards] == [("0", 0), ("1", 1), ("4", 3), ("5", 4)]
    assert [(card.device, card.rank) for card in table.cards] == [("4", 3), ("5", 4)]
    assert table.nodes == 3


def test_a_table_of_one_node_is_this_node_s() -> None:
    assert parsed(cluster(pod("w-0", "a", 0)), Own(pod="another", address="other")).own == 0
    assert parsed(job(("a", [(0, 0)])), Own(address="other")).own == 0


def test_a_cluster_s_table_may_know_this_node_by_its_address() -> None:
    document = cluster(pod("w-0", "a", 0), pod("w-1", "b", 0))
    assert parsed(document, Own(pod="unknown", address="b")).own == 1


def test_numbers_may_be_numbers() -> None:
    document = cluster(pod("w-0", "a", 0), group_count=1)
    document["group_list"][0] |= {"device_count": 1, "instance_count": 1, "strange": {"x": 1}}
    assert parsed(document).size == 1


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "expected an object with either group_list (0.1) or server_list (1.0)"),
        ({"status": "completed"}, "expected an object with either"),
        ({"group_list": [], "server_list": []}, "expected an object with either"),
        (cluster(), "group_list: expected at least one device, found none"),
        ({"group_list": []}, "group_list: expected at least one device, found none"),
        ({"group_list": "x"}, "group_list: expected a list, found 'x'"),
        (
            cluster(pod("w-0", "a", "x")),
            "group_list[0].instance_list[0].devices[0].device_id: expected a device's numb",
        ),
        (cluster({"pod_name": "w-0"}), "group_list[0].instance_list[0].server_id: is missing"),
        (cluster(pod("w 0", "a", 0)), "pod_name: expected a name without blanks, found 'w 0'"),
        (cluster(pod("w-0", "a", 0), version="0.2"), "version: expected 0.1, found '0.2'"),
        (cluster(pod("w-0", "a", 0), group_count="2"), "group_count: says 2, 1 groups are listed"),
        (cluster(pod("w-0", "a", 0, 0)), "group_list: the device 0 of the server 'a' stands 2 times"),
        (cluster(pod("w-0", "a", 0), pod("w-0", "b", 0)), "group_list: the pod 'w-0' stands 2 times"),
        (
            cluster(pod("w-x", "a", 0), pod("w-0", "b", 0)),
            "group_list[0].instance_list[0].pod_name: expected a name that ends in '-' and its number",
        ),
        (
            cluster(pod("w-0", "a", 0), pod("w-1", "a", 1)),
            "this node is none of them: MA_CURRENT_INSTANCE_NAME is not set, the pods are 'w-0', 'w-1'",
        ),
        (job(version="1.2"), "version: expected 1.0, found '1.2'"),
        (job(("a", [(0, 0)]), version=None), "version: is missing"),
        (job(("a", [])), "server_list: expected at least one device, found none"),
        (job(("a", [(0, 0)]), server_count="3"), "server_count: says 3, 1 servers are listed"),
        (job(("a", [(0, 0)]), ("a", [(1, 1)])), "server_list: the server 'a' stands 2 times"),
        (job(("a", [(0, 0), (0, 1)])), "server_list: the device 0 of the server 'a' stands 2 times"),
        (
            job(("a", [(0, 0)]), ("b", [(0, 0)])),
            "the rank 0 stands twice, at server_list[0].device[0] and at server_list[1].device[0]",
        ),
        (job(("a", [(0, 0), (1, 2)])), "server_list: the ranks of 2 cards are 0 to 1; 1 is missing, 2 is there"),
        (
            job(*((f"s{index}", [(0, index)]) for index in range(10))),
            "MA_CURRENT_HOST_IP is not set, the servers are 's0', 's1', 's2', 's3', 's4', 's5', 's6', 's7' and 2 more",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(document: Any, message: str) -> None:
    told = refused(document)
    assert message in told
    assert told.startswith("the rank table /user/config/t.json is completed, but wrong: ")


def test_counts_are_held_against_what_is_listed() -> None:
    document = cluster(pod("w-0", "a", 0, 1))
    document["group_list"][0] |= {"device_count": "8", "instance_count": "2"}
    told = refused(document)
    assert "group_list[0].device_count: says 8, 2 devices are listed" in told
    assert "group_list[0].instance_count: says 2, 1 instances are listed" in told
    document["group_list"][0] |= {"device_count": "0", "instance_count": "1"}
    assert "device_count: says 0, 2 devices are listed" in refused(document)


def test_the_own_name_that_is_not_there_is_told() -> None:
    two = cluster(pod("w-0", "a", 0), pod("w-1", "b", 0))
    assert "MA_CURRENT_INSTANCE_NAME is 'w-7', the pods are 'w-0', 'w-1'" in refused(two, Own(pod="w-7"))


@pytest.mark.parametrize(
    ("document", "said"),
    [({"status": "initializing"}, "initializing"), ({}, "no status"), ({"status": 1}, "no status"), ([], "no status")],
)
def test_the_status_of_a_table_that_is_not_done(document: Any, said: str) -> None:
    assert status(document) == said


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({}, "/user/config/jobstart_hccl.json"),
        ({"RANK_TABLE_FILE": "/there/"}, "/there/jobstart_hccl.json"),
        ({"RANK_TABLE_FILE": "/there/other.json"}, "/there/other.json"),
        ({"RANK_TABLE_FILE": "/there", "RANK_TABLE_FILE_V_1_0": "/notebook/table"}, "/notebook/table"),
    ],
)
def test_where_a_table_is_to_come(environ: dict[str, str], path: str) -> None:
    assert expected(environ) == path


@st.composite
def clusters(draw: st.DrawFn) -> dict[str, Any]:
    """Groups of pods with their cards; some pods share a server, and then none of its devices."""
    names = draw(st.lists(st.integers(0, 50), min_size=1, max_size=6, unique=True))
    taken: dict[str, int] = {}
    pods = []
    for name in names:
        server = draw(st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3"]))
        count = draw(st.integers(0, 4))
        begin = taken.setdefault(server, 0)
        taken[server] += count
        pods.append(pod(f"job-{name}", server, *range(begin, begin + count)))
    split = draw(st.integers(1, len(pods)))
    groups = [{"instance_list": pods[:split]}, {"instance_list": pods[split:]}]
    return {"status": "completed", "group_list": groups}


@given(clusters())
def test_no_card_is_lost_and_ranks_have_no_gap(document: dict[str, Any]) -> None:
    pods = [one for group in document["group_list"] for one in group["instance_list"]]
    filled = [one for one in pods if one["devices"]]
    if not filled:
        refused(document)
        return
    own = filled[-1]
    table = parsed(document, Own(pod=own["pod_name"]))
    listed = sorted((one["server_id"], str(card["device_id"])) for one in pods for card in one["devices"])
    cards = [(server.id, card) for server in table.servers for card in server.cards]
    assert sorted((server, card.device) for server, card in cards) == listed
    assert sorted(card.rank for _, card in cards) == list(range(len(listed)))
    assert [card.device for card in table.cards] == [str(card["device_id"]) for card in own["devices"]]
    again = parsed(to_v1(table).encode(), Own(address=own["server_id"]))
    assert [(server.id, server.cards) for server in again.servers] == [(one.id, one.cards) for one in table.servers]
    assert again.own == table.own


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["0", "1.0", "completed"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        *("status", "version", "group_count", "group_list", "server_count", "server_list", "server_id"),
                        *(
                            "device_count",
                            "instance_count",
                            "instance_list",
                            "pod_name",
                            "devices",
                            "device",
                            "device_id",
                        ),
                        *("device_ip", "rank_id", "host_nic_ip"),
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=30,
    )
)
def test_any_json_is_a_table_or_an_error_with_words(document: Any) -> None:
    try:
        table = parsed(json.dumps(document).encode())
    except PlanError:
        return
    assert parsed(to_v1(table).encode(), Own(address=table.servers[table.own].id)).size == table.size
