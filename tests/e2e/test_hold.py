"""`launcher run --hold`: everything is there but the boot process, and whoever enters takes its place."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest
from ends import until
from ports import free_port
from rig import ECHO, LAUNCHER, Result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rig import Rig

WRITES = "import sys\nout = sys.argv[2].split('=', 1)[1]\nopen(out + '/model', 'w').write('trained by hand')\n"
SECRET = "s3cr3t-of-the-job"


def mount(rig: Rig) -> Path:
    return rig.root / "home/ma-user/modelarts"


def await_hold(process: subprocess.Popen[str]) -> list[str]:
    """Read what the launcher says until it holds; all of its lines."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "held before the boot file" in line:
            return lines
    raise AssertionError("".join(lines))


def enter(
    rig: Rig, *argv: str, text: str = "", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What a shell beside the launcher does: run the script, with a program or with what a shell is to read."""
    script = str(mount(rig) / "enter")
    own = {"PATH": os.environ["PATH"], "SHELL": "/bin/sh", **(env or {})}
    return subprocess.run(
        ("sh", script, *argv), input=text, env=own, capture_output=True, text=True, check=False, timeout=60
    )


def told_to_end(rig: Rig, process: subprocess.Popen[str], number: int = signal.SIGTERM) -> Result:
    process.send_signal(number)
    return rig.finish(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_was_done_meanwhile_is_saved_and_to_be_told_to_end_is_a_success(local_rig: Rig, number: int) -> None:
    local_rig.code("raise SystemExit('nobody starts this')\n")
    with local_rig.running("--hold") as process:
        await_hold(process)
        (mount(local_rig) / "outputs/train_url_0/model").write_text("by hand")
        result = told_to_end(local_rig, process, number)
    assert (result.code, result.out) == (0, ""), result.err
    assert local_rig.stored() == {"model": b"by hand"}
    assert (result.run_json["phase"], result.run_json["processes"]) == ("Completed", [])
    assert [each["phase"] for each in result.run_json["timeline"]] == ["stage", "hold", "sync"]


def test_who_enters_is_what_the_boot_process_would_be(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    local_rig.algorithm["environments"] = {
        "QUOTED": 'it\'s "so" `id` \\ *',
        "LINES": "one\ntwo",
        "UID": "1",
        "OPTIND": "no number",
        "RANDOM": "x[`touch in-the-script`]",
        "BASH_COMMAND": "mine",
    }
    program = ("python3", "-c", "import json, os; print(json.dumps([os.getcwd(), dict(os.environ)]))")
    with local_rig.running("--hold", env={"LAUNCHER_LOG_RATE": "7"}) as process:
        await_hold(process)
        found = enter(local_rig, *program, env={"LAUNCHER_LOG_RATE": "7"})
        told_to_end(local_rig, process)
    assert found.returncode == 0, found.stderr
    run = local_rig.run()
    cwd, entered = json.loads(found.stdout)
    assert cwd == run.echo["cwd"]
    wanted = local_rig.plan()["processes"][0]["env"]
    assert {name: entered.get(name) for name in wanted} == {name: run.echo["env"][name] for name in wanted}
    assert "LAUNCHER_LOG_RATE" not in entered
    assert list(local_rig.root.rglob("in-the-script")) == []


def test_a_path_that_leads_nowhere_still_gives_a_shell(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    local_rig.algorithm["environments"] = {"PATH": "/nowhere"}
    with local_rig.running("--hold") as process:
        await_hold(process)
        found = enter(local_rig, text='echo "$PATH"\nexit 6\n', env={"SHELL": ""})
        told_to_end(local_rig, process)
    assert (found.returncode, found.stdout) == (6, "/nowhere\n"), found.stderr


def test_the_shell_that_reads_standard_input_starts_the_boot_file_as_a_run_would(local_rig: Rig) -> None:
    local_rig.code(WRITES)
    boot = mount(local_rig) / "boot"
    with local_rig.running("--hold") as process:
        await_hold(process)
        done = enter(local_rig, text=f"sh {shlex.quote(str(boot))} && exit 5\n")
        result = told_to_end(local_rig, process)
    assert done.returncode == 5, done.stderr
    assert f"sh {boot}" in done.stderr
    assert "train.py --data_url=" in done.stderr
    assert result.code == 0, result.err
    assert local_rig.stored() == {"model": b"trained by hand"}


def test_the_scripts_are_this_user_s_alone_and_gone_in_the_end(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    paths = [mount(local_rig) / name for name in ("enter", "boot")]
    with local_rig.running("--hold") as process:
        await_hold(process)
        modes = [stat.S_IMODE(path.stat().st_mode) for path in paths]
        told_to_end(local_rig, process)
    assert modes == [0o700, 0o700]
    assert [path.exists() for path in paths] == [False, False]


def test_a_secret_is_in_the_script_alone(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    local_rig.algorithm["parameters"] = [{"name": "api_key", "value": SECRET}]
    with local_rig.running("--hold") as process:
        said = "".join(await_hold(process))
        hint = enter(local_rig, text="")
        run = enter(local_rig, "sh", str(mount(local_rig) / "boot"))
        result = told_to_end(local_rig, process)
    assert "--api_key=******" in hint.stderr
    assert SECRET not in hint.stderr + said + result.err + json.dumps(result.run_json)
    assert f"--api_key={SECRET}" in json.loads(run.stdout)["argv"]


def test_it_waits_in_silence_for_nobody_even_when_it_is_quiet(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    with local_rig.running("--hold", "-q") as process:
        lines = await_hold(process)
        told_to_end(local_rig, process)
    assert len(lines) == 1
    assert str(mount(local_rig) / "enter") in lines[0]


def test_a_job_that_cannot_be_staged_is_not_held(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    local_rig.algorithm["inputs"][0]["remote"]["obs"]["obs_url"] = f"/{local_rig.bucket}/nothing/"
    result = local_rig.run("--hold")
    assert result.code == 66
    assert not (mount(local_rig) / "enter").exists()


def test_outputs_that_could_not_be_saved_are_told_and_can_be_put_in_place_later(local_rig: Rig) -> None:
    local_rig.code(local_rig.shuts_output)
    with local_rig.running("--hold") as process:
        await_hold(process)
        (mount(local_rig) / "outputs/train_url_0/model").write_text("by hand")
        assert enter(local_rig, "sh", str(mount(local_rig) / "boot")).returncode == 0
        result = told_to_end(local_rig, process)
    assert (result.code, result.run_json["phase"]) == (73, "Failed"), result.err
    local_rig.output_in_store.unlink()
    argv = (*LAUNCHER, "sync", str(local_rig.log_dir / "run.json"), *local_rig.store.launcher_args)
    done = subprocess.run(argv, env=local_rig.env(), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert local_rig.stored() == {"model": b"by hand"}


def test_a_search_is_held_as_one_run(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    local_rig.algorithm["parameters"] = [{"name": "lr", "value": "0.1"}]
    local_rig.algorithm["policies"] = {
        "auto_search": {
            "reward_attrs": [{"name": "loss", "mode": "min", "regex": "loss=([0-9.]+)"}],
            "search_params": [{"name": "lr", "param_type": "continuous", "lower_bound": "0.1", "upper_bound": "1"}],
            "algo_configs": [{"name": "tpe_search", "params": [{"key": "num_samples", "value": "2"}]}],
        }
    }
    with local_rig.running("--hold") as process:
        said = "".join(await_hold(process))
        run = enter(local_rig, "sh", str(mount(local_rig) / "boot"))
        result = told_to_end(local_rig, process)
    assert "the job is to be searched" in said
    assert "--lr=0.1" in json.loads(run.stdout)["argv"]
    assert result.code == 0, result.err


def test_auto_stop_ends_what_nobody_ends(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    result = local_rig.run("--hold", env={"LAUNCHER_AUTO_STOP": "0.5"})
    assert result.code == 0, result.err
    assert "auto_stop" in result.err


def test_outputs_go_on_being_uploaded_meanwhile(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    local_rig.algorithm["outputs"][0]["period"] = 1
    with local_rig.running("--hold") as process:
        await_hold(process)
        (mount(local_rig) / "outputs/train_url_0/model").write_text("by hand")
        until(lambda: local_rig.stored() == {"model": b"by hand"})
        assert process.poll() is None
        assert told_to_end(local_rig, process).code == 0


@pytest.mark.parametrize("first", [0, 1])
def test_nodes_that_hold_meet_and_each_ends_when_it_is_told_to(local_rig: Rig, first: int) -> None:
    local_rig.code(ECHO)
    said = ("--hold", "--nodes", "2", "--master", "127.0.0.1", "--no-platform-args", "--node-index")
    env = local_rig.env({"LAUNCHER_RENDEZVOUS_PORT": str(free_port())})
    with contextlib.ExitStack() as stack:
        nodes = []
        for index in range(2):
            root = local_rig.folder / f"node-{index}"
            argv = [
                str(root) if each == str(local_rig.root) else each for each in local_rig.argv("run", *said, str(index))
            ]
            node = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            stack.enter_context(node)
            stack.callback(node.kill)
            nodes.append(node)
        for node in nodes:
            await_hold(node)
        for index in (first, 1 - first):
            script = local_rig.folder / f"node-{index}/home/ma-user/modelarts/enter"
            program = ("sh", str(script), "sh", "-c", "echo $VC_TASK_INDEX")
            found = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
            assert found.stdout == f"{index}\n", found.stderr
            nodes[index].send_signal(signal.SIGTERM)
            _, err = nodes[index].communicate(timeout=60)
            assert nodes[index].returncode == 0, err
