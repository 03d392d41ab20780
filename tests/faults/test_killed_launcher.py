"""A launcher that is killed leaves processes and files behind; the next one of the same root clears them and says so.

The moments of the kills are random; the seed is in the name of a test and in what it prints. A seed means the same
moment each time. `LAUNCHER_TEST_SEEDS` asks for more of them, `LAUNCHER_TEST_FIRST_SEED` for others.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig import Rig
from servers import LOCALFS, AnyStore

from launcher.adapters.roll.proc import namespace, start_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SEEDS = int(os.environ.get("LAUNCHER_TEST_SEEDS", "4"))
FIRST = int(os.environ.get("LAUNCHER_TEST_FIRST_SEED", "0"))
ROLL = ".launcher-processes.json"

# Every process writes its number and then a line to its parent, so that the boot file says `up` when all are there.
TREE = """
import os, shutil, signal, subprocess, sys
source, target, pids = (each.partition('=')[2] for each in sys.argv[1:4])
if os.path.exists(os.path.join(pids, 'calm')):
    for name in os.listdir(source):
        shutil.copy(os.path.join(source, name), os.path.join(target, name))
    sys.exit(0)
STAY = '''
import os, signal, sys
open(os.path.join(sys.argv[1], str(os.getpid())), 'w').close()
if sys.argv[2] == 'deaf':
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('there', flush=True)
while True:
    signal.pause()
'''
def stay(how, **more):
    child = subprocess.Popen([sys.executable, '-c', STAY, pids, how], stdout=subprocess.PIPE, **more)
    child.stdout.readline()
stay('mild')
stay('deaf', start_new_session=True)
stay('mild', env={name: value for name, value in os.environ.items() if name.startswith(('PATH', 'MA_'))})
stay('mild', env={}, start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        stay('mild')
        print('up', flush=True)
        signal.pause()
    os._exit(0)
open(os.path.join(pids, str(os.getpid())), 'w').close()
signal.pause()
"""
CALM = "calm"
INTERPRETER = """#!/bin/sh
pids=%s
if [ "$1" = -c ] && [ ! -e "$pids/calm" ]; then
    echo $$ installs
    touch "$pids/$$"
    trap '' TERM
    while :; do tail -f /dev/null & wait $!; done
elif [ "$1" != -c ]; then
    exec %s "$@"
fi
"""


@pytest.fixture
def pids(local_rig: Rig) -> Iterator[Path]:
    """Where the processes of a boot file put their numbers; who is left after the test is ended."""
    folder = local_rig.folder / "pids"
    folder.mkdir()
    local_rig.job["algorithm"]["parameters"] = [{"name": "pids", "value": str(folder)}]
    local_rig.code(TREE)
    yield folder
    for pid in left(folder):
        os.kill(pid, signal.SIGKILL)


def left(folder: Path) -> list[int]:
    """Who of them still lives."""
    return [int(each.name) for each in folder.iterdir() if each.name != CALM and start_of(int(each.name)) is not None]


def seeded(rig: Rig, seed: object, count: int = 20) -> random.Random:
    print(f"seed {seed}")
    chance = random.Random(str(seed))
    rig.store.seed(rig.bucket, {f"data/{index}": chance.randbytes(20_000) for index in range(count)})
    return chance


def kill(rig: Rig, sign: str, chance: random.Random, more: Sequence[str] = ()) -> None:
    """Kill a launcher at a moment after it, or its child, has written a line with this sign."""
    with rig.running(*more) as process:
        stream = process.stdout if sign in {"up", "installs"} else process.stderr
        assert stream is not None
        while sign not in (line := stream.readline()):
            assert line, "the launcher ended before"
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.random() * 0.03)
        process.kill()


def assert_cleared(rig: Rig, pids: Path, *, told: int, begun: bool = True) -> None:
    """The next run is good; nobody and nothing of the killed one is there; it said `told` processes or more.

    `begun`: whether the killed one had come so far that it could leave something.
    """
    (pids / CALM).touch()
    result = rig.run()
    assert result.code == 0, result.err
    assert left(pids) == []
    assert rig.stored() == rig.stored("data/")
    assert not list(rig.folder.rglob("*.launcher-part-*"))
    assert not (rig.log_dir / ROLL).exists()
    manifest = json.loads(rig.store.read(rig.bucket, "out/.launcher/manifest-worker-0.json"))
    assert {entry["key"] for entry in manifest["objects"]} == set(rig.stored())
    said = [each for each in rig.events() if "an earlier run left process" in each]
    assert len(said) >= told, result.err
    assert all(each.endswith("it was stopped") and each in result.err for each in said)
    assert len([each for each in rig.events() if re.search("an earlier run here, begun at 2", each)]) == begun


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_whoever_a_killed_launcher_left_running_is_stopped(local_rig: Rig, pids: Path, seed: int) -> None:
    kill(local_rig, "up", seeded(local_rig, seed))
    there = left(pids)
    recorded = [pid for pid, _ in json.loads((local_rig.log_dir / ROLL).read_text())["processes"]]
    assert (len(there), len(recorded), set(recorded) <= set(there)) == (6, 1, True)
    assert_cleared(local_rig, pids, told=6)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 3 * SEEDS))
def test_a_launcher_that_is_killed_at_any_moment(local_rig: Rig, pids: Path, seed: int) -> None:
    chance = seeded(local_rig, seed, count=100)
    with local_rig.running() as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.random())
        process.kill()
    assert_cleared(local_rig, pids, told=0, begun=(local_rig.log_dir / ROLL).exists())


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_a_launcher_that_is_killed_while_it_stages(local_rig: Rig, pids: Path, seed: int) -> None:
    chance = seeded(local_rig, seed)
    code = {f"code/lib/{index}.py": chance.randbytes(50_000) for index in range(300)}
    local_rig.store.seed(local_rig.bucket, code)
    kill(local_rig, "download", chance)
    assert_cleared(local_rig, pids, told=0)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_a_launcher_that_is_killed_while_packages_are_installed(local_rig: Rig, pids: Path, seed: int) -> None:
    chance = seeded(local_rig, seed)
    interpreter = local_rig.folder / "python"
    interpreter.write_text(INTERPRETER % (pids, sys.executable))
    interpreter.chmod(0o755)
    local_rig.algorithm["environments"] = {"MA_SCRIPT_INTERPRETER": str(interpreter)}
    local_rig.store.seed(local_rig.bucket, {"code/requirements.txt": b"something\n"})
    kill(local_rig, "installs", chance)
    assert_cleared(local_rig, pids, told=1)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_a_launcher_that_is_killed_while_it_puts_outputs_in_place(local_rig: Rig, pids: Path, seed: int) -> None:
    chance = seeded(local_rig, seed, count=300)
    (pids / CALM).touch()
    kill(local_rig, chance.choice(["Training finished", "Uploading", "synced train_url"]), chance)
    result = local_rig.run()
    assert result.code == 0, result.err
    assert local_rig.stored() == local_rig.stored("data/")
    assert not list(local_rig.folder.rglob("*.launcher-part-*"))


def test_a_signal_while_the_next_launcher_clears_is_143_and_the_one_after_it_finishes(
    local_rig: Rig, pids: Path
) -> None:
    kill(local_rig, "up", seeded(local_rig, 0))
    mild = len(left(pids))
    with local_rig.running() as process:
        while len(left(pids)) == mild:  # the request went out; one of them is deaf to it
            assert process.poll() is None
        process.terminate()
        result = local_rig.finish(process)
    # run.json may still be the killed one's: it says where the outputs are that it did not put in their place.
    assert (result.code, "SIGTERM came before the boot process started" in result.err) == (143, True), result.err
    assert left(pids)
    assert_cleared(local_rig, pids, told=1)


def test_a_run_that_ended_in_order_leaves_nothing_to_clear(local_rig: Rig, pids: Path) -> None:
    seeded(local_rig, 0)
    (pids / CALM).touch()
    for _ in range(2):
        result = local_rig.run()
        assert result.code == 0, result.err
        assert "earlier run" not in result.err
        assert not (local_rig.log_dir / ROLL).exists()


def test_unfinished_files_in_the_log_folder_are_removed_and_counted(local_rig: Rig, pids: Path) -> None:
    kill(local_rig, "up", seeded(local_rig, 0))
    for name in (".launcher-part-run.json-4711", ".launcher-part-roll"):
        (local_rig.log_dir / name).write_text("half")
    assert_cleared(local_rig, pids, told=1)
    assert "unfinished files of an earlier run were removed from the log folder: 2" in local_rig.events()


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "sparse", "words"])
def test_an_odd_roll_is_not_believed_and_stops_nothing(local_rig: Rig, pids: Path, kind: str) -> None:
    seeded(local_rig, 0)
    (pids / CALM).touch()
    local_rig.log_dir.mkdir(parents=True)
    path, victim = local_rig.log_dir / ROLL, local_rig.folder / "victim"
    victim.write_text("mine")
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        path.touch()
        os.truncate(path, 1 << 30)
    else:
        path.write_text("words")
    result = local_rig.run()
    assert result.code == 0, result.err
    assert [each for each in local_rig.events() if "was not believed" in each]
    assert result.err.count("was not believed") == 1
    assert result.err.count("cannot be written") == (kind == "folder")
    assert victim.read_text() == "mine"


def test_an_innocent_process_on_the_roll_is_left_alone(local_rig: Rig, pids: Path) -> None:
    seeded(local_rig, 0)
    (pids / CALM).touch()
    local_rig.log_dir.mkdir(parents=True)
    here = namespace()
    assert here is not None
    with subprocess.Popen((sys.executable, "-c", "import signal; signal.pause()")) as innocent:
        roll = {"boot_id": here[0], "pid_namespace": here[1], "mark": "0" * 32, "started": "2026-01-01T00:00:00Z"}
        roll["processes"] = [[innocent.pid, start_of(innocent.pid)], [1, 1], [os.getpid(), start_of(os.getpid())]]
        (local_rig.log_dir / ROLL).write_text(json.dumps(roll))
        result = local_rig.run()
        assert (result.code, innocent.poll()) == (0, None), result.err
        innocent.kill()
    assert f"process {innocent.pid} (" in result.err
    assert "was left alone" in result.err
    assert "it was stopped" not in result.err


def test_a_second_launcher_clears_nothing_of_the_one_that_runs(local_rig: Rig, pids: Path) -> None:
    seeded(local_rig, 0)
    with local_rig.running("--grace", "2") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "up\n"
        before = left(pids)
        assert local_rig.run().code == 71
        assert sorted(left(pids)) == sorted(before)
        assert (local_rig.log_dir / ROLL).exists()
        first.terminate()
        local_rig.finish(first)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become somebody else")
def test_the_same_for_a_user_who_is_not_root() -> None:
    # The interpreter may lie where only root looks; files of others may not be written or signalled all the same.
    read = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *read)
    with tempfile.TemporaryDirectory() as name:  # where anybody may look: the folder of a test is root's
        folder = Path(name)
        (folder / "pids").mkdir()
        (folder / "store").mkdir()
        rig = Rig(AnyStore("localfs", LOCALFS, ("--store", f"{name}/store"), directory=folder / "store"), folder)
        rig.job["algorithm"]["parameters"] = [{"name": "pids", "value": f"{name}/pids"}]
        rig.code(TREE)
        argv, env = (*nobody, *rig.argv()), rig.env({"HOME": name})
        given = subprocess.run(("chown", "-R", "65534:65534", name), check=False, stderr=subprocess.DEVNULL)
        probe = subprocess.run((*nobody, sys.executable, "-c", "import launcher"), check=False, env=env)
        if given.returncode or probe.returncode:
            pytest.skip("root may not give files away, or nothing of its own, here")
        with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            process.kill()
        assert len(left(folder / "pids")) == 6
        (folder / "pids" / CALM).touch()
        done = subprocess.run(argv, env=env, capture_output=True, check=False, timeout=60, text=True)
        assert (done.returncode, left(folder / "pids")) == (0, []), done.stderr
        assert done.stderr.count("it was stopped") >= 6


NEST = """
import os, signal, subprocess, sys
if os.path.exists(sys.argv[1].partition('=')[2]):
    sys.exit(0)
subprocess.run([sys.executable, '-m', 'launcher', 'run', *NAMES])
signal.pause()
"""
INNER = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print('inner', os.getpid(), os.getppid(), flush=True)
signal.sigwait([signal.SIGTERM])
open(os.path.join(sys.argv[2].partition('=')[2], 'last'), 'w').write('words')
"""


@pytest.mark.parametrize("both", [False, True], ids=["outer", "outer-and-inner"])
def test_a_launcher_below_a_killed_one_ends_in_order_or_is_cleared_too(
    local_rig: Rig, tmp_path: Path, *, both: bool
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "store").mkdir()
    store = tmp_path / "below" / "store"
    inner = Rig(AnyStore("localfs", LOCALFS, ("--store", str(store)), directory=store), tmp_path / "below")
    inner.code(INNER)
    flag = tmp_path / "flag"
    local_rig.job["algorithm"]["parameters"] = [{"name": "flag", "value": str(flag)}]
    # the options come as inputs, outputs, parameters: the flag is the only one that is asked for here
    local_rig.with_job(inputs=[], outputs=[])
    local_rig.code(NEST.replace("NAMES", repr(inner.argv()[4:])))
    with local_rig.running() as process:
        assert process.stdout is not None
        pid, above = map(int, process.stdout.readline().split()[1:])
        process.kill()
    if both:
        os.kill(above, signal.SIGKILL)
    flag.touch()
    result = local_rig.run()
    assert result.code == 0, result.err
    assert (start_of(pid), start_of(above)) == (None, None)
    if not both:
        assert inner.run_json()["phase"] == "Terminated"
        assert inner.stored() == {"last": b"words"}
    assert result.err.count("it was stopped") >= 2
