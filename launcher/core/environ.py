"""The environment that a boot process is promised (contract: environment variables), as one table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from launcher.core.facts import Facts
from launcher.core.frozen import Record
from launcher.core.layout import Layout
from launcher.core.plan import Input, JobName, Node, Output


class Scene(Record, frozen=True, kw_only=True):
    """What the variables are made from."""

    facts: Facts
    layout: Layout
    job: JobName
    node: Node
    code: str | None
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    engine_version: str | None
    accelerators: int | None


class Variable(Record, frozen=True, kw_only=True):
    """One promised variable. `inherit`: what the platform has set already stands."""

    name: str
    meaning: str
    value: Callable[[Scene], str | None]
    inherit: bool = False


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
    layout = scene.layout
    return _joined(layout.job_dir, scene.code, layout.packages, scene.facts.environ.get("PYTHONPATH"))


def _channels(kind: str, channels: tuple[tuple[str, str, str], ...]) -> str:
    members = [{"name": name, "local_dir": path, "remote": {"obs": {"obs_url": url}}} for name, path, url in channels]
    return json.dumps({kind: members}, separators=(",", ":"))


def _inputs(scene: Scene) -> str:
    return _channels("inputs", tuple((each.name, each.path, each.source.url) for each in scene.inputs))


def _outputs(scene: Scene) -> str:
    return _channels("outputs", tuple((each.name, each.path, each.target.url) for each in scene.outputs))


def _worker_hosts(scene: Scene) -> str:
    return scene.node.host


def _scratch(scene: Scene) -> str | None:
    return scene.layout.cache if scene.facts.cache else None


def _endpoint(scene: Scene) -> str | None:
    return scene.facts.store.endpoint if scene.facts.store else None


def _verify(scene: Scene) -> str | None:
    return str(int(scene.facts.store.verify_ssl)) if scene.facts.store else None


def _https(scene: Scene) -> str | None:
    return str(int(scene.facts.store.https)) if scene.facts.store else None


TABLE: tuple[Variable, ...] = (
    Variable(name="PATH", meaning="programs; the preset image's own Python first", value=_path),
    Variable(name="LD_LIBRARY_PATH", meaning="libraries; the preset image's own first", value=_libraries),
    Variable(name="PYTHONPATH", meaning="MA_JOB_DIR, the code folder, installed packages", value=_python_path),
    Variable(name="PYTHONUNBUFFERED", meaning="no log line is held back", value=lambda _: "1"),
    Variable(name="PYTHONFAULTHANDLER", meaning="a crash of Python tells where", value=lambda _: "1", inherit=True),
    Variable(name="MA_HOME", meaning="the user's home", value=lambda scene: scene.layout.home),
    Variable(name="MA_MOUNT_PATH", meaning="algorithm, inputs, outputs, logs", value=lambda scene: scene.layout.mount),
    Variable(name="MA_JOB_DIR", meaning="parent of the code folder", value=lambda scene: scene.layout.job_dir),
    Variable(name="MA_LOG_DIR", meaning="logs, run.json, events", value=lambda scene: scene.layout.log_dir),
    Variable(name="WORKSPACE", meaning="the code folder", value=lambda scene: scene.code),
    Variable(name="TMPDIR", meaning="scratch space, where the node has /cache", value=_scratch),
    Variable(name="MA_TASK_NAME", meaning="role of this node", value=lambda _: "worker", inherit=True),
    Variable(name="MA_NUM_HOSTS", meaning="number of nodes", value=lambda scene: str(scene.node.count)),
    Variable(name="VC_WORKER_NUM", meaning="number of nodes", value=lambda scene: str(scene.node.count)),
    Variable(name="VC_TASK_INDEX", meaning="index of this node", value=lambda scene: str(scene.node.index)),
    Variable(name="MA_TASK_INDEX", meaning="index of this node", value=lambda scene: str(scene.node.index)),
    Variable(name="VC_WORKER_HOSTS", meaning="hosts, with commas", value=_worker_hosts, inherit=True),
    Variable(name="MA_CURRENT_IP", meaning="address of this node", value=lambda _: "127.0.0.1", inherit=True),
    Variable(
        name="MA_NUM_GPUS",
        meaning="accelerators, where the job's flavor tells",
        value=lambda scene: None if scene.accelerators is None else str(scene.accelerators),
        inherit=True,
    ),
    Variable(
        name="MA_VJ_NAME", meaning="name of the group", value=lambda scene: f"ma-job-{scene.job.id}", inherit=True
    ),
    Variable(name="MA_CURRENT_INSTANCE_NAME", meaning="name of this instance", value=lambda scene: scene.job.label),
    Variable(name="MA_ENGINE_VERSION", meaning="the engine, where named", value=lambda scene: scene.engine_version),
    Variable(name="MA_DETECT_TRAIN_INJECT_CODE", meaning="pre-check on (1) or off", value=lambda _: "0"),
    Variable(name="MA_INPUTS", meaning="input channels as JSON", value=_inputs),
    Variable(name="MA_OUTPUTS", meaning="output channels as JSON", value=_outputs),
    Variable(name="S3_ENDPOINT", meaning="the object store, if there is one", value=_endpoint),
    Variable(name="S3_USE_HTTPS", meaning="1 for an https endpoint", value=_https),
    Variable(name="S3_VERIFY_SSL", meaning="0 where certificates are not checked", value=_verify),
)


def boot_environment(scene: Scene, per_node: int = 1) -> dict[str, str]:  # noqa: ARG001
    """What is laid over the inherited environment for a boot process, of which `per_node` train on this node."""
    made: dict[str, str] = {}
    for variable in TABLE:
        inherited = scene.facts.environ.get(variable.name)
        value = inherited if variable.inherit and inherited else variable.value(scene)
        if value is not None:
            made[variable.name] = value
    return made


def search_path(facts: Facts, layout: Layout, user: Mapping[str, str]) -> str:
    """The PATH on which a boot process's programs are found."""
    own = f"{layout.conda}/bin" if facts.conda else None
    return user.get("PATH") or _joined(own, facts.environ.get("PATH") or "/usr/local/bin:/usr/bin:/bin")


def interpreters(facts: Facts, user: Mapping[str, str]) -> tuple[str, ...]:
    """The programs that may be the boot file's interpreter, best first."""
    named = user.get("MA_SCRIPT_INTERPRETER") or facts.environ.get("MA_SCRIPT_INTERPRETER")
    return (named,) if named else ("python", "python3")
