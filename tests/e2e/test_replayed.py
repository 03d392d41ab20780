"""A run made again from its record: the same bytes on another root, and what has changed since is named."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from ends import MARK, await_line, marked, until
from rig import LAUNCHER

if TYPE_CHECKING:
    from rig import Rig

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "digits"
SECRET = "sesame-open-now-1"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


class Digits:
    """The example on a store of its own, run once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bucket = folder / "store/digits-bucket"
        shutil.copytree(EXAMPLE / "store", folder / "store")
        (self.bucket / "code/pip-requirements.txt").unlink()  # numpy is here
        self.packages = folder / "site"
        argv = ("run", str(EXAMPLE / "job.json"), "--quiet")
        assert self.launcher(*argv, root="one").code == 0
        self.run_json = folder / "one/home/ma-user/modelarts/log/run.json"
        self.record: Any = json.loads(self.run_json.read_text())["reproduce"]

    def launcher(self, *arguments: str, root: str, env: dict[str, str] | None = None) -> Done:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("LAUNCHER_", "S3_"))}
        path = f"{os.path.dirname(sys.executable)}:{own.get('PATH', '')}"
        places = ("--store", str(self.folder / "store"), "--root", str(self.folder / root))
        argv = (*LAUNCHER, *arguments, *places)
        made = {**own, "PATH": path, "PYTHONPATH": f"{self.packages}:{own.get('PYTHONPATH', '')}".rstrip(":")}
        done = subprocess.run(
            argv, env={**made, **(env or {})}, capture_output=True, text=True, check=False, timeout=100
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def replay(self, *arguments: str, **more: Any) -> Done:
        return self.launcher(
            "replay", str(self.run_json), "--outputs", "obs://digits-bucket/again/", *arguments, root="two", **more
        )

    def check(self, **more: Any) -> tuple[int, dict[str, tuple[str, str]]]:
        done = self.replay("--check", "--json", **more)
        told = json.loads(done.out)
        return done.code, {each["what"]: (each["then"], each["now"]) for each in told["differences"]}


@pytest.fixture
def digits(tmp_path: Path) -> Digits:
    return Digits(tmp_path)


def test_a_replay_on_another_root_makes_the_same_bytes(digits: Digits) -> None:
    assert (digits.record["finished"], digits.record["notes"]) == (True, [])
    done = digits.replay()
    assert done.code == 0, done.err
    assert "everything that was recorded is the same now" in done.err
    first = {path.name: path.read_bytes() for path in (digits.bucket / "output").glob("*.npz")}
    again = {path.name: path.read_bytes() for path in (digits.bucket / "again/outputs/train_url").glob("*.npz")}
    assert "model.npz" in first
    assert again == first
    assert [path.name for path in (digits.bucket / "again/log").glob("*.run.json")]


def test_a_changed_input_is_named_and_a_copied_store_is_the_same(digits: Digits) -> None:
    moved = digits.folder / "moved"
    shutil.copytree(digits.folder / "store", moved)
    shutil.rmtree(digits.folder / "store")
    moved.rename(digits.folder / "store")  # the marks of every file are others now
    assert digits.check() == (0, {})
    data = digits.bucket / "data/test.csv"
    data.write_text(data.read_text().replace("1", "2", 1))
    code, told = digits.check()
    assert code == 1
    assert list(told) == ["input data_url", "input data_url: test.csv"]


def test_changed_code_is_named_and_strict_refuses(digits: Digits) -> None:
    with open(digits.bucket / "code/network.py", "a") as file:
        file.write("# changed\n")
    code, told = digits.check()
    assert (code, list(told)) == (1, ["code", "code file network.py"])
    done = digits.replay("--strict")
    assert (done.code, done.out) == (65, "")
    assert "code file network.py" in done.err
    assert "the run is not the same any more" in done.err
    assert not (digits.bucket / "again").exists()


def test_a_changed_package_is_named(digits: Digits) -> None:
    (digits.packages / "weights_of_mine-1.0.dist-info").mkdir(parents=True)
    code, told = digits.check()
    assert code == 1
    assert told == {"package weights-of-mine": ("-", "1.0")}


def test_a_value_of_the_command_line_is_named_and_taken(digits: Digits) -> None:
    code, told = digits.check()
    assert (code, told) == (0, {})
    done = digits.replay("--set", "epochs=2")
    assert done.code == 0, done.err
    assert "--epochs=30" in done.err.partition("\n")[2].partition("\n")[0]
    assert "epoch=2 " in done.out


def test_outputs_that_lie_in_their_place_already_are_named(digits: Digits) -> None:
    done = digits.launcher("replay", str(digits.run_json), "--check", root="two")
    assert done.code == 1
    assert "output train_url" in done.out


GOES_ON = """
import os, re, sys
folder = dict(each[2:].split("=", 1) for each in sys.argv[1:])["train_url"]
steps = [int(found[1]) for name in os.listdir(folder) if (found := re.fullmatch(r"ckpt-(\\d+)\\.pt", name))]
print("going on from step", max(steps, default=0))
open(f"{folder}/ckpt-{max(steps, default=0) + 10}.pt", "w").write("more")
"""


def test_what_the_run_left_in_its_root_is_named_and_strict_refuses(local_rig: Rig) -> None:
    local_rig.code(GOES_ON)
    assert local_rig.run().out == "going on from step 0\n"
    told = ("--strict", "--outputs", f"obs://{local_rig.bucket}/again/")
    done = local_rig.run(*told, command="replay", job=str(local_rig.log_dir / "run.json"))
    assert (done.code, done.out) == (65, "")
    assert re.search(r"folder of train_url +empty +1 files, among them ckpt-10\.pt\n", done.err)
    assert local_rig.stored("again/") == {}


@pytest.mark.parametrize("where", ["code", "data_url"])
def test_what_a_run_wrote_beside_its_code_and_inputs_is_named(local_rig: Rig, where: str) -> None:
    local_rig.store.seed(local_rig.bucket, {f"data/{number}": b"" for number in range(70)})
    folder = "os.path.dirname(__file__)" if where == "code" else "sys.argv[1].partition('=')[2]"
    local_rig.code(f"import os, sys\nimport mine\nopen({folder} + '/written', 'w')", {"mine.py": b""})
    assert local_rig.run().code == 0
    run_json, elsewhere = str(local_rig.log_dir / "run.json"), f"obs://{local_rig.bucket}/x/"
    done = local_rig.run("--check", "--json", "--outputs", elsewhere, command="replay", job=run_json)
    told = {each["what"]: (each["then"], each["now"]) for each in json.loads(done.out)["differences"]}
    expected = ("2 files", "3 files, among them written") if where == "code" else ("71 files", "72 files")
    assert told == {f"folder of {where}": expected}


def test_secrets_are_asked_for_again_and_never_recorded(local_rig: Rig) -> None:
    local_rig.code("import os, sys\nprint(sys.argv[-1].partition('=')[2] == os.environ['CHECK_TOKEN'])")
    local_rig.algorithm["parameters"] = [{"name": "lr", "value": "0.1"}, {"name": "token", "value": SECRET}]
    local_rig.algorithm["environments"] = {"CHECK_TOKEN": SECRET, "MODE": "fast"}
    result = local_rig.run()
    assert (result.code, result.out) == (0, "True\n"), result.err
    record = result.run_json["reproduce"]
    assert (record["hidden"], record["env"]) == ({"set": ["token"], "env": ["CHECK_TOKEN"]}, {"MODE": "fast"})
    assert SECRET not in json.dumps(result.run_json)
    run_json = str(local_rig.log_dir / "run.json")
    refused = local_rig.run(command="replay", job=run_json)
    assert refused.code == 2
    assert "--set token=@env:VARIABLE, --env CHECK_TOKEN=VALUE" in refused.err
    given = ("--set", "token=@env:MINE", "--env", f"CHECK_TOKEN={SECRET}", "--outputs", f"obs://{local_rig.bucket}/x/")
    again = local_rig.run(*given, command="replay", job=run_json, env={"MINE": SECRET})
    assert (again.code, again.out) == (0, "True\n"), again.err
    assert "everything that was recorded is the same now" in again.err
    assert SECRET not in again.err


def test_a_run_that_was_killed_has_what_was_known(local_rig: Rig) -> None:
    local_rig.code("import signal\nprint('ready', flush=True)\nsignal.pause()\n")
    mark = uuid4().hex
    with local_rig.running(env={MARK: mark}) as process:
        await_line(process, "ready")
        until(lambda: (local_rig.run_json()["reproduce"] or {}).get("code"))
        process.kill()
    for pid in marked(mark):  # nobody ends the boot process of a launcher that was killed
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not marked(mark))
    record = local_rig.run_json()["reproduce"]
    assert record["job"]["metadata"]["name"] == "rig"
    assert record["finished"] is False


def test_a_training_that_goes_on_has_its_packages_while_it_does(local_rig: Rig) -> None:
    local_rig.code("import signal\nprint('ready', flush=True)\nsignal.sigwait([signal.SIGUSR1])\n")
    with local_rig.running() as process:
        await_line(process, "ready")
        until(lambda: (local_rig.run_json()["reproduce"] or {}).get("packages"))
        meanwhile = local_rig.run_json()["reproduce"]
        process.send_signal(signal.SIGUSR1)
        local_rig.finish(process)
    assert meanwhile["packages"]["asked"] == "begin"
    assert meanwhile["packages"]["versions"]["pytest"] == pytest.__version__
    assert meanwhile["kernel"].startswith("Linux ")
    assert local_rig.run_json()["reproduce"]["finished"] is True


def test_nobody_is_blamed_where_nobody_was_asked(local_rig: Rig) -> None:
    """A run that is asked to end in its first seconds waits for no interpreter, and asks none."""
    local_rig.code("import signal\nprint('ready', flush=True)\nsignal.pause()\n")
    with local_rig.running() as process:
        await_line(process, "ready")
        until(lambda: (local_rig.run_json()["reproduce"] or {}).get("code"))
        process.terminate()
        local_rig.finish(process)
    record = local_rig.run_json()["reproduce"]
    assert (record["packages"], record["finished"]) == (None, False)
    assert record["notes"][-1] == "the interpreter was not asked what it could load: the run ended before"


def test_code_that_writes_over_itself_is_recorded_as_it_was_staged(local_rig: Rig) -> None:
    local_rig.code("open(__file__, 'a').write('# changed')", {"sub/more.py": b"1"})
    record = local_rig.run().run_json["reproduce"]
    staged = {path.removeprefix("code/"): content for path, content in local_rig.stored("code/").items()}
    assert record["code"]["hashes"] == {path: hashlib.sha256(content).hexdigest() for path, content in staged.items()}
    assert (record["code"]["changed"], record["finished"]) == ([], True)


def test_a_hostile_interpreter_is_waited_for_no_longer_than_a_moment(local_rig: Rig) -> None:
    """A site of the user's that never ends starting."""
    slow = local_rig.folder / "python"
    slow.write_text(f'#!/bin/sh\ncase "$*" in *-I*) sleep 60;; esac\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    local_rig.code("print('trained')")
    result = local_rig.run(env={"MA_SCRIPT_INTERPRETER": str(slow)}, timeout=50)
    assert (result.code, result.out) == (0, "trained\n"), result.err
    record = result.run_json["reproduce"]
    assert (record["packages"], record["finished"]) == (None, False)
    assert record["notes"] == ["the interpreter did not say in time what it could load"]


def test_a_run_json_without_a_record_is_refused(local_rig: Rig) -> None:
    local_rig.job["algorithm"]["code_dir"] = f"obs://{local_rig.bucket}/nothing/"
    local_rig.job["algorithm"]["boot_file"] = f"obs://{local_rig.bucket}/nothing/train.py"
    assert local_rig.run().code == 66
    refused = local_rig.run(command="replay", job=str(local_rig.log_dir / "run.json"))
    assert refused.code == 65
    assert "it holds no record" in refused.err
    assert local_rig.run(command="replay", job=str(local_rig.folder / "none.json")).code == 66
