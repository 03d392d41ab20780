"""The Plan: all that can be decided before the world is touched, as one value that preview prints and run executes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from launcher.core.dataset import Rules
from launcher.core.devices import ONE_CPU, Devices
from launcher.core.resilience import Resilience
from launcher.core.urls import Location


class JobName(msgspec.Struct, frozen=True, kw_only=True):
    """Who this is; `label` is the stem of every file name at the target: `modelarts-job-<id>-worker-<i>`."""

    id: str
    name: str
    label: str


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """This node among its peers; `task` is its name in events: `worker-0`, or `ps-0` of TensorFlow's servers.

    `index` and `count` are among the nodes of its `role`. `hosts` are the names of all workers, in their order; empty
    where nobody has told them.
    """

    index: int
    count: int
    host: str
    role: Literal["worker", "ps"] = "worker"
    hosts: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """The node's name in events and file names."""
        return f"{self.role}-{self.index}"


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """The code directory. `source` is None where the code is already on the node (`file://`)."""

    source: Location | None
    path: str
    boot_file: str | None


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """One channel on the node: its name, its folder, and where in the job it stands, for messages."""

    name: str
    description: str
    field: str
    path: str


class Patterns(msgspec.Struct, frozen=True, kw_only=True):
    """Which files of a channel count: those that one of `include` fits (all, if empty) and none of `exclude` does."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Input(Channel, frozen=True, kw_only=True):
    """One input channel and where its objects come from. `extract`: it is one archive, which is unpacked on its way.

    `dataset`: it is a manifest, or a folder with one, whose samples are brought with it.
    """

    source: Location
    patterns: Patterns = Patterns()
    extract: bool = False
    dataset: Rules | None = None


class Output(Channel, frozen=True, kw_only=True):
    """One output channel and where its files go. `period` in seconds between uploads while the boot file runs."""

    target: Location
    predownload: bool
    period: float
    patterns: Patterns = Patterns()


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One boot process. `env` is laid over what the launcher's own environment hands down."""

    rank: int
    local_rank: int
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    log: str | None = None
    """The process's own log file, where there are several."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the boot processes need to start: written, whole and for this user alone, right before them."""

    path: str
    text: str


class Meeting(msgspec.Struct, frozen=True, kw_only=True):
    """Where the launchers of a job meet, and how long, in seconds, one waits for another to come, and to be ready."""

    port: int = 6665
    peers_s: float = 600.0
    ready_s: float = 3600.0


class Rendezvous(msgspec.Struct, frozen=True, kw_only=True):
    """The launchers of a job's nodes among each other: `number` is this one's among `names`, the nodes' tasks.

    Number 0 listens at `host`, worker-0's name. Whoever knows the `nonce` is of this job.
    """

    host: str
    number: int
    names: tuple[str, ...]
    nonce: str
    meeting: Meeting


class Checks(msgspec.Struct, frozen=True, kw_only=True):
    """What the pre-check wants of a node (contract: pre-check items); the last four where it has InfiniBand."""

    root_bytes: int = 32 * 1024**3
    shm_bytes: int = 1024**3
    cache_bytes: int = 32 * 1024**3
    clock_s: float = 300.0
    memlock_kib: int = 16000
    nofile: int = 1_000_000
    stack_kib: int = 8000
    nproc: int = 1_000_000


class CodeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a code directory may hold: entries count files and folders."""

    entries: int = 1024
    bytes: int = 5 * 1024**3
    depth: int = 32


class Transfers(msgspec.Struct, frozen=True, kw_only=True):
    """How staging and syncing use the node: transfers at once, bytes of memory for them, seconds for all staging.

    For `patience` seconds a store is waited for that has answered before; `extract_ratio` is how many times its size an
    archive may grow to.
    """

    most: int = 128
    memory_bytes: int = 256 * 1024**2
    stage_timeout: float | None = None
    patience: float = 60.0
    extract_ratio: int = 100


class LogRules(msgspec.Struct, frozen=True, kw_only=True):
    """How the log is kept: when a segment is full, what it takes in a minute, and whether lines name their rank."""

    segment_bytes: int = 64 * 1024**2
    bytes_per_minute: int = 2048 * 1024**2
    rank_prefix: bool = True


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """Where the launcher's own documents lie on the node.

    `staged` and `uploads` note every file that is in its place, `roll` the processes that run: they outlive a killed
    launcher. `notice` tells boot processes of a preemption; `stacks` is how the names of files with stacks begin.
    """

    log: str
    run_json: str
    events: str
    plan: str
    staged: str
    uploads: str
    roll: str
    termination: str | None
    report: str | None
    notice: str = ""
    stacks: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run will do. Paths are absolute and already below `root`; `grace` and `stop_after` are seconds.

    `unmet` are the constraints that the node does not fulfil, as sentences; `constrained` says what comes of that.
    `serves`: the boot processes serve other nodes and do not end by themselves; they are done when the workers are.
    `ssh` is the folder of the keys with which an engine reaches the other nodes. `pending` names what only a cluster
    can tell, where it has not told it yet: never in a plan that is carried out. `interpreter` is the boot file's.
    `staged` is the root in which another launcher has brought and installed what this run needs.
    """

    job: JobName
    node: Node
    root: str
    folders: tuple[str, ...]
    code: Code | None
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    processes: tuple[Process, ...]
    packages: str
    scratch: str | None
    pip_index: tuple[str, ...]
    files: Files
    log_target: Location | None
    limits: CodeLimits
    logs: LogRules
    grace: float
    stop_after: float | None
    transfers: Transfers
    in_use: Literal["refuse", "warn"]
    language: str
    warnings: tuple[str, ...]
    engine: str = "python"
    devices: Devices = ONE_CPU
    unmet: tuple[str, ...] = ()
    constrained: Literal["refuse", "warn"] = "refuse"
    precheck: bool = False
    checks: Checks = Checks()
    rendezvous: Rendezvous | None = None
    documents: tuple[Document, ...] = ()
    serves: bool = False
    pending: tuple[str, ...] = ()
    ssh: str | None = None
    interpreter: str = "python"
    staged: str | None = None
    resilience: Resilience = Resilience()

    @property
    def is_ascend(self) -> bool:
        """Whether what is Ascend's alone is to be done: by the job's engine, or by the node's devices."""
        return self.engine == "ascend" or self.devices.type == "Ascend"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The boot file's own arguments, whatever starts it; none where this node does not start it itself."""
        boot_file, argv = self.code and self.code.boot_file, self.processes[0].argv
        return argv[argv.index(boot_file) + 1 :] if boot_file and boot_file in argv else ()
