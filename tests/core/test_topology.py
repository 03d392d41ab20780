from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict
from test_planning import whole

from launcher.core.errors import Exit, PlanError
from launcher.core.topology import PENDING, TELLERS, Flags, Topology, topology

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING: dict[str, str] = {}
MODELARTS = {
    "MA_NUM_HOSTS": "2",
    "VC_WORKER_NUM": "2",
    "VC_TASK_INDEX": "1",
    "VC_WORKER_HOSTS": "j-worker-0.j,j-worker-1.j",
    "MA_VJ_NAME": "j",
    "MA_TASK_NAME": "worker",
}
SERVERS = {"VC_WORKER_HOSTS": "w-0,w-1", "VC_WORKER_NUM": "2", "VC_PS_HOSTS": "p-0,p-1,p-2", "VC_PS_NUM": "3"}
TRAINJOB = {
    "PET_NNODES": "3",
    "PET_NODE_RANK": "2",
    "PET_NPROC_PER_NODE": "8",
    "PET_MASTER_ADDR": "t-node-0-0.t",
    "PET_MASTER_PORT": "29500",
    "JOB_COMPLETION_INDEX": "2",
}


def told(
    environ: Mapping[str, str] = NOTHING,
    host: str = "this",
    nodes: int | None = None,
    flags: Flags | None = None,
    *,
    preview: bool = False,
    **algorithm: Any,
) -> Topology:
    job = whole(algorithm, **({"spec": {"resource": {"node_count": nodes}}} if nodes else {}))
    return topology(job, environ, host, flags or Flags(), preview=preview)


def refusal(environ: Mapping[str, str] = NOTHING, host: str = "this", nodes: int | None = None, **flags: Any) -> str:
    preview = flags.pop("preview", False)
    with pytest.raises(PlanError) as caught:
        told(environ, host, nodes, Flags(**flags), preview=preview)
    assert (caught.value.code, caught.value.exit_code) == ("topology", Exit.INVALID)
    assert caught.value.action
    return str(caught.value)


def test_a_job_of_one_node_needs_no_word_from_anybody() -> None:
    assert told() == told(nodes=1) == told({"VC_TASK_INDEX": "", "MA_NUM_HOSTS": ""}) == Topology()
    one = told({"MA_NUM_HOSTS": "1", "VC_WORKER_NUM": "1", "VC_TASK_INDEX": "0", "MA_TASK_INDEX": " 0 "}, nodes=1)
    assert (one.count, one.index, one.hosts, one.master, one.tasks, one.number) == (1, 0, (), "", ("worker-0",), 0)
    assert told({"JOB_COMPLETION_INDEX": "0"}, "j-0").hosts == ()


def test_one_node_has_a_name_where_a_list_says_so() -> None:
    one = told({"VC_WORKER_HOSTS": "j-worker-0.j", "MA_VJ_NAME": "j"}, "j-worker-0")
    assert (one.count, one.hosts, one.master) == (1, ("j-worker-0.j",), "j-worker-0.j")


def test_modelarts_tells_by_volcanos_variables() -> None:
    assert told(MODELARTS, "j-worker-1", 2) == Topology(
        count=2,
        index=1,
        workers=2,
        hosts=("j-worker-0.j", "j-worker-1.j"),
        master="j-worker-0.j",
        source="VC_WORKER_HOSTS",
    )


def test_names_follow_the_rule_of_volcano_where_no_list_is_given() -> None:
    environ = {"MA_NUM_HOSTS": "3", "VK_TASK_INDEX": "2", "MA_VJ_NAME": "ma-job-1", "MA_TASK_NAME": "worker"}
    found = told(environ, "elsewhere")
    assert found.hosts == tuple(f"ma-job-1-worker-{index}.ma-job-1" for index in range(3))
    assert (found.index, found.master, found.source) == (2, "ma-job-1-worker-0.ma-job-1", "MA_VJ_NAME")


def test_a_task_of_another_name_has_variables_of_its_own() -> None:
    own = {"MA_TASK_NAME": "train-er", "VC_TRAIN_ER_HOSTS": "a,b", "VC_TRAIN_ER_NUM": "2", "VC_TASK_INDEX": "1"}
    found = told({**own, "VC_WORKER_HOSTS": "x,y,z", "VC_WORKER_NUM": "3"})
    assert (found.count, found.hosts, found.role) == (2, ("a", "b"), "worker")
    assert told({"MA_TASK_NAME": "learner", "VC_WORKER_HOSTS": "x,y", "VC_TASK_INDEX": "0"}).hosts == ("x", "y")


def test_parameter_servers_are_counted_apart() -> None:
    worker = told({**SERVERS, "MA_TASK_NAME": "worker", "VC_TASK_INDEX": "1"}, nodes=2)
    assert (worker.count, worker.workers, worker.servers) == (2, 2, ("p-0", "p-1", "p-2"))
    assert (worker.role, worker.number) == ("worker", 1)
    server = told({**SERVERS, "MA_TASK_NAME": "ps", "VC_TASK_INDEX": "2", "MA_NUM_HOSTS": "5"}, "p-2")
    assert (server.role, server.count, server.index, server.workers) == ("ps", 3, 2, 2)
    assert (server.hosts, server.master, server.number) == (("w-0", "w-1"), "w-0", 4)
    assert server.tasks == ("worker-0", "worker-1", "ps-0", "ps-1", "ps-2")


def test_parameter_servers_have_names_by_the_rule_too() -> None:
    environ = {"MA_VJ_NAME": "j", "MA_TASK_NAME": "ps", "VC_PS_NUM": "2", "VC_WORKER_NUM": "1", "VC_TASK_INDEX": "1"}
    found = told(environ, "j-ps-1")
    assert (found.hosts, found.servers) == (("j-worker-0.j",), ("j-ps-0.j", "j-ps-1.j"))
    assert "VC_PS_NUM is 2, and nobody told the parameter servers' names" in refusal({**environ, "MA_VJ_NAME": ""})
    assert told({**MODELARTS, "VC_PS_NUM": "0"}).servers == ()


def test_parameter_servers_that_do_not_add_up_are_refused() -> None:
    server = {**SERVERS, "MA_TASK_NAME": "ps", "VC_TASK_INDEX": "0"}
    assert "VC_PS_NUM is 4, and the number of names in VC_PS_HOSTS is 3" in refusal({**server, "VC_PS_NUM": "4"})
    assert "VC_WORKER_NUM is 2, and MA_NUM_HOSTS is 3" in refusal({**server, "MA_NUM_HOSTS": "3"})
    nobody = {name: value for name, value in server.items() if "PS" not in name}
    assert "the number of names in VC_PS_HOSTS is 0" in refusal(nobody)


def test_pods_of_an_indexed_job_are_found_below_its_service() -> None:
    found = told({"JOB_COMPLETION_INDEX": "1"}, "train-1", 2)
    assert (found.hosts, found.index) == (("train-0.train", "train-1.train"), 1)
    assert (found.master, found.source) == ("train-0.train", "JOB_COMPLETION_INDEX")
    named = told({"JOB_COMPLETION_INDEX": "1", "LAUNCHER_SERVICE": "peers"}, "train-1", 2)
    assert named.hosts == ("train-0.peers", "train-1.peers")
    whole_name = told({"JOB_COMPLETION_INDEX": "1"}, "train-1.peers.ns.svc", 2)
    assert whole_name.master == "train-0.peers.ns.svc"
    flags = Flags(nodes=3)
    assert len(told({"JOB_COMPLETION_INDEX": "1"}, "train-1", flags=flags).hosts) == 3


def test_a_host_that_is_not_called_as_its_job_gives_no_names_to_others() -> None:
    for host in ("train", "train-7", "tr@in-1"):
        assert "nobody told the name of worker-0" in refusal({"JOB_COMPLETION_INDEX": "1"}, host, 2)
    found = told({"JOB_COMPLETION_INDEX": "1"}, "machine", 2, Flags(master="10.0.0.1"))
    assert (found.hosts, found.master, found.index) == ((), "10.0.0.1", 1)


def test_an_index_without_a_number_of_nodes_is_refused() -> None:
    assert "JOB_COMPLETION_INDEX is 3, and nobody told how many nodes" in refusal({"JOB_COMPLETION_INDEX": "3"}, "j-3")
    assert "VC_TASK_INDEX is 1, and spec.resource.node_count is 1" in refusal({"VC_TASK_INDEX": "1"}, nodes=1)


def test_kubeflows_trainer_tells_by_its_variables() -> None:
    assert told(TRAINJOB, "t-node-0-2", 3) == Topology(
        count=3,
        index=2,
        workers=3,
        hosts=("t-node-0-0.t", "t-node-0-1.t", "t-node-0-2.t"),
        master="t-node-0-0.t",
        port=29500,
        per_node=8,
        source="PET_NNODES",
    )


def test_only_names_that_prove_the_rule_give_names_to_others() -> None:
    environ = {name: value for name, value in TRAINJOB.items() if name != "JOB_COMPLETION_INDEX"}
    for host, master in (("machine", "t-node-0-0.t"), ("t-node-0-1", "t-node-0-0.t"), ("t-2", "10.0.0.1")):
        found = told({**environ, "PET_MASTER_ADDR": master}, host)
        assert (found.hosts, found.master, found.index) == ((), master, 2)


def test_the_pods_of_a_pytorchjob_are_a_master_and_workers() -> None:
    def named(index: int, host: str) -> tuple[str, ...]:
        pet = {"PET_NNODES": "3", "PET_NODE_RANK": str(index), "PET_MASTER_ADDR": "p-master-0"}
        return told(pet, host).hosts

    assert named(0, "p-master-0") == named(1, "p-worker-0") == ("p-master-0", "p-worker-0", "p-worker-1")
    assert named(2, "p-worker-0") == ()


def test_an_elastic_pytorchjob_tells_the_rank_by_the_hosts_name() -> None:
    elastic = {"PET_NNODES": "2:2", "PET_RDZV_ENDPOINT": "p-worker-0:23456", "PET_N_PROC_PER_NODE": "2"}
    found = told(elastic, "p-worker-1")
    assert (found.index, found.hosts, found.port) == (1, ("p-worker-0", "p-worker-1"), 23456)
    assert found.per_node == 2
    assert "nobody told which of them this node is" in refusal(elastic, "machine")
    assert "nobody told which of them this node is" in refusal(
        {**elastic, "PET_RDZV_ENDPOINT": "p-worker-1:9"}, "p-worker-1"
    )


def test_an_older_pytorchjob_is_known_by_its_names_alone() -> None:
    older = {"MASTER_ADDR": "p-master-0", "MASTER_PORT": "23456", "RANK": "1", "WORLD_SIZE": "2"}
    found = told(older, "p-worker-0")
    assert (found.count, found.index, found.hosts) == (2, 1, ("p-master-0", "p-worker-0"))
    assert (found.port, found.source) == (23456, "WORLD_SIZE")
    alone = ({"MASTER_ADDR": "localhost"}, {"RANK": "x"}, {"RANK": ""}, {"WORLD_SIZE": ""})
    for changed in alone:
        assert told({**older, **changed}, "p-worker-0").count == 1
    assert told(older, "my-laptop").count == 1
    assert told({**older, "PET_NNODES": "1"}, "p-worker-0").count == 1


@pytest.mark.parametrize("value", ["auto", "gpu", "cpu", "npu", "xpu"])
def test_processes_on_a_node_may_be_left_to_the_devices(value: str) -> None:
    assert told({"PET_NNODES": "1", "PET_NPROC_PER_NODE": value}).per_node is None


def test_two_numbers_of_processes_are_refused() -> None:
    both = {"PET_NPROC_PER_NODE": "4", "PET_N_PROC_PER_NODE": "4"}
    assert told(both).per_node == 4
    assert "PET_NPROC_PER_NODE is 4, and PET_N_PROC_PER_NODE is 2" in refusal({**both, "PET_N_PROC_PER_NODE": "2"})


def test_the_command_line_tells_it_all() -> None:
    found = told(flags=Flags(nodes=4, index=3, master="10.0.0.1:7000"))
    assert found == Topology(count=4, index=3, workers=4, master="10.0.0.1", port=7000, source="the command line")


@pytest.mark.parametrize(
    ("master", "host", "port"),
    [
        ("h", "h", 6666),
        ("h.example:1", "h.example", 1),
        ("[::1]:6665", "::1", 6665),
        ("[fe80::1]", "fe80::1", 6666),
        ("::1", "::1", 6666),
        ("a_b-c.d:65535", "a_b-c.d", 65535),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1", 6666),
    ],
)
def test_worker_0_is_a_host_and_maybe_a_port(master: str, host: str, port: int) -> None:
    found = told({"LAUNCHER_RENDEZVOUS_PORT": "9"}, flags=Flags(nodes=2, index=1, master=master))
    assert (found.master, found.port) == (host, port)


@pytest.mark.parametrize(
    "master",
    [
        *("", " ", "-oProxyCommand=x", "a b", "a/b", "../a", "a\nb", "a\x1b[2J", "a..b", ".a", "a.", "a-", "ä", "a,b"),
        *("[::1", "[::1]6665", "[h]:1", "[10.0.0.1]:1", "::x", "1:2:3", "fe80::1%eth0", "h:", "h:0", "h:65536", "h:x"),
        *(
            "h:-1",
            "h:٣",
            "a" * 254,
            "a" * 64,
            ":1",
            "[]:1",
            "h:1:1",
            "$(x)",
            "`x`",
            "h;x",
            "%h",
            "a@b",
            "h:99999999999",
        ),
    ],
)
def test_what_could_be_an_option_or_a_line_is_no_host(master: str) -> None:
    message = refusal(nodes=2, index=0, master=master)
    assert "--master" in message
    assert "\n" not in message
    assert "\x1b" not in message


def test_the_command_line_stands_over_the_job_and_the_platform_and_says_so() -> None:
    found = told({**MODELARTS, "MA_NUM_HOSTS": "2"}, "x", 2, Flags(nodes=1, index=0))
    assert (found.count, found.index, found.hosts, found.master) == (1, 0, (), "")
    assert found.warnings == (
        (
            "--nodes is 1 on the command line, and stands over what else was said: VC_WORKER_NUM is 2, the number of "
            "names in VC_WORKER_HOSTS is 2, MA_NUM_HOSTS is 2, spec.resource.node_count is 2"
        ),
        "--node-index is 0 on the command line, and stands over what else was said: VC_TASK_INDEX is 1",
    )
    three = {"VC_WORKER_HOSTS": "a,b,c", "VC_TASK_INDEX": "1"}
    assert told(three, flags=Flags(nodes=2)).hosts == ("a", "b")
    more = told(three, flags=Flags(nodes=4))
    assert (more.hosts, more.master) == ((), "a")
    assert told(nodes=4, flags=Flags(nodes=4, index=0, master="h")).warnings == ()


def test_the_command_line_may_spell_worker_0_in_another_way() -> None:
    found = told(MODELARTS, flags=Flags(master="10.0.0.7:7001"))
    assert (found.hosts, found.master, found.port) == (("10.0.0.7", "j-worker-1.j"), "10.0.0.7", 7001)
    assert told(MODELARTS, flags=Flags(master="J-worker-0.j.ns.svc")).master == "J-worker-0.j.ns.svc"
    message = refusal(MODELARTS, master="k-worker-0.j")
    assert "--master is k-worker-0.j" in message
    assert "j-worker-0.j" in message


@pytest.mark.parametrize(
    ("environ", "nodes", "sides"),
    [
        ({"MA_NUM_HOSTS": "2"}, 4, ("MA_NUM_HOSTS is 2", "spec.resource.node_count is 4")),
        ({"MA_NUM_HOSTS": "4", "VC_WORKER_NUM": "2"}, None, ("VC_WORKER_NUM is 2", "MA_NUM_HOSTS is 4")),
        ({"VC_WORKER_NUM": "3"}, 4, ("VC_WORKER_NUM is 3", "spec.resource.node_count is 4")),
        (
            {"VC_WORKER_NUM": "3", "VC_WORKER_HOSTS": "a,b"},
            None,
            ("VC_WORKER_NUM is 3", "the number of names in VC_WORKER_HOSTS is 2"),
        ),
        ({"VC_WORKER_NUM": "3", "PET_NNODES": "2"}, None, ("VC_WORKER_NUM is 3", "PET_NNODES is 2")),
        (
            {"MA_NUM_HOSTS": "4", "VC_TASK_INDEX": "1", "MA_TASK_INDEX": "2"},
            None,
            ("VC_TASK_INDEX is 1", "MA_TASK_INDEX is 2"),
        ),
        (
            {"MA_NUM_HOSTS": "4", "VC_TASK_INDEX": "1", "JOB_COMPLETION_INDEX": "2"},
            None,
            ("VC_TASK_INDEX is 1", "JOB_COMPLETION_INDEX is 2"),
        ),
        ({"MA_NUM_HOSTS": "4", "VC_TASK_INDEX": "4"}, None, ("VC_TASK_INDEX is 4", "MA_NUM_HOSTS is 4")),
        (
            {"VC_WORKER_HOSTS": "a,b", "VC_TASK_INDEX": "0", "PET_MASTER_ADDR": "c"},
            None,
            ("is a", "PET_MASTER_ADDR is c"),
        ),
    ],
)
def test_a_contradiction_is_refused_with_both_sides(
    environ: dict[str, str], nodes: int | None, sides: tuple[str, str]
) -> None:
    message = refusal(environ, nodes=nodes)
    assert message == refusal(environ, nodes=nodes, preview=True)
    for side in sides:
        assert side in message


@pytest.mark.parametrize("name", ["MA_NUM_HOSTS", "VC_WORKER_NUM", "VC_TASK_INDEX", "PET_NNODES", "PET_NODE_RANK"])
@pytest.mark.parametrize("value", ["x", "-1", "1.0", "٣", "1e3", "9999999", "0x2", "1\x002", "2" * 5000])
def test_what_is_no_number_is_refused_by_name(name: str, value: str) -> None:
    message = refusal({name: value})
    assert message.startswith(f"{name}: expected a whole number from ")
    assert len(message) < 200


def test_a_range_of_nodes_is_refused() -> None:
    assert "PET_NNODES is 1:4: a number of nodes that may change" in refusal({"PET_NNODES": "1:4"})
    assert "PET_NNODES: expected a whole number" in refusal({"PET_NNODES": "2:"})


def test_lists_of_hosts_are_read_with_care() -> None:
    found = told({"VC_WORKER_HOSTS": " a:7000 , b:7000,", "VC_TASK_INDEX": "1"})
    assert (found.hosts, found.port) == (("a", "b"), 7000)
    assert "VC_WORKER_HOSTS[1]: expected the name" in refusal({"VC_WORKER_HOSTS": "a,,b"})
    assert "VC_WORKER_HOSTS[0]: expected the name" in refusal({"VC_WORKER_HOSTS": "-oX=1,b"})
    assert "VC_WORKER_HOSTS has 100001 names" in refusal({"VC_WORKER_HOSTS": ",".join("a" * 100_001)})
    for name in ("MA_VJ_NAME", "MA_TASK_NAME"):
        assert f"{name}: expected letters" in refusal({"MA_NUM_HOSTS": "2", "MA_VJ_NAME": "j", name: "x y"})


def test_a_host_that_is_called_as_another_node_is_refused() -> None:
    message = refusal(MODELARTS, "j-worker-0")
    assert message.startswith("VC_TASK_INDEX is 1, and this host is j-worker-0, node 0 among the names told")
    assert "this host is p-1, node 1" in refusal({**SERVERS, "MA_TASK_NAME": "ps", "VC_TASK_INDEX": "0"}, "p-1")
    assert told(MODELARTS, "some-machine").index == 1
    assert told({"VC_WORKER_HOSTS": "a.x,a.y,b", "VC_TASK_INDEX": "2"}, "a").index == 2
    assert told({"VC_WORKER_HOSTS": "10.0.0.1,10.0.0.2", "VC_TASK_INDEX": "1"}, "10").index == 1


def test_the_port_is_the_first_that_is_told() -> None:
    environ = {**TRAINJOB, "MA_MASTER_PORT": "7000"}
    assert told(environ, flags=Flags(nodes=3)).port == 7000
    assert told(environ, flags=Flags(master="t-node-0-0.t:7001")).port == 7001
    assert told({"PET_RDZV_ENDPOINT": "h:5"}).port == 5
    assert told(environments={"MA_MASTER_PORT": "7002"}).port == 7002
    assert "MA_MASTER_PORT: expected a port from 1 to 65535, found '0'" in refusal({"MA_MASTER_PORT": "0"})


def test_the_training_and_the_launchers_need_a_port_each() -> None:
    several = Flags(nodes=2, index=0, master="h:6665")
    with pytest.raises(PlanError, match="is 6665, and so is LAUNCHER_RENDEZVOUS_PORT"):
        told(flags=several)
    assert told({"LAUNCHER_RENDEZVOUS_PORT": "6664"}, flags=several).port == 6665
    with pytest.raises(PlanError, match="is 6666, and so is LAUNCHER_RENDEZVOUS_PORT"):
        told({**MODELARTS, "LAUNCHER_RENDEZVOUS_PORT": "6666"})
    assert told({"MA_MASTER_PORT": "6665"}).port == 6665


def test_a_job_of_several_nodes_is_refused_where_nobody_tells_which_this_is() -> None:
    with pytest.raises(PlanError) as caught:
        told(nodes=4)
    assert str(caught.value) == (
        "the job runs on 4 nodes (spec.resource.node_count is 4), and nobody told which of them this node is and the "
        "name of worker-0"
    )
    for way in ("--nodes N --node-index I --master HOST", "VC_WORKER_HOSTS", "Indexed Job", "PET_"):
        assert way in caught.value.action
    assert "the name of worker-0" in refusal(nodes=2, index=1)


def test_a_preview_shows_node_0_and_says_what_only_a_cluster_tells() -> None:
    found = told(nodes=4, preview=True)
    assert (found.count, found.index, found.hosts, found.master) == (4, 0, (), PENDING)
    assert found.pending == (
        "which of them this node is: only a cluster tells",
        "the name of worker-0: only a cluster tells",
    )
    assert found.source == "spec.resource.node_count"
    assert told(MODELARTS, preview=True) == told(MODELARTS)


HOSTS = st.sampled_from(
    ["a", "b", "a.s", "j-0", "j-1", "j-1.s", "p-master-0", "p-worker-0", "10.0.0.1", "::1", "-x", "a b", ""]
)
VALUES = st.one_of(
    st.sampled_from(["0", "1", "2", "3", "1:2", "2:2", "ps", "worker", "auto", "6665", "[::1]:5", "a:5", "\0", "\n"]),
    HOSTS,
    st.lists(HOSTS, max_size=4).map(",".join),
    st.text(max_size=20),
)
SAID = st.dictionaries(st.sampled_from([*TELLERS, "RANK", "WORLD_SIZE", "MASTER_PORT", "LAUNCHER_SERVICE"]), VALUES)
FLAGS = st.builds(
    Flags,
    nodes=st.none() | st.integers(1, 4),
    index=st.none() | st.integers(0, 4),
    master=st.none() | HOSTS | st.text(max_size=20),
)


@given(SAID, HOSTS, st.none() | st.integers(1, 4), FLAGS, st.booleans())
def test_there_is_one_sound_answer_or_a_refusal(
    environ: dict[str, str],
    host: str,
    nodes: int | None,
    flags: Flags,
    preview: bool,  # noqa: FBT001 - Hypothesis gives it by its place
) -> None:
    try:
        found = told(environ, host, nodes, flags, preview=preview)
    except PlanError as error:
        refused = error
    else:
        sound(found, preview=preview)
        return
    assert (refused.code, refused.exit_code) == ("topology", Exit.INVALID)
    assert not any(ord(letter) < 32 for letter in str(refused) + refused.action)


def sound(found: Topology, *, preview: bool) -> None:
    assert 0 <= found.index < found.count
    assert found.number < len(found.tasks)
    assert found.tasks[found.number] == f"{found.role}-{found.index}"
    assert len(found.hosts) in (0, found.workers)
    assert 1 <= found.port <= 65535
    if found.hosts:
        assert found.hosts[0] == found.master
    if len(found.tasks) > 1:
        assert found.master
        assert preview or (found.master != PENDING and not found.pending)
    for name in (*found.hosts, *found.servers, found.master or "x"):
        assert name
        assert not name.startswith("-")
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-")
    assert Topology(**asdict(found)) == found


@given(st.integers(1, 50), st.data(), st.sampled_from(["volcano", "indexed", "trainjob", "pytorchjob"]))
def test_every_node_finds_itself_and_the_same_others(count: int, data: st.DataObject, platform: str) -> None:
    def node(index: int) -> tuple[Topology, str]:
        number, at = str(count), str(index)
        if platform == "volcano":
            return told(
                {"VC_WORKER_NUM": number, "VC_TASK_INDEX": at, "MA_VJ_NAME": "j"}, f"j-worker-{at}"
            ), f"j-worker-{at}"
        if platform == "indexed":
            return told({"JOB_COMPLETION_INDEX": at}, f"my-job-{at}", count), f"my-job-{at}"
        if platform == "trainjob":
            own = {"PET_NNODES": number, "PET_NODE_RANK": at, "PET_MASTER_ADDR": "t-node-0-0.t"}
            return told(own, f"t-node-0-{at}"), f"t-node-0-{at}"
        name = f"p-worker-{index - 1}" if index else "p-master-0"
        return told({"PET_NNODES": number, "PET_NODE_RANK": at, "PET_MASTER_ADDR": "p-master-0"}, name), name

    index = data.draw(st.integers(0, count - 1))
    found, host = node(index)
    assert (found.count, found.index) == (count, index)
    assert found.hosts == node(0)[0].hosts
    if count > 1:
        assert found.hosts[index].partition(".")[0] == host
        assert found.master == found.hosts[0]


def test_ports_that_differ_are_refused_with_both() -> None:
    environ = {"VC_WORKER_HOSTS": "w0:70,w1", "VC_TASK_INDEX": "0", "MA_TASK_NAME": "worker"}
    assert topology(whole(), environ, "w0", Flags()).port == 70
    with pytest.raises(
        PlanError, match=r"VC_WORKER_HOSTS\[0\] names w0 with port 70, and VC_PS_HOSTS\[0\] names s0 with port 71"
    ):
        topology(whole(), environ | {"VC_PS_HOSTS": "s0:71"}, "w0", Flags())
