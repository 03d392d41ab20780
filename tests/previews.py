"""Whole plans from environments that are written down: what `launcher preview --json` shows of each engine.

    LAUNCHER_PREVIEWS=write pytest tests/core/test_engines.py

writes tests/data/previews anew; a look at the difference is the test then.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from launcher.core.complete import Overrides, complete
from launcher.core.devices import Devices
from launcher.core.facts import Facts, Network, StoreFacts
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import parse_job
from launcher.core.parse.ranktable import Own, read_rank_table
from launcher.core.parse.text import read_document
from launcher.core.planning import plan
from launcher.core.redact import redact, to_json
from launcher.core.settings import read_settings
from launcher.core.topology import Flags, topology

if TYPE_CHECKING:
    from launcher.core.plan import Plan

DATA = Path(__file__).parent / "data"
JOB_ID = "a1b2c3d4-0000-4000-8000-000000000001"

ENGINES = {
    "python": {},
    "command": {"image_url": "group/image:1.0"},
    "pytorch": {"engine_name": "PyTorch", "engine_version": "pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64"},
    "torchrun": {"engine_name": "PyTorch", "engine_version": "pytorch_2.0.0-cuda_11.7-py_3.9.11-ubuntu_20.04-x86_64"},
    "torchrun-1": {
        "engine_name": "Ascend-Powered-Engine",
        "engine_version": "pytorch_1.11.0-cann_6.3.0-py_3.7-euler_2.10.7-aarch64",
    },
    "tensorflow": {
        "engine_name": "TensorFlow",
        "engine_version": "tensorflow_2.1.0-cuda_10.1-py_3.7-ubuntu_18.04-x86_64",
    },
    "mpi": {
        "engine_name": "Horovod",
        "engine_version": "horovod_0.20.0-tensorflow_2.1.0-cuda_10.1-py_3.7-ubuntu_18.04-x86_64",
    },
    "msrun": {"engine_name": "MindSpore-GPU", "engine_version": "mindspore_2.3.0-cuda_11.6-py_3.9-ubuntu_20.04-x86_64"},
    "ascend": {
        "engine_name": "Ascend-Powered-Engine",
        "engine_version": "mindspore_1.7.0-cann_5.1.0-py_3.7-euler_2.8.3-aarch64",
    },
}
METHODS = {"torchrun": "torchrun", "torchrun-1": "torchrun", "msrun": "msrun"}


class Case(NamedTuple):
    """One preview: of an engine, in an environment, on one node of it."""

    engine: str
    environment: str
    task: str = "worker-0"

    @property
    def name(self) -> str:
        shape = self.environment.removeprefix("ascend-")
        return f"{self.engine}-{shape}" + (f"-{self.task}" if self.task != "worker-0" else "")

    @property
    def file(self) -> Path:
        return DATA / "previews" / f"{self.name}.json"


CASES = (
    *(Case(engine, shape) for engine in ENGINES if engine != "ascend" for shape in ("1x1", "1x8", "4x8")),
    *(Case(engine, "4x8", "worker-2") for engine in ("pytorch", "torchrun", "torchrun-1", "mpi", "msrun")),
    *(Case("tensorflow", "4x8-ps", task) for task in ("worker-2", "ps-0")),
    *(Case("ascend", f"ascend-{shape}") for shape in ("1x1", "1x8", "2x8")),
    *(Case("ascend", f"ascend-{shape}", "worker-1") for shape in ("2x8", "2x8-v1")),
    Case("ascend", "ascend-4x8", "worker-2"),
)


def document(engine: str, nodes: int, cards: int, kind: str = "GPU") -> dict[str, Any]:
    """The job of one engine."""
    flavor = {
        "flavor_type": kind,
        "flavor_info": {("npu" if kind == "Ascend" else "gpu"): {"unit_num": cards, "product_name": "card"}},
    }
    algorithm: dict[str, Any] = {
        "code_dir": "/bucket/digits/",
        "parameters": [
            {"name": "lr", "value": "0.1"},
            {"name": "title", "value": "two words"},
            {"name": "api_key", "value": "sesame-open-now-2"},
        ],
        "inputs": [{"name": "data_url", "remote": {"obs": {"obs_url": "/bucket/data/"}}}],
        "outputs": [{"name": "train_url", "remote": {"obs": {"obs_url": "/bucket/out/"}}}],
        "engine": ENGINES[engine],
        "environments": {"MA_RUN_METHOD": METHODS[engine]} if engine in METHODS else {},
    }
    algorithm |= {"command": "bash run.sh"} if engine == "command" else {"boot_file": "/bucket/digits/train.py"}
    return {
        "kind": "job",
        "metadata": {"name": "digits", "id": JOB_ID},
        "algorithm": algorithm,
        "spec": {"resource": {"node_count": nodes, "flavor_detail": flavor}},
    }


def made(case: Case) -> Plan:
    """The plan, by the same pure functions that the command line calls."""
    told = json.loads((DATA / "environments" / f"{case.environment}.json").read_text())
    here = told["tasks"][case.task]
    devices = msgspec.convert(here.get("devices") or told["devices"], Devices)
    body = json.dumps(document(case.engine, told["nodes"], told["devices"]["count"], told["devices"]["type"]))
    completed = complete(parse_job(read_document(body.encode(), "job.json"), Log()), None, Overrides())
    environ, preview = here["environ"], told.get("preview", False)
    facts = Facts(
        environ=environ,
        host=here["host"],
        started="20260102T030405Z",
        interpreter="/home/ma-user/anaconda/bin/python",
        shell="/bin/bash",
        store=StoreFacts(endpoint=environ["S3_ENDPOINT"]),
        settings=read_settings(environ),
        cache=True,
        conda=True,
        devices=devices,
        topology=topology(completed.job, environ, here["host"], Flags(), preview=preview),
        network=msgspec.convert(here["network"], Network) if here["network"] else None,
        preview=preview,
    )
    if "rank_table" in told:
        text = (DATA / "ranktables" / told["rank_table"]).read_bytes()
        own = Own(pod=environ["MA_CURRENT_INSTANCE_NAME"], address=environ["MA_CURRENT_HOST_IP"])
        table = read_rank_table(read_document(text, "table"), "/user/config/jobstart_hccl.json", own)
        facts = msgspec.structs.replace(facts, rank_table=table)
    return plan(completed.job, facts)


def shown(case: Case) -> str:
    """The plan as a preview prints it."""
    secrets = ("sesame-open-now-1",)
    return to_json(redact(made(case), secrets), secrets).decode()


def written(case: Case) -> Any:
    """What is written down of a case."""
    return json.loads(case.file.read_text())
