"""The pods that `launcher kube` prints, really run: `podman kube play` reads a pod as a cluster does.

What podman 4.3 does not do stands in for by hand, and nothing else is changed: it takes no `kind: Job` (the Job's own
pod template is played), reads no secret (what a secret holds stands where the reference was), makes no termination log
(the launcher is told of a file), and an emptyDir of memory lies on its disk (a tmpfs of the same size stands for it).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rig import Rig

IMAGE = os.environ.get("LAUNCHER_TEST_IMAGE", "")
pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not IMAGE, reason='no engine and image to test: eval "$(images/engine up)" brings both'),
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("podman"), reason="no podman, or no root: tests/docker/podman brings it"
    ),
]

# a container may not have more than whoever starts it
CONFIGURATION = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
"""
OUTPUT = "import json, os, sys\nout = next(a for a in sys.argv if a.startswith('--train_url=')).split('=', 1)[1]\n"
LOOKS_AROUND = (
    OUTPUT
    + """
FOLDERS = ("/", "/etc/launcher", "/opt", "/home/ma-user", "/tmp", "/cache", "/dev/shm")
def writable(folder):
    try:
        open(folder + "/probe", "w").close()
    except OSError:
        return False
    return True
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
json.dump({
    "user": [os.getuid(), os.getgid()],
    "writable": {each: writable(each) for each in FOLDERS},
    "shared": os.statvfs("/dev/shm").f_frsize * os.statvfs("/dev/shm").f_blocks,
    "mounts": [line.split()[1] for line in open("/proc/mounts")],
    "status": {each: status[each].strip() for each in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")},
    "home": os.environ["HOME"],
    "arguments": sys.argv[1:],
    "environment": dict(os.environ),
}, open(out + "/seen.json", "w"))
sys.exit(int(os.environ.get("CODE", "0")))
"""
)
SAVES_AT_SIGTERM = (
    OUTPUT
    + "import signal\ndef save(*_):\n    open(out + '/last.ckpt', 'w').write('epoch 7')\n    sys.exit(0)\n"
    + "signal.signal(signal.SIGTERM, save)\nprint('ready', flush=True)\nwhile True: signal.pause()\n"
)
SECRET = "sesame-open-in-a-pod"

_numbers = itertools.count()


class Podman:
    """A podman with storage of its own, and the image in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "containers.conf").write_text(CONFIGURATION)
        self.environ = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}
        self.driver = "overlay"

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(*arguments), env=self.environ, capture_output=True, text=True, check=False, timeout=100
        )
        assert done.returncode == 0 or not check, done.stderr
        return done

    def argv(self, *arguments: str) -> tuple[str, ...]:
        """A command of podman's."""
        places = ("--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run", "--storage-driver", self.driver)
        return ("podman", *places, *arguments)

    def load(self, archive: Path) -> None:
        """Bring the image; where layers cannot be laid over each other, each is a copy."""
        if self("load", "--input", str(archive), check=False).returncode != 0:
            self.driver = "vfs"
            self("load", "--input", str(archive))


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    folder = tmp_path_factory.mktemp("podman")
    made = Podman(folder)
    archive = folder / "image.tar"
    subprocess.run(("docker", "save", "--output", str(archive), IMAGE), check=True, timeout=100)
    try:
        made.load(archive)
        archive.unlink()
        yield made
    finally:
        for arguments in (("pod", "rm", "--all", "--force"), ("rm", "--all", "--force"), ("rmi", "--all", "--force")):
            made(*arguments, check=False)
        shutil.rmtree(folder, ignore_errors=True)


class Pod:
    """The pod of a rig's job in one kind, its store a volume of the job, played once and removed."""

    def __init__(self, rig: Rig, podman: Podman) -> None:
        self.rig = rig
        self.podman = podman
        self.name = f"pod-{os.getpid()}-{next(_numbers)}"
        self.file = rig.folder / "pod.yaml"
        self.shm = rig.folder / "shm"
        self.objects: list[dict[str, Any]] = []
        rig.job["metadata"] = {"name": self.name}
        rig.job["spec"]["volumes"] = [{"obs": {"obs_path": f"obs://{rig.bucket}/", "local_path": "/store"}}]
        rig.job["spec"]["resource"] = {
            "flavor_detail": {"flavor_info": {"cpu": {"core_num": 1}, "memory": {"size": 1, "unit": "GB"}}}
        }

    def render(self, kind: str, *options: str) -> None:
        """Ask the launcher for the manifests."""
        claim = ("--store", "/store", "--claim", f"/store={self.name}-store")
        arguments = ("kube", "-", "--image", f"localhost/{IMAGE}", "--kind", kind, *claim, *options)
        argv = (sys.executable, "-m", "launcher", *arguments)
        done = subprocess.run(
            argv, input=json.dumps(self.rig.job), env=self.rig.env(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        self.objects = list(yaml.safe_load_all(done.stdout))

    def play(self, variables: Mapping[str, str], secrets: Mapping[tuple[str, str], str] | None = None) -> None:
        """Start it; `variables` are laid beside its own."""
        config, last = self.objects[0], self.objects[-1]
        spec = last["spec"] if last["kind"] == "Pod" else last["spec"]["template"]["spec"]
        metadata = {"name": self.name, "labels": last["metadata"]["labels"]}
        (container,) = spec["containers"]
        for each in container["env"]:
            if "valueFrom" in each:
                reference = each.pop("valueFrom")["secretKeyRef"]
                each["value"] = (secrets or {})[reference["name"], reference["key"]]
        told = {"LAUNCHER_TERMINATION_LOG": "/store/termination-log", **variables}
        container["env"] += [{"name": name, "value": value} for name, value in told.items()]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        self.file.write_text(yaml.safe_dump_all([config, pod]))
        store = self.rig.folder / "store"
        for path in (store, *store.rglob("*")):  # the pod's user is another one
            path.chmod(0o777 if path.is_dir() else 0o666)
        self.bind(store, f"{self.name}-store")  # the config map is a volume of the pod's own name
        (shm,) = (each["emptyDir"] for each in spec["volumes"] if each.get("emptyDir", {}).get("medium") == "Memory")
        self.shm.mkdir()
        size = f"size={shm['sizeLimit'].removesuffix('Mi')}m,mode=1777"
        subprocess.run(("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self.shm)), check=True, timeout=60)
        self.bind(self.shm, "shm")
        # at its first use a volume becomes what the image has there; a cluster's is everybody's
        used = ("--network", "none", "--volume", "shm:/dev/shm", "--entrypoint", "/bin/true")
        self.podman("run", "--rm", *used, f"localhost/{IMAGE}")
        self.shm.chmod(0o1777)
        self.podman("kube", "play", "--network", "none", str(self.file))

    def bind(self, folder: Path, name: str) -> None:
        """Let a volume be a folder of this machine."""
        options = ("--opt", "type=none", "--opt", "o=bind", "--opt", f"device={folder}")
        self.podman("volume", "create", *options, name)

    @property
    def container(self) -> str:
        """The name that podman gives the pod's container."""
        return f"{self.name}-launcher"

    def wait(self) -> int:
        """The container's exit code."""
        return int(self.podman("wait", self.container).stdout)

    def logs(self) -> str:
        """What it said."""
        done = self.podman("logs", self.container)
        return done.stdout + done.stderr

    @contextlib.contextmanager
    def following(self) -> Iterator[subprocess.Popen[str]]:
        """Its output, line by line."""
        argv = self.podman.argv("logs", "--follow", self.container)
        with subprocess.Popen(
            argv, env=self.podman.environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as follower:
            try:
                yield follower
            finally:
                follower.kill()

    def remove(self) -> None:
        """The pod, and every volume that was made for it."""
        self.podman("pod", "rm", "--force", self.name, check=False)
        self.podman("volume", "rm", "--all", "--force", check=False)
        if self.shm.is_mount():
            subprocess.run(("umount", str(self.shm)), check=True, timeout=60)

    @property
    def termination(self) -> Any:
        """The termination message."""
        return json.loads((self.rig.folder / "store/termination-log").read_text())

    @property
    def seen(self) -> Any:
        """What the boot file wrote down."""
        return json.loads(self.rig.stored()["seen.json"])

    @property
    def run_json(self) -> Any:
        """run.json as it came to the store."""
        (found,) = (text for name, text in self.rig.stored("log/").items() if name.endswith(".run.json"))
        return json.loads(found)


@pytest.fixture
def pod(local_rig: Rig, podman: Podman) -> Iterator[Pod]:
    made = Pod(local_rig, podman)
    try:
        yield made
    finally:
        made.remove()


def indexed(kind: str) -> dict[str, str]:
    """What the controller of an Indexed Job adds."""
    return {"JOB_COMPLETION_INDEX": "0"} if kind == "job" else {}


@pytest.mark.parametrize("kind", ["pod", "job"])
def test_a_training_runs_in_a_pod_that_may_do_nothing_else(pod: Pod, kind: str) -> None:
    pod.rig.code(LOOKS_AROUND)
    pod.render(kind)
    pod.play(indexed(kind))
    assert pod.wait() == 0, pod.logs()
    seen = pod.seen
    assert seen["user"] == [1000, 100]
    closed, open_ = ("/", "/etc/launcher", "/opt", "/home/ma-user"), ("/tmp", "/cache", "/dev/shm")
    assert {each: seen["writable"][each] for each in closed} == dict.fromkeys(closed, False)
    assert {each: seen["writable"][each] for each in open_} == dict.fromkeys(open_, True)
    assert {"/etc/launcher", "/dev/shm", "/tmp", "/cache", "/home/ma-user/modelarts", "/store"} <= {*seen["mounts"]}
    assert seen["status"] == {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
    assert seen["home"] == "/home/ma-user"
    assert pod.run_json["limits"]["memory_bytes"] == 954 << 20
    assert seen["shared"] == 477 << 20
    assert pod.termination == {"phase": "Completed", "exit_code": 0, "cause": None}


@pytest.mark.parametrize("code", [3, 69])
def test_the_pod_ends_with_the_run_s_code_and_says_why(pod: Pod, code: int) -> None:
    pod.rig.code(LOOKS_AROUND)
    pod.rig.algorithm["environments"] = {"CODE": str(code)}
    pod.render("job")
    pod.play(indexed("job"))
    assert pod.wait() == code, pod.logs()
    assert (pod.termination["phase"], pod.termination["exit_code"]) == ("Failed", code)
    assert pod.termination["cause"]["message"]


def test_a_job_that_lacks_its_code_ends_with_a_code_that_is_not_retried(pod: Pod) -> None:
    pod.render("pod")
    pod.play({})
    assert pod.wait() == 66, pod.logs()
    assert pod.termination["exit_code"] == 66


def test_secrets_by_reference_reach_the_boot_file_alone(pod: Pod) -> None:
    pod.rig.code(LOOKS_AROUND)
    pod.rig.algorithm["parameters"] = [{"name": "lr", "value": "0.1"}, {"name": "api_key", "value": SECRET}]
    pod.rig.algorithm["environments"] = {"HF_TOKEN": SECRET[::-1]}
    pod.render("pod", "--secret", "api_key=keys/api", "--secret", "HF_TOKEN=keys/hf")
    assert SECRET not in json.dumps(pod.objects)
    pod.play({}, {("keys", "api"): SECRET, ("keys", "hf"): SECRET[::-1]})
    assert pod.wait() == 0, pod.logs()
    assert pod.seen["arguments"][-2:] == ["--lr=0.1", f"--api_key={SECRET}"]
    assert pod.seen["environment"]["HF_TOKEN"] == SECRET[::-1]
    assert [name for name in pod.seen["environment"] if name.startswith("LAUNCHER_")] == []
    assert SECRET not in json.dumps(pod.run_json)


def test_a_pod_that_is_asked_to_end_keeps_its_last_checkpoint(pod: Pod) -> None:
    pod.rig.code(SAVES_AT_SIGTERM)
    pod.render("job")
    pod.play(indexed("job"))
    with pod.following() as follower:
        assert follower.stdout is not None
        assert any(line == "ready\n" for line in follower.stdout)
        pod.podman("pod", "stop", "--time", "60", pod.name)
    assert pod.wait() == 143
    assert pod.rig.stored() == {"last.ckpt": b"epoch 7"}
    assert (pod.termination["phase"], pod.termination["cause"]["code"]) == ("Terminated", "interrupted")
