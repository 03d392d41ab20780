from __future__ import annotations

import json
import os
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from previews import CASES, DATA, ENGINES, METHODS, Case, made, shown, written

from launcher.core.complete import Overrides, complete
from launcher.core.devices import Devices
from launcher.core.engines import engine_of
from launcher.core.engines.table import ENGINES as TABLE
from launcher.core.errors import PlanError
from launcher.core.facts import Facts, Network
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import parse_job
from launcher.core.parse.text import read_document
from launcher.core.plan import LogRules
from launcher.core.planning import plan
from launcher.core.ranktable import Card, RankTable, Server
from launcher.core.settings import Settings
from launcher.core.spec import Engine, JobAlgorithm
from launcher.core.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.core.plan import Plan

WRITE = os.environ.get("LAUNCHER_PREVIEWS") == "write"
PYTORCH, TENSORFLOW, MPI = ENGINES["pytorch"], ENGINES["tensorflow"], ENGINES["mpi"]
HOSTS = ("w0", "w1", "w2")
THREE = Topology(count=3, index=1, workers=3, hosts=HOSTS, master="w0", source="VC_WORKER_HOSTS")
FACTS = Facts(environ={"PATH": "/bin"}, host="w1", started="t", interpreter="/bin/python", shell="/bin/sh")
GPUS = Devices(type="GPU", count=2, cpus=9.0, memory_bytes=None, limits_from="host")


def decided(engine: Mapping[str, str] | None, facts: Facts = FACTS, **algorithm: Any) -> Plan:
    document = {
        "kind": "job",
        "metadata": {"name": "j", "id": "i-1"},
        "algorithm": {"code_dir": "/bucket/code/", "boot_file": "/bucket/code/train.py", **algorithm},
    }
    if engine is not None:
        document["algorithm"]["engine"] = dict(engine)  # type: ignore[index]
    return plan(
        complete(parse_job(read_document(json.dumps(document).encode(), "j"), Log()), None, Overrides()).job, facts
    )


def by(method: str) -> dict[str, str]:
    return {"MA_RUN_METHOD": method}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_engine_starts_what_is_written_down(case: Case) -> None:
    if WRITE:
        case.file.write_text(shown(case))
    assert json.loads(shown(case)) == written(case)


def test_what_is_written_down_is_of_a_case_and_holds_no_secret() -> None:
    assert {path.name for path in (DATA / "previews").iterdir()} == {*(case.file.name for case in CASES), "README.md"}
    environments = {path.stem for path in (DATA / "environments").glob("*.json")}
    assert environments == {case.environment for case in CASES}
    assert not [path for path in (DATA / "previews").iterdir() if "sesame" in path.read_text()]


def test_every_engine_is_written_down() -> None:
    assert {written(case)["engine"] for case in CASES} == set(TABLE)


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        (None, "python"),
        (Engine(), "python"),
        (Engine(image_url="org/image:1"), "python"),
        (Engine(engine_name="XGBoost-Sklearn"), "python"),
        (Engine(engine_name="PyTorch"), "pytorch"),
        (Engine(engine_name=" pytorch "), "pytorch"),
        (Engine(engine_id="pytorch-cp36-1.3.0"), "pytorch"),
        (Engine(engine_version="PyTorch-1.4.0-python3.6-v2"), "pytorch"),
        (Engine(engine_name="TensorFlow"), "tensorflow"),
        (Engine(engine_version="TF-1.13.1-python3.6-v2"), "tensorflow"),
        (Engine(engine_name="Horovod"), "mpi"),
        (Engine(engine_version="horovod_0.20.0-tensorflow_2.1.0-cuda_10.1-py_3.7-ubuntu_18.04-x86_64"), "mpi"),
        (Engine(engine_name="MPI"), "mpi"),
        (Engine(engine_name="MindSpore-GPU"), "mpi"),
        (Engine(engine_version="mindspore_1.7.0-cuda_10.1-py_3.7-ubuntu_18.04-x86_64"), "mpi"),
        (Engine(engine_name="Ascend-Powered-Engine"), "ascend"),
        (Engine(engine_version="mindspore_1.7.0-cann_5.1.0-py_3.7-euler_2.8.3-aarch64"), "ascend"),
        (Engine(engine_name="TensorFlow", engine_version="tensorflow_1.15-cann_5.1.0"), "ascend"),
    ],
)
def test_an_engine_is_known_by_its_name_its_version_or_its_id(engine: Engine | None, expected: str) -> None:
    assert engine_of(JobAlgorithm(boot_file="train.py", engine=engine), {}) == expected
    assert engine_of(JobAlgorithm(command="true", engine=engine), {"MA_RUN_METHOD": "whatever"}) == "command"


ASCEND = "Ascend-Powered-Engine"


@pytest.mark.parametrize(
    ("engine", "method"),
    [
        (Engine(engine_name="PyTorch"), "torchrun"),
        (Engine(engine_name=ASCEND), "torchrun"),
        (Engine(engine_name=ASCEND, engine_version="pytorch_1.11.0-cann_6.3.0"), "torchrun"),
        (None, "torchrun"),
        (Engine(engine_name="MindSpore-GPU"), "msrun"),
        (Engine(engine_name=ASCEND, engine_version="mindspore_2.3.0-cann_8.0"), "msrun"),
        (None, "msrun"),
    ],
)
def test_the_run_method_chooses_among_an_engines_ways(engine: Engine | None, method: str) -> None:
    assert engine_of(JobAlgorithm(boot_file="train.py", engine=engine), by(f" {method}")) == method


@pytest.mark.parametrize(
    ("engine", "method", "message"),
    [
        (Engine(engine_name="PyTorch"), "msrun", "MA_RUN_METHOD is msrun, and the job's engine is pytorch"),
        (Engine(engine_name="Horovod"), "msrun", "engine is horovod"),
        (Engine(engine_name="MPI"), "torchrun", "engine is mpi"),
        (Engine(engine_name="TensorFlow"), "torchrun", "engine is tensorflow"),
        (Engine(engine_name=ASCEND, engine_version="pytorch_2.1.0-cann_8"), "msrun", "pytorch_2.1.0-cann_8"),
        (Engine(engine_name=ASCEND, engine_version="mindspore_2.3-cann_8"), "torchrun", "mindspore_2.3-cann_8"),
        (Engine(engine_name="PyTorch"), "deepspeed", "MA_RUN_METHOD is 'deepspeed'; expected torchrun or msrun"),
    ],
)
def test_a_run_method_that_is_none_of_the_engines_is_refused(engine: Engine, method: str, message: str) -> None:
    with pytest.raises(PlanError, match="MA_RUN_METHOD") as error:
        engine_of(JobAlgorithm(boot_file="train.py", engine=engine), by(method))
    assert message in str(error.value)
    assert error.value.exit_code == 65


def test_the_platforms_own_value_is_passed_once_and_last() -> None:
    facts = replace(FACTS, topology=THREE)
    parameters = [{"name": "world_size", "value": "8"}, {"name": "lr", "value": "1"}]
    given = decided(PYTORCH, facts, parameters=parameters)
    assert given.processes[0].argv[2:] == ("--lr=1", "--init_method=tcp://w0:6666", "--rank=1", "--world_size=3")
    told = (
        "--world_size is the platform's own argument on more than one node: --world_size=3 is passed in place of the "
        "job's; --no-platform-args keeps the job's"
    )
    assert given.warnings == (told,)
    kept = decided(PYTORCH, replace(facts, platform_args=False), parameters=parameters)
    assert (kept.processes[0].argv[2:], kept.warnings) == (("--world_size=8", "--lr=1"), ())
    alone = decided(PYTORCH, parameters=parameters)
    assert (alone.processes[0].argv[2:], alone.warnings) == (("--world_size=8", "--lr=1"), ())


def test_an_ipv6_address_stands_in_brackets() -> None:
    six = replace(THREE, hosts=("2001:db8::1", "2001:db8::2", "2001:db8::3"), master="2001:db8::1", port=70)
    facts = replace(FACTS, topology=six)
    assert "--init_method=tcp://[2001:db8::1]:70" in decided(PYTORCH, facts).processes[0].argv
    argv = decided(ENGINES["torchrun"], facts, environments=by("torchrun")).processes[0].argv
    assert {"--master_addr=2001:db8::1", "--master_port=70", "--node_rank=1"} <= {*argv}
    flags = decided(TENSORFLOW, facts).processes[0].argv
    assert "--worker_hosts=[2001:db8::1]:70,[2001:db8::2]:70,[2001:db8::3]:70" in flags


def test_the_ranks_of_torchrun_follow_the_nodes() -> None:
    for index in range(3):
        facts = replace(FACTS, topology=replace(THREE, index=index))
        argv = decided(ENGINES["torchrun"], facts, environments=by("torchrun")).processes[0].argv
        assert {"--rdzv_backend=static", f"--node_rank={index}", "--master_addr=w0"} <= {*argv}


def test_torchrun_writes_no_ranks_where_there_is_one_or_where_none_are_wanted() -> None:
    two = replace(FACTS, devices=GPUS)
    quiet = replace(two, settings=Settings(logs=LogRules(rank_prefix=False)))
    for facts, tees in ((two, True), (FACTS, False), (quiet, False)):
        process = decided(ENGINES["torchrun"], facts, environments=by("torchrun")).processes[0]
        assert ("--tee=3" in process.argv) == tees
        assert ("TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE" in process.env) == tees


@pytest.mark.parametrize(
    ("settings", "wanted", "devices", "processes", "warning"),
    [
        (4, 3, GPUS, 4, "4 processes are started on this node, which has 2 accelerators: some share one"),
        (None, 3, GPUS, 3, "3 processes are started on this node, which has 2 accelerators: some share one"),
        (None, 2, GPUS, 2, None),
        (None, None, GPUS, 2, None),
        (5, None, replace(GPUS, type="CPU", count=0), 5, None),
        (None, None, replace(GPUS, type="CPU", count=0), 1, None),
        (3, None, replace(GPUS, count=None), 3, None),
        (None, None, replace(GPUS, count=None), 1, "this node has devices (GPU), and nobody could say how many"),
    ],
)
def test_processes_are_as_many_as_somebody_says_or_as_there_are_devices(
    settings: int | None, wanted: int | None, devices: Devices, processes: int, warning: str | None
) -> None:
    facts = replace(FACTS, devices=devices, settings=Settings(processes=settings), topology=Topology(per_node=wanted))
    found = decided(ENGINES["torchrun"], facts, environments=by("torchrun"))
    assert f"--nproc_per_node={processes}" in found.processes[0].argv
    assert len(found.warnings) == (warning is not None)
    assert (warning or "") in "".join(found.warnings)
    assert found.processes[0].env["OMP_NUM_THREADS"] == str(max(1, 9 // processes))


def test_a_cluster_of_tensorflow_is_told_twice_and_a_platforms_own_stands() -> None:
    servers = replace(THREE, servers=("s0",), role="ps", index=0, count=1)
    process = decided(TENSORFLOW, replace(FACTS, topology=servers)).processes[0]
    cluster = json.loads(process.env["TF_CONFIG"])
    assert cluster["task"] == {"type": "ps", "index": 0}
    assert process.argv[2:] == (
        "--job_name=ps",
        "--task_index=0",
        f"--ps_hosts={','.join(cluster['cluster']['ps'])}",
        f"--worker_hosts={','.join(cluster['cluster']['worker'])}",
    )
    set_already = replace(FACTS, environ={"TF_CONFIG": "{}"}, topology=THREE)
    assert "TF_CONFIG" not in decided(TENSORFLOW, set_already).processes[0].env
    silent = decided(TENSORFLOW, replace(FACTS, topology=THREE, platform_args=False))
    assert (silent.processes[0].argv[2:], silent.serves) == ((), False)


def test_one_worker_with_one_server_is_a_cluster_of_two() -> None:
    worker = Topology(servers=("s0",), master="w0")
    shown = decided(TENSORFLOW, replace(FACTS, topology=worker)).processes[0]
    assert "--worker_hosts=w0:6666" in shown.argv
    server = decided(TENSORFLOW, replace(FACTS, host="s0", topology=Topology(role="ps", master="w0")))
    assert "--ps_hosts=s0:6666" in server.processes[0].argv
    nameless = decided(TENSORFLOW, replace(FACTS, topology=replace(worker, master="")))
    assert "--worker_hosts=w1:6666" in nameless.processes[0].argv


@pytest.mark.parametrize(
    ("engine", "topology", "variable"),
    [
        (TENSORFLOW, replace(THREE, hosts=()), "VC_WORKER_HOSTS"),
        (MPI, replace(THREE, hosts=()), "VC_WORKER_HOSTS"),
        (TENSORFLOW, replace(THREE, role="ps", count=2, servers=()), "VC_PS_HOSTS"),
    ],
)
def test_names_that_nobody_told_are_asked_for_and_pending_in_a_preview(
    engine: Mapping[str, str], topology: Topology, variable: str
) -> None:
    with pytest.raises(PlanError, match="nobody told them") as error:
        decided(engine, replace(FACTS, topology=topology))
    assert error.value.exit_code == 65
    assert variable in error.value.action
    pending = decided(engine, replace(FACTS, topology=topology, preview=True)).pending
    assert len(pending) == 1
    assert pending[0].endswith("only a cluster tells")


def test_a_parameter_server_of_another_engine_is_refused() -> None:
    facts = replace(FACTS, topology=replace(THREE, role="ps", servers=("s0", "s1"), count=2))
    with pytest.raises(PlanError, match="the job's engine, pytorch, has none"):
        decided(PYTORCH, facts)
    assert decided(None, facts).engine == "python"


def test_an_mpi_node_tells_what_is_its_own_and_worker_0_the_rest_by_name() -> None:
    environ = {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "3",
        "MY_TOKEN": "sesame-open-1",
        "BASH_FUNC_x%%": "()",
        "_": "x",
    }
    environ |= {"LAUNCHER_LANG": "en", "SSH_TTY": "/dev/pts/0", "NCCL_DEBUG": "INFO"}
    nodes = [
        decided(MPI, replace(FACTS, environ=environ, topology=replace(THREE, index=index)), environments={"MINE": "1"})
        for index in (0, 1)
    ]
    argv = nodes[0].processes[0].argv
    handed = {name for mark, name in pairwise(argv) if mark == "-x"}
    assert {"MINE", "NCCL_DEBUG", "MY_TOKEN", "MA_NUM_HOSTS", "PYTHONPATH"} <= handed
    own = {"PATH", "CUDA_VISIBLE_DEVICES", "VC_TASK_INDEX", "MA_CURRENT_INSTANCE_NAME"}
    assert not handed & {*own, "_", "BASH_FUNC_x%%", "LAUNCHER_LANG", "SSH_TTY"}
    assert own <= nodes[1].processes[0].env.keys()
    assert not [token for token in argv if "sesame" in token]
    assert (nodes[0].serves, nodes[1].serves) == (False, True)


def test_mpi_uses_the_interface_of_the_way_to_worker_0() -> None:
    network = Network(address="192.0.2.1", interface="ib0", interfaces=("lo", "ib0"))
    facts = replace(FACTS, topology=replace(THREE, index=0), network=network)
    argv = " ".join(decided(MPI, facts).processes[0].argv)
    assert "--mca btl_tcp_if_include ib0 --mca oob_tcp_if_include ib0" in argv
    assert "_if_include" not in " ".join(decided(MPI, replace(facts, network=None)).processes[0].argv)


def test_the_folder_of_the_keys_can_be_told_to_ssh() -> None:
    with pytest.raises(PlanError, match="would take apart") as error:
        decided(MPI, replace(FACTS, root="/lap top", topology=THREE))
    assert "--root" in error.value.action
    assert decided(MPI, replace(FACTS, root="/lap-top", topology=THREE)).ssh == (
        "/lap-top/home/ma-user/modelarts/.launcher-ssh/worker-1"
    )


def test_mpirun_tags_lines_unless_none_are_wanted() -> None:
    facts = replace(FACTS, devices=GPUS)
    assert "--tag-output" in decided(MPI, facts).processes[0].argv
    quiet = replace(facts, settings=Settings(logs=LogRules(rank_prefix=False)))
    assert "--tag-output" not in decided(MPI, quiet).processes[0].argv


def test_msrun_finds_the_interpreter_that_was_named() -> None:
    engine, method = ENGINES["msrun"], by("msrun")
    found = decided(engine, environments=method).processes[0]
    assert (found.argv[-2:], found.env["PATH"]) == (
        ("python", "/home/ma-user/modelarts/user-job-dir/code/train.py"),
        "/bin",
    )
    for interpreter, program, path in (
        ("/opt/py/bin/python3", "python3", "/opt/py/bin:/bin"),
        ("/opt/py/bin/python3.9", "python3", "/opt/py/bin:/bin"),
        ("python3.9", "python3", "/bin"),
    ):
        environ = {"PATH": "/bin", "MA_SCRIPT_INTERPRETER": interpreter}
        facts = replace(FACTS, environ=environ, interpreter=interpreter)
        named = decided(engine, facts, environments=method).processes[0]
        assert (named.argv[0], named.argv[-2], named.env["PATH"]) == (interpreter, program, path)


def test_old_torchruns_get_no_option_that_they_lack() -> None:
    for name, old in (("torchrun-1", True), ("torchrun", False)):
        argv = decided(ENGINES[name], FACTS, environments=by("torchrun")).processes[0].argv
        assert any(token.startswith("--local_addr=") for token in argv) != old


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(
    engine=st.sampled_from(sorted(set(ENGINES) - {"command", "ascend"})),
    nodes=st.integers(1, 4),
    processes=st.integers(1, 3),
    values=st.lists(TEXT, min_size=1, max_size=4),
)
def test_every_argument_is_one_token_on_every_engine(
    engine: str, nodes: int, processes: int, values: list[str]
) -> None:
    hosts = tuple(f"w{index}" for index in range(nodes))
    here = Topology(count=nodes, workers=nodes, hosts=hosts, master="w0", index=0)
    facts = replace(FACTS, topology=here, settings=Settings(processes=processes))
    parameters = [{"name": f"p{index}", "value": value} for index, value in enumerate(values)]
    environments = by(METHODS[engine]) if engine in METHODS else {}
    argv = decided(ENGINES[engine], facts, parameters=parameters, environments=environments).processes[0].argv
    at = argv.index("/home/ma-user/modelarts/user-job-dir/code/train.py") + 1
    expected = tuple(f"--p{index}={value}" for index, value in enumerate(values))
    assert argv[at : at + len(expected)] == expected
    assert all(re.fullmatch(r"--[a-z_]+=\S*", token) for token in argv[at + len(expected) :])


def ranks(made_plan: Plan, engine: str) -> list[int]:
    """The ranks that the launcher itself gives to a node."""
    options = dict(
        token[2:].split("=", 1) for token in made_plan.processes[0].argv if token.startswith("--") and "=" in token
    )
    if engine in ("msrun", "torchrun-1"):
        count = int(options.get("local_worker_num") or options["nproc_per_node"])
        first = int(options["node_rank"]) * count
        return list(range(first, first + count))
    return [process.rank for process in made_plan.processes]


@given(
    engine=st.sampled_from(("python", "pytorch", "tensorflow", "msrun", "torchrun-1", "ascend")),
    nodes=st.integers(2, 5),
    processes=st.integers(1, 4),
)
def test_all_ranks_are_given_once(engine: str, nodes: int, processes: int) -> None:
    hosts = tuple(f"w{index}" for index in range(nodes))
    cards = [
        tuple(Card(device=str(card), rank=node * processes + card) for card in range(processes))
        for node in range(nodes)
    ]
    servers = tuple(Server(id=host, cards=held, pods=(host,)) for host, held in zip(hosts, cards, strict=True))
    found: list[int] = []
    for index in range(nodes):
        here = Topology(count=nodes, workers=nodes, hosts=hosts, master="w0", index=index)
        table = RankTable(path="t", version="0.1", servers=servers, own=index)
        facts = replace(FACTS, topology=here, settings=Settings(processes=processes), rank_table=table)
        environments = by(METHODS[engine]) if engine in METHODS else {}
        found += ranks(decided(ENGINES[engine], facts, environments=environments), engine)
    each = processes if engine in ("msrun", "torchrun-1", "ascend") else 1
    assert found == list(range(nodes * each))


@given(nodes=st.integers(2, 6), processes=st.integers(1, 8))
def test_mpi_has_a_slot_for_every_process(nodes: int, processes: int) -> None:
    hosts = tuple(f"w{index}" for index in range(nodes))
    here = Topology(count=nodes, workers=nodes, hosts=hosts, master="w0", index=0)
    found = decided(MPI, replace(FACTS, topology=here, settings=Settings(processes=processes)))
    argv = found.processes[0].argv
    slots = [line.split(" slots=") for line in found.documents[0].text.splitlines()]
    assert [host for host, _ in slots] == list(hosts)
    assert sum(int(count) for _, count in slots) == int(argv[argv.index("-np") + 1]) == nodes * processes


def test_a_plan_is_the_same_whoever_makes_it() -> None:
    assert made(CASES[0]) == made(CASES[0])
