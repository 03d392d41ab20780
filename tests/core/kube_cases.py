"""Jobs and wishes of which the manifests are written down, and how a cluster tells their pods which node they are.

    LAUNCHER_MANIFESTS=write pytest tests/core/test_kube_manifests.py

writes tests/data/kube/golden anew; a look at the difference is the test then.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from launcher.core.complete import Completed, Overrides, complete
from launcher.core.kube import manifests
from launcher.core.kube.wishes import KINDS, Kind, Reference, Toleration, Wishes
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import parse_job
from launcher.core.parse.text import read_document
from launcher.core.spec import Requirement

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA = Path(__file__).parent.parent / "data" / "kube"
SECRET = "sesame-open-now-1"


def body(**more: Any) -> dict[str, Any]:
    """A job; `metadata`, `algorithm` and `spec` say what is more in them."""
    job: dict[str, Any] = {
        "kind": "job",
        "metadata": {"name": "digits"},
        "algorithm": {
            "code_dir": "obs://bucket/code/",
            "boot_file": "obs://bucket/code/train.py",
            "parameters": [{"name": "lr", "value": "0.1"}],
            "inputs": [{"name": "data_url", "remote": {"obs": {"obs_url": "obs://bucket/data/"}}}],
            "outputs": [{"name": "train_url", "remote": {"obs": {"obs_url": "obs://bucket/out/"}}}],
        },
        "spec": {},
    }
    for part, members in more.items():
        job[part] |= members
    return job


def flavor(kind: str, cpus: int, gigabytes: int, nodes: int = 1, **cards: Any) -> dict[str, Any]:
    """The resource of a job whose nodes have this flavor."""
    info: dict[str, Any] = {"cpu": {"core_num": cpus}, "memory": {"size": gigabytes, "unit": "GB"}}
    if cards:
        info["npu" if kind == "Ascend" else "gpu"] = cards
    return {"node_count": nodes, "flavor_detail": {"flavor_type": kind, "flavor_info": info}}


def completed(document: Mapping[str, Any]) -> Completed:
    """A job as the command line completes it."""
    return complete(parse_job(read_document(json.dumps(document).encode(), "job.json"), Log()), None, Overrides())


class Case(NamedTuple):
    """One job and what is wished for it; `kinds` are those it is written down in."""

    name: str
    job: dict[str, Any]
    wishes: dict[str, Any]
    kinds: tuple[Kind, ...] = KINDS

    def objects(self, kind: Kind) -> tuple[Mapping[str, Any], ...]:
        """The manifests in one kind."""
        return manifests(
            completed(self.job).job, Wishes(image="registry.example.com/train:1", kind=kind, **self.wishes)
        )


STORE = {"store": "https://obs.example.com", "store_secret": "obs-keys"}
PLACEMENT: dict[str, Any] = {
    "namespace": "training",
    "service_account": "trainer",
    "pull_secrets": ("registry-keys",),
    "node_selector": {"zone": "1e3"},
    "tolerations": (
        Toleration(key="training"),
        Toleration(key="nvidia.com/gpu", value="present", effect="NoSchedule"),
    ),
    "priority_class": "high",
    "queue": "research",
}
SEVERAL: tuple[Kind, ...] = ("job", "volcano", "trainjob")

CASES = (
    Case("cpu", body(spec={"resource": flavor("CPU", 2, 8)}), STORE),
    Case(
        "gpu-2-nodes",
        body(
            metadata={"id": "a1b2c3d4", "annotations": {"fault-tolerance/job-retry-num": "2"}},
            spec={
                "resource": flavor("GPU", 64, 512, 2, unit_num=8, product_name="NVIDIA-A100"),
                "auto_stop": {"duration": 4},
            },
        ),
        {
            **STORE,
            **PLACEMENT,
            "grace": 90.0,
            "grace_asked": True,
            "nonce": Reference(name="", secret="meet", key="nonce"),
        },
        SEVERAL,
    ),
    Case(
        "ascend-4-nodes",
        body(
            metadata={
                "annotations": {
                    "fault-tolerance/job-retry-num": "1",
                    "fault-tolerance/job-unconditional-retry": "true",
                }
            },
            algorithm={"id": "a-1", "environments": {"MA_RUN_METHOD": "torchrun"}},
            spec={"resource": flavor("Ascend", 192, 720, 4, unit_num="8", product_name="ascend-snt9b")},
        ),
        {
            **STORE,
            "precheck": True,
            "platform_args": False,
            "requirements": (Requirement(key="flavor_type", values=("Ascend",)),),
        },
        SEVERAL,
    ),
    Case(
        "volumes",
        body(
            algorithm={
                "local_code_dir": "/home/ma-user/work",
                "outputs": [
                    {
                        "name": "train_url",
                        "local_dir": "/data/out",
                        "remote": {"obs": {"obs_url": "obs://bucket/out/"}},
                    },
                    {"name": "logs", "local_dir": "/nfs/logs", "remote": {"obs": {"obs_url": "obs://bucket/logs/"}}},
                ],
            },
            spec={
                "volumes": [
                    {"nfs": {"nfs_server_path": "192.168.0.82:/share", "local_path": "/nfs/", "read_only": True}},
                    {"nfs": {"nfs_server_path": "[fd00::1]:/", "local_path": "/nfs6"}},
                    {"nfs": {"nfs_server_path": "192.168.0.83:/", "local_path": "/kept"}},
                    {"pfs": {"pfs_path": "obs://parallel/", "local_path": "/pfs"}},
                    {"obs": {"obs_path": "obs://bucket/", "local_path": "/store"}},
                ]
            },
        ),
        {"store": "/store", "claims": {"/pfs/": "parallel", "/store": "buckets", "/kept": "kept"}},
        ("pod",),
    ),
    Case(
        "secrets",
        body(
            algorithm={
                "parameters": [
                    {"name": "lr", "value": "0.1"},
                    {"name": "api_key", "value": SECRET, "constraint": {"required": True, "editable": False}},
                    {"name": "pin", "value": "12", "constraint": {"type": "Integer", "sensitive": True}},
                ],
                "environments": {"HF_TOKEN": SECRET, "MODE": "fast"},
            }
        ),
        {
            **STORE,
            "precheck": False,
            "secrets": (
                Reference(name="api_key", secret="keys", key="api"),
                Reference(name="pin", secret="keys", key="pin"),
                Reference(name="HF_TOKEN", secret="hugging-face", key="token"),
            ),
        },
        ("pod", "job", "trainjob"),
    ),
)
WRITTEN = tuple((case, kind) for case in CASES for kind in case.kinds)


def golden(case: Case, kind: Kind) -> Path:
    """Where the manifests of a case are written down."""
    return DATA / "golden" / f"{case.name}-{kind}.yaml"


def pod_of(objects: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    """The spec of the pods among some manifests."""
    found: dict[str, Any] = {}
    for each in objects:
        match each["kind"], each["apiVersion"]:
            case "Pod", _:
                found = each["spec"]
            case "Job", "batch/v1":
                found = each["spec"]["template"]["spec"]
            case "Job", _:
                found = each["spec"]["tasks"][0]["template"]["spec"]
            case "TrainingRuntime", _:
                found = each["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
            case _:
                pass
    return found


def container_of(objects: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    """The one container of the pods."""
    (container,) = pod_of(objects)["containers"]
    made: dict[str, Any] = container
    return made


def node(objects: tuple[Mapping[str, Any], ...], index: int) -> tuple[dict[str, str], str]:
    """The environment and the host's name of one pod, as the cluster's controllers make them of these manifests.

    Sources: Kubernetes' Indexed Job; Volcano's plugins `svc` and `env`; the torch policy of Kubeflow's Trainer.
    """
    own = {each["name"]: each["value"] for each in container_of(objects)["env"] if "value" in each}
    job = objects[-1]
    name, version = job["metadata"]["name"], job["apiVersion"]
    if version == "v1":
        return own, name
    if version == "batch/v1":
        return {**own, "JOB_COMPLETION_INDEX": str(index)}, f"{name}-{index}"
    if version == "batch.volcano.sh/v1alpha1":
        (task,) = job["spec"]["tasks"]
        key = task["name"].upper()
        hosts = [f"{name}-{task['name']}-{each}.{name}" for each in range(task["replicas"])]
        told = {f"VC_{key}_HOSTS": ",".join(hosts), f"VC_{key}_NUM": str(task["replicas"])}
        return {
            **own,
            **told,
            "VC_TASK_INDEX": str(index),
            "VK_TASK_INDEX": str(index),
        }, f"{name}-{task['name']}-{index}"
    trainer, policy = job["spec"]["trainer"], objects[-2]["spec"]["mlPolicy"]
    index_only = {**own, "JOB_COMPLETION_INDEX": str(index)}
    if "torch" not in policy:
        return index_only, f"{name}-node-0-{index}"
    told = {
        "PET_NNODES": str(trainer["numNodes"]),
        "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"]),
        "PET_NODE_RANK": str(index),
        "PET_MASTER_ADDR": f"{name}-node-0-0.{name}",
        "PET_MASTER_PORT": "29500",
    }
    return {**index_only, **told}, f"{name}-node-0-{index}"
