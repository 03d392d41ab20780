"""The environment that a boot process is promised (contract: environment variables), as one table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from launcher.core.facts import Facts
from launcher.core.frozen import Record
from launcher.core.interfaces import at, nccl_interface, training_interface
from launcher.core.layout import Layout
from launcher.core.plan import Input, JobName, Node, Output


class Scene(Record, frozen=True, kw_only=True):
    """What the variables are made from; `per_node` processes train on this node. `code_url` is where the code lies.

    `staged` is where code, inputs and packages are: the same layout, but for a trial of a search.
    """

    facts: Facts
    layout: Layout
    staged: Layout
    job: JobName
    node: Node
    code: str | None
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    engine_version: str | None
    accelerators: int | None
    per_node: int = 1
    code_url: str | None = None
    prechecked: bool = False
    notice: str | None = None

    @property
    def nodes(self) -> int:
        """How many nodes train; parameter servers do not count."""
        return self.facts.topology.workers


class Variable(Record, frozen=True, kw_only=True):
    """One promised variable. `inherit`: what the platform has set already stands.

    `first`: it is of the service's first generation, and promised only where LAUNCHER_V1_NAMES asks for those.
    """

    name: str
    meaning: str
    value: Callable[[Scene], str | None]
    inherit: bool = False
    first: bool = False


def _joined(*parts: str | None) -> str:
    """A search path without empty members: an empty one would mean the working directory."""
    return ":".join(part for part in parts if part)


def _path(scene: Scene) -> str:
    own = f"{scene.layout.conda}/bin" if scene.facts.conda else None
    return _joined(own, scene.facts.environ.get("PATH") or "/usr/local/bin:/usr/bin:/bin")


def _libraries(scene: Scene) -> str | None:
    own = f"{scene.layout.conda}/lib" if scene.facts.conda else None
    return _joined(own, scene.facts.environ.get("LD_LIBRARY_PATH")) or None


def _python_path(scene: Scene) -> str:
    layout = scene.staged
    return _joined(layout.job_dir, scene.code, layout.packages, scene.facts.environ.get("PYTHONPATH"))


def _channels(kind: str, channels: tuple[tuple[str, str, str], ...]) -> str:
    members = [{"name": name, "local_dir": path, "remote": {"obs": {"obs_url": url}}} for name, path, url in channels]
    return json.dumps({kind: members}, separators=(",", ":"))


def _inputs(scene: Scene) -> str:
    return _channels("inputs", tuple((each.name, each.path, each.source.url) for each in scene.inputs))


def _outputs(scene: Scene) -> str:
    return _channels("outputs", tuple((each.name, each.path, each.target.url) for each in scene.outputs))


def _worker_hosts(scene: Scene) -> str | None:
    return ",".join(scene.facts.topology.hosts) or (scene.node.host if scene.nodes == 1 else None)


def _current_ip(scene: Scene) -> str | None:
    if scene.facts.network is not None:
        return scene.facts.network.address
    return "127.0.0.1" if scene.nodes == 1 else None


def _among_several(value: str, scene: Scene) -> str | None:
    return value if scene.nodes > 1 and value else None


def _threads(scene: Scene) -> str:
    return str(max(1, int(scene.facts.devices.cpus / scene.per_node)))


def _scratch(scene: Scene) -> str | None:
    return scene.layout.cache if scene.facts.cache else None


def _endpoint(scene: Scene) -> str | None:
    return scene.facts.store.endpoint if scene.facts.store else None


def _verify(scene: Scene) -> str | None:
    return str(int(scene.facts.store.verify_ssl)) if scene.facts.store else None


def _https(scene: Scene) -> str | None:
    return str(int(scene.facts.store.https)) if scene.facts.store else None


def _input_url(scene: Scene) -> str | None:
    return scene.inputs[0].source.url if scene.inputs else None


def _output_url(scene: Scene) -> str | None:
    return scene.outputs[0].target.url if scene.outputs else None


def _first_host(scene: Scene) -> str:
    here = scene.facts.topology
    return at(here.master or scene.node.host, here.port)


def _other_hosts(scene: Scene) -> dict[str, str]:
    """The nodes after worker-0, a variable each; what the platform has set stands for these too."""
    here = scene.facts.topology
    names = {f"BATCH_CUSTOM{index}_HOSTS": at(host, here.port) for index, host in enumerate(here.hosts)}
    return {name: scene.facts.environ.get(name) or place for name, place in list(names.items())[1:]}


def _of_first(name: str, meaning: str, value: Callable[[Scene], str | None]) -> Variable:
    return Variable(name=name, meaning=f"{meaning} (with LAUNCHER_V1_NAMES=1)", value=value, inherit=True, first=True)


FIRST: tuple[Variable, ...] = (
    _of_first("DLS_TASK_NUMBER", "number of nodes", lambda scene: str(scene.nodes)),
    _of_first("DLS_TASK_INDEX", "index of this node", lambda scene: str(scene.node.index)),
    _of_first("BATCH_CUSTOM0_HOSTS", "worker-0 and its port; BATCH_CUSTOM1_HOSTS and on are the others", _first_host),
    _of_first("BATCH_JOB_ID", "the job", lambda scene: scene.job.id),
    _of_first("BATCH_TASK_CURRENT_INSTANCE", "name of this instance", lambda scene: scene.job.label),
    _of_first("BATCH_TASK_LOG_PATH", "logs", lambda scene: scene.layout.log_dir),
    _of_first("CACHE_HOME", "scratch space, where the node has /cache", _scratch),
    _of_first("DLS_APP_URL", "the code directory in the store", lambda scene: scene.code_url),
    _of_first("DLS_DATA_URL", "the first input in the store", _input_url),
    _of_first("DLS_TRAIN_URL", "the first output in the store", _output_url),
)
"""The names of the service's first generation. Those that made its scripts upload the log are not among them."""

TABLE: tuple[Variable, ...] = (
    Variable(name="PATH", meaning="programs; the preset image's own Python first", value=_path),
    Variable(name="LD_LIBRARY_PATH", meaning="libraries; the preset image's own first", value=_libraries),
    Variable(name="PYTHONPATH", meaning="MA_JOB_DIR, the code folder, installed packages", value=_python_path),
    Variable(name="PYTHONUNBUFFERED", meaning="no log line is held back", value=lambda _: "1"),
    Variable(name="PYTHONFAULTHANDLER", meaning="a crash of Python tells where", value=lambda _: "1", inherit=True),
    Variable(name="MA_HOME", meaning="the user's home", value=lambda scene: scene.layout.home),
    Variable(name="MA_MOUNT_PATH", meaning="algorithm, inputs, outputs, logs", value=lambda scene: scene.layout.mount),
    Variable(name="MA_JOB_DIR", meaning="parent of the code folder", value=lambda scene: scene.staged.job_dir),
    Variable(name="MA_LOG_DIR", meaning="logs, run.json, events", value=lambda scene: scene.layout.log_dir),
    Variable(name="WORKSPACE", meaning="the code folder", value=lambda scene: scene.code),
    Variable(name="TMPDIR", meaning="scratch space, where the node has /cache", value=_scratch),
    Variable(name="MA_TASK_NAME", meaning="role of this node", value=lambda scene: scene.node.role, inherit=True),
    Variable(name="MA_NUM_HOSTS", meaning="number of nodes", value=lambda scene: str(scene.nodes)),
    Variable(name="VC_WORKER_NUM", meaning="number of nodes", value=lambda scene: str(scene.nodes)),
    Variable(name="VC_TASK_INDEX", meaning="index of this node", value=lambda scene: str(scene.node.index)),
    Variable(name="MA_TASK_INDEX", meaning="index of this node", value=lambda scene: str(scene.node.index)),
    Variable(name="VC_WORKER_HOSTS", meaning="hosts, with commas", value=_worker_hosts, inherit=True),
    Variable(name="MA_CURRENT_IP", meaning="address of this node", value=_current_ip, inherit=True),
    Variable(
        name="MASTER_ADDR",
        meaning="worker-0, on more than one node",
        value=lambda scene: _among_several(scene.facts.topology.master, scene),
        inherit=True,
    ),
    Variable(
        name="MASTER_PORT",
        meaning="the training's port there",
        value=lambda scene: _among_several(str(scene.facts.topology.port), scene),
        inherit=True,
    ),
    Variable(
        name="NCCL_SOCKET_IFNAME",
        meaning="the interface of the way to worker-0, on more than one node",
        value=lambda scene: nccl_interface(scene.facts),
        inherit=True,
    ),
    Variable(
        name="GLOO_SOCKET_IFNAME",
        meaning="the same for gloo",
        value=lambda scene: training_interface(scene.facts),
        inherit=True,
    ),
    Variable(
        name="OMP_NUM_THREADS",
        meaning="processors of the node for each process that trains there",
        value=_threads,
        inherit=True,
    ),
    Variable(
        name="MA_NUM_GPUS",
        meaning="accelerators: those of this node, else those of the job's flavor",
        value=lambda scene: None if scene.accelerators is None else str(scene.accelerators),
        inherit=True,
    ),
    Variable(
        name="MA_VJ_NAME", meaning="name of the group", value=lambda scene: f"ma-job-{scene.job.id}", inherit=True
    ),
    Variable(name="MA_CURRENT_INSTANCE_NAME", meaning="name of this instance", value=lambda scene: scene.job.label),
    Variable(name="MA_ENGINE_VERSION", meaning="the engine, where named", value=lambda scene: scene.engine_version),
    Variable(
        name="MA_DETECT_TRAIN_INJECT_CODE",
        meaning="pre-check on (1) or off",
        value=lambda scene: str(int(scene.prechecked)),
    ),
    Variable(
        name="MA_REHEARSAL",
        meaning="1 in a rehearsal (`launcher run --rehearse`), whose devices may be made up; else not set",
        value=lambda scene: "1" if scene.facts.rehearsal else None,
    ),
    Variable(
        name="MA_LAUNCHER_NOTICE",
        meaning="the file that tells of a preemption once there is one, where the job or the node asks for it",
        value=lambda scene: scene.notice,
    ),
    Variable(name="MA_INPUTS", meaning="input channels as JSON", value=_inputs),
    Variable(name="MA_OUTPUTS", meaning="output channels as JSON", value=_outputs),
    Variable(name="S3_ENDPOINT", meaning="the object store, if there is one", value=_endpoint),
    Variable(name="S3_USE_HTTPS", meaning="1 for an https endpoint", value=_https),
    Variable(name="S3_VERIFY_SSL", meaning="0 where certificates are not checked", value=_verify),
    *FIRST,
)


def boot_environment(scene: Scene, per_node: int = 1) -> dict[str, str]:
    """What is laid over the inherited environment for a boot process, of which `per_node` train on this node."""
    scene = replace(scene, per_node=per_node)
    first_too = scene.facts.settings.v1_names
    made: dict[str, str] = {}
    for variable in TABLE:
        if variable.first and not first_too:
            continue
        inherited = scene.facts.environ.get(variable.name)
        value = inherited if variable.inherit and inherited else variable.value(scene)
        if value is not None:
            made[variable.name] = value
    if first_too:
        made |= _other_hosts(scene)
    return made


def search_path(facts: Facts, layout: Layout, user: Mapping[str, str]) -> str:
    """The PATH on which a boot process's programs are found."""
    own = f"{layout.conda}/bin" if facts.conda else None
    return user.get("PATH") or _joined(own, facts.environ.get("PATH") or "/usr/local/bin:/usr/bin:/bin")


def interpreters(facts: Facts, user: Mapping[str, str]) -> tuple[str, ...]:
    """The programs that may be the boot file's interpreter, best first."""
    named = user.get("MA_SCRIPT_INTERPRETER") or facts.environ.get("MA_SCRIPT_INTERPRETER")
    return (named,) if named else ("python", "python3")
