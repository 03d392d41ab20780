"""The Plan: all that can be decided before the world is touched, as one value that preview prints and run executes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from launcher.core.dataset import Rules
from launcher.core.urls import Location


class JobName(msgspec.Struct, frozen=True, kw_only=True):
    """Who this is; `label` is the stem of every file name at the target: `modelarts-job-<id>-worker-<i>`."""

    id: str
    name: str
    label: str


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """This node among its peers; `task` is its name in events: `worker-0`."""

    index: int
    count: int
    host: str

    @property
    def task(self) -> str:
        """The node's name in events and file names."""
        return f"worker-{self.index}"


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
    launcher.
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


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run will do. Paths are absolute and already below `root`; `grace` and `stop_after` are seconds."""

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
