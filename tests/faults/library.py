"""Faults to inject into whole jobs, as values: what strikes, who is to blame, and what must come of it.

`python tests/faults/library.py` writes docs/faults.md from them; a test holds the page and the launcher to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Blame = Literal["the user", "the infrastructure", "a hang", "nobody"]
Layout = Literal["1 process", "4 processes", "2 nodes"]
Scene = Literal[
    "",
    "small disk",
    "memory limit",
    "slow store",
    "store outage",
    "store cut",
    "store busy",
    "store resets",
    "store unknown",
]

LAYOUTS: tuple[Layout, ...] = ("1 process", "4 processes", "2 nodes")
SERVED: tuple[Layout, ...] = ("1 process", "2 nodes")
"""Those that a server serves: several NPUs are made up in a rehearsal alone, which takes a folder as its store."""
PROCESSES: Mapping[Layout, int] = {"1 process": 1, "4 processes": 4, "2 nodes": 2}
STRUCK: Mapping[Layout, int] = {"1 process": 0, "4 processes": 2, "2 nodes": 1}
"""Which process of how many the fault strikes."""
RETRIES = 2
HANGS = 3
"""So often in a row a training that hangs is started again, whatever the number of retries."""
USELESS = 3
"""After so many attempts that have gained nothing no other follows, and it is said why."""


@dataclass(frozen=True)
class End:
    """How a job ends: by which code, in which phase, why, after how many attempts."""

    code: int
    phase: str
    cause: str | None
    attempts: int = 1

    def __str__(self) -> str:
        why = f"`{self.cause}`" if self.cause else "well"
        often = "" if self.attempts == 1 else f", {self.attempts} attempts"
        return f"{self.code} {why}{often}"


WELL = End(0, "Completed", None)


@dataclass(frozen=True)
class Injected:
    """One fault: the body of `strike(folder)` in the struck process, and how a job without retries ends of it."""

    name: str
    what: str
    blame: Blame
    end: End
    strike: str = ""
    scene: Scene = ""
    cries: str = ""
    """What the processes say on stderr that were not struck, when they are asked to end."""
    gains: bool = True
    """Whether every attempt leaves a checkpoint more; if not, there is one that an earlier job has left."""
    trains: bool = True
    """Whether the boot processes come to be started at all."""
    saves: bool = True
    """Whether what was written before the fault is in its place in the end."""
    layouts: tuple[Layout, ...] = LAYOUTS
    retried: End | None = None
    """How it ends with retries, where that is no matter of the attempts."""
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def passes(self) -> bool:
        """Whether it is also tried what comes of it where only the first attempt is struck."""
        return self.blame in {"the infrastructure", "a hang"} and self.trains and self.gains

    @property
    def module(self) -> str:
        """The fault as a module of the code directory."""
        body = "".join(f"    {line}\n" for line in (self.strike.strip() or "pass").splitlines())
        return f"import os, signal, sys\n\ndef strike(folder):\n{body}"

    def after(self, retries: int, *, lasts: bool) -> End:
        """How the job ends that allows so many retries; a hang is retried where `retries` is not 0."""
        retried = retries and self.blame in {"the infrastructure", "a hang"}
        if not retried:
            return self.end
        if self.retried is not None:
            return self.retried
        if not lasts:
            return replace(WELL, attempts=2)
        if self.blame == "a hang":
            return End(121, "Failed", "hung", 1 + HANGS)
        if not self.gains and 1 + retries >= USELESS:
            return End(122, "Failed", "no-progress", USELESS)
        return replace(self.end, attempts=1 + retries)


NO_CORE = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
FILLS = """
try:
    with open(folder + "/weights.bin", "wb", 0) as file:
        while True: file.write(b"x" * 65536)
except OSError:
    os.unlink(folder + "/weights.bin")
    raise
"""
ECC = 'raise RuntimeError("CUDA error: uncorrectable ECC error encountered")'
WATCHDOG = (
    "[rank0]:[E1122 09:14:07.120 ProcessGroupNCCL.cpp:629] [Rank 0] Watchdog caught collective operation timeout: "
    "WorkNCCL(SeqNum=4711, OpType=ALLREDUCE, NumelIn=1048576, NumelOut=1048576, Timeout(ms)=600000) ran for 600042 "
    "milliseconds before timing out.\n"
)
DEADLOCK = """
import threading
one, other, both = threading.Lock(), threading.Lock(), threading.Barrier(2)
def take(first, second):
    with first:
        both.wait()
        with second:
            pass
threads = [threading.Thread(target=take, args=pair) for pair in ((one, other), (other, one))]
for thread in threads: thread.daemon = True
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
HELD = f"""
import fcntl
device = os.open(os.path.join(os.environ["MEET"], "device"), os.O_RDWR | os.O_CREAT)
try:
    fcntl.flock(device, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    os._exit(9)  # who is left of the last attempt holds it
listens, told = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in (0, 1, 2): os.close(fd)
        os.write(told, b".")
        while True: signal.pause()
    os._exit(0)
os.read(listens, 1)
{ECC}
"""

OWN = (
    Injected("exception", "an exception that nobody catches", "the user", End(1, "Failed", "boot-failed"),
             'raise KeyError("weights")'),
    Injected("exit-code", "an exit code of its own", "the user", End(3, "Failed", "boot-failed"), "sys.exit(3)"),
    Injected("abort", "`abort()`", "the user", End(134, "Failed", "aborted"), f"{NO_CORE}os.abort()"),
    Injected("segv", "a read of an address that is none", "the user", End(139, "Failed", "segfault"),
             f"{NO_CORE}import ctypes; ctypes.string_at(8)"),
    Injected("exception-and-nccl", "an exception, of which the other ranks tell as a timeout of NCCL", "the user",
             End(1, "Failed", "boot-failed"), 'raise KeyError("weights")', cries=WATCHDOG,
             layouts=("4 processes", "2 nodes")),
    Injected("memory", "memory that grows to the limit of the container", "the user", End(137, "Failed", "oom-killed"),
             'held = []\nwhile True: held.append(b"x" * (4 << 20))', scene="memory limit"),
    Injected("gpu-memory", "more memory of a GPU than there is", "the user", End(1, "Failed", "gpu-memory"),
             'raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has 79.15 GiB in total")'),
    Injected("disk-full", "a disk with no room left", "the user", End(1, "Failed", "no-space"),
             FILLS,
             scene="small disk"),
    Injected("file-too-large", "a file over the limit of its size", "the user", End(153, "Failed", "file-size-limit"),
             f"{NO_CORE}resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))\n"
             "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
             'open(os.path.join(os.environ["MEET"], "large"), "wb").write(b"x" * (1 << 20))'),
)  # fmt: skip
"""The user's own failures: they would come again, so they are never retried."""

INFRASTRUCTURE = (
    Injected("sigkill", "SIGKILL from somebody who is not the launcher", "the infrastructure",
             End(137, "Failed", "killed"), "os.kill(os.getpid(), signal.SIGKILL)"),
    Injected("gpu-ecc", "an uncorrectable memory error of a GPU", "the infrastructure",
             End(1, "Failed", "gpu-ecc"), ECC),
    Injected("gpu-lost", "a GPU that is gone", "the infrastructure", End(1, "Failed", "gpu-lost"),
             'sys.exit("NVRM: Xid (PCI:0000:5e:00): 79, pid=4711, GPU has fallen off the bus.")'),
    Injected("npu-ecc", "an uncorrectable memory error of an NPU", "the infrastructure",
             End(1, "Failed", "npu-ecc"), 'raise RuntimeError("synchronize: error code is 507054, HBM_MULTI_BIT_ECC")'),
    Injected("nccl-timeout", "a timeout of NCCL with no failure behind it", "the infrastructure",
             End(134, "Failed", "nccl-timeout"), f"{NO_CORE}os.write(2, {WATCHDOG.encode()!r})\nos.abort()"),
    Injected("hccl-timeout", "a timeout of HCCL with no failure behind it", "the infrastructure",
             End(1, "Failed", "hccl-timeout"),
             'raise RuntimeError("EI0002: [PID: 9] The wait execution of the Notify register times out")'),
    Injected("name-unresolved", "a name of a host that the training cannot resolve", "the infrastructure",
             End(1, "Failed", "name-unresolved"), 'import socket; socket.getaddrinfo("worker-9.invalid", 29500)'),
    Injected("device-held", "an error of a GPU, and a daemon that still holds a file as one holds a device",
             "the infrastructure", End(1, "Failed", "gpu-ecc"), HELD),
    Injected("no-gain", "an error of a GPU before anything new is written", "the infrastructure",
             End(1, "Failed", "gpu-ecc"), ECC, gains=False),
    Injected("store-busy", "a store that takes no requests while inputs are brought", "the infrastructure",
             End(69, "Failed", "store-busy"), scene="store busy", layouts=SERVED, trains=False, saves=False,
             env={"LAUNCHER_STORE_PATIENCE": "1"}),
    Injected("store-resets", "a store that breaks off every answer while inputs are brought", "the infrastructure",
             End(69, "Failed", "store-broken"), scene="store resets", layouts=SERVED, trains=False, saves=False,
             env={"LAUNCHER_STORE_PATIENCE": "1"}),
    Injected("dns", "a store whose name cannot be resolved from the start", "the infrastructure",
             End(69, "Failed", "store-unreachable"), scene="store unknown", layouts=SERVED, trains=False, saves=False,
             env={"LAUNCHER_STORE_PATIENCE": "1"}, retried=End(71, "Failed", "store-unreachable", 3)),
)  # fmt: skip

LOST = Injected(
    "node-lost", "a node whose launcher is killed", "the infrastructure", End(71, "Failed", "peer-lost"),
    "os.kill(os.getppid(), signal.SIGKILL)\nsignal.pause()", layouts=("2 nodes",),
)  # fmt: skip
"""What comes of the node that is left."""

STUCK = End(124, "Terminated", "auto-stop")
HANGING = (
    Injected("sigstop", "SIGSTOP", "a hang", STUCK, "os.kill(os.getpid(), signal.SIGSTOP)"),
    Injected("loop", "a loop without an end", "a hang", STUCK, "while True: pass"),
    Injected("deadlock", "two threads that wait for each other", "a hang", STUCK, DEADLOCK),
    Injected("sleep", "a sleep of days", "a hang", STUCK, "import time; time.sleep(10**6)"),
    Injected("pipe", "a pipe that nobody reads", "a hang", STUCK, 'open(os.pipe()[1], "wb").write(b"x" * (1 << 20))'),
)  # fmt: skip
"""What never ends: reported, and the job goes on until its `auto_stop`; with `hang-retry` ended and started again."""

PASSING = (
    Injected("slow-store", "a store that takes its time for every request", "nobody", WELL, scene="slow store",
             layouts=SERVED),
    Injected("store-outage", "a store that is gone for as long as it is waited for", "nobody", WELL,
             scene="store outage", layouts=SERVED),
    Injected("store-cut", "a store that breaks off every request for as long as it is waited for", "nobody", WELL,
             scene="store cut", layouts=SERVED),
)  # fmt: skip
FAULTS = (*OWN, *INFRASTRUCTURE, *HANGING, *PASSING)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"


def page() -> str:
    """docs/faults.md."""
    lines = ["# Faults", WHAT_IT_IS, WHAT_IS_KEPT.lstrip()]
    for title, words, faults in SECTIONS:
        lines += [
            f"## {title}\n\n{words.strip()}\n",
            "| fault | jobs | without retries | with 2 retries | once, with 2 |",
        ]
        lines += ["|---|---|---|---|---|", *map(_row, faults), ""]
    return "\n".join(lines)


def _row(fault: Injected) -> str:
    jobs = "all" if fault.layouts == LAYOUTS else ", ".join(fault.layouts)
    once = str(fault.after(RETRIES, lasts=False)) if fault.passes else ""
    always = "" if fault is LOST else fault.after(RETRIES, lasts=True)
    cells = (f"{fault.name}: {fault.what}", jobs, fault.after(0, lasts=True), always, once)
    return f"| {' | '.join(map(str, cells))} |"


WHAT_IT_IS = """
What comes of a job that a fault strikes. Written by `python tests/faults/library.py`; the tests inject every one of
these into real jobs of one process, of four (on NPUs that are made up) and of two nodes, and hold the launcher to this
page. A cell tells the exit code, the [cause](causes.md), and the number of attempts if there was more than one; the
last column, what comes of a fault that strikes the first attempt alone.
"""
WHAT_IS_KEPT = """
In the end the checkpoints of all processes and all attempts are in their place, but where inputs could not be brought
and nothing was trained. Of several processes the cause names the rank that was struck; other nodes end with
`peer-failed` and the same code.
"""
SECTIONS = (
    (
        "The user's own",
        "They would come again, so they are retried with `fault-tolerance/job-unconditional-retry` alone.",
        OWN,
    ),
    (
        "The infrastructure's",
        """
`fault-tolerance/job-retry-num` says how often they are retried. Three attempts that end no further than they began
(`no-gain`) are the last, though a fourth be allowed, and that is the cause. `node-lost`: the cluster starts the node
again, which takes part in the next attempt.
With retries there is a pre-check before each attempt: `dns` comes no further than it, and ends with its 71.
""",
        (*INFRASTRUCTURE, LOST),
    ),
    (
        "What never ends",
        """
Watched with `LAUNCHER_HANG=on`. Without `fault-tolerance/hang-retry` it is told, with the stacks of every process, and
the job goes on, here until its `auto_stop`. With it the training is ended and started again, three times in a row at
most, whatever the number of retries.
""",
        HANGING,
    ),
    ("What passes by itself", "The store is waited for as long as `LAUNCHER_STORE_PATIENCE` says.", PASSING),
)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
