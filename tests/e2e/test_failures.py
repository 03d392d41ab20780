from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rig import Rig


def test_a_missing_boot_file_is_told_with_what_is_there(rig: Rig) -> None:
    rig.store.seed(rig.bucket, {"code/trian.py": b"", "code/model.py": b""})
    result = rig.run()
    assert (result.code, result.run_json["phase"]) == (66, "Failed")
    message = result.run_json["cause"]["message"]
    assert "train.py" in message
    assert "trian.py" in message
    assert "model.py" in message


def test_a_missing_code_directory_is_told(rig: Rig) -> None:
    result = rig.run()
    assert result.code == 66
    assert f"obs://{rig.bucket}/code/" in result.run_json["cause"]["message"]


def test_a_missing_input_is_told_by_its_channel(rig: Rig) -> None:
    rig.code("")
    rig.algorithm["inputs"][0]["remote"]["obs"]["obs_url"] = f"obs://{rig.bucket}/dta/"
    result = rig.run()
    assert result.code == 66
    message = result.run_json["cause"]["message"]
    assert message.startswith(f"inputs[0].remote.obs.obs_url (data_url): no object under obs://{rig.bucket}/dta/"), (
        message
    )
    assert "ModelArts.2791" in message


def test_a_missing_bucket_is_told(rig: Rig) -> None:
    rig.code("")
    rig.algorithm["inputs"][0]["remote"]["obs"]["obs_url"] = "obs://no-such-bucket/data/"
    result = rig.run()
    assert result.code == 66
    assert "bucket" in result.run_json["cause"]["message"]


def test_a_wrong_secret_is_refused(rig: Rig) -> None:
    rig.store.capability.need("signatures")
    rig.code("")
    result = rig.run(env={"AWS_SECRET_ACCESS_KEY": "wrongwrong"})
    assert result.code == 77
    assert "wrongwrong" not in result.err + str(result.run_json)
    assert result.run_json["cause"]["action"]


def test_an_endpoint_where_nobody_listens_is_unreachable(local_rig: Rig) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        result = local_rig.run(
            "--store", endpoint, env={"AWS_ACCESS_KEY_ID": "a" * 16, "AWS_SECRET_ACCESS_KEY": "b" * 16}
        )
    assert result.code == 69
    assert endpoint in result.run_json["cause"]["message"] + result.run_json["cause"]["action"]


def test_no_store_is_told_with_both_ways_to_name_one(local_rig: Rig) -> None:
    result = local_rig.run(store=False)
    assert result.code == 2
    assert "--store DIR" in result.err
    assert "S3_ENDPOINT" in result.err


def test_a_store_directory_that_is_not_there_is_told(local_rig: Rig) -> None:
    result = local_rig.run("--store", str(local_rig.folder / "stroe"))
    assert (result.code, result.errors[0].startswith("error: --store")) == (66, True)


def test_outputs_that_cannot_be_put_are_73_and_named(local_rig: Rig) -> None:
    local_rig.code(
        local_rig.shuts_output + "import sys; open(sys.argv[2].partition('=')[2] + '/model', 'w').write('x')"
    )
    result = local_rig.run()
    assert (result.code, result.cause) == (73, "output-not-saved")
    (synced,) = [entry for entry in result.run_json["synced"] if entry["channel"] == "train_url"]
    assert [each["key"].endswith("model") for each in synced["failed"]] == [True]
    assert synced["manifest"] is None


def test_a_failed_upload_never_hides_that_training_failed(local_rig: Rig) -> None:
    local_rig.code(
        local_rig.shuts_output
        + "import sys; open(sys.argv[2].partition('=')[2] + '/model', 'w').write('x'); sys.exit(5)"
    )
    assert local_rig.run().code == 5


def test_a_log_that_cannot_be_put_is_73(local_rig: Rig) -> None:
    local_rig.store.seed(local_rig.bucket, {"log": b"a file where the folder should be"})
    local_rig.code("")
    assert local_rig.run().code == 73


def test_an_interpreter_that_is_not_there_is_127(local_rig: Rig) -> None:
    local_rig.code("")
    result = local_rig.run(env={"MA_SCRIPT_INTERPRETER": "python2.2"})
    assert result.code == 127
    assert "python" in result.run_json["cause"]["message"]


def test_an_interpreter_that_cannot_run_is_126(local_rig: Rig) -> None:
    local_rig.code("")
    broken = local_rig.folder / "python"
    broken.write_text("no program\n")
    broken.chmod(0o755)
    local_rig.algorithm["environments"] = {"MA_SCRIPT_INTERPRETER": str(broken)}
    assert local_rig.run().code == 126


def test_a_working_directory_that_is_not_there_is_told(local_rig: Rig) -> None:
    local_rig.code("")
    local_rig.algorithm["working_dir"] = "/nowhere"
    result = local_rig.run()
    assert result.code in {126, 127}
    assert "/nowhere" in result.run_json["cause"]["message"]


def test_a_value_that_no_program_could_take_is_refused_by_name(local_rig: Rig) -> None:
    local_rig.algorithm["parameters"] = [{"name": "prompt", "value": "x" * 140_000}]
    result = local_rig.run()
    assert result.code == 65
    assert "--prompt has 140009 bytes" in result.errors[0]


def test_a_node_that_nobody_has_told_which_it_is_is_refused_with_the_ways_to_say_it(local_rig: Rig) -> None:
    local_rig.job["spec"]["resource"] = {"node_count": 2}
    result = local_rig.run()
    assert (result.code, "Give --nodes N --node-index I --master HOST[:PORT]" in result.err) == (65, True)


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"LAUNCHER_CODE_MAX_FILES": "2"}, "ModelArts.2759"),
        ({"LAUNCHER_CODE_MAX_DEPTH": "2"}, "ModelArts.2760"),
        ({"LAUNCHER_CODE_MAX_BYTES": "3"}, "ModelArts.2761"),
    ],
)
def test_a_code_directory_over_a_limit_moves_no_byte(rig: Rig, limits: Mapping[str, str], code: str) -> None:
    rig.code("1234", {"a/b/c.py": b""})
    result = rig.run(env=limits)
    assert (result.code, code in result.run_json["cause"]["message"]) == (65, True), result.err
    assert not list((rig.root / "home/ma-user/modelarts/user-job-dir").glob("code/*"))


def test_a_wrong_setting_is_told(local_rig: Rig) -> None:
    result = local_rig.run(env={"LAUNCHER_TRANSFERS": "many"})
    assert result.code == 65
    assert result.errors == [
        "error: LAUNCHER_TRANSFERS: expected a whole number above 0, found 'many'. Correct or unset LAUNCHER_TRANSFERS."
    ]


def test_a_refused_job_leaves_run_json_and_the_termination_message(local_rig: Rig) -> None:
    del local_rig.job["metadata"]["name"]
    message = local_rig.folder / "termination"
    report = local_rig.folder / "report.json"
    result = local_rig.run("--report", str(report), env={"LAUNCHER_TERMINATION_LOG": str(message)})
    assert (result.code, result.run_json["exit_code"], result.cause) == (65, 65, "spec-invalid")
    assert "metadata.name" in message.read_text()
    assert "metadata.name" in report.read_text()


def test_the_termination_message_says_how_it_ended(local_rig: Rig) -> None:
    local_rig.code("import sys; sys.exit('x' * 9000)")
    message = local_rig.folder / "termination"
    assert local_rig.run(env={"LAUNCHER_TERMINATION_LOG": str(message)}).code == 1
    text = message.read_bytes()
    assert len(text) <= 4096
    assert text.startswith(b'{"phase": "Failed", "exit_code": 1, "cause": {"code": "boot-failed"')


def test_strict_arguments_that_do_not_fit_are_warned_about(rig: Rig) -> None:
    rig.code("import argparse\np = argparse.ArgumentParser()\np.add_argument('--data_url')\np.parse_args()")
    result = rig.run()
    assert result.code == 2
    assert [each for each in rig.events() if "declares no --train_url" in each]


def test_a_log_folder_that_cannot_be_made_is_told(local_rig: Rig) -> None:
    local_rig.root.write_text("a file where the root should be")
    result = local_rig.run()
    assert (result.code, "a folder of the job's own was wanted" in result.err) == (71, True), result.err


def test_a_boot_file_that_never_started_leaves_the_manifest_of_an_earlier_run(local_rig: Rig) -> None:
    local_rig.code("import sys; open(sys.argv[2].partition('=')[2] + '/model', 'w').write('x')")
    assert local_rig.run().code == 0
    place = "out/.launcher/manifest-worker-0.json"
    before = local_rig.store.read(local_rig.bucket, place)
    result = local_rig.run(env={"MA_SCRIPT_INTERPRETER": "python9.9"})
    assert (result.code, local_rig.store.read(local_rig.bucket, place)) == (127, before)
    assert b'"exit_code": 127' in local_rig.stored("log/")["modelarts-job-job-1-worker-0.run.json"]
