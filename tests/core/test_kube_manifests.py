from __future__ import annotations

import base64
import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kube_cases import (
    CASES,
    DATA,
    SECRET,
    SEVERAL,
    STORE,
    WRITTEN,
    Case,
    body,
    completed,
    container_of,
    flavor,
    golden,
    node,
    pod_of,
)
from msgspec.structs import replace

from launcher.cli.manifests import yaml_text
from launcher.core.complete import Overrides, complete, find_algorithm
from launcher.core.errors import SpecError
from launcher.core.kube import MOST_BYTES, manifests
from launcher.core.kube.names import MOST, object_name
from launcher.core.kube.policy import AGAIN, NEVER, failure_policy, volcano_policies
from launcher.core.kube.resources import container_resources, quantity, shared_memory
from launcher.core.kube.secrets import refused
from launcher.core.kube.wishes import KINDS, Kind, Reference, Toleration, Wishes
from launcher.core.parse.algorithm import parse_algorithm
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import JOB, parse_job
from launcher.core.parse.text import read_document
from launcher.core.spec import Job, JobAlgorithm, JobMetadata, Policies, Requirement
from launcher.core.topology import Flags, topology

if TYPE_CHECKING:
    from collections.abc import Mapping

WRITE = os.environ.get("LAUNCHER_MANIFESTS") == "write"


def rendered(job: Mapping[str, Any], **wishes: Any) -> tuple[Mapping[str, Any], ...]:
    return manifests(completed(job).job, Wishes(**{"image": "i", **wishes}))


def problems(job: Mapping[str, Any], known: tuple[str, ...] = (), **wishes: Any) -> dict[str, str]:
    with pytest.raises(SpecError) as caught:
        manifests(completed(job).job, Wishes(**{"image": "i", **wishes}), known)
    return {each.path: each.message for each in caught.value.problems}


def algorithm_of(document: Mapping[str, Any]) -> JobAlgorithm:
    found = completed(document).job.algorithm
    assert found is not None
    return found


def job_of(document: Mapping[str, Any]) -> Job:
    return completed(document).job


@pytest.mark.parametrize(("case", "kind"), WRITTEN, ids=lambda each: each if isinstance(each, str) else each.name)
def test_the_manifests_are_what_is_written_down(case: Case, kind: Kind) -> None:
    text = "---\n".join(map(yaml_text, case.objects(kind)))
    if WRITE:
        golden(case, kind).write_text(text)
    assert golden(case, kind).read_text() == text
    assert tuple(yaml.safe_load_all(text)) == case.objects(kind)


def test_what_is_written_down_is_of_a_case_and_holds_no_secret() -> None:
    files = {path.name: path.read_text() for path in (DATA / "golden").iterdir()}
    assert files.keys() == {golden(case, kind).name for case, kind in WRITTEN}
    spelt = (SECRET, base64.b64encode(SECRET.encode()).decode().rstrip("="))
    assert [name for name, text in files.items() for each in spelt if each in text] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_launcher_in_the_pod_runs_the_same_job(case: Case) -> None:
    """The body and the arguments, read as `launcher run` reads them, with the secrets in the container's variables."""
    objects = case.objects(case.kinds[0])
    config, arguments = objects[0]["data"], container_of(objects)["args"]
    assert arguments[0] == "/etc/launcher/job.json"
    before = completed(case.job).job
    held = {each.name: each.value for each in before.algorithm.parameters} if before.algorithm else {}
    given = [each.removeprefix("--set=").split("=@env:") for each in arguments if each.startswith("--set=")]
    names = {each["name"] for each in container_of(objects)["env"] if "valueFrom" in each}
    assert {variable for _, variable in given} <= names
    job = parse_job(read_document(config["job.json"].encode(), "job.json"), Log())
    algorithms = [
        parse_algorithm(read_document(text.encode(), name), Log())
        for name, text in config.items()
        if name == "algorithm.json"
    ]
    assert [each for each in arguments if each.startswith("--algorithm=")] == [
        "--algorithm=/etc/launcher/algorithm.json"
    ] * len(algorithms)
    overrides = Overrides(values=tuple((name, str(held[name])) for name, _ in given))
    after = complete(job, find_algorithm(job, algorithms), overrides)
    assert after.requirements == case.wishes.get("requirements", ())
    own, there = before.algorithm, after.job.algorithm
    assert own is not None
    assert there is not None
    assert [(each.name, each.value) for each in there.parameters] == [
        (each.name, each.value) for each in own.parameters
    ]
    secret = {each.name for each in case.wishes.get("secrets", ())}
    assert there.environments == {name: text for name, text in (own.environments or {}).items() if name not in secret}
    assert (there.inputs, there.outputs, there.code_dir) == (own.inputs, own.outputs, own.code_dir)
    assert (after.job.metadata, after.job.spec) == (before.metadata, before.spec)


def test_an_algorithm_s_constraints_reach_the_pod_whatever_the_job_calls_it() -> None:
    for named in ({"id": "a-1"}, {"id": "a-1", "name": "no name"}, {"name": "adam"}):
        job = body(algorithm=named, spec={"resource": flavor("CPU", 2, 8)})
        wanted = (Requirement(key="flavor_type", values=("CPU",), operator="in"),)
        config = rendered(job, requirements=wanted)[0]["data"]
        algorithm = parse_algorithm(read_document(config["algorithm.json"].encode(), "algorithm.json"), Log())
        read = parse_job(read_document(config["job.json"].encode(), "job.json"), Log())
        found = complete(read, find_algorithm(read, [algorithm]), Overrides())
        assert found.requirements == wanted, named
        assert found.job.algorithm == replace(algorithm_of(job), policies=Policies())


FLAVORS: dict[str, tuple[Any, int | None]] = {
    "not told": (lambda nodes: {"node_count": nodes}, None),
    "CPU": (lambda nodes: flavor("CPU", 8, 64, nodes), 1),
    "GPU": (lambda nodes: flavor("GPU", 8, 64, nodes, unit_num=4), 4),
    "Ascend": (lambda nodes: flavor("Ascend", 192, 720, nodes, unit_num=8), 8),
}


@pytest.mark.parametrize("kind", SEVERAL)
@pytest.mark.parametrize("nodes", [1, 2, 4])
@pytest.mark.parametrize("told", FLAVORS)
def test_each_pod_knows_which_node_it_is_and_where_the_others_are(kind: Kind, nodes: int, told: str) -> None:
    resource, per_node = FLAVORS[told]
    job = body(spec={"resource": resource(nodes)})
    objects = rendered(job, kind=kind, **STORE)
    name = objects[-1]["metadata"]["name"]
    for index in range(nodes):
        environ, host = node(objects, index)
        found = topology(job_of(job), environ, host, Flags())
        assert (found.index, found.count, found.role) == (index, nodes, "worker")
        if nodes > 1:
            names = [f"{node(objects, each)[1]}.{name}" for each in range(nodes)]
            assert (found.hosts, found.master) == (tuple(names), names[0])
        assert found.per_node == (per_node if kind == "trainjob" else None)


def test_a_pod_alone_is_one_node() -> None:
    job = body()
    environ, host = node(rendered(job, kind="pod"), 0)
    assert topology(job_of(job), environ, host, Flags()).count == 1
    several = body(spec={"resource": {"node_count": 2}})
    assert "--kind job" in problems(several, kind="pod")["spec.resource.node_count"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pod_may_do_nothing_but_train(kind: Kind) -> None:
    objects = rendered(body(), kind=kind)
    pod, container = pod_of(objects), container_of(objects)
    assert pod["securityContext"]["runAsNonRoot"]
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (1000, 100)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert pod["restartPolicy"] == "Never"
    assert not {name for name in container if name.endswith("Probe")}
    mounts = {each["mountPath"] for each in container["volumeMounts"]}
    assert mounts == {"/etc/launcher", "/dev/shm", "/tmp", "/cache", "/home/ma-user/modelarts"}
    assert container["command"] == ["launcher", "run"]
    assert (container["terminationMessagePath"], container["terminationMessagePolicy"]) == (
        "/dev/termination-log",
        "File",
    )


def test_a_pod_outlives_the_grace_of_its_launcher() -> None:
    assert pod_of(rendered(body()))["terminationGracePeriodSeconds"] == 30
    objects = rendered(body(), grace=90.5, grace_asked=True)
    assert pod_of(objects)["terminationGracePeriodSeconds"] == 96
    assert "--grace=90.5" in container_of(objects)["args"]


@pytest.mark.parametrize(
    ("resource", "device", "expected"),
    [
        ({}, None, {}),
        ({"flavor_detail": {"flavor_type": "GPU"}}, None, {}),
        ({"flavor_detail": {"flavor_info": {}}}, None, {}),
        (flavor("CPU", 2, 8), None, {"cpu": "2", "memory": "7630Mi"}),
        (flavor("GPU", 8, 64, unit_num=1), None, {"cpu": "8", "memory": "61036Mi", "nvidia.com/gpu": "1"}),
        (flavor("GPU", 8, 64, unit_num=0), None, {"cpu": "8", "memory": "61036Mi"}),
        (flavor("GPU", 8, 64, unit_num=1), "amd.com/gpu", {"cpu": "8", "memory": "61036Mi", "amd.com/gpu": "1"}),
        (flavor("Ascend", 8, 64, unit_num=8), None, {"cpu": "8", "memory": "61036Mi", "huawei.com/Ascend910": "8"}),
        *(
            (
                flavor("Ascend", 1, 1, unit_num=1, product_name=product),
                None,
                {"cpu": "1", "memory": "954Mi", f"huawei.com/{name}": "1"},
            )
            for product, name in (
                ("Ascend 910B3", "Ascend910"),
                ("ascend-snt9b", "Ascend910"),
                ("Ascend310", "Ascend310"),
                ("Ascend310P3", "Ascend310P"),
                ("snt3p", "Ascend310P"),
                ("ascend-snt3", "Ascend310"),
                ("Ascend310B4", "Ascend310B"),
            )
        ),
        ({"flavor_detail": {"flavor_info": {"memory": {"size": 512, "unit": "MB"}}}}, None, {"memory": "489Mi"}),
        ({"flavor_detail": {"flavor_info": {"memory": {"size": 2, "unit": "TiB"}}}}, None, {"memory": "2Ti"}),
        ({"flavor_detail": {"flavor_info": {"memory": {"size": 3}}}}, None, {}),
        ({"flavor_detail": {"flavor_info": {"memory": {"size": 3, "unit": "pages"}}}}, None, {}),
        ({"flavor_detail": {"flavor_info": {"memory": {"size": 0, "unit": "GB"}}}}, None, {}),
    ],
)
def test_a_pod_asks_for_what_the_flavor_has(
    resource: dict[str, Any], device: str | None, expected: dict[str, str]
) -> None:
    found = container_resources(job_of(body(spec={"resource": resource})), device)
    assert found == ({"requests": expected, "limits": expected} if expected else {})


def test_a_job_without_a_spec_asks_for_nothing() -> None:
    document = body()
    del document["spec"]
    assert "resources" not in container_of(rendered(document))


def test_shared_memory_is_half_of_the_flavor_s() -> None:
    assert shared_memory(job_of(body(spec={"resource": flavor("CPU", 1, 8)}))) == "3815Mi"
    assert shared_memory(job_of(body())) is None
    assert (quantity(1025), quantity(2048), quantity(2**20)) == ("1025Mi", "2Gi", "1Ti")


@pytest.mark.parametrize(
    ("name", "job_id", "expected"),
    [
        ("digits", None, "digits"),
        ("a" * MOST, None, "a" * MOST),
        ("Digits", None, r"digits-[0-9a-f]{8}"),
        ("a_b", None, r"a-b-[0-9a-f]{8}"),
        ("a--b-", None, r"a-b-[0-9a-f]{8}"),
        ("9lives", None, r"job-9lives-[0-9a-f]{8}"),
        ("___", None, r"job-[0-9a-f]{8}"),
        ("a" * 64, None, r"a{31}-[0-9a-f]{8}"),
        (f"{'a' * 30}-{'b' * 30}", None, r"a{30}-[0-9a-f]{8}"),
        ("digits", "i-1", r"digits-[0-9a-f]{8}"),
    ],
)
def test_a_job_has_a_name_that_every_object_may_have(name: str, job_id: str | None, expected: str) -> None:
    found = object_name(JobMetadata(name=name, id=job_id))
    assert re.fullmatch(expected, found)
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", found)
    assert len(f"{found}-node-0-99999-abcde") <= 63


def test_two_jobs_have_two_names() -> None:
    made = [JobMetadata(name=n, id=i) for n in ("a_b", "a-b", "A-b") for i in (None, "1", "2")]
    assert len({object_name(each) for each in made}) == len(made)


def actions(job: Mapping[str, Any], code: int) -> str:
    """What an Indexed Job does about an exit code: the first rule that fits, else the pod counts."""
    for rule in failure_policy(job_of(job))["rules"]:
        on = rule.get("onExitCodes")
        if on and (code in on["values"]) == (on["operator"] == "In"):
            return str(rule["action"])
    return "Count"


def test_what_another_start_can_help_is_started_again_and_nothing_else() -> None:
    job = body()
    assert {code: actions(job, code) for code in (69, 71, 121, 143)} == dict.fromkeys((69, 71, 121, 143), "Count")
    ends = (1, 2, 65, 66, 70, 73, 77, 122, 124, 126, 127, 130, 137, 139, 255)
    assert {code: actions(job, code) for code in ends} == dict.fromkeys(ends, "FailJob")
    assert failure_policy(job_of(job))["rules"][0] == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    assert not {*AGAIN} & {*NEVER}


def retried(number: str, *, always: bool = False, nodes: int = 1) -> dict[str, Any]:
    said = {"fault-tolerance/job-retry-num": number}
    if always:
        said["fault-tolerance/job-unconditional-retry"] = "true"
    return body(metadata={"annotations": said}, spec={"resource": {"node_count": nodes}})


def test_a_job_that_is_retried_whatever_it_was_still_ends_where_nothing_changes() -> None:
    job = retried("2", always=True)
    assert {code: actions(job, code) for code in (1, 69, 73, 137, 139)} == dict.fromkeys((1, 69, 73, 137, 139), "Count")
    assert {code: actions(job, code) for code in (65, 66, 77, 124)} == dict.fromkeys((65, 66, 77, 124), "FailJob")
    assert {"exitCode": 65, "action": "TerminateJob"} in volcano_policies(job_of(job))
    assert volcano_policies(job_of(job))[-1] == {"event": "PodFailed", "action": "RestartJob"}


def test_each_node_of_a_job_counts_as_a_failure_of_its_own() -> None:
    assert rendered(body())[-1]["spec"]["backoffLimit"] == 3
    assert rendered(retried("2", nodes=4))[-1]["spec"]["backoffLimit"] == 8
    assert rendered(retried("0", nodes=4))[-1]["spec"]["backoffLimit"] == 0


def test_volcano_starts_all_nodes_again_or_none() -> None:
    restarts = {each.get("exitCode") for each in volcano_policies(job_of(body())) if each["action"] == "RestartJob"}
    assert restarts == {None, *AGAIN}
    assert volcano_policies(job_of(retried("0"))) == [{"event": "PodEvicted", "action": "RestartJob"}]


def test_volcano_counts_the_first_run_among_its_tries() -> None:
    """Its controller fails a job whose restarts, this one among them, are as many as maxRetry."""
    for number, tries in (("", 4), ("1", 2), ("2", 3), ("3", 4)):
        assert rendered(retried(number), kind="volcano")[-1]["spec"]["maxRetry"] == tries
    # the one policy of a job without retries is for a node that is taken away
    assert rendered(retried("0"), kind="volcano")[-1]["spec"]["maxRetry"] == 2


def test_nothing_takes_the_end_of_its_time_from_the_launcher() -> None:
    job = body(spec={"auto_stop": {"duration": 1}})
    assert all("activeDeadlineSeconds" not in json.dumps(rendered(job, kind=kind)) for kind in KINDS)


def test_a_volume_that_a_pod_cannot_mount_is_refused_with_what_is_needed() -> None:
    volumes = [
        {"pfs": {"pfs_path": "obs://p/", "local_path": "/pfs"}},
        {"obs": {"obs_path": "obs://o/", "local_path": "/obs"}},
        {"nfs": {"nfs_server_path": "nowhere", "local_path": "/nfs"}},
    ]
    found = problems(body(spec={"volumes": volumes}), claims={"/else": "c"})
    assert "--claim /pfs=CLAIM" in found["spec.volumes[0]"]
    assert "--claim /obs=CLAIM" in found["spec.volumes[1]"]
    assert found["spec.volumes[2].nfs.nfs_server_path"] == "expected SERVER:/PATH"
    assert "no volume" in found["--claim /else"]


def test_a_volume_of_the_job_takes_the_place_of_ours() -> None:
    volumes = [{"nfs": {"nfs_server_path": "s:/x", "local_path": "/tmp"}}]
    objects = rendered(body(spec={"volumes": volumes}))
    mounts = [each for each in container_of(objects)["volumeMounts"] if each["mountPath"] == "/tmp"]
    assert mounts == [{"name": "volume-0", "mountPath": "/tmp"}]


@pytest.mark.parametrize(
    "path",
    [
        *("/etc", "/etc/launcher", "/etc/launcher/x", "/opt", "/opt/launcher", "/opt/launcher/bin", "/usr", "/usr/lib"),
        *("/usr/local/bin", "/lib64", "/dev", "/dev/termination-log", "/dev/shmem", "/proc/self", "/sys", "/a:b"),
    ],
)
def test_a_volume_where_the_launcher_has_its_own_is_refused(path: str) -> None:
    volumes = [{"nfs": {"nfs_server_path": "s:/x", "local_path": path}}]
    assert path in problems(body(spec={"volumes": volumes}))["spec.volumes[0]"]


@pytest.mark.parametrize(
    "path", ["/dev/shm", "/dev/shm/x", "/etc/data", "/opt/data", "/usr/data", "/var/data", "//data"]
)
def test_a_volume_beside_them_is_mounted(path: str) -> None:
    volumes = [{"nfs": {"nfs_server_path": "s:/x", "local_path": path}}]
    mounts = [each["mountPath"] for each in container_of(rendered(body(spec={"volumes": volumes})))["volumeMounts"]]
    assert mounts.count(path.replace("//", "/")) == 1


def test_a_local_folder_where_the_launcher_has_its_own_is_refused() -> None:
    for path in ("/opt/launcher", "//opt/launcher", "/data:1"):
        inputs = [{"name": "d", "local_dir": path, "remote": {"obs": {"obs_url": "obs://bucket/data/"}}}]
        assert path.replace("//", "/") in problems(body(algorithm={"inputs": inputs}))["algorithm"]


def test_what_lies_between_an_empty_folder_and_a_volume_may_be_written_too() -> None:
    """A container runtime makes the folders above a mount as root, and the launcher is not root."""
    volumes = [
        {"nfs": {"nfs_server_path": "s:/x", "local_path": path}}
        for path in ("/home/ma-user/modelarts/outputs/a/b", "/home/ma-user/modelarts/outputs/c", "/kept/d/e")
    ]
    objects = rendered(body(spec={"volumes": volumes}))
    empty = {each["name"] for each in pod_of(objects)["volumes"] if "emptyDir" in each}
    paths = {each["mountPath"] for each in container_of(objects)["volumeMounts"] if each["name"] in empty}
    outputs = "/home/ma-user/modelarts/outputs"
    assert paths == {"/dev/shm", "/tmp", "/cache", "/home/ma-user/modelarts", outputs, f"{outputs}/a"}
    names = [each["name"] for each in pod_of(objects)["volumes"]]
    assert len({*names}) == len(names)


def test_an_argument_is_not_expanded_by_the_cluster() -> None:
    assert "--store=https://h/$$(HOME)/$$x" in container_of(rendered(body(), store="https://h/$(HOME)/$x"))["args"]


def test_a_body_that_no_config_map_holds_is_refused() -> None:
    parameters = [{"name": f"p{each}", "value": "x" * 100_000} for each in range(11)]
    found = problems(body(algorithm={"parameters": parameters}))["the job's body"]
    assert str(MOST_BYTES) in found
    assert "shorten it" in found


def test_a_body_that_a_config_map_holds_without_its_indents_is_written_without_them() -> None:
    parameters = [{"name": f"p{each}", "value": "1"} for each in range(26_000)]
    document = body(algorithm={"parameters": parameters})
    text = rendered(document)[0]["data"]["job.json"]
    assert len(text) < MOST_BYTES < len(json.dumps(json.loads(text), indent=1))
    assert job_of(json.loads(text)) == job_of(document)
    assert yaml.safe_load(yaml_text({"a": text})) == {"a": text}


def test_a_text_that_yaml_would_break_arrives_as_it_was() -> None:
    odd = "a\x85b\u2028c\u2029d\x7fe\ufefff\u9fff\U0001f600 --- # : \t"
    job = body(metadata={"description": odd})
    written = yaml_text(rendered(job)[0])
    assert "  job.json: |\n" in written
    assert json.loads(yaml.safe_load(written)["data"]["job.json"])["metadata"]["description"] == odd
    assert "\u9fff\U0001f600" in written


@given(
    st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.booleans() | st.lists(st.text()), max_size=4)
)
def test_any_value_comes_back_from_yaml(value: dict[str, Any]) -> None:
    assert yaml.safe_load(yaml_text(value)) == value


def test_how_an_earlier_run_went_is_not_told() -> None:
    job = {**body(), "status": {"phase": "Failed"}}
    assert "status" not in json.loads(rendered(job)[0]["data"]["job.json"])


PLACES: list[tuple[dict[str, Any], str]] = [
    ({"algorithm": {"parameters": [{"name": "api_key", "value": SECRET}]}}, "algorithm.parameters[0].value (api_key)"),
    (
        {"algorithm": {"parameters": [{"name": "x", "value": "12", "constraint": {"sensitive": True}}]}},
        "algorithm.parameters[0].value (x)",
    ),
    (
        {"algorithm": {"parameters": [{"name": "db", "value": f"postgres://me:{SECRET}@host/db"}]}},
        "algorithm.parameters[0].value (db)",
    ),
    ({"algorithm": {"environments": {"HF_TOKEN": SECRET}}}, "algorithm.environments.HF_TOKEN"),
    ({"algorithm": {"environments": {"DB": f"x://me:{SECRET}@h"}}}, "algorithm.environments.DB"),
    ({"metadata": {"description": f"see https://me:{SECRET}@wiki/"}}, "metadata.description"),
    ({"metadata": {"description": f"run with TOKEN={SECRET}"}}, "metadata.description"),
    ({"metadata": {"annotations": {"my-api-key": SECRET}}}, "metadata.annotations.my-api-key"),
    ({"metadata": {"annotations": {"note": f'{{"api_key": "{SECRET}"}}'}}}, "metadata.annotations.note"),
    (
        {"metadata": {"annotations": {"note": f'[{{"name": "token", "value": "{SECRET}"}}]'}}},
        "metadata.annotations.note",
    ),
    ({"spec": {"output_model": {"token": SECRET}}}, "spec.output_model.token"),
    ({"spec": {"output_model": {"token": {"value": SECRET}}}}, "spec.output_model.token.value"),
    ({"metadata": {"annotations": {"note": json.dumps(json.dumps({"token": SECRET}))}}}, "metadata.annotations.note"),
    ({"metadata": {"description": f"run with --set=api_key={SECRET}"}}, "metadata.description"),
    ({"metadata": {"description": f'it is {{"api_key": "{SECRET}"}}'}}, "metadata.description"),
    ({"metadata": {"description": f'--config "{{\\"api_key\\":\\"{SECRET}\\"}}"'}}, "metadata.description"),
    (
        {
            "algorithm": {
                "parameters": [{"name": "api_key", "constraint": {"valid_type": "Choice", "valid_range": [SECRET]}}]
            }
        },
        "algorithm.parameters[0].constraint.valid_range[0]",
    ),
    (
        {
            "algorithm": {
                "parameters": [
                    {"name": "x", "constraint": {"sensitive": True, "valid_type": "Choice", "valid_range": ["12"]}}
                ]
            }
        },
        "algorithm.parameters[0].constraint.valid_range[0]",
    ),
]


@pytest.mark.parametrize(("more", "path"), PLACES, ids=lambda each: each if isinstance(each, str) else "")
def test_a_secret_is_refused_wherever_it_stands(more: dict[str, Any], path: str) -> None:
    found = problems(body(**more))
    assert list(found) == [path]
    assert SECRET not in json.dumps(found)


def test_a_secret_in_a_command_is_refused_with_a_way_out() -> None:
    document = body(
        algorithm={"boot_file": None, "command": f"python t.py --api_key {SECRET}", "engine": {"image_url": "g/i:1"}}
    )
    assert "--secret VARIABLE=SECRET/KEY" in problems(document)["algorithm.command"]


@pytest.mark.parametrize("reads", ["$HF_TOKEN", "${API_KEY_1}", '"$API_KEY"', "$(cat /run/keys/api)", "'${API_KEY}')"])
def test_a_command_may_read_its_secrets(reads: str) -> None:
    command = f"(TOKEN={reads} python t.py --api_key {reads}; python u.py --api_key={reads} --max_tokens 1024"
    document = body(algorithm={"boot_file": None, "command": command, "engine": {"image_url": "g/i:1"}})
    assert json.loads(rendered(document)[0]["data"]["job.json"])["algorithm"]["command"] == command
    leaking = command.replace(reads, "${API_KEY:-sesame-open}")
    document = body(algorithm={"boot_file": None, "command": leaking, "engine": {"image_url": "g/i:1"}})
    assert list(problems(document)) == ["algorithm.command"]


def test_a_known_secret_is_found_in_every_text() -> None:
    """One that is given by reference, and still stands elsewhere, would be told all the same."""
    document = body(
        metadata={"description": f"the key is {SECRET}", "annotations": {f"a-{SECRET}": "x"}},
        algorithm={"parameters": [{"name": "api_key", "value": SECRET}, {"name": "again", "value": f"x{SECRET}x"}]},
    )
    found = problems(document, secrets=(Reference(name="api_key", secret="s", key="k"),))
    assert list(found) == ["metadata.description", "metadata.annotations", "algorithm.parameters[1].value (again)"]
    assert list(problems(body(metadata={"description": SECRET}), (SECRET,))) == ["metadata.description"]


def test_what_is_no_secret_is_left() -> None:
    document = body(
        metadata={"annotations": {"note": "[not json", "list": '["a"]'}},
        algorithm={
            "parameters": [
                {"name": "max_token", "value": "512"},
                {"name": "unset_key"},
                {"name": "empty", "value": "", "constraint": {"sensitive": True}},
            ]
        },
    )
    assert json.loads(rendered(document)[0]["data"]["job.json"]) == JOB.dump(job_of(document))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-variable", "no variable can"),
        ("AWS_SECRET_ACCESS_KEY", "speaks to the launcher"),
        ("LAUNCHER_NONCE", "speaks to the launcher"),
        ("SECRET_ACCESS_KEY", "speaks to the launcher"),
        ("PET_NNODES", "speaks to the launcher"),
        ("LD_PRELOAD", "speaks to the launcher"),
        ("https_proxy", "speaks to the launcher"),
    ],
)
def test_a_reference_is_to_what_a_container_can_hold(name: str, words: str) -> None:
    found = problems(body(), secrets=(Reference(name=name, secret="s", key="k"),))
    assert words in found[f"--secret {name}"]


def test_the_place_of_a_secret_does_not_tell_another() -> None:
    document = body(
        metadata={"annotations": {f"key-{SECRET}": "api_key=another-secret-word"}},
        algorithm={"parameters": [{"name": "api_key", "value": SECRET}]},
    )
    assert SECRET not in json.dumps(problems(document))


def test_the_name_of_a_member_that_reads_like_a_secret_is_not_told() -> None:
    document = body(metadata={"annotations": {f"TOKEN={SECRET}": "api_key=another-secret-word"}})
    assert list(problems(document)) == ["metadata.annotations", "metadata.annotations.******"]


def test_the_bounds_of_a_sensitive_number_are_no_secret() -> None:
    bounds = {"type": "Integer", "sensitive": True, "valid_type": "Range", "valid_range": ["1000", "10000000000"]}
    document = body(algorithm={"parameters": [{"name": "pin", "value": "1234", "constraint": bounds}]})
    objects = rendered(document, secrets=(Reference(name="pin", secret="s", key="k"),))
    assert "10000000000" in objects[0]["data"]["job.json"]


def test_a_secret_of_several_lines_is_found_by_each() -> None:
    document = body(
        metadata={"description": "begins with first-half"},
        algorithm={"parameters": [{"name": "api_key", "value": "first-half\nsecond-half"}]},
    )
    secrets = (Reference(name="api_key", secret="s", key="k"),)
    assert list(problems(document, secrets=secrets)) == ["metadata.description"]


def test_an_option_that_tells_a_known_secret_is_refused() -> None:
    wishes: dict[str, Any] = {
        "store": f"https://obs.example.com/{SECRET}",
        "node_selector": {"zone": SECRET},
        "tolerations": (Toleration(key=SECRET),),
        "requirements": (Requirement(key="flavor_type", values=(SECRET,)),),
    }
    found = problems(body(), (SECRET,), **wishes)
    assert list(found) == ["--store", "--node-selector", "--toleration", "the algorithm's resource_requirements"]
    assert SECRET not in json.dumps(found)


def test_json_in_a_text_is_looked_through_as_deep_as_a_document_may_be() -> None:
    deep, deeper = (f'{"[" * depth}"TOKEN={SECRET}"{"]" * depth}' for depth in (99, 5000))
    assert list(problems(body(metadata={"annotations": {"note": deep}}))) == ["metadata.annotations.note"]
    assert list(problems(body(metadata={"annotations": {"note": deeper}}))) == ["metadata.annotations.note"]
    harmless = body(metadata={"annotations": {"note": "[" * 500 + "1" + "]" * 500}})
    assert rendered(harmless)


def test_a_reference_is_given_once() -> None:
    twice = (Reference(name="lr", secret="s", key="k"), Reference(name="lr", secret="s", key="other"))
    assert problems(body(), secrets=twice) == {"--secret lr": "is given twice; keep one"}


def test_a_variable_by_reference_need_not_be_in_the_job() -> None:
    objects = rendered(body(), secrets=(Reference(name="HF_TOKEN", secret="s", key="k"),))
    wanted = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    assert wanted in container_of(objects)["env"]


def test_parameters_of_similar_names_come_by_variables_of_their_own() -> None:
    parameters = [{"name": "a-b", "value": "1"}, {"name": "a_b", "value": "2"}]
    references = tuple(Reference(name=name, secret="s", key=name) for name in ("a-b", "a_b"))
    objects = rendered(body(algorithm={"parameters": parameters}), secrets=references)
    variables = [each["name"] for each in container_of(objects)["env"]]
    assert variables[1:] == ["LAUNCHER_SET_0_A_B", "LAUNCHER_SET_1_A_B"]


def test_what_is_taken_out_is_still_in_the_job() -> None:
    case = next(each for each in CASES if each.name == "secrets")
    job = job_of(case.job)
    manifests(job, Wishes(image="i", **case.wishes))
    assert job == job_of(case.job)


def test_a_dataset_whose_place_is_known_is_one_document_again() -> None:
    for place in ({"obs_url": "obs://bucket/data/"}, {"id": "d", "version_id": "v", "obs_url": "obs://bucket/data/"}):
        job = body(algorithm={"inputs": [{"name": "data_url", "remote": {"dataset": place}}]})
        text = rendered(job)[0]["data"]["job.json"]
        assert json.loads(text)["algorithm"]["inputs"][0]["remote"] == {"dataset": place}
        read = parse_job(read_document(text.encode(), "job.json"), Log())
        assert complete(read, None, Overrides()).job == job_of(job)


def test_a_document_without_an_algorithm_holds_no_secret() -> None:
    assert refused({"metadata": {"name": "x"}, "numbers": [1, None, True]}, ()) == []
