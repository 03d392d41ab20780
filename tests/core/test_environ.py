from __future__ import annotations

from msgspec.structs import replace

from launcher.core.devices import ONE_CPU
from launcher.core.environ import TABLE, Scene, boot_environment
from launcher.core.facts import Facts, Network
from launcher.core.layout import Layout
from launcher.core.plan import Input, JobName, Node, Output
from launcher.core.settings import Settings
from launcher.core.topology import Topology
from launcher.core.urls import Location

HOSTS = ("w0", "w1", "w2")
THREE = Topology(count=3, index=1, workers=3, hosts=HOSTS, master="w0")
FACTS = Facts(environ={}, host="me", started="t")
READ = Input(name="a", path="/a", source=Location("b", "in/"), description="", field="")
WRITTEN = Output(
    name="o", path="/o", target=Location("b", "out/"), predownload=False, period=1, description="", field=""
)


def scene(facts: Facts = FACTS, accelerators: int | None = 0) -> Scene:
    here = facts.topology
    return Scene(
        facts=facts,
        layout=Layout(),
        staged=Layout(),
        job=JobName(id="i", name="n", label="modelarts-job-i-worker-0"),
        node=Node(index=here.index, count=here.count, host=facts.host, role=here.role, hosts=here.hosts),
        code="/code",
        inputs=(READ,),
        outputs=(WRITTEN,),
        engine_version=None,
        accelerators=accelerators,
        code_url="obs://b/code/",
    )


def test_one_node_is_told_of_no_other() -> None:
    made = boot_environment(scene())
    assert (made["VC_WORKER_HOSTS"], made["MA_CURRENT_IP"], made["MA_NUM_HOSTS"]) == ("me", "127.0.0.1", "1")
    assert not {"MASTER_ADDR", "MASTER_PORT", "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"} & made.keys()


def test_a_node_among_several_is_told_of_the_others() -> None:
    network = Network(address="192.0.2.1", interface="eth0", interfaces=("eth0",))
    made = boot_environment(scene(replace(FACTS, topology=THREE, network=network)))
    assert {name: made[name] for name in ("VC_WORKER_HOSTS", "MA_CURRENT_IP", "MASTER_ADDR", "MASTER_PORT")} == {
        "VC_WORKER_HOSTS": "w0,w1,w2",
        "MA_CURRENT_IP": "192.0.2.1",
        "MASTER_ADDR": "w0",
        "MASTER_PORT": "6666",
    }
    assert (made["NCCL_SOCKET_IFNAME"], made["GLOO_SOCKET_IFNAME"]) == ("eth0", "eth0")
    assert (made["MA_NUM_HOSTS"], made["VC_WORKER_NUM"], made["VC_TASK_INDEX"]) == ("3", "3", "1")


def test_what_nobody_knows_is_promised_to_nobody() -> None:
    made = boot_environment(scene(replace(FACTS, topology=replace(THREE, hosts=(), master=""))))
    assert not {"VC_WORKER_HOSTS", "MA_CURRENT_IP", "MASTER_ADDR", "NCCL_SOCKET_IFNAME"} & made.keys()


def test_what_the_platform_has_set_stands() -> None:
    environ = {"NCCL_SOCKET_IFNAME": "bond0", "MASTER_PORT": "1234", "OMP_NUM_THREADS": "3", "MA_TASK_NAME": "learner"}
    made = boot_environment(scene(replace(FACTS, environ=environ, topology=THREE)))
    assert {name: made[name] for name in environ} == environ


def test_a_parameter_server_counts_the_workers() -> None:
    servers = replace(THREE, role="ps", index=1, count=2)
    made = boot_environment(scene(replace(FACTS, topology=servers)))
    assert (made["MA_TASK_NAME"], made["MA_NUM_HOSTS"], made["VC_TASK_INDEX"]) == ("ps", "3", "1")


def test_processors_are_shared_by_the_processes_of_a_node() -> None:
    facts = replace(FACTS, devices=replace(ONE_CPU, cpus=7.5))
    assert [boot_environment(scene(facts), each)["OMP_NUM_THREADS"] for each in (1, 2, 4, 8)] == ["7", "3", "1", "1"]


def test_no_names_variable_depends_on_the_number_of_processes() -> None:
    assert boot_environment(scene(), 1).keys() == boot_environment(scene(), 8).keys()


def test_the_names_of_the_first_generation_come_when_asked_for() -> None:
    first = {variable.name for variable in TABLE if variable.first}
    assert not first & boot_environment(scene()).keys()
    asked = replace(FACTS, settings=Settings(v1_names=True), topology=THREE, cache=True)
    environ = {"BATCH_CUSTOM2_HOSTS": "other:1", "BATCH_JOB_ID": "theirs"}
    made = boot_environment(scene(replace(asked, environ=environ)))
    assert {name: made[name] for name in sorted({*first, "BATCH_CUSTOM1_HOSTS", "BATCH_CUSTOM2_HOSTS"})} == {
        "BATCH_CUSTOM0_HOSTS": "w0:6666",
        "BATCH_CUSTOM1_HOSTS": "w1:6666",
        "BATCH_CUSTOM2_HOSTS": "other:1",
        "BATCH_JOB_ID": "theirs",
        "BATCH_TASK_CURRENT_INSTANCE": "modelarts-job-i-worker-0",
        "BATCH_TASK_LOG_PATH": "/home/ma-user/modelarts/log",
        "CACHE_HOME": "/cache",
        "DLS_APP_URL": "obs://b/code/",
        "DLS_DATA_URL": "obs://b/in/",
        "DLS_TASK_INDEX": "1",
        "DLS_TASK_NUMBER": "3",
        "DLS_TRAIN_URL": "obs://b/out/",
    }
    alone = replace(asked, topology=Topology(), cache=False)
    bare = boot_environment(replace(scene(alone), inputs=(), outputs=(), code_url=None))
    assert bare["BATCH_CUSTOM0_HOSTS"] == "me:6666"
    assert not {"DLS_DATA_URL", "DLS_TRAIN_URL", "DLS_APP_URL", "CACHE_HOME", "BATCH_CUSTOM1_HOSTS"} & bare.keys()
