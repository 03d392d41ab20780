from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from rig import ECHO

if TYPE_CHECKING:
    from rig import Rig

WRITE = """
import os, sys, argparse
parser = argparse.ArgumentParser()
parser.add_argument("--data_url"); parser.add_argument("--train_url"); parser.add_argument("--lr", type=float)
options = parser.parse_args()
text = open(os.path.join(options.data_url, "a.csv")).read()
os.makedirs(os.path.join(options.train_url, "deep/er"))
open(os.path.join(options.train_url, "deep/er/model.bin"), "w").write(text * 3)
open(os.path.join(options.train_url, "empty"), "w").close()
print("lr", options.lr)
"""


def test_code_and_input_come_and_outputs_and_logs_go(rig: Rig) -> None:
    rig.code(WRITE, {"pkg/__init__.py": b"", "run.sh": b"#!/bin/sh\n"})
    rig.algorithm["parameters"] = [{"name": "lr", "value": "0.1", "constraint": {"type": "Float"}}]
    result = rig.run()
    assert (result.code, result.out) == (0, "lr 0.1\n"), result.err
    assert rig.stored() == {"deep/er/model.bin": b"1,2\n" * 3, "empty": b""}
    assert sorted(rig.stored("log/")) == [
        "modelarts-job-job-1-worker-0.events.jsonl",
        "modelarts-job-job-1-worker-0.log",
        "modelarts-job-job-1-worker-0.run.json",
    ]
    assert b"lr 0.1\n" in rig.stored("log/")["modelarts-job-job-1-worker-0.log"]
    assert (rig.root / "home/ma-user/modelarts/user-job-dir/code/run.sh").stat().st_mode & 0o111


def test_run_json_tells_what_happened_here_and_at_the_target(rig: Rig) -> None:
    rig.code(WRITE)
    result = rig.run()
    assert (result.code, result.run_json["phase"], result.run_json["exit_code"]) == (0, "Completed", 0), result.err
    staged = {
        entry["channel"]: (entry["kind"], entry["objects"], entry["bytes"]) for entry in result.run_json["staged"]
    }
    assert staged["data_url"] == ("input", 1, 4)
    assert [entry["phase"] for entry in result.run_json["timeline"]] == ["stage", "run", "sync"]
    (process,) = result.run_json["processes"]
    assert (process["rank"], process["exit_code"], process["signal"]) == (0, 0, None)
    assert process["peak_rss_bytes"] > 1024 * 1024
    sent = json.loads(rig.stored("log/")["modelarts-job-job-1-worker-0.run.json"])
    assert (sent["phase"], sent["synced"][0]["objects"]) == ("Completed", 2)
    assert not [entry for entry in sent["timeline"] if entry["ended"] is None]


def test_the_manifest_lists_what_was_put(rig: Rig) -> None:
    rig.code(WRITE)
    assert rig.run().code == 0
    manifest = json.loads(rig.store.read(rig.bucket, "out/.launcher/manifest-worker-0.json"))
    assert {entry["key"]: entry["size"] for entry in manifest["objects"]} == {"deep/er/model.bin": 12, "empty": 0}


def test_events_speak_the_words_of_the_service(local_rig: Rig) -> None:
    local_rig.code(WRITE)
    assert local_rig.run().code == 0
    said = local_rig.events()
    for message in (
        "[worker-0] The training code is being downloaded.",
        "Training job is running.",
        "[worker-0] training started.",
        "[worker-0] Training finished. Exit code 0.",
        "[worker-0] Training output(parameter name: train_url) Uploading.",
        "Training job completed.",
    ):
        assert message in said
    assert any(each.endswith("Upload training output(parameter name: train_url) finished.") for each in said)


def test_arguments_stand_in_the_order_inputs_outputs_hyperparameters(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    local_rig.algorithm["parameters"] = [
        {"name": "zeta", "value": "a b; echo X"},
        {"name": "alpha", "value": "-1"},
        {"name": "x", "value": ""},
        {"name": "flag", "value": "true", "constraint": {"type": "Boolean"}},
        {"name": "gone", "value": None},
        {"name": "unset"},
    ]
    mount = local_rig.root / "home/ma-user/modelarts"
    assert local_rig.run().echo["argv"] == [
        f"--data_url={mount}/inputs/data_url_0",
        f"--train_url={mount}/outputs/train_url_0",
        "--zeta=a b; echo X",
        "--alpha=-1",
        "--x=",
        "--flag=True",
    ]


def test_the_environment_is_what_a_container_promises(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    local_rig.algorithm["environments"] = {"MY_OWN": "x", "PYTHONUNBUFFERED": "0"}
    env = local_rig.run(env={"LAUNCHER_GRACE": "3", "KEPT": "yes"}).echo["env"]
    home = local_rig.root / "home/ma-user"
    assert env["MA_HOME"] == str(home)
    assert env["MA_JOB_DIR"] == f"{home}/modelarts/user-job-dir"
    assert env["PYTHONPATH"].split(":")[:2] == [env["MA_JOB_DIR"], f"{env['MA_JOB_DIR']}/code"]
    assert (env["VC_TASK_INDEX"], env["MA_NUM_HOSTS"], env["MA_VJ_NAME"]) == ("0", "1", "ma-job-job-1")
    assert env["MA_CURRENT_INSTANCE_NAME"] == "modelarts-job-job-1-worker-0"
    assert (env["MY_OWN"], env["PYTHONUNBUFFERED"], env["KEPT"]) == ("x", "0", "yes")
    assert not [name for name in env if name.startswith("LAUNCHER_")]
    assert json.loads(env["MA_INPUTS"])["inputs"][0]["local_dir"] == f"{home}/modelarts/inputs/data_url_0"


def test_a_channel_can_be_a_variable_instead_of_an_argument(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    local_rig.algorithm["inputs"][0] |= {"name": "data_path", "access_method": "env"}
    echo = local_rig.run().echo
    assert echo["env"]["data_path"].endswith("/inputs/data_path_0")
    assert not [token for token in echo["argv"] if "data_path" in token]


def test_a_command_runs_in_a_shell_with_its_channels_as_variables(local_rig: Rig) -> None:
    local_rig.with_job(boot_file=None, command='cat "$data_url/a.csv" && exit 7', engine={"image_url": "a/b:1"})
    local_rig.code("")
    result = local_rig.run()
    assert (result.code, result.out, result.run_json["phase"]) == (7, "1,2\n", "Failed")


def test_the_working_directory_is_the_code_or_what_the_job_says(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    assert local_rig.run().echo["cwd"] == str(local_rig.root / "home/ma-user/modelarts/user-job-dir/code")
    local_rig.algorithm["working_dir"] = "/home/ma-user"
    assert local_rig.run().echo["cwd"] == str(local_rig.root / "home/ma-user")


def test_a_local_code_directory_stands_for_the_job_directory(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    local_rig.algorithm["local_code_dir"] = "/home/ma-user/mine"
    assert local_rig.run().echo["cwd"] == str(local_rig.root / "home/ma-user/mine/code")


def test_code_that_is_on_the_node_already_is_used_where_it_lies(local_rig: Rig) -> None:
    here = local_rig.folder / "here"
    here.mkdir()
    (here / "train.py").write_text(ECHO)
    local_rig.with_job(code_dir=f"file://{here}", boot_file=f"file://{here}/train.py")
    assert local_rig.run().echo["cwd"] == str(here)


def test_an_input_can_be_one_object(rig: Rig) -> None:
    rig.code("import os, sys; print(sorted(os.listdir(sys.argv[1].partition('=')[2])))")
    rig.algorithm["inputs"][0]["remote"]["obs"]["obs_url"] = f"obs://{rig.bucket}/data/a.csv"
    assert rig.run().out == "['a.csv']\n"


def test_a_job_needs_neither_inputs_nor_outputs(rig: Rig) -> None:
    rig.code(ECHO)
    rig.with_job(inputs=[], outputs=[])
    assert rig.run().echo["argv"] == []


@pytest.mark.parametrize("code", [0, 1, 3, 66, 143, 255])
def test_the_exit_code_of_the_boot_file_is_the_launchers(local_rig: Rig, code: int) -> None:
    local_rig.code(f"raise SystemExit({code})")
    result = local_rig.run()
    assert (result.code, result.run_json["exit_code"]) == (code, code)
    assert result.run_json["phase"] == ("Completed" if code == 0 else "Failed")


@pytest.mark.parametrize(("number", "code"), [(9, 137), (15, 143), (6, 134), (11, 139)])
def test_a_boot_file_that_a_signal_ended_is_128_and_the_signal(local_rig: Rig, number: int, code: int) -> None:
    local_rig.code(f"import os; os.kill(os.getpid(), {number})")
    result = local_rig.run()
    assert (result.code, result.run_json["processes"][0]["signal"]) == (code, number)
    assert result.run_json["phase"] == "Failed"


def test_outputs_go_also_when_training_failed(rig: Rig) -> None:
    rig.code("import sys\nopen(sys.argv[2].partition('=')[2] + '/half.ckpt', 'w').write('x')\nsys.exit('no more data')")
    result = rig.run()
    assert (result.code, rig.stored()) == (1, {"half.ckpt": b"x"})
    assert "no more data" in result.run_json["cause"]["evidence"]


def test_predownloaded_outputs_are_there_and_are_not_sent_back(rig: Rig) -> None:
    rig.store.seed(rig.bucket, {"out/ckpt-1": b"one", "out/.launcher/old": b"x"})
    rig.code(
        "import os, sys\nfolder = sys.argv[2].partition('=')[2]\nprint(sorted(os.listdir(folder)))\n"
        "open(folder + '/ckpt-2', 'w').write('two')"
    )
    rig.algorithm["outputs"][0]["prefetch_to_local"] = True
    result = rig.run()
    assert (result.code, result.out) == (0, "['ckpt-1']\n"), result.err
    assert rig.stored() == {"ckpt-1": b"one", "ckpt-2": b"two"}
    assert result.run_json["synced"][0]["objects"] == 1


def test_an_occupied_output_folder_is_warned_about(local_rig: Rig) -> None:
    local_rig.store.seed(local_rig.bucket, {"out/old": b"x"})
    local_rig.code("")
    assert f"obs://{local_rig.bucket}/out/" in " ".join(each for each in local_rig.events_of_a_run() if "out" in each)


def test_outputs_go_while_the_boot_file_runs(rig: Rig) -> None:
    rig.code(
        "import sys\nopen(sys.argv[2].partition('=')[2] + '/early', 'w').write('e')\nprint('written', flush=True)\n"
        "import signal; signal.pause()"
    )
    rig.algorithm["outputs"][0]["period"] = 1
    with rig.running("--grace", "5") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        while "early" not in rig.stored():
            assert process.poll() is None
        process.terminate()
        assert rig.finish(process).code == 143
