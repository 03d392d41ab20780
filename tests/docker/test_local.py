"""`launcher local`: the job of a command line in a real container, and nothing left of it but its outputs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ends import await_line, until
from engines import LABEL, Local, Relay
from incontainer import IMAGE, docker, in_docker
from rig import COPY_TREE, ECHO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Rig

pytestmark = [pytest.mark.docker, in_docker]

MIB = 1 << 20
OUTPUT = "import os, signal, sys, time\nout = next(a for a in sys.argv if a.startswith('--train_url=')).split('=')[1]\n"
SAVES_AT_A_SIGNAL = (
    OUTPUT
    + "def save(number, _):\n    open(out + '/last.ckpt', 'w').write(str(number))\n    sys.exit(0)\n"
    + "for each in (1, 2, 3, 15):\n    signal.signal(each, save)\n"
    + "print('ready', flush=True)\nwhile True: signal.pause()\n"
)
WHO = OUTPUT + "open(out + '/who', 'w').write(f'{os.getuid()}:{os.getgid()}')\nopen(os.environ['HOME'] + '/x', 'w')\n"
EAT = "held = []\nwhile True:\n    held.append(b'x' * (4 << 20))\n"
NOISE = """
import hashlib, random, sys
chosen = random.Random(7)
for stream in (sys.stdout, sys.stderr):
    for _ in range(80):
        stream.buffer.write(chosen.randbytes(65_536).replace(b"[", b"("))
stream.buffer.flush()
"""
SECRET = "s3cr3t-of-the-command-line"
NAMED, HOLDS = "modelarts-launcher.name", "modelarts-launcher.holds"


@pytest.fixture
def local(local_rig: Rig) -> Iterator[Local]:
    made = Local(local_rig)
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def relay() -> Iterator[Relay]:
    made = Relay()
    try:
        yield made
    finally:
        made.close()


def open_to_all(rig: Rig) -> None:
    """Let any user work in the rig's folders, as a shared disk would."""
    for path in (rig.folder, *rig.folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)


def await_ready(process: subprocess.Popen[str]) -> None:
    await_line(process, "ready")


@pytest.mark.parametrize(("ending", "code"), [("", 0), ("sys.exit(3)", 3), ("os.kill(os.getpid(), 6)", 134)])
def test_the_exit_code_is_the_run_s_and_nothing_is_left(local: Local, ending: str, code: int) -> None:
    local.rig.code(f"import os, sys\nprint('trained', flush=True)\n{ending}\n")
    result = local.run()
    assert (result.code, result.out) == (code, "trained\n"), result.err
    assert result.run_json["exit_code"] == code
    assert local.left == []


def test_inputs_come_and_outputs_go_as_in_the_service(local: Local) -> None:
    local.rig.code(COPY_TREE)
    result = local.run()
    assert result.code == 0, result.err
    assert local.rig.stored() == {"a.csv": b"1,2\n"}


def test_the_run_inside_is_given_what_the_command_line_says(local: Local) -> None:
    local.rig.code(ECHO)
    local.rig.algorithm["parameters"] = [{"name": "lr", "value": "0.1"}]
    result = local.run("--set", "lr=0.7", "--env", "COLOUR=red", "--grace", "7", "-q")
    assert result.code == 0, result.err
    assert "--lr=0.7" in result.echo["argv"]
    assert result.echo["env"]["COLOUR"] == "red"
    assert (result.echo["cwd"], result.err) == ("/home/ma-user/modelarts/user-job-dir/code", "")


def test_the_job_may_come_by_standard_input_and_name_its_algorithm(local: Local) -> None:
    local.rig.code(ECHO)
    algorithm = {
        "metadata": {"id": "seven"},
        "job_config": {
            "code_dir": local.rig.algorithm["code_dir"],
            "boot_file": local.rig.algorithm["boot_file"],
            "parameters": [{"name": "depth", "value": "12"}],
        },
    }
    folder = local.rig.folder / "algorithms"
    folder.mkdir()
    (folder / "seven.json").write_text(json.dumps(algorithm))
    job = "kind: job\nmetadata: {name: by-hand}\nalgorithm: {id: seven}\n"
    argv = [each if not each.endswith("/job.json") else "-" for each in local.argv("--algorithm", str(folder))]
    done = subprocess.run(argv, env=local.env(), input=job, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--depth=12" in json.loads(done.stdout)["argv"]


def test_everything_wrong_with_a_job_is_told_before_there_is_a_container(local: Local) -> None:
    local.rig.code(ECHO)
    local.rig.algorithm["boot_file"] = "train.txt"
    local.rig.algorithm["parameters"] = [{"name": "no name"}]
    result = local.run(env={"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    assert result.code == 65
    assert [each.split(":")[1].strip() for each in result.errors] == [
        "algorithm.boot_file",
        "algorithm.parameters[0].name",
    ]


def test_secrets_are_variables_and_never_on_a_command_line(local: Local) -> None:
    local.rig.code(SAVES_AT_A_SIGNAL)
    local.rig.algorithm["parameters"] = [{"name": "api_key", "value": "x"}, {"name": "db_password", "value": "x"}]
    wanted = ("--set", "api_key=@env:MY_KEY", "--set", f"db_password={SECRET}2", "--env", f"HUB_TOKEN={SECRET}3")
    with local.running(*wanted, env={"MY_KEY": f"{SECRET}1"}) as process:
        await_ready(process)
        found = json.loads(docker("inspect", local.name))[0]
        titles = docker("top", local.name, "-eo", "pid,args")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    argv = json.dumps([found["Args"], found["Path"], found["Config"]["Entrypoint"], found["Config"]["Labels"]])
    assert SECRET not in argv + said
    launchers = [line for line in titles.splitlines() if "/.launcher/job.json" in line]
    assert launchers
    assert SECRET not in "".join(launchers)
    boot = next(line for line in titles.splitlines() if "train.py" in line)
    assert f"--api_key={SECRET}1" in boot
    assert f"--db_password={SECRET}2" in boot


def test_every_byte_comes_on_its_own_stream_to_a_slow_reader_too(local: Local) -> None:
    local.rig.code(NOISE)
    script = (
        "import hashlib, sys, threading\n"
        "found, pause = hashlib.sha256(), threading.Event()\n"
        "size = 0\n"
        "while chunk := sys.stdin.buffer.read1(65_536):\n"
        "    found.update(chunk); size += len(chunk); size < 1_000_000 and pause.wait(0.02)\n"
        "print(size, found.hexdigest())\n"
    )
    with (
        open(local.rig.folder / "err", "wb") as err,
        subprocess.Popen(local.argv("-q"), env=local.env(), stdout=subprocess.PIPE, stderr=err) as process,
        subprocess.Popen((sys.executable, "-c", script), stdin=process.stdout, stdout=subprocess.PIPE) as reader,
    ):
        assert process.stdout is not None
        process.stdout.close()
        said, _ = reader.communicate(timeout=100)
        assert process.wait(60) == 0, (local.rig.folder / "err").read_bytes()[-500:]
    stdout, stderr = _noise()
    assert said.decode().split() == [str(len(stdout)), hashlib.sha256(stdout).hexdigest()]
    assert (local.rig.folder / "err").read_bytes() == stderr


def _noise() -> tuple[bytes, bytes]:
    chosen = random.Random(7)
    first, second = (b"".join(chosen.randbytes(65_536).replace(b"[", b"(") for _ in range(80)) for _stream in range(2))
    return first, second


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 0)],
    ids=lambda each: str(int(each)),
)
def test_a_signal_reaches_the_boot_file_and_its_checkpoint_is_kept(local: Local, number: int, code: int) -> None:
    local.rig.code(SAVES_AT_A_SIGNAL)
    with local.running() as process:
        await_ready(process)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert local.rig.stored() == {"last.ckpt": str(int(number)).encode()}
    assert local.left == []


def test_who_asks_twice_is_heard_twice(local: Local) -> None:
    local.rig.code(
        "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('ready', flush=True)\nwhile True: signal.pause()\n"
    )
    with local.running("--grace", "600") as process:
        await_ready(process)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        for line in process.stderr:
            if "SIGTERM during run" in line:
                break
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 137, err
    assert "from outside" not in err


def test_a_reader_that_reads_nothing_keeps_nobody_who_asks_three_times(local: Local) -> None:
    local.rig.code("print('x' * 10_000_000, flush=True)\n")
    with local.running("-q", "--grace", "1") as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == "x"
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)  # the run inside has ended meanwhile, and its last words wait for the reader
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert local.left == []


def test_a_signal_that_comes_before_the_run_listens_is_not_lost(local: Local) -> None:
    local.rig.code(SAVES_AT_A_SIGNAL)
    with local.running("-q") as process:
        until(lambda: local.state == "running")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert local.left == []


@pytest.mark.parametrize("ends", [("kill",), ("rm", "--force")], ids=lambda each: str(each[0]))
def test_a_container_that_somebody_else_ends_is_told_and_what_was_made_is_still_to_be_had(
    local: Local, ends: tuple[str, ...]
) -> None:
    local.rig.code(SAVES_AT_A_SIGNAL.replace("print(", "open(out + '/kept', 'w').write('x')\nprint("))
    root = local.rig.folder / "root"
    with local.running("--root", str(root)) as process:
        await_ready(process)
        docker(*ends, local.name)
        _, err = process.communicate(timeout=60)
    last = err.splitlines()[-1]
    assert process.returncode == 137, err
    assert last.startswith(f"error: the container {local.name} was killed or removed from outside"), err
    assert f"the rest lies below {root}, and `launcher sync`" in last
    folder = "/home/ma-user/modelarts"
    docker(  # as docs/docker.md has it
        *("run", "--rm", "--network", "none", "--user", f"{os.getuid()}:{os.getgid()}"),
        *("--volume", f"{root}{folder}:{folder}", "--volume", f"{local.store}:/store", "--entrypoint", "launcher"),
        *(IMAGE, "sync", f"{folder}/log/run.json", "--store", "/store"),
    )
    assert local.rig.stored() == {"kept": b"x"}


def test_a_killed_container_without_folders_of_its_own_is_told_to_be_run_again(local: Local) -> None:
    local.rig.code(SAVES_AT_A_SIGNAL)
    with local.running() as process:
        await_ready(process)
        docker("kill", local.name)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 137, err
    assert "in the store" in err.splitlines()[-1]
    assert "launcher sync" not in err
    assert local.left == []


def test_a_launcher_that_is_killed_leaves_no_container_for_ever(local: Local) -> None:
    local.rig.code(OUTPUT + "print('ready', flush=True)\nos.read(os.open(out + '/../gate', os.O_RDONLY), 1)\n")
    gate = local.rig.folder / "root/home/ma-user/modelarts/outputs/gate"
    gate.parent.mkdir(parents=True)
    os.mkfifo(gate)
    with local.running("--root", str(local.rig.folder / "root")) as process:
        await_ready(process)
        process.kill()
        process.wait(20)
    assert local.state == "running"  # it goes on, as with docker run, and its outputs are put in place
    gate.write_bytes(b"!")
    until(lambda: local.state is None)
    assert local.run_json["phase"] == "Completed"


@pytest.mark.parametrize("boot", ["", "of-another-kernel"])
def test_what_a_killed_launcher_has_left_is_cleared_up_by_the_next(local: Local, boot: str) -> None:
    local.rig.code("")
    gone = local.temporary / f"launcher-local-{os.getuid()}-0123"
    gone.mkdir()
    owner = {"boot": _boot(), "namespace": os.stat("/proc/self/ns/pid").st_ino, "pid": 1, "started": 1}
    (gone / ".launcher-owner").write_text(f"{json.dumps(owner)}\nlauncher-gone\n{_engine()}\n")
    owner["boot"] = boot or owner["boot"]
    never = f"{local.name}-never"
    own = ("--label", f"{LABEL}={json.dumps(owner)}", "--label", f"{NAMED}={never}")
    docker("create", "--name", never, *own, IMAGE, "/job.json")
    try:
        assert local.run().code == 0
        assert docker("ps", "--all", "--quiet", "--filter", f"name=^{never}$") == ""
        assert local.left == []
    finally:
        subprocess.run(("docker", "rm", "--force", never), capture_output=True, check=False)


def test_what_is_another_engine_s_or_somebody_else_s_is_left_alone(local: Local) -> None:
    """A container of an image that was made of one of ours (`docker commit`) has all the labels of that one."""
    local.rig.code("")
    theirs = local.temporary / f"launcher-local-{os.getuid()}-0123"
    theirs.mkdir()
    owner = {"boot": _boot(), "namespace": os.stat("/proc/self/ns/pid").st_ino, "pid": 1, "started": 1}
    (theirs / ".launcher-owner").write_text(f"{json.dumps(owner)}\nlauncher-gone\nANOTHER:ENGINE\n")
    mine = f"{local.name}-mine"
    own = ("--label", f"{LABEL}={json.dumps(owner)}", "--label", f"{NAMED}=launcher-gone", "--label", f"{HOLDS}=yes")
    docker("create", "--name", mine, "--network", "none", *own, "--entrypoint", "sleep", IMAGE, "600")
    try:
        assert local.run().code == 0
        docker("start", mine)
        assert local.run().code == 0
        assert docker("ps", "--filter", f"name=^{mine}$", "--format", "{{.State}}") == "running\n"
        assert local.left == [theirs.name]
    finally:
        subprocess.run(("docker", "rm", "--force", mine), capture_output=True, check=False)


def _engine() -> str:
    return docker("info", "--format", "{{.ID}}").strip()


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def test_root_is_where_everything_lies_afterwards(local: Local) -> None:
    local.rig.code(COPY_TREE)
    assert local.run("--root", str(local.rig.root), "--report", str(local.rig.folder / "report.json")).code == 0
    assert (local.rig.root / "home/ma-user/modelarts/outputs/train_url_0/a.csv").read_bytes() == b"1,2\n"
    assert local.rig.run_json()["phase"] == "Completed"
    assert json.loads((local.rig.folder / "report.json").read_text()) == local.rig.run_json()
    assert local.left == []


def test_a_report_needs_no_root(local: Local) -> None:
    local.rig.code("")
    target = local.rig.folder / "report.json"
    assert local.run("--report", str(target)).code == 0
    assert json.loads(target.read_text()) == local.run_json


def test_a_report_that_cannot_be_written_is_told(local: Local) -> None:
    local.rig.code("")
    done = local.run("-q", "--report", str(local.rig.folder / "nowhere" / "report.json"))
    assert (done.code, len(done.err.splitlines())) == (0, 1)
    assert "--report" in done.err


def test_a_report_hands_out_no_file_of_the_host(local: Local) -> None:
    secret = local.rig.folder / "secret"
    secret.write_text(SECRET)
    local.rig.code(
        "import os\nlog = '/home/ma-user/modelarts/log'\nos.remove(log + '/run.json')\n"
        f"os.symlink({str(secret)!r}, log + '/run.json')\nos.chmod(log, 0o555)\n"
    )
    open_to_all(local.rig)
    target = local.rig.folder / "report.json"
    local.run("--user", "1000:100", "--report", str(target))
    assert not target.exists()
    assert local.left == []


def test_a_link_that_a_container_has_left_gives_nothing_of_the_host_away(local: Local) -> None:
    victim = local.rig.folder / "victim"
    victim.mkdir()
    before = victim.stat().st_uid
    local.rig.code(f"import os\nos.rmdir('/cache/home')\nos.symlink({str(victim)!r}, '/cache/home')\n")
    open_to_all(local.rig)
    victim.chmod(0o700)
    assert local.run("--user", "1000:100", "--root", str(local.rig.root)).code == 0
    second = local.run("--user", "1000:100", "--root", str(local.rig.root))
    assert (second.code, len(second.err.splitlines())) == (73, 1), second.err
    assert "a link" in second.err
    assert (victim.stat().st_uid, victim.stat().st_mode & 0o777) == (before, 0o700)


def test_folders_that_cannot_be_made_leave_none_behind(local: Local) -> None:
    local.rig.code("")
    local.prefix = ("prlimit", "--fsize=0")  # as on a full disk: what can be made is a folder alone
    result = local.run()
    assert (result.code, len(result.err.splitlines())) == (73, 1), result.err
    assert local.left == []


def test_folders_that_a_program_has_closed_are_removed_all_the_same(local: Local, relay: Relay) -> None:
    local.rig.code(
        "import os\nos.makedirs('/cache/a/b')\nopen('/cache/a/b/c', 'w')\n"
        "os.chmod('/cache/a/b', 0o555)\nos.chmod('/cache/a', 0)\n"
    )
    open_to_all(local.rig)
    local.prefix = ("setpriv", "--reuid", "1007", "--regid", "1007", "--clear-groups")
    with _reachable(local.rig.folder):
        result = local.run("-q", env={"DOCKER_HOST": relay.url, "HOME": "/"})
    assert (result.code, result.err) == (0, "")
    assert local.left == []


def test_folders_that_the_job_names_are_there_too(local: Local) -> None:
    local.rig.code(ECHO)
    local.rig.algorithm["inputs"][0]["local_dir"] = "/data/in"
    local.rig.algorithm["local_code_dir"] = "/home/own-code"
    open_to_all(local.rig)
    result = local.run("--user", "1234:1234")
    assert result.code == 0, result.err
    assert "--data_url=/data/in" in result.echo["argv"]
    assert result.echo["cwd"] == "/home/own-code/code"


@pytest.mark.parametrize(
    ("user", "wanted"), [(None, "0:0"), ("root", "0:0"), ("1000:100", "1000:100"), ("4321", "4321:4321")]
)
def test_root_may_run_it_as_anybody(local: Local, user: str | None, wanted: str) -> None:
    local.rig.code(WHO)
    open_to_all(local.rig)
    result = local.run(*(("--user", user) if user else ()))
    assert result.code == 0, result.err
    assert local.rig.stored() == {"who": wanted.encode()}
    assert local.left == []


def test_the_image_s_own_user_is_kept_where_it_is_asked_for(local: Local) -> None:
    local.rig.code(WHO)
    open_to_all(local.rig)
    result = local.run("--user", "image")
    assert result.code == 0, result.err
    assert local.rig.stored()["who"].startswith(b"1000:")
    assert local.left == []


def test_a_caller_who_is_not_root_owns_what_comes_out(local: Local, relay: Relay) -> None:
    local.rig.code(WHO)
    open_to_all(local.rig)
    local.prefix = ("setpriv", "--reuid", "1007", "--regid", "1007", "--clear-groups")
    local.rig.folder.parent.chmod(0o755)
    with _reachable(local.rig.folder):
        result = local.run(env={"DOCKER_HOST": relay.url, "HOME": "/"})
    assert result.code == 0, result.err
    assert local.rig.stored() == {"who": b"1007:1007"}
    assert (local.rig.output_in_store / "who").stat().st_uid == 1007
    assert local.left == []


def test_a_caller_who_is_not_root_may_have_another_run_it(local: Local, relay: Relay) -> None:
    local.rig.code(WHO)
    open_to_all(local.rig)
    local.prefix = ("setpriv", "--reuid", "1007", "--regid", "1007", "--clear-groups")
    with _reachable(local.rig.folder):
        result = local.run("--user", "4321", env={"DOCKER_HOST": relay.url, "HOME": "/"})
    assert result.code == 0, result.err
    assert local.rig.stored() == {"who": b"4321:4321"}
    assert local.left == []


@contextlib.contextmanager
def _reachable(folder: Path) -> Iterator[None]:
    """Let others through the folders above, which pytest keeps for its own user."""
    above = [each for each in folder.parents if each.stat().st_mode & 0o001 == 0]
    modes = [each.stat().st_mode & 0o7777 for each in above]
    for each in above:
        each.chmod(0o711)
    try:
        yield
    finally:
        for each, mode in zip(above, modes, strict=True):
            each.chmod(mode)


def test_no_privilege_is_to_be_had_inside(local: Local) -> None:
    local.rig.code(
        "import re\nprint(*re.findall(r'(?:CapEff|CapBnd|NoNewPrivs):\\s*(\\w+)', open('/proc/self/status').read()))\n"
    )
    open_to_all(local.rig)
    result = local.run("--user", "1000:100")
    assert result.out.split() == ["0000000000000000", "0000000000000000", "1"], result.err


def test_limits_are_the_command_line_s_or_the_flavor_s(local: Local) -> None:
    info = {"cpu": {"core_num": 1}, "memory": {"size": 300, "unit": "MiB"}}
    local.rig.job["spec"]["resource"] = {"flavor_detail": {"flavor_type": "CPU", "flavor_info": info}}
    local.rig.code("import os\nfound = os.statvfs('/dev/shm')\nprint(found.f_blocks * found.f_frsize)\n")
    by_flavor, by_hand = local.run(), local.run("--memory", "256m", "--cpus", "0.5")
    assert (by_flavor.code, by_flavor.out) == (0, f"{150 * MIB}\n"), by_flavor.err
    assert by_hand.out == f"{128 * MIB}\n"
    assert by_hand.run_json["limits"]["memory_bytes"] == 256 * MIB
    assert by_hand.run_json["devices"]["cpus"] == 0.5


def test_more_memory_than_there_is_allowed_is_called_by_its_name(local: Local) -> None:
    local.rig.code(EAT)
    result = local.run("--memory", "160m")
    assert result.code == 137
    assert result.run_json["cause"]["code"] == "oom-killed"
    assert len(result.errors) == 1


def test_an_engine_that_nobody_runs_is_one_sentence(local: Local) -> None:
    local.rig.code("")
    result = local.run(env={"DOCKER_HOST": f"unix://{local.rig.folder}/docker.sock"})
    assert (result.code, len(result.err.splitlines())) == (71, 1)
    assert "no Docker engine answers" in result.err


def test_no_permission_is_one_sentence(local: Local) -> None:
    local.rig.code("")
    open_to_all(local.rig)
    local.prefix = ("setpriv", "--reuid", "1007", "--regid", "1007", "--clear-groups")
    with _reachable(local.rig.folder):
        result = local.run(env={"HOME": "/"})
    assert (result.code, len(result.err.splitlines())) == (77, 1), result.err
    assert "permission" in result.err


@pytest.mark.parametrize("pull", ["never", "missing"])
def test_no_image_is_one_sentence(local: Local, pull: str) -> None:
    local.rig.code("")
    result = local.run("--pull", pull, "-q", image="registry.invalid/nothing:1")
    assert (result.code, len(result.err.splitlines())) == (66, 1), result.err


def test_an_image_without_a_launcher_says_how_to_add_it(local: Local) -> None:
    local.rig.code("")
    empty = subprocess.run(("tar", "--create", "--files-from", "/dev/null"), capture_output=True, check=True).stdout
    image = f"{local.name}:empty"
    subprocess.run(("docker", "import", "-", image), input=empty, capture_output=True, check=True, timeout=60)
    try:
        result = local.run(image=image)
    finally:
        docker("image", "rm", image)
    assert (result.code, len(result.err.splitlines())) == (66, 1), result.err
    assert "images/overlay.Dockerfile" in result.err
    assert local.left == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--network", "no-such-network"), 71, "no such network"),
        (("--gpus", "1"), 71, "GPUs"),
        (("--npus", "0,1"), 71, "--npus 0,1"),
        (("--user", "somebody"), 2, "UID"),
        (("--memory", "lots"), 2, "--memory lots"),
        (("--cpus", "nan"), 2, "--cpus"),
        (("--name", "a b"), 2, "--name"),
        (("--name", ""), 2, "--name"),
        (("--network", ""), 2, "--network"),
        (("--image", ""), 2, "--image"),
        (("--env", f"HUB_TOKEN={SECRET}"), 2, "the job sets it too"),
        (("--store", "/no/such/store"), 66, "no such directory"),
        (("--store", "http://localhost:9000"), 2, "--network host"),
    ],
)
def test_what_cannot_be_is_one_sentence(local: Local, arguments: tuple[str, ...], code: int, said: str) -> None:
    local.rig.code("")
    local.rig.algorithm["environments"] = {"HUB_TOKEN": "of the job's own"}
    result = local.run(*arguments)
    assert (result.code, len(result.err.splitlines())) == (code, 1), result.err
    assert said in result.err
    assert local.left == []


def test_a_name_that_is_taken_is_one_sentence_and_the_other_container_stays(local: Local) -> None:
    local.rig.code("")
    docker("create", "--name", local.name, IMAGE, "/job.json")
    result = local.run()
    assert (result.code, len(result.err.splitlines())) == (71, 1), result.err
    assert local.state == "created"


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:2375", "ssh://me@there"])
def test_an_engine_on_another_machine_is_refused(local: Local, url: str) -> None:
    local.rig.code("")
    result = local.run(env={"DOCKER_HOST": url})
    assert (result.code, len(result.err.splitlines())) == (71, 1), result.err


def test_the_launcher_of_an_image_starts_no_containers(local: Local, relay: Relay) -> None:
    local.rig.code("")
    local.argv()  # writes the job
    mounts = ("--volume", f"{relay.path}:/var/run/docker.sock", "--volume", f"{local.rig.folder}:/rig:ro")
    own = ("run", "--rm", "--network", "none", "--user", "0:0", *mounts, "--entrypoint", "launcher", IMAGE)
    argv = ("docker", *own, "local", "/rig/job.json", "--image", IMAGE, "--store", "/rig/store")
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, len(done.stderr.splitlines())) == (71, 1), done.stderr
    assert "by pip" in done.stderr


def test_an_engine_that_goes_away_in_the_middle_is_told_and_the_job_goes_on(local: Local, relay: Relay) -> None:
    local.rig.code(SAVES_AT_A_SIGNAL)
    with local.running("-q", env={"DOCKER_HOST": relay.url}) as process:
        await_ready(process)
        relay.close()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 71, err
    assert "the Docker engine went away" in err
    assert local.name in err
    docker("kill", "--signal", "TERM", local.name)
    until(lambda: local.state is None)
    assert local.rig.stored() == {"last.ckpt": b"15"}
    local.rig.code("")
    assert local.run().code == 0
    assert local.left == []  # its folder is cleared by the next one


RELAYS = "import signal\nfrom engines import Relay\nprint(Relay().url, flush=True)\nsignal.pause()\n"


def test_an_engine_that_falls_silent_keeps_nobody_who_asks_three_times(local: Local) -> None:
    local.rig.code(SAVES_AT_A_SIGNAL)
    own = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(local.rig.folder)}
    with subprocess.Popen((sys.executable, "-c", RELAYS), env=own, stdout=subprocess.PIPE, text=True) as silent:
        try:
            assert silent.stdout is not None
            with local.running("-q", env={"DOCKER_HOST": silent.stdout.readline().strip()}) as process:
                await_ready(process)
                silent.send_signal(signal.SIGSTOP)
                for _ in range(3):
                    process.send_signal(signal.SIGINT)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(0.5)
                _, err = process.communicate(timeout=60)
        finally:
            silent.kill()
    assert process.returncode == 71, err
    assert "asked three times" in err
    assert local.state == "running"


def test_a_job_of_several_nodes_is_sent_to_the_rehearsal(local: Local) -> None:
    local.rig.code("")
    local.rig.job["spec"]["resource"] = {"node_count": 2}
    result = local.run()
    assert (result.code, len(result.err.splitlines())) == (65, 1), result.err
    assert "--rehearse" in result.err


def test_a_flavor_with_devices_that_are_not_here_is_told_and_refused_inside(local: Local) -> None:
    local.rig.code("")
    local.rig.job["spec"]["resource"] = {
        "flavor_detail": {"flavor_type": "Ascend", "flavor_info": {"npu": {"unit_num": 8}}}
    }
    refused, forced = local.run(), local.run("--no-precheck")
    assert (refused.code, forced.code) == (71, 0), refused.err + forced.err
    assert "Ascend (8)" in refused.err


def test_a_store_that_may_not_be_written_is_refused_by_the_run(local: Local) -> None:
    local.rig.code("")
    for path in (Path(local.store), *Path(local.store).rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    result = local.run("--user", "1000:100")
    assert result.code == 77, result.err
    assert local.left == []


def test_a_store_on_a_server_is_reached_with_the_keys_of_the_caller(moto_rig: Rig) -> None:
    moto_rig.code(COPY_TREE)
    local = Local(moto_rig)
    try:
        result = local.run(store=False, network="host")
    finally:
        local.remove()
    assert result.code == 0, result.err
    assert moto_rig.stored() == {"a.csv": b"1,2\n"}
