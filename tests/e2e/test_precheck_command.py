"""`launcher precheck` on real stores, real file systems, real limits and a name server that knows nothing."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from fronts import Fault, s3_error
from rig import LAUNCHER, Rig
from servers import AnyStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fronts import Front
    from servers import S3Server

SMALL = {"LAUNCHER_CHECK_ROOT": "1", "LAUNCHER_CHECK_CACHE": "1"}
"""Less than any machine has that runs these tests."""
UNSHARE = ("unshare", "--mount", "--propagation", "private")
ORDER = [
    "dns",
    "disk-size root",
    "disk-size shm",
    "disk-size cache",
    "ulimit",
    "gpu-check",
    "npu-check",
    "engine-check",
    "wheel-tags",
    "store-read code_dir",
    "store-read data_url",
    "store-write train_url",
    "store-write log",
    "clock",
]

Done = subprocess.CompletedProcess[str]


def precheck(rig: Rig, *arguments: str, env: Mapping[str, str] | None = None, wrap: Sequence[str] = ()) -> Done:
    argv = (*wrap, *rig.argv("precheck", *arguments))
    return subprocess.run(
        argv, env=rig.env({**SMALL, **(env or {})}), capture_output=True, text=True, check=False, timeout=100
    )


def items(rig: Rig, *arguments: str, env: Mapping[str, str] | None = None, wrap: Sequence[str] = ()) -> dict[str, Any]:
    """Every item by its name, of a node that may have failed for reasons of its own."""
    done = precheck(rig, "--json", *arguments, env=env, wrap=wrap)
    assert done.returncode in (0, 71), done.stderr
    told = {each["name"]: each for each in json.loads(done.stdout)}
    assert done.returncode == (71 if any(each["state"] == "failed" for each in told.values()) else 0)
    return told


def need_mounts() -> None:
    """Skip where no mount namespace of one's own is to be had."""
    if not shutil.which("unshare") or subprocess.run((*UNSHARE, "true"), check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace is to be had here (not root?)")


def through(rig: Rig, server: S3Server, **changes: Any) -> Rig:
    """The same job on the same server, met another way."""
    store = AnyStore(rig.store.kind, rig.store.capability, env={**server.env, **changes}, server=rig.store.server)
    rig.store = store
    return rig


def test_every_item_of_a_job_is_told_on_a_line_of_its_own(rig: Rig) -> None:
    rig.code("print()")
    done = precheck(rig)
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"item {name}" for name in ORDER]
    assert lines[9] == f"item store-read code_dir: ok: obs://{rig.bucket}/code/train.py can be read"
    assert lines[11] == f"item store-write train_url: ok: obs://{rig.bucket}/out/ takes objects"
    assert lines[13].startswith("item clock: ok: ")
    assert done.returncode == (71 if "error,exiting" in done.stdout else 0)


def test_nothing_is_left_in_the_store_and_nothing_on_the_node(rig: Rig) -> None:
    rig.code("print()")
    before = rig.store.listing(rig.bucket)
    items(rig)
    assert rig.store.listing(rig.bucket) == before
    assert not rig.root.exists()


def test_what_is_not_in_the_store_is_told_and_the_rest_looked_at(rig: Rig) -> None:
    rig.algorithm["inputs"].append({"name": "gone", "remote": {"obs": {"obs_url": f"obs://{rig.bucket}/gone/"}}})
    told = items(rig)
    assert told["store-read code_dir"]["said"] == f"no object at obs://{rig.bucket}/code/train.py (ModelArts.2758)"
    assert told["store-read gone"]["said"] == f"no object under obs://{rig.bucket}/gone/ (ModelArts.2791)"
    assert told["store-read data_url"]["state"] == told["store-write log"]["state"] == "ok"


def test_a_wrong_key_is_told_for_every_place(rclone_server: S3Server, tmp_path: Path) -> None:
    rig = Rig(AnyStore("rclone", rclone_server.capability, env=rclone_server.env, server=rclone_server), tmp_path)
    rig.code("print()")
    told = items(through(rig, rclone_server.with_secret("wrongsecret")))
    for name in ("store-read code_dir", "store-read data_url", "store-write train_url", "store-write log"):
        assert told[name]["state"] == "failed"
        assert "AWS_SECRET_ACCESS_KEY" in told[name]["action"]
    assert told["clock"]["state"] == "skipped"


def test_a_bucket_that_takes_nothing_fails_the_writes_alone(
    moto_rig: Rig, moto_server: S3Server, fronted: Callable[[S3Server], Front]
) -> None:
    moto_rig.code("print()")
    front = fronted(moto_server)
    front.lay(s3_error(403, "AccessDenied", method="PUT"))
    told = items(through(moto_rig, moto_server.through(front.endpoint)))
    assert told["store-read data_url"]["state"] == "ok"
    assert told["store-write train_url"]["state"] == told["store-write log"]["state"] == "failed"
    assert "access denied" in told["store-write log"]["said"]


def test_a_store_whose_clock_is_another_is_told(
    moto_rig: Rig, moto_server: S3Server, fronted: Callable[[S3Server], Front]
) -> None:
    moto_rig.code("print()")
    front = fronted(moto_server)
    old = {"Last-Modified": "Mon, 06 May 2024 07:08:09 GMT"}
    front.lay(Fault("alter", method="HEAD", target="precheck-worker-0", headers=old))
    told = items(through(moto_rig, moto_server.through(front.endpoint)))
    assert told["clock"]["state"] == "failed"
    assert "ahead of the store's, 300 s may be" in told["clock"]["said"]


def test_a_store_that_is_not_there_says_so_for_each_place(moto_rig: Rig, moto_server: S3Server) -> None:
    told = items(through(moto_rig, moto_server.through("http://127.0.0.1:9")))
    assert told["store-read data_url"]["state"] == told["store-write log"]["state"] == "failed"
    assert "http://127.0.0.1:9" in told["store-read data_url"]["said"]
    assert told["disk-size root"]["state"] == "ok"


def test_a_store_that_hangs_does_not_hang_it(
    moto_rig: Rig, moto_server: S3Server, fronted: Callable[[S3Server], Front]
) -> None:
    front = fronted(moto_server)
    front.lay(Fault("hang"))
    told = items(through(moto_rig, moto_server.through(front.endpoint)))
    assert told["store-read data_url"]["said"] == told["store-write log"]["said"] == "no answer in 10 s"
    assert told["clock"]["state"] == "skipped"


def test_it_ends_at_once_when_it_is_interrupted(
    moto_rig: Rig, moto_server: S3Server, fronted: Callable[[S3Server], Front]
) -> None:
    front = fronted(moto_server)
    rig = through(moto_rig, moto_server.through(front.endpoint))
    argv = rig.argv("precheck")
    with subprocess.Popen(argv, env=rig.env(SMALL), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            front.lay(Fault("hang", after=lambda: process.send_signal(signal.SIGINT), times=1))
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130


def test_wheels_and_engine_are_held_against_the_interpreter(local_rig: Rig) -> None:
    wheel = "foo-1.0-cp36-cp36m-win_amd64.whl"
    local_rig.code("print()", {"pip-requirements.txt": f"{wheel}\n".encode(), wheel: b""})
    local_rig.algorithm["engine"] = {"engine_name": "PyTorch", "engine_version": "PyTorch-1.3.0-python2.6"}
    told = items(local_rig)
    assert (told["wheel-tags"]["state"], told["wheel-tags"]["said"]) == (
        "failed",
        f"{wheel} is for cp36-cp36m-win_amd64",
    )
    assert told["engine-check"]["state"] == "warned"
    assert "it has Python 2.6, " in told["engine-check"]["said"]


def test_the_interpreter_asked_is_the_one_that_runs_the_boot_file(local_rig: Rig) -> None:
    local_rig.code("print()")
    local_rig.algorithm["engine"] = {"engine_name": "PyTorch", "engine_version": "PyTorch-1.3.0-python3.6"}
    told = items(local_rig, env={"MA_SCRIPT_INTERPRETER": "/bin/true"})
    assert "the interpreter could not be asked: /bin/true ended with 0" in told["engine-check"]["said"]


def test_a_constraint_is_told_first_and_is_a_warning_on_request(local_rig: Rig) -> None:
    local_rig.code("print()")
    body = {
        "metadata": {"name": "a", "id": "a-1"},
        "job_config": {key: local_rig.algorithm[key] for key in ("code_dir", "boot_file")},
        "resource_requirements": [{"key": "flavor_type", "values": ["Ascend"], "operator": "in"}],
    }
    local_rig.algorithm["id"] = "a-1"
    path = local_rig.folder / "algorithm.json"
    path.write_text(json.dumps(body))
    first = next(iter(items(local_rig, "--algorithm", str(path)).values()))
    assert (first["name"], first["state"]) == ("constraints", "failed")
    assert first["said"].startswith("the algorithm asks for flavor_type Ascend; this node has ")
    assert "ModelArts.2763" in first["said"]
    first = next(iter(items(local_rig, "--algorithm", str(path), "--no-precheck").values()))
    assert (first["name"], first["state"]) == ("constraints", "warned")


def test_a_secret_in_a_job_is_masked(local_rig: Rig) -> None:
    local_rig.algorithm["inputs"][0]["remote"]["obs"]["obs_url"] = f"/{local_rig.bucket}/no-such-secret-place/"
    done = precheck(local_rig, "--env", "MY_TOKEN=no-such-secret-place")
    assert "item store-read data_url: error,exiting: no object under" in done.stdout
    assert "no-such-secret-place" not in done.stdout


@pytest.mark.parametrize("job", ["", "LAUNCHER_JOB"])
def test_without_a_job_only_the_node_is_looked_at(local_rig: Rig, job: str) -> None:
    local_rig.code("print()")
    env = {"LAUNCHER_JOB": json.dumps(local_rig.job)} if job else {}
    argv = [each for each in local_rig.argv("precheck", "--json", job="") if each]
    done = subprocess.run(argv, env=local_rig.env({**SMALL, **env}), capture_output=True, text=True, check=False)
    assert [each["name"] for each in json.loads(done.stdout)] == (ORDER if job else ORDER[:7])


def test_wrong_jobs_and_settings_are_refused_as_for_a_run(local_rig: Rig) -> None:
    local_rig.algorithm["boot_file"] = "obs://elsewhere/train.py"
    done = precheck(local_rig)
    assert (done.returncode, done.stdout) == (65, "")
    assert "ModelArts.2792" in done.stderr
    done = precheck(local_rig, env={"LAUNCHER_CHECK_ROOT": "lots"})
    assert done.returncode == 65
    assert "LAUNCHER_CHECK_ROOT" in done.stderr


def test_the_example_of_the_help_names_the_options_of_run() -> None:
    done = subprocess.run((*LAUNCHER, "precheck", "--help"), capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "launcher precheck job.json --store ./store --root ./root" in done.stdout


def test_a_small_disk_and_little_shared_memory_fail(local_rig: Rig) -> None:
    need_mounts()
    local_rig.code("print()")
    local_rig.root.mkdir()
    script = (
        f"mount -t tmpfs -o size=64m none {local_rig.root} && mkdir {local_rig.root}/cache && "
        'mount -t tmpfs -o size=64m none /dev/shm && exec "$@"'
    )
    told = items(local_rig, wrap=(*UNSHARE, "sh", "-c", script, "sh"))
    assert told["disk-size root"]["said"] == f"{local_rig.root} has 64.0 MB free, 1.0 GB wanted"
    assert told["disk-size shm"]["said"] == "/dev/shm has 64.0 MB, 1.0 GB wanted"
    assert told["disk-size cache"]["said"] == f"{local_rig.root}/cache has 64.0 MB free, 1.0 GB wanted"
    assert "LAUNCHER_CHECK_SHM" in told["disk-size shm"]["action"]
    assert told["store-read data_url"]["state"] == "ok"


def test_a_node_with_room_for_all_is_well(local_rig: Rig) -> None:
    need_mounts()
    local_rig.code("print()")
    script = 'mount -t tmpfs -o size=2g none /dev/shm && exec "$@"'
    done = precheck(local_rig, wrap=(*UNSHARE, "sh", "-c", script, "sh"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "error" not in done.stdout


def test_a_file_system_without_inodes_is_warned_of(local_rig: Rig) -> None:
    need_mounts()
    local_rig.code("print()")
    local_rig.root.mkdir()
    script = f'mount -t tmpfs -o size=2g,nr_inodes=50 none {local_rig.root} && exec "$@"'
    told = items(local_rig, wrap=(*UNSHARE, "sh", "-c", script, "sh"))
    assert told["disk-size root"]["state"] == "warned"
    assert "more files only" in told["disk-size root"]["said"]


def test_low_limits_fail_where_there_is_infiniband(local_rig: Rig) -> None:
    need_mounts()
    local_rig.code("print()")
    script = (
        "mount -t tmpfs none /sys/class && mkdir -p /sys/class/infiniband/mlx5_0 && "
        'ulimit -S -n 1024 && ulimit -S -l 64 && ulimit -S -s 4096 && exec "$@"'
    )
    wrap = (*UNSHARE, "bash", "-c", script, "bash")
    told = items(local_rig, env={"LAUNCHER_CHECK_NPROC": "1"}, wrap=wrap)
    assert told["ulimit"]["state"] == "failed"
    assert told["ulimit"]["said"] == (
        "max locked memory (ulimit -l) is 64 KiB, 16,000 KiB wanted; open files (ulimit -n) is 1,024, 1,000,000 "
        "wanted; stack size (ulimit -s) is 4,096 KiB, 8,000 KiB wanted"
    )
    lower = {f"LAUNCHER_CHECK_{name}": "1" for name in ("MEMLOCK", "NOFILE", "STACK", "NPROC")}
    assert items(local_rig, env=lower, wrap=wrap)["ulimit"]["state"] == "ok"


def test_a_peer_of_volcano_that_does_not_resolve_is_named(local_rig: Rig) -> None:
    need_mounts()
    local_rig.code("print()")
    etc = local_rig.folder / "etc"
    script = (
        f"cp -a /etc {etc} && rm -f {etc}/resolv.conf && mkdir -p {etc}/volcano && "
        f"echo 'options timeout:1 attempts:1' > {etc}/resolv.conf && echo 'nameserver 127.0.0.1' >> {etc}/resolv.conf "
        f"&& echo 'hosts: files dns' > {etc}/nsswitch.conf && echo '127.0.0.1 j-worker-0.j' >> {etc}/hosts && "
        f"printf 'j-worker-0.j\\nj-worker-1.j\\n' > {etc}/volcano/worker.host && mount --bind {etc} /etc && "
        'exec "$@"'
    )
    told = items(local_rig, wrap=(*UNSHARE, "sh", "-c", script, "sh"))
    assert told["dns"]["state"] == "failed"
    assert told["dns"]["said"].startswith("1 of 2 names does not resolve: j-worker-1.j (")


def test_a_bucket_that_is_mounted_read_only_fails_the_writes(local_rig: Rig) -> None:
    need_mounts()
    local_rig.code("print()")
    store = local_rig.store.directory
    script = f'mount --bind {store} {store} && mount -o remount,ro,bind {store} && exec "$@"'
    told = items(local_rig, wrap=(*UNSHARE, "sh", "-c", script, "sh"))
    assert told["store-read data_url"]["state"] == "ok"
    assert told["store-write train_url"]["state"] == "failed"
    assert "Read-only file system" in told["store-write train_url"]["said"]


def test_items_are_documents_of_one_form(local_rig: Rig) -> None:
    local_rig.code("print()")
    done = precheck(local_rig, "--json")
    forms = msgspec.json.decode(done.stdout, type=list[dict[str, str]])
    assert {frozenset(each) for each in forms} == {frozenset({"name", "state", "said", "action", "cause"})}
