from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec.structs import replace

from launcher.core.complete import Overrides, complete
from launcher.core.dataset import Rules
from launcher.core.devices import Devices
from launcher.core.environ import search_path
from launcher.core.errors import PlanError, SpecError
from launcher.core.facts import Facts, StoreFacts
from launcher.core.layout import Layout, nested
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import parse_job
from launcher.core.parse.text import read_document
from launcher.core.plan import CodeLimits, Patterns, Plan, Transfers
from launcher.core.planning import plan
from launcher.core.processes import LONGEST_STRING, LONGEST_TOTAL
from launcher.core.ranktable import Card, RankTable, Server
from launcher.core.redact import MASK, redact, to_json
from launcher.core.settings import Settings, read_settings
from launcher.core.spec import Requirement
from launcher.core.topology import Topology
from launcher.core.urls import Location, parse_location

if TYPE_CHECKING:
    from launcher.core.spec import Job

FACTS = Facts(
    environ={"PATH": "/bin"}, host="node", started="20260102T030405Z", interpreter="/bin/python", shell="/bin/sh"
)


def whole(algorithm: dict[str, Any] | None = None, **rest: Any) -> Job:
    document = {
        "kind": "job",
        "metadata": {"name": "j", "id": "i-1"},
        "algorithm": {"code_dir": "/bucket/code/", "boot_file": "/bucket/code/sub/train.py", **(algorithm or {})},
        **rest,
    }
    return complete(parse_job(read_document(json.dumps(document).encode(), "j.json"), Log()), None, Overrides()).job


def decided(algorithm: dict[str, Any] | None = None, facts: Facts = FACTS, **rest: Any) -> Plan:
    return plan(whole(algorithm, **rest), facts)


def channel(name: str, url: str = "obs://bucket/data/", **more: Any) -> dict[str, Any]:
    return {"name": name, "remote": {"obs": {"obs_url": url}}, **more}


def test_code_lands_below_the_job_directory_under_its_last_name() -> None:
    made = decided()
    assert made.code is not None
    assert made.code.source == Location("bucket", "code/")
    assert made.code.path == "/home/ma-user/modelarts/user-job-dir/code"
    assert made.processes[0].argv == ("/bin/python", "/home/ma-user/modelarts/user-job-dir/code/sub/train.py")
    assert made.processes[0].cwd == made.code.path


def test_a_bucket_as_code_directory_gives_a_folder_of_its_name() -> None:
    made = decided({"code_dir": "obs://bucket", "boot_file": "obs://bucket/train.py"})
    assert made.code is not None
    assert (made.code.path, made.code.source) == ("/home/ma-user/modelarts/user-job-dir/bucket", Location("bucket", ""))


def test_code_on_the_node_is_no_download() -> None:
    made = decided({"code_dir": "file:///srv/code", "boot_file": "file:///srv/code/train.py"})
    assert made.code is not None
    assert (made.code.source, made.code.path, made.code.boot_file) == (None, "/srv/code", "/srv/code/train.py")


def test_channels_are_numbered_in_their_own_list() -> None:
    made = decided({"inputs": [channel("a"), channel("b", local_dir="/cache/b")], "outputs": [channel("c")]})
    mount = "/home/ma-user/modelarts"
    assert [each.path for each in (*made.inputs, *made.outputs)] == [
        f"{mount}/inputs/a_0",
        "/cache/b",
        f"{mount}/outputs/c_0",
    ]


def test_the_root_moves_everything() -> None:
    facts = Facts(environ={}, host="h", started="t", root="/lap top")
    made = decided({"inputs": [channel("a", local_dir="/cache/a")], "local_code_dir": "/home/me"}, facts)
    assert made.inputs[0].path == "/lap top/cache/a"
    assert made.code is not None
    assert made.code.path == "/lap top/home/me/code"
    assert made.files.log == "/lap top/home/ma-user/modelarts/log/modelarts-job-i-1-worker-0.log"
    assert "/lap top/cache" in made.folders


def test_a_job_without_an_id_is_named_by_its_name_and_start() -> None:
    made = decided(metadata={"name": "j"})
    assert made.job.label == "modelarts-job-j-20260102T030405Z-worker-0"


def test_the_nodes_of_a_job_without_an_id_agree_on_its_name() -> None:
    several = replace(FACTS, topology=Topology(count=2, index=1, workers=2, hosts=("a", "b"), master="a"))
    assert decided(facts=several, metadata={"name": "j"}).job.id == "j"
    for group, known in (("ma-job-6f1c-9", "6f1c-9"), ("elsewhere", "j"), ("ma-job-../x", "j")):
        facts = replace(several, environ={"MA_VJ_NAME": group})
        assert decided(facts=facts, metadata={"name": "j"}).job.label == f"modelarts-job-{known}-worker-1"


def test_scratch_files_are_no_output() -> None:
    facts = Facts(environ={}, host="h", started="t", cache=True)
    assert decided(facts=facts).processes[0].env["TMPDIR"] == "/cache"
    made = decided({"outputs": [channel("a", local_dir="/cache")]}, facts)
    assert (made.scratch, "TMPDIR" in made.processes[0].env) == (None, False)


def test_a_variable_of_the_job_that_hides_a_channel_is_warned_about() -> None:
    made = decided({"inputs": [channel("a", access_method="env")], "environments": {"a": "/elsewhere"}})
    assert made.processes[0].env["a"] == "/elsewhere"
    assert made.warnings == ("the job's variable a stands, and hides the folder of the channel of that name",)


def test_periods_and_log_targets() -> None:
    made = decided(
        {"outputs": [channel("a"), channel("b", "obs://bucket/b", period="5s")]},
        spec={"log_export_path": {"obs_url": "/bucket/log"}},
    )
    assert [(each.period, each.target.url) for each in made.outputs] == [
        (30.0, "obs://bucket/data/"),
        (5.0, "obs://bucket/b/"),
    ]
    assert made.log_target == Location("bucket", "log/")
    assert decided(spec={"log_export_path": {"obs_url": ""}}).log_target is None


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        (
            {"inputs": [channel("a", local_dir="/home/ma-user/modelarts/user-job-dir/code/data")]},
            "inputs[0] (a) at /home/ma-user/modelarts/user-job-dir/code/data lies in the folder of the code directory",
        ),
        ({"outputs": [channel("a", local_dir="/home/ma-user")]}, "lies in the folder of outputs[0] (a), /home/ma-user"),
        (
            {"inputs": [channel("a", local_dir="/cache/x")], "outputs": [channel("b", local_dir="/cache/x")]},
            "outputs[0] (b) at /cache/x lies in the folder of inputs[0] (a), /cache/x",
        ),
    ],
)
def test_no_folder_of_a_job_lies_in_another(algorithm: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        decided(algorithm)
    assert message in str(error.value)


def test_what_the_kernel_would_refuse_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match="--big has"):
        decided({"parameters": [{"name": "big", "value": "x" * LONGEST_STRING}]})
    many = [{"name": f"p{index}", "value": "x" * 100_000} for index in range(LONGEST_TOTAL // 100_000 + 1)]
    with pytest.raises(SpecError, match="arguments and variables have"):
        decided({"parameters": many})


def test_what_is_strange_is_said() -> None:
    strange = {
        "command": "true",
        "outputs": [channel("a", "obs://bucket/o/"), channel("b", "obs://bucket/o")],
        "inputs": [channel("data", "obs://bucket/d/")],
        "parameters": [{"name": "path", "value": "s3://bucket/d"}, {"name": "n", "value": "1"}, {"name": "unset"}],
    }
    said = decided(strange, kind="visualization_job").warnings
    assert [each.split(";")[0] for each in said] == [
        "kind is visualization_job",
        "the job has a boot file and a command",
        "outputs a and b go to the same place, obs://bucket/o/",
        "hyperparameter path is the URL s3://bucket/d",
    ]


def test_a_volume_that_nobody_has_mounted_is_told() -> None:
    (said,) = decided(facts=replace(FACTS, unmounted=("/mnt/data",))).warnings
    assert said.startswith("the job has a volume at /mnt/data, and nothing is mounted there")


def test_a_command_gets_its_channels_as_variables_and_no_arguments() -> None:
    made = decided(
        {
            "boot_file": None,
            "code_dir": None,
            "command": "echo $d",
            "engine": {"image_url": "i"},
            "inputs": [channel("d")],
        }
    )
    (process,) = made.processes
    assert process.argv == ("/bin/sh", "-c", "echo $d")
    assert process.env["d"] == "/home/ma-user/modelarts/inputs/d_0"
    assert process.cwd == "/home/ma-user/modelarts"


def test_without_an_interpreter_or_a_shell_the_names_stand_for_them() -> None:
    bare = Facts(environ={}, host="h", started="t")
    assert decided(facts=bare).processes[0].argv[0] == "python"
    named = Facts(environ={"MA_SCRIPT_INTERPRETER": "py9"}, host="h", started="t")
    assert decided(facts=named).processes[0].argv[0] == "py9"
    command = {"boot_file": None, "code_dir": None, "command": "x", "engine": {"image_url": "i"}}
    assert decided(command, bare).processes[0].argv[0] == "bash"


def test_the_environment_knows_the_store_the_scratch_and_the_preset_python() -> None:
    facts = Facts(
        environ={"PATH": "/bin", "LD_LIBRARY_PATH": "/l", "PYTHONPATH": "/p", "MA_VJ_NAME": "given", "MA_NUM_GPUS": ""},
        host="h",
        started="t",
        store=StoreFacts(endpoint="https://obs.example", verify_ssl=False),
        cache=True,
        conda=True,
    )
    env = decided(facts=facts).processes[0].env
    assert (env["S3_ENDPOINT"], env["S3_USE_HTTPS"], env["S3_VERIFY_SSL"]) == ("https://obs.example", "1", "0")
    assert (env["TMPDIR"], env["MA_VJ_NAME"]) == ("/cache", "given")
    assert env["PATH"] == "/home/ma-user/anaconda/bin:/bin"
    assert env["LD_LIBRARY_PATH"] == "/home/ma-user/anaconda/lib:/l"
    assert env["PYTHONPATH"].endswith("/python-packages:/p")
    bare = decided().processes[0].env
    assert not {"S3_ENDPOINT", "TMPDIR", "LD_LIBRARY_PATH", "MA_ENGINE_VERSION"} & bare.keys()


@pytest.mark.parametrize(
    ("detail", "cards"),
    [
        ({"flavor_type": "CPU", "flavor_info": {}}, "0"),
        ({"flavor_type": "GPU", "flavor_info": {"gpu": {"unit_num": 4}}}, "4"),
        ({"flavor_type": "Ascend", "flavor_info": {"npu": {"unit_num": "8"}}}, "8"),
        ({"flavor_type": "GPU", "flavor_info": {}}, "0"),
        ({"flavor_type": "GPU"}, "0"),
    ],
)
def test_a_preview_elsewhere_counts_the_flavors_accelerators(detail: dict[str, Any], cards: str) -> None:
    spec = {"resource": {"flavor_detail": detail}}
    shown = decided(facts=replace(FACTS, preview=True), spec=spec).processes[0].env
    assert shown["MA_NUM_GPUS"] == cards
    here = Devices(type="GPU", count=2, cpus=4, memory_bytes=None, limits_from="host")
    for preview in (True, False):
        facts = replace(FACTS, preview=preview, devices=here)
        assert decided(facts=facts, spec=spec).processes[0].env["MA_NUM_GPUS"] == "2"
    unknown = replace(FACTS, devices=replace(here, count=None))
    assert "MA_NUM_GPUS" not in decided(facts=unknown).processes[0].env
    assert decided(spec=spec).processes[0].env["MA_NUM_GPUS"] == "0"


def test_the_boot_files_own_arguments_are_found_behind_whatever_starts_it() -> None:
    several = replace(FACTS, topology=Topology(count=2, index=1, workers=2, hosts=("a", "b"), master="a"))
    asked = {"parameters": [{"name": "lr", "value": "1"}], "environments": {"MA_RUN_METHOD": "torchrun"}}
    assert decided(asked, several).arguments == ("--lr=1",)
    assert decided(asked | {"environments": {}}).arguments == ("--lr=1",)
    by_mpi = decided(asked | {"environments": {}, "engine": {"engine_name": "Horovod"}}, several)
    assert (by_mpi.serves, by_mpi.arguments, by_mpi.interpreter) == (True, (), "/bin/python")


def test_the_table_that_an_engine_lays_down_is_the_one_its_processes_read() -> None:
    server = Server(id="a", cards=tuple(Card(device=str(n), ip="192.0.2.1", rank=n) for n in range(2)), pods=("p",))
    facts = replace(
        FACTS,
        devices=Devices(type="Ascend", count=2, cpus=4, memory_bytes=None, limits_from="host"),
        rank_table=RankTable(path="/mine/t.json", version="0.1", servers=(server,), own=0),
    )
    own = {"RANK_TABLE_FILE": "/mine", "RANK_ID": "7", "HCCL_CONNECT_TIMEOUT": "60"}
    made = decided({"engine": {"engine_name": "Ascend-Powered-Engine"}, "environments": own}, facts)
    assert [each.env["RANK_ID"] for each in made.processes] == ["0", "1"]
    assert {each.env["RANK_TABLE_FILE"] for each in made.processes} == {made.documents[0].path}
    assert {each.env["HCCL_CONNECT_TIMEOUT"] for each in made.processes} == {"60"}


def test_a_nodes_only_process_writes_the_jobs_own_log() -> None:
    for count, logs in ((1, [False]), (2, [True, True])):
        cards = tuple(Card(device=str(n), ip="192.0.2.1", rank=n) for n in range(count))
        table = RankTable(path="/t", version="0.1", servers=(Server(id="a", cards=cards, pods=("p",)),), own=0)
        devices = Devices(type="Ascend", count=count, cpus=4, memory_bytes=None, limits_from="host")
        made = decided(
            {"engine": {"engine_name": "Ascend-Powered-Engine"}}, replace(FACTS, devices=devices, rank_table=table)
        )
        assert [each.log is not None for each in made.processes] == logs


def test_by_what_the_launchers_of_a_job_know_each_other_is_never_shown() -> None:
    several = replace(FACTS, topology=Topology(count=2, index=1, workers=2, hosts=("a", "b"), master="a"))
    made = decided(facts=several)
    assert made.rendezvous is not None
    shown = redact(made)
    assert made.rendezvous.nonce not in to_json(shown).decode()
    assert shown.rendezvous == replace(made.rendezvous, nonce=MASK)


def test_what_is_ascends_alone_is_for_its_engine_and_for_its_devices() -> None:
    npus = Devices(type="Ascend", count=1, cpus=4, memory_bytes=None, limits_from="host")
    assert decided({"engine": {"engine_name": "Ascend-Powered-Engine"}}).is_ascend
    assert decided(facts=replace(FACTS, devices=npus)).is_ascend
    assert not decided().is_ascend


def test_a_port_is_a_port() -> None:
    with pytest.raises(PlanError, match="LAUNCHER_SSH_PORT: expected a port from 1 to 65535, found 65536"):
        read_settings({"LAUNCHER_SSH_PORT": "65536"})


def test_what_another_launcher_has_staged_is_used_where_it_lies() -> None:
    environ = {"LAUNCHER_STAGED": "/shared"}
    made = decided(
        {"inputs": [channel("data")], "outputs": [channel("out", "obs://bucket/out/")]},
        facts=replace(FACTS, root="/own", settings=read_settings(environ)),
    )
    assert made.code is not None
    assert (made.code.source, made.inputs, made.staged) == (None, (), "/shared")
    assert made.code.path.startswith("/shared/")
    assert made.packages.startswith("/shared/")
    (process,) = made.processes
    assert any(token.startswith("--data=/shared/") for token in process.argv)
    assert any(token.startswith("--out=/own/") for token in process.argv)
    assert process.env["MA_JOB_DIR"].startswith("/shared/")
    assert process.env["MA_LOG_DIR"].startswith("/own/")
    assert all(path.startswith("/own/") for path in made.folders)
    with pytest.raises(PlanError, match="LAUNCHER_STAGED: expected an absolute path, found 'shared'"):
        read_settings({"LAUNCHER_STAGED": "shared"})


def test_what_the_node_does_not_fulfil_is_in_the_plan() -> None:
    wants = (Requirement(key="flavor_type", values=("GPU",)),)
    made = plan(whole(), FACTS, requirements=wants)
    assert (len(made.unmet), made.constrained) == (1, "refuse")
    assert plan(whole(), replace(FACTS, precheck=False), requirements=wants).constrained == "warn"


def test_a_parameter_server_moves_no_data() -> None:
    topology = Topology(role="ps", workers=2, hosts=("w0", "w1"), servers=("s0",), master="w0")
    engine = {"engine_name": "TensorFlow", "engine_version": "tensorflow_2.1.0"}
    algorithm = {"engine": engine, "inputs": [channel("a")], "outputs": [channel("b")]}
    made = decided(algorithm, replace(FACTS, topology=topology))
    assert (made.inputs, made.outputs, made.node.task, made.serves) == ((), (), "ps-0", True)
    assert "--a=/home/ma-user/modelarts/inputs/a_0" in made.processes[0].argv
    assert "/home/ma-user/modelarts/outputs/b_0" in made.folders


def test_programs_are_looked_for_on_the_path_of_the_boot_file() -> None:
    facts = Facts(environ={"PATH": "/bin"}, host="h", started="t", conda=True)
    assert search_path(facts, Layout(), {}) == "/home/ma-user/anaconda/bin:/bin"
    assert search_path(facts, Layout(), {"PATH": "/mine"}) == "/mine"
    assert search_path(Facts(environ={}, host="h", started="t"), Layout(), {}) == "/usr/local/bin:/usr/bin:/bin"


def test_pip_is_told_of_the_platforms_index() -> None:
    facts = Facts(environ={"MA_PIP_HOST": "h", "MA_PIP_URL": "http://h/s"}, host="h", started="t")
    assert decided(facts=facts).pip_index == ("--trusted-host=h", "--index-url=http://h/s")
    assert decided().pip_index == ()


def test_a_job_that_was_not_completed_is_a_defect() -> None:
    job = whole()
    with pytest.raises(PlanError, match="the job was not completed"):
        plan(parse_with_bare_input(job), FACTS)


def parse_with_bare_input(job: Job) -> Job:
    document = {
        "kind": "job",
        "metadata": {"name": job.metadata.name},
        "algorithm": {"code_dir": "/bucket/c/", "boot_file": "/bucket/c/a.py", "inputs": [{"name": "d"}]},
    }
    return parse_job(read_document(json.dumps(document).encode(), "j.json"), Log())


def test_settings_have_defaults_and_are_checked() -> None:
    assert read_settings({}) == Settings()
    told = read_settings(
        {
            "LAUNCHER_CODE_MAX_FILES": "5",
            "LAUNCHER_GRACE": "1.5",
            "LAUNCHER_TRANSFERS": "9999",
            "LAUNCHER_S3_ADDRESSING": "path",
        }
    )
    assert (told.limits, told.grace, told.addressing) == (CodeLimits(entries=5), 1.5, "path")
    assert told.transfers == Transfers(most=512)
    with pytest.raises(PlanError, match="LAUNCHER_LANG: expected en or zh, found 'de'"):
        read_settings({"LAUNCHER_LANG": "de"})


def test_folders_that_are_apart_are_no_clash() -> None:
    assert nested({"a": "/x/y", "b": "/x/yz", "c": "/x/z"}) is None
    assert Layout(root="/r").at("/a//b/") == "/r/a/b"


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("obs://bucket/a/b", Location("bucket", "a/b")),
        ("s3://bucket", Location("bucket", "")),
        ("/bucket/a/", Location("bucket", "a/")),
    ],
)
def test_a_place_has_three_spellings(text: str, location: Location) -> None:
    assert parse_location(text) == location
    assert location.folder.is_folder
    assert location.child("x").key.endswith("x")


def test_a_job_has_the_hours_of_its_auto_stop_and_the_node_s_setting_before_them() -> None:
    assert decided().stop_after is None
    limited: dict[str, Any] = {"auto_stop": {"time_unit": "HOURS", "duration": 2}}
    assert decided(spec=limited).stop_after == 7200
    set_here = msgspec.structs.replace(FACTS, settings=read_settings({"LAUNCHER_AUTO_STOP": "90"}))
    assert decided(facts=set_here, spec=limited).stop_after == 90


def test_how_the_log_is_kept_is_settable() -> None:
    rules = read_settings({"LAUNCHER_LOG_SEGMENT": "2", "LAUNCHER_LOG_RATE": "3", "LAUNCHER_RANK_PREFIX": "0"}).logs
    assert (rules.segment_bytes, rules.bytes_per_minute, rules.rank_prefix) == (2 * 1024**2, 3 * 1024**2, False)


def test_how_the_node_is_used_is_settable() -> None:
    told = read_settings(
        {
            "LAUNCHER_TRANSFERS": "9",
            "LAUNCHER_TRANSFER_MEMORY": "8",
            "LAUNCHER_STAGE_TIMEOUT": "1.5",
            "LAUNCHER_EXTRACT_RATIO": "7",
            "LAUNCHER_CACHE": " /cache ",
            "LAUNCHER_CACHE_SIZE": "2",
            "LAUNCHER_DATASET_MISSING": ".25",
            "LAUNCHER_DATASET_BUCKETS": "a, b,,",
            "LAUNCHER_OUTPUT_IN_USE": "warn",
            "LAUNCHER_CA_BUNDLE": "/ca.pem",
            "LAUNCHER_SSE": "aws:kms:key/1",
        }
    )
    assert told.transfers == Transfers(most=9, memory_bytes=8 * 1024**2, stage_timeout=1.5, extract_ratio=7)
    assert (told.cache, told.cache_bytes) == ("/cache", 2 * 1024**3)
    assert (told.dataset_missing, told.dataset_buckets) == (0.25, ("a", "b"))
    assert (told.in_use, told.ca_bundle, told.encryption) == ("warn", "/ca.pem", "aws:kms:key/1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LAUNCHER_TRANSFERS", "0"),
        ("LAUNCHER_TRANSFER_MEMORY", "-1"),
        ("LAUNCHER_STAGE_TIMEOUT", "soon"),
        ("LAUNCHER_DATASET_MISSING", "1.5"),
        ("LAUNCHER_OUTPUT_IN_USE", "maybe"),
        ("LAUNCHER_SSE", "rot13"),
        ("LAUNCHER_GRACE", "86401"),
    ],
)
def test_a_setting_that_means_nothing_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(PlanError, match=rf"^{name}: expected .*, found '{value}'"):
        read_settings({name: value})


def with_settings(**values: str) -> Facts:
    return msgspec.structs.replace(
        FACTS, settings=read_settings({f"LAUNCHER_{name}": value for name, value in values.items()})
    )


def test_settings_of_the_node_are_in_the_plan() -> None:
    made = decided(facts=with_settings(TRANSFERS="9", OUTPUT_IN_USE="warn"))
    assert (made.transfers, made.in_use) == (Transfers(most=9), "warn")
    assert made.files.staged == "/home/ma-user/modelarts/log/.launcher-staged"


def annotated(annotations: dict[str, str], facts: Facts = FACTS) -> Plan:
    algorithm = {
        "inputs": [channel("a"), channel("set", "obs://bucket/V1.manifest")],
        "outputs": [channel("out", "obs://bucket/out/")],
    }
    metadata = {"name": "j", "id": "i-1", "annotations": annotations}
    return decided(algorithm, facts, metadata=metadata)


def test_annotations_say_what_counts_of_a_channel_and_what_is_unpacked() -> None:
    made = annotated({"launcher/include.a": "*.jpg", "launcher/exclude.out": "*.tmp", "launcher/extract.a": "true"})
    assert [(each.patterns, each.extract) for each in made.inputs] == [
        (Patterns(include=("*.jpg",)), True),
        (Patterns(), False),
    ]
    assert made.outputs[0].patterns == Patterns(exclude=("*.tmp",))
    plain = annotated({"job_template": "x"})
    assert [(each.patterns, each.extract) for each in plain.inputs] == [(Patterns(), False)] * 2


def test_what_a_dataset_may_lack_is_said_by_the_job_before_the_node() -> None:
    node = with_settings(DATASET_MISSING="0.5", DATASET_BUCKETS="one")
    assert [each.dataset for each in annotated({}).inputs] == [None, Rules()]
    assert annotated({}, node).inputs[1].dataset == Rules(missing=0.5, buckets=("one",))
    said = {"launcher/dataset-missing": "0", "launcher/dataset-buckets": "two, three"}
    assert annotated(said, node).inputs[1].dataset == Rules(buckets=("two", "three"))


def test_a_dataset_by_its_id_and_one_by_its_manifest_are_both_told_from_a_folder() -> None:
    datasets = [
        channel("plain", "obs://bucket/a.manifests/"),
        {"name": "named", "remote": {"dataset": {"id": "d", "version_id": "v", "obs_url": "obs://bucket/d/"}}},
        {**channel("kind", "obs://bucket/V1.manifest"), "remote_constraints": [{"data_type": "dataset"}]},
    ]
    made = decided({"inputs": datasets})
    assert [each.dataset for each in made.inputs] == [None, Rules(), Rules(sources=("dataset",))]
    assert made.inputs[1].source == Location("bucket", "d/")
