"""Jobs before a fault: of one process, of several, of two nodes; on a small disk, in little memory, on a bad store."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from cgroups import limited
from ends import PROGRAMS, Ends
from fronts import Fault, s3_error
from library import PROCESSES, STRUCK
from ports import free_port
from rig import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from fronts import Front
    from library import Injected, Layout
    from servers import AnyStore

OUTAGE_S = float(os.environ.get("FAULTS_OUTAGE_S", "2"))
"""How long the store of an outage is gone."""
SLOW_S = 0.1
INPUT = "/data/b.csv"
"""An object of the input that no pre-check reads."""
DISK = "1m"
MEMORY = 256 << 20
MEANS: dict[Layout, tuple[str, ...]] = {
    "1 process": (),
    "4 processes": ("--rehearse", "--fake-devices", "Ascend:4"),
    "2 nodes": ("--rehearse", "--rehearse-nodes", "2"),
}
WATCHED = {
    "LAUNCHER_HANG": "on",
    "LAUNCHER_HANG_PERIOD": "0.4",
    "LAUNCHER_HANG_PERIODS": "3",
    "LAUNCHER_HANG_LONG_PERIODS": "5",
    "LAUNCHER_HANG_WINDOW": "0.5",
}
AUTO_STOP_S, ENOUGH_S = "6", "50"
"""When a job ends that hangs and is not ended for it, and one that ought to be."""
LATEST_S = 60 + 2 * OUTAGE_S


class Scene(Ends):
    """One job before one fault."""

    def __init__(self, store: AnyStore, folder: Path, fault: Injected, layout: Layout) -> None:
        super().__init__(store, folder)
        self.fault = fault
        self.layout = layout
        self.settings = {"LAUNCHER_RETRY_PAUSE": "0.2", **fault.env}
        self.port = free_port()
        (folder / "meet").mkdir()
        self.code((PROGRAMS / "faults" / "boot.py").read_text(), {"strike.py": fault.module.encode()})
        store.seed(self.bucket, {INPUT[1:]: b"3,4\n"})
        if not fault.gains:
            self.algorithm["outputs"][0]["prefetch_to_local"] = True
            store.seed(self.bucket, {f"out/{name}": content for name, content in written(range(1), layout).items()})
        if layout == "4 processes":
            self.algorithm["engine"] = {"engine_name": "Ascend-Powered"}

    def play(self, retries: int, *, lasts: bool) -> Result:
        """Run it to its end."""
        self.tell(retries, lasts=lasts)
        if self.layout == "2 nodes" and self.store.server is not None:
            return self.ended(self.launch(0), self.launch(1))
        return self.run(*MEANS[self.layout], env=self.settings, timeout=LATEST_S)

    def tell(self, retries: int, *, lasts: bool) -> None:
        """Write into the job, and the launcher's settings, what is to happen."""
        fault, layout = self.fault, self.layout
        told = {"MEET": self.folder / "meet", "COUNT": PROCESSES[layout], "STRUCK": STRUCK[layout]}
        told |= {"LASTS": int(lasts), "GAINS": int(fault.gains), "CRIES": fault.cries}
        self.algorithm["environments"] = {name: str(value) for name, value in told.items()}
        hangs = fault.blame == "a hang"
        if hangs:
            self.settings |= {**WATCHED, "LAUNCHER_AUTO_STOP": ENOUGH_S if retries else AUTO_STOP_S}
        if retries:
            more = {"fault-tolerance/hang-retry": "true"} if hangs else {}
            said = self.job["metadata"].setdefault("annotations", {})
            said.update({"fault-tolerance/job-retry-num": str(retries), **more})

    def launch(self, index: int) -> subprocess.Popen[str]:
        """Start the launcher of one of two nodes for itself, as a cluster does."""
        said = ("--nodes", "2", "--node-index", str(index), "--master", "127.0.0.1")
        argv = [str(self.nodes[index]) if each == str(self.root) else each for each in self.argv("run", *said)]
        env = self.env({**self.settings, "LAUNCHER_RENDEZVOUS_PORT": str(self.port)})
        return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ended(self, *launchers: subprocess.Popen[str]) -> Result:
        """How the last of these ended, and what all of them said."""
        words = [each.communicate(timeout=LATEST_S) for each in launchers]
        return Result(launchers[-1].returncode, "", "".join(err for _, err in words), None)

    @property
    def nodes(self) -> list[Path]:
        """The roots of the nodes, the struck one's last."""
        return [self.root / f"worker-{index}" for index in (0, 1)] if self.layout == "2 nodes" else [self.root]

    def told(self) -> list[Any]:
        """The run.json of each node."""
        return [json.loads((each / "home/ma-user/modelarts/log/run.json").read_text()) for each in self.nodes]

    @contextlib.contextmanager
    def furnished(self, request: pytest.FixtureRequest) -> Iterator[None]:
        """What the fault needs around the job; skips what cannot be had here."""
        kind = self.fault.scene
        with contextlib.ExitStack() as stack:
            if kind == "store unknown":
                self.settings["S3_ENDPOINT"] = "http://store.invalid"
            elif "store" in kind:
                front: Front = request.getfixturevalue("fronted")(self.store.server)
                front.lay(bad_store(kind))
                self.settings["S3_ENDPOINT"] = front.endpoint
                self.settings.setdefault("LAUNCHER_STORE_PATIENCE", str(2 * OUTAGE_S + 20))
            elif kind == "small disk":
                self.prefix = small_disks([each / "home/ma-user/modelarts/outputs" for each in self.nodes])
            elif kind == "memory limit":
                self.prefix = stack.enter_context(limited(MEMORY)).inside()
            yield


def written(attempts: Iterable[int], layout: Layout) -> dict[str, bytes]:
    """What all processes leave in these attempts."""
    ranks = range(PROCESSES[layout])
    return {f"rank-{rank}/checkpoint-{each}.pt": b"%d after %d" % (rank, each) for each in attempts for rank in ranks}


def bad_store(kind: str) -> Fault:
    """How a store behaves that is bad in this way."""
    if kind == "slow store":
        return Fault("slow", seconds=SLOW_S)
    if kind == "store outage":
        return s3_error(503, "ServiceUnavailable", target="/out/rank-", lasts=OUTAGE_S)
    if kind == "store cut":
        return Fault("reset", target="/out/rank-", lasts=OUTAGE_S)
    if kind == "store busy":
        return s3_error(503, "SlowDown", method="GET", target=INPUT)
    return Fault("reset", method="GET", target=INPUT)


def small_disks(folders: Sequence[Path]) -> tuple[str, ...]:
    """What starts a program where these folders have little room."""
    mounts = " && ".join(f"mkdir -p '{each}' && mount -t tmpfs -o size={DISK} tmpfs '{each}'" for each in folders)
    prefix = ("unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh")
    try:
        made = subprocess.run((*prefix, "true"), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare here (util-linux)")
    if made.returncode:
        pytest.skip(f"no file system can be mounted here (needs root): {made.stderr.strip()}")
    return prefix
