from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_constraints import asks, flavored
from test_planning import decided, whole

from launcher.core.devices import ONE_CPU, Limits
from launcher.core.facts import Facts
from launcher.core.parse.ranktable import Own, read_rank_table
from launcher.core.parse.text import read_document
from launcher.core.planning import plan
from launcher.core.record import Cause
from launcher.core.rehearsal import (
    Fake,
    NodeEnd,
    Scenery,
    address,
    deciding,
    hinted,
    made_up,
    rank_table,
    read_fake,
    shared,
    summary,
    table_text,
    told,
)
from launcher.core.topology import Flags, topology

if TYPE_CHECKING:
    from launcher.core.plan import Plan

LIMITS = Limits(cpus=4.0, memory_bytes=1024, limits_from="cgroup v2")
PORTS = (12001, 12002, 12003)
LOST = Cause(code="peer-lost", message="worker-1 was lost.", action="Look.")
BOOT = Cause(code="boot-failed", message="Training failed: the boot process ended with exit code 3.", action="Read.")


def end(index: int, code: int = 0, cause: Cause | None = None, ended: str = "", **more: Any) -> NodeEnd:
    return NodeEnd(index=index, root=f"/r/worker-{index}", code=code, cause=cause, ended=ended, **more)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("GPU:8", Fake(type="GPU", count=8)),
        (" gpu:1", Fake(type="GPU", count=1)),
        ("ascend:64", Fake(type="Ascend", count=64)),
        ("ASCEND:2", Fake(type="Ascend", count=2)),
        ("GPU:0", None),
        ("GPU:65", None),
        ("GPU:9999", None),
        ("GPU", None),
        ("GPU:", None),
        ("GPU:-1", None),
        ("GPU:٨", None),
        ("CPU:8", None),
        ("", None),
    ],
)
def test_devices_are_asked_for_by_kind_and_number(text: str, found: Fake | None) -> None:
    assert read_fake(text) == found


@given(st.sampled_from(["GPU", "Ascend"]), st.integers(1, 64))
def test_what_is_asked_for_is_written_as_it_is_read(kind: Any, count: int) -> None:
    fake = Fake(type=kind, count=count)
    assert read_fake(str(fake)) == fake


def test_made_up_devices_are_many_and_say_that_they_are_made_up() -> None:
    for kind in ("GPU", "Ascend"):
        fake = read_fake(f"{kind}:8")
        assert fake is not None
        devices = made_up(fake, LIMITS, {})
        assert (devices.type, devices.count, devices.cpus, devices.memory_bytes) == (kind, 8, 4.0, 1024)
        assert [each.index for each in devices.devices] == list(range(8))
        assert {each.name for each in devices.devices} == {f"made-up {kind}"}
        assert len({each.id for each in devices.devices}) == 8
        (note,) = devices.notes
        assert "made up for a rehearsal (--fake-devices)" in note
        assert (devices.driver, devices.runtime, devices.held) == (None, None, ())


def test_variables_choose_among_made_up_devices_as_among_real_ones() -> None:
    gpus = made_up(Fake(type="GPU", count=8), LIMITS, {"CUDA_VISIBLE_DEVICES": "3,5"})
    assert [(each.index, each.physical) for each in gpus.devices] == [(0, 3), (1, 5)]
    npus = made_up(Fake(type="Ascend", count=8), LIMITS, {"ASCEND_RT_VISIBLE_DEVICES": "6"})
    assert [(each.index, each.physical, each.id) for each in npus.devices] == [(0, 6, "Ascend-made-up-6")]
    assert (npus.count, npus.present, npus.visible) == (1, 8, "ASCEND_RT_VISIBLE_DEVICES=6")


def test_nodes_that_share_a_machines_own_devices_say_so() -> None:
    gpus = made_up(Fake(type="GPU", count=2), LIMITS, {})
    assert shared(gpus, 3).notes == (*gpus.notes, "3 nodes of a rehearsal share these devices")
    assert shared(gpus, 1) == gpus
    assert shared(ONE_CPU, 2) == ONE_CPU


def test_a_node_is_told_of_the_others_as_volcano_does() -> None:
    scenery = Scenery(nodes=3, ports=PORTS, nonce="secret", table="/r/table.json")
    environ = told({"PATH": "/bin"}, scenery, 1)
    assert environ == {
        "PATH": "/bin",
        "MA_TASK_NAME": "worker",
        "MA_NUM_HOSTS": "3",
        "VC_WORKER_NUM": "3",
        "VC_WORKER_HOSTS": "127.0.0.1,127.0.0.2,127.0.0.3",
        "VC_TASK_INDEX": "1",
        "MA_CURRENT_IP": "127.0.0.2",
        "MA_CURRENT_HOST_IP": "127.0.0.2",
        "MA_MASTER_PORT": "12001",
        "LAUNCHER_RENDEZVOUS_PORT": "12002",
        "LAUNCHER_SSH_PORT": "12003",
        "LAUNCHER_NONCE": "secret",
        "NCCL_SOCKET_IFNAME": "lo",
        "GLOO_SOCKET_IFNAME": "lo",
        "OMPI_MCA_btl": "self,tcp",
        "OMPI_MCA_btl_tcp_if_include": "lo",
        "OMPI_MCA_oob_tcp_if_include": "lo",
        "RANK_TABLE_FILE": "/r/table.json",
        "LAUNCHER_RANK_TABLE_TIMEOUT": "1",
    }


def test_what_a_node_is_told_is_the_topology() -> None:
    environ = told({}, Scenery(nodes=2, ports=PORTS), 1)
    here = topology(whole(spec={"resource": {"node_count": 2}}), environ, "laptop", Flags(nodes=2, index=1))
    assert (here.index, here.workers, here.master, here.port) == (1, 2, address(0), 12001)
    assert (here.hosts, here.warnings) == ((address(0), address(1)), ())


def test_what_the_machine_was_told_of_another_cluster_is_left_out() -> None:
    stale = {
        "PET_NNODES": "4",
        "JOB_COMPLETION_INDEX": "7",
        "RANK": "3",
        "TF_CONFIG": "{}",
        "WORLD_SIZE": "9",
        "RANK_TABLE_FILE_V_1_0": "/old",
        "MASTER_ADDR": "there",
        "MASTER_PORT": "1",
    }
    kept = told(stale, Scenery(nodes=2, ports=PORTS), 0)
    assert not {"PET_NNODES", "JOB_COMPLETION_INDEX", "RANK", "TF_CONFIG", "MASTER_ADDR", "MASTER_PORT"} & kept.keys()
    assert "RANK_TABLE_FILE_V_1_0" not in kept


def test_what_the_user_chose_of_networks_and_patience_stands() -> None:
    own = {"GLOO_SOCKET_IFNAME": "eth0", "LAUNCHER_RANK_TABLE_TIMEOUT": "9"}
    assert own.items() <= told(own, Scenery(nodes=2), 0).items()
    assert "MA_MASTER_PORT" not in told(own, Scenery(nodes=2), 0)
    assert "LAUNCHER_NONCE" not in told(own, Scenery(nodes=2), 0)


def test_one_node_alone_is_told_of_nobody_and_keeps_its_port() -> None:
    environ = told({"VC_WORKER_HOSTS": "a,b", "MA_MASTER_PORT": "7000", "PATH": "/bin"}, Scenery(nodes=1), 0)
    assert environ == {"PATH": "/bin", "MA_MASTER_PORT": "7000", "LAUNCHER_RANK_TABLE_TIMEOUT": "1"}


def test_what_chose_among_the_machines_own_devices_does_not_choose_among_made_up_ones() -> None:
    chosen = {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "none", "ASCEND_RT_VISIBLE_DEVICES": "0"}
    assert not chosen.keys() & told(chosen, Scenery(nodes=1, visible=False), 0).keys()
    assert chosen.items() <= told(chosen, Scenery(nodes=1), 0).items()
    platforms = {"MA_NUM_GPUS": "1"}  # of a notebook, say
    assert "MA_NUM_GPUS" not in told(platforms, Scenery(nodes=2, visible=False), 0)
    assert told(platforms, Scenery(nodes=2), 0)["MA_NUM_GPUS"] == "1"


@pytest.mark.parametrize("own", [0, 1])
def test_the_rank_table_is_one_that_a_cluster_could_have_written(own: int) -> None:
    document = read_document(table_text(2, 8).encode(), "table.json")
    found = read_rank_table(document, "/t", Own(address=address(own)))
    assert found == rank_table("/t", 2, 8, own)
    assert [card.rank for card in found.cards] == list(range(8 * own, 8 * own + 8))
    assert (found.size, found.nodes) == (16, 2)
    ips = [card.ip for server in found.servers for card in server.cards]
    assert len(set(ips)) == 16


@pytest.mark.parametrize(
    ("requirements", "detail", "hint"),
    [
        ([asks("flavor_type", "GPU")], None, "GPU:8"),
        ([asks("flavor_type", "Ascend")], None, "Ascend:8"),
        ([asks("flavor_type", "Ascend", "GPU")], None, "GPU:8"),
        ([asks("flavor_type", "GPU"), asks("device_distributed_mode", "singular")], None, "GPU:1"),
        ([], {"flavor_type": "GPU", "flavor_info": {"gpu": {"unit_num": 4}}}, "GPU:4"),
        ([], {"flavor_type": "Ascend"}, "Ascend:8"),
        ([], {"flavor_info": {"npu": {"unit_num": 2}}}, "Ascend:2"),
        ([], {"flavor_type": "GPU"}, "GPU:8"),
    ],
)
def test_a_refusal_says_which_devices_would_do(requirements: list[Any], detail: Any, hint: str) -> None:
    job = whole() if detail is None else flavored(**detail)
    assert hinted(("the sentence",), requirements, job) == (
        f"the sentence; a rehearsal can do with made-up devices: --fake-devices {hint}",
    )


def test_a_refusal_for_the_number_of_nodes_speaks_of_nodes() -> None:
    made = plan(
        whole(),
        Facts(environ={}, host="h", started="s", rehearsal=True),
        (),
        [asks("host_distributed_mode", "multiple")],
    )
    (sentence,) = made.unmet
    assert sentence.endswith("; --rehearse-nodes says how many nodes are rehearsed")


def test_only_a_rehearsal_is_hinted_at_and_tells_its_boot_file() -> None:
    facts = Facts(environ={}, host="h", started="s")
    wants = [asks("flavor_type", "GPU")]
    assert "--fake-devices" not in plan(whole(), facts, (), wants).unmet[0]
    assert "MA_REHEARSAL" not in decided(facts=facts).processes[0].env
    rehearsal = Facts(environ={}, host="h", started="s", rehearsal=True)
    assert plan(whole(), rehearsal, (), wants).unmet[0].endswith("--fake-devices GPU:8")
    assert decided(facts=rehearsal).processes[0].env["MA_REHEARSAL"] == "1"
    assert plan(whole(), rehearsal).unmet == ()


def test_a_rehearsal_is_well_when_all_of_its_nodes_are() -> None:
    assert deciding((end(0), end(1))) is None
    assert deciding(()) is None


def test_the_node_that_failed_by_itself_decides_however_late_its_launcher_ended() -> None:
    own = end(1, 3, BOOT, "2026-01-01T00:00:09+00:00")
    follower = end(0, 71, LOST, "2026-01-01T00:00:01+00:00")
    assert deciding((follower, own)) is own
    assert deciding((end(2), follower)) is follower


def test_who_was_told_to_end_decides_before_who_followed_and_after_who_failed() -> None:
    stopped = Cause(code="interrupted", message="SIGTERM came before the boot process started", action="Start.")
    told_to = end(0, 143, stopped, "2026-01-01T00:00:01+00:00")
    follower = end(1, 71, LOST, "2026-01-01T00:00:00+00:00")
    refused = end(2, 71, None, "2026-01-01T00:00:02+00:00")
    assert deciding((follower, told_to)) is told_to
    assert deciding((follower, told_to, refused)) is refused


def test_of_several_that_failed_by_themselves_the_first_decides() -> None:
    first, second = end(1, 1, BOOT, "2026-01-01T00:00:01+00:00"), end(0, 1, BOOT, "2026-01-01T00:00:02+00:00")
    assert deciding((second, first)) is first
    killed = end(2, 137, None, "2026-01-01T00:00:00+00:00")
    assert deciding((second, first, killed)) is killed


def test_the_closing_table_has_a_line_for_each_node_in_its_order() -> None:
    ends = (end(1, 3, BOOT, phase="Failed"), end(0, 3, LOST, phase="Failed"), end(2, 137), end(3, phase="Completed"))
    lines = summary(ends)
    assert [line.split()[0] for line in lines] == ["worker-0", "worker-1", "worker-2", "worker-3"]
    assert "Failed     exit code 3    peer-lost: worker-1 was lost." in lines[0]
    assert "boot-failed: Training failed: the boot process ended with e…" in lines[1]
    assert "Abnormal   exit code 137  it left no word: see its last lines" in lines[2]
    assert "Completed  exit code 0 " in lines[3]
    assert all(line.endswith(f"/r/worker-{index}") for index, line in enumerate(lines))
    assert len({line.index("/r/") for line in lines}) == 1
    assert summary(()) == ()


def test_a_table_is_json_as_any_other() -> None:
    found = json.loads(table_text(1, 2))
    assert (found["status"], found["server_count"], len(found["server_list"][0]["device"])) == ("completed", "1", 2)


def of_node(index: int, engine: str, *, rehearsal: bool = True) -> Plan:
    job = whole({"engine": {"engine_name": engine}}, spec={"resource": {"node_count": 2}})
    environ = told({}, Scenery(nodes=2, ports=PORTS), index)
    here = topology(job, environ, "laptop", Flags(nodes=2, index=index))
    return plan(job, Facts(environ=environ, host="laptop", started="s", topology=here, rehearsal=rehearsal))


def test_nodes_of_tensorflow_have_a_port_each_where_one_machine_plays_them() -> None:
    found = json.loads(of_node(1, "TensorFlow").processes[0].env["TF_CONFIG"])
    assert found["cluster"]["worker"] == ["127.0.0.1:12001", "127.0.0.2:12002"]
    assert "--worker_hosts=127.0.0.1:12001,127.0.0.2:12002" in of_node(0, "TensorFlow").processes[0].argv
    apart = json.loads(of_node(1, "TensorFlow", rehearsal=False).processes[0].env["TF_CONFIG"])
    assert apart["cluster"]["worker"] == ["127.0.0.1:12001", "127.0.0.2:12001"]


def test_an_sshd_on_a_machine_of_several_nodes_listens_at_its_own_address_alone() -> None:
    (config,) = of_node(1, "MPI").documents
    assert "ListenAddress 127.0.0.2" in config.text.splitlines()
    job = whole({"engine": {"engine_name": "MPI"}}, spec={"resource": {"node_count": 2}})
    environ = {"VC_WORKER_HOSTS": "w-0,w-1", "VC_TASK_INDEX": "1", "VC_WORKER_NUM": "2"}
    facts = Facts(environ=environ, host="w-1", started="s", topology=topology(job, environ, "w-1", Flags()))
    assert "ListenAddress" not in plan(job, facts).documents[0].text
