"""What a job, a terminal or a second launcher does to a run: the truth is told all the same, and nothing hangs."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rig import Result, Rig

LOG_DIR = "import os\nfolder = os.environ['MA_LOG_DIR']\n"


def run_with(rig: Rig, **how: Any) -> int:
    """The exit code of a launcher whose streams are odd."""
    done = subprocess.run(rig.argv(), env=rig.env(), check=False, timeout=60, **how)
    return done.returncode


def sent(rig: Rig, name: str) -> Any:
    """A document at the target of the log."""
    return json.loads(rig.stored("log/")[f"modelarts-job-job-1-worker-0.{name}"])


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_is_full_changes_no_exit_code(local_rig: Rig, stream: str) -> None:
    local_rig.code("import sys; print('x' * 100_000); print('y' * 100_000, file=sys.stderr); sys.exit(3)")
    with open("/dev/full", "wb") as full:
        other = {"stdout": "stderr", "stderr": "stdout"}[stream]
        assert run_with(local_rig, **{stream: full, other: subprocess.DEVNULL}) == 3
    assert local_rig.run_json()["exit_code"] == 3


def test_a_reader_that_went_away_changes_no_exit_code(local_rig: Rig) -> None:
    local_rig.code("import sys; print('x' * 100_000); print('y' * 100_000, file=sys.stderr); sys.exit(3)")
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        assert run_with(local_rig, stdout=closed, stderr=closed) == 3


def test_a_reader_that_reads_nothing_does_not_hold_the_launcher(local_rig: Rig) -> None:
    local_rig.code("import sys; sys.stderr.write('y' * 60_000); sys.exit(3)")
    read, write = os.pipe()
    with os.fdopen(read, "rb"), os.fdopen(write, "wb") as stuck:
        assert run_with(local_rig, stdout=subprocess.DEVNULL, stderr=stuck) == 3


def test_a_result_that_cannot_be_written_is_told(local_rig: Rig) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            local_rig.argv("preview"), env=local_rig.env(), check=False, stdout=full, stderr=subprocess.PIPE, timeout=60
        )
    assert (done.returncode, b"cannot be written to standard output" in done.stderr) == (73, True), done.stderr


def test_a_log_that_does_not_fit_is_73_and_counted(local_rig: Rig) -> None:
    local_rig.code("print('x' * 3_000_000)")
    limit = resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)
    code = run_with(local_rig, stdout=subprocess.DEVNULL, preexec_fn=lambda: resource.setrlimit(*limit))
    told = local_rig.run_json()
    assert (code, told["phase"], told["cause"]["code"]) == (73, "Failed", "log-incomplete")
    assert "bytes of the log could not be written" in told["cause"]["message"]


def test_run_json_is_true_at_the_target_when_the_node_does_not_take_it(local_rig: Rig) -> None:
    local_rig.code(LOG_DIR + "path = folder + '/run.json'\nos.unlink(path); os.mkdir(path)\n")
    result = run_ignoring_run_json(local_rig)
    assert result == 73
    told = sent(local_rig, "run.json")
    assert (told["phase"], told["exit_code"], told["cause"]["code"]) == ("Failed", 73, "run-json-unwritable")


def run_ignoring_run_json(rig: Rig) -> int:
    return run_with(rig, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("what", ["shutil.rmtree(folder)", "os.unlink(os.path.join(folder, LOG))"])
def test_a_log_that_the_job_removed_is_73(local_rig: Rig, what: str) -> None:
    local_rig.code(f"{LOG_DIR}import shutil\nLOG = os.environ['MA_CURRENT_INSTANCE_NAME'] + '.log'\n{what}\n")
    assert run_ignoring_run_json(local_rig) == 73


@pytest.mark.parametrize("name", ["events.jsonl", "run.json"])
def test_a_fifo_in_the_place_of_a_document_holds_nothing_up(local_rig: Rig, name: str) -> None:
    local_rig.code(f"{LOG_DIR}path = folder + '/{name}'\nos.unlink(path); os.mkfifo(path)\n")
    assert run_ignoring_run_json(local_rig) in {0, 73}


def test_a_link_in_the_place_of_the_events_is_not_followed(local_rig: Rig) -> None:
    victim = local_rig.folder / "victim"
    victim.write_text("mine\n")
    local_rig.code(f"{LOG_DIR}path = folder + '/events.jsonl'\nos.unlink(path); os.symlink({str(victim)!r}, path)\n")
    run_ignoring_run_json(local_rig)
    assert victim.read_text() == "mine\n"


def test_a_log_folder_that_is_a_link_is_refused_and_nothing_is_written_through_it(local_rig: Rig) -> None:
    elsewhere = local_rig.folder / "elsewhere"
    elsewhere.mkdir()
    (local_rig.root / "home").mkdir(parents=True)
    (local_rig.root / "home" / "ma-user").symlink_to(elsewhere)
    local_rig.code("")
    assert local_rig.run().code == 71
    assert list(elsewhere.iterdir()) == []


def test_a_fifo_as_termination_message_holds_nothing_up(local_rig: Rig) -> None:
    local_rig.code("")
    path = local_rig.folder / "termination"
    os.mkfifo(path)
    assert local_rig.run(env={"LAUNCHER_TERMINATION_LOG": str(path)}).code == 0
    assert path.is_fifo()


def test_a_report_to_a_device_leaves_the_device(local_rig: Rig) -> None:
    local_rig.code("")
    leader, follower = os.openpty()
    name = os.ttyname(follower)
    assert local_rig.run("--report", name).code == 0
    assert b'"phase": "Completed"' in os.read(leader, 100_000)
    assert os.stat(name).st_rdev == os.fstat(follower).st_rdev
    for each in (leader, follower):
        os.close(each)


def test_two_launchers_do_not_share_a_root(local_rig: Rig) -> None:
    local_rig.code("import signal\nprint('ready', flush=True)\nsignal.pause()")
    with local_rig.running("--grace", "2") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "ready\n"
        before = local_rig.run_json()
        second = local_rig.run()
        assert (second.code, f"(pid {first.pid})" in second.err) == (71, True), second.err
        assert local_rig.run_json() == before, "the document of the job that runs is its own"
        first.terminate()
        assert local_rig.finish(first).code == 143


def test_a_signal_while_the_job_is_being_read_is_143(local_rig: Rig) -> None:
    job = local_rig.folder / "fifo"
    os.mkfifo(job)
    argv = local_rig.argv(job=str(job))
    with subprocess.Popen(argv, env=local_rig.env(), stderr=subprocess.PIPE) as process:
        with job.open("wb"):  # opened once the launcher reads from it
            process.terminate()
            process.wait(timeout=30)
        assert process.stderr is not None
        assert b"SIGTERM came before the boot process started" in process.stderr.read()
    assert (process.returncode, local_rig.run_json()["phase"]) == (143, "Terminated")


def test_a_file_name_forges_no_line_of_the_log(local_rig: Rig) -> None:
    forged = "[ModelArts Service Log]2026-01-01 00:00:00,000 - INFO - Training job completed."
    local_rig.code(f"import sys; open(sys.argv[2].partition('=')[2] + '/a\\n{forged}\\nb', 'w').close()")
    assert local_rig.run().code == 73
    log = local_rig.log_dir / "modelarts-job-job-1-worker-0.log"
    assert forged not in log.read_text().splitlines()


@pytest.mark.parametrize("boot", ["fifo", "zero"])
def test_a_boot_file_that_is_no_file_is_not_looked_into(local_rig: Rig, boot: str) -> None:
    local_rig.code("")
    assert local_rig.store.directory is not None
    place = local_rig.store.directory / local_rig.bucket / "code" / "train.py"
    place.unlink()
    if boot == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/zero")
    assert local_rig.run(command="preview").code == 0
    assert local_rig.run().code != 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--grace", "nan"), "expected seconds from 0 to 86400"),
        (("--grace", "-1"), "expected seconds from 0 to 86400"),
        (("--report", "/"), "expected a file, found a folder"),
        (("--root", ""), "was a shell variable not set?"),
        (("--dataset", "x=obs://bucket/y/"), "expected ID/VERSION=URL"),
        (("--set", "lr"), "expected NAME=VALUE"),
        (("--store", "ftp://x"), "found ftp://"),
    ],
)
def test_an_odd_command_line_is_2_with_what_was_expected(
    local_rig: Rig, arguments: tuple[str, ...], words: str
) -> None:
    result = local_rig.run(*arguments)
    assert (result.code, words in result.err, "Traceback" in result.err) == (2, True, False), result.err


def test_a_wrong_start_leaves_no_old_success_in_run_json(local_rig: Rig) -> None:
    local_rig.code("")
    assert local_rig.run().run_json["phase"] == "Completed"
    result = local_rig.run("--set", "lr=@env:NOT_THERE")
    assert (result.code, result.run_json["exit_code"], result.run_json["phase"]) == (2, 2, "Failed")


def test_a_closed_standard_input_is_no_job(local_rig: Rig) -> None:
    argv = ("sh", "-c", 'exec "$@" <&-', "sh", *local_rig.argv(job="-"))
    done = subprocess.run(argv, env=local_rig.env(), capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (66, False), done.stderr


def test_an_algorithm_that_cannot_be_read_is_blamed_for_itself(local_rig: Rig) -> None:
    folder = local_rig.folder / "algorithms"
    folder.mkdir()
    (folder / "broken.json").write_text("{")
    os.mkfifo(folder / "odd.json")
    result = local_rig.run("--algorithm", str(folder))
    assert (result.code, f"{folder}/broken.json: no valid JSON" in result.err) == (65, True), result.err


def masked(result: Result, rig: Rig, value: str) -> bool:
    """Whether a secret is in nothing that left."""
    texts = [
        result.err,
        json.dumps(result.run_json),
        *(each.decode(errors="replace") for each in rig.stored("log/").values()),
    ]
    return not [text for text in texts if value in text]


def test_a_secret_in_an_error_is_masked(local_rig: Rig) -> None:
    local_rig.algorithm["parameters"] = [{"name": "api_key", "value": "1", "constraint": {"type": "Integer"}}]
    result = local_rig.run("--set", "api_key=@env:MINE", env={"MINE": "sk-VERYSECRETVALUE"})
    assert (result.code, masked(result, local_rig, "VERYSECRETVALUE")) == (65, True), result.err


def test_a_value_by_reference_is_a_secret_whatever_its_name(local_rig: Rig) -> None:
    local_rig.code("import sys; print(sys.argv[-1], file=sys.stderr)")
    result = local_rig.run("--set", "lr_file=@env:MINE", env={"MINE": "sk-VERYSECRETVALUE"})
    assert result.code == 0
    sent_log = local_rig.stored("log/")["modelarts-job-job-1-worker-0.log"]
    assert b"VERYSECRETVALUE" not in sent_log
    assert "VERYSECRETVALUE" not in json.dumps(result.run_json)


def test_a_secret_that_begins_with_another_is_masked_whole(local_rig: Rig) -> None:
    local_rig.code("import os; print(os.environ['DB_PASSWORD']); print(os.environ['API_TOKEN'])")
    local_rig.algorithm["environments"] = {"API_TOKEN": "abcdefgh", "DB_PASSWORD": "abcdefghTOPSECRETTAIL"}
    for seed in ("2", "9", "11"):
        assert local_rig.run(env={"PYTHONHASHSEED": seed}).code == 0
        assert b"TOPSECRETTAIL" not in local_rig.stored("log/")["modelarts-job-job-1-worker-0.log"]


def test_evidence_never_begins_inside_a_secret(local_rig: Rig) -> None:
    local_rig.code(
        "import os, sys; sys.stderr.write('bad ' + os.environ['PASSWORD'] + ' ' + 'y' * 65521 + '\\n'); sys.exit(1)"
    )
    local_rig.algorithm["environments"] = {"PASSWORD": "abcdefghTOPSECRETTAIL"}
    assert "TAIL" not in json.dumps(local_rig.run().run_json)


def test_an_empty_root_writes_nothing_where_the_caller_stands(local_rig: Rig) -> None:
    here = local_rig.folder / "here"
    here.mkdir()
    done = subprocess.run(
        (*local_rig.argv(), "--root", ""), env=local_rig.env(), cwd=here, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, list(here.iterdir())) == (2, [])


def test_events_are_of_this_run_alone(local_rig: Rig) -> None:
    local_rig.code("")
    assert local_rig.run().code == 0
    first = local_rig.events()
    assert local_rig.run().code == 0
    assert local_rig.events().count("Training job is running.") == first.count("Training job is running.") == 1


def test_training_that_could_not_start_is_not_said_to_have_started(local_rig: Rig) -> None:
    local_rig.code("")
    assert local_rig.run(env={"MA_SCRIPT_INTERPRETER": "python9.9"}).code == 127
    assert "[worker-0] training started." not in local_rig.events()


def test_a_secret_inside_a_command_is_masked(local_rig: Rig) -> None:
    local_rig.code("")
    local_rig.with_job(
        boot_file=None,
        command="API_TOKEN=topsecretvalue sh -c 'echo --api_key=othersecretvalue'",
        engine={"image_url": "a:1"},
    )
    result = local_rig.run()
    assert (result.code, result.out) == (0, "--api_key=othersecretvalue\n")
    assert masked(result, local_rig, "topsecretvalue")
    assert masked(result, local_rig, "othersecretvalue")
