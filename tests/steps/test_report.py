from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from fake_store import FakeClock, make_plan

from launcher.core.errors import Problem, SpecError
from launcher.core.outcome import Outcome
from launcher.core.plan import Process
from launcher.core.record import Cause, Ended, FailedKey, Memory, Staged, Synced
from launcher.report import Report
from launcher.unbegun import refusal

if TYPE_CHECKING:
    from pathlib import Path

    from launcher.core.plan import Plan

SECRET = "correct-horse"
DONE = Outcome(phase="Completed", exit_code=0)


def failed(message: str = "it broke", evidence: tuple[str, ...] = ()) -> Outcome:
    return Outcome(phase="Failed", exit_code=3, cause=Cause(code="c", message=message, action="do", evidence=evidence))


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    made = make_plan(str(tmp_path))
    folder = tmp_path / "log"
    folder.mkdir()
    files = msgspec.structs.replace(
        made.files,
        run_json=f"{folder}/run.json",
        events=f"{folder}/events.jsonl",
        plan=f"{folder}/plan.json",
        report=f"{folder}/report.json",
        termination=f"{folder}/termination",
    )
    process = Process(rank=0, local_rank=0, argv=("python", "a.py"), env={"A": "odd \udcff"}, cwd="/")
    return msgspec.structs.replace(made, files=files, processes=(process,))


def document(path: str | None) -> Any:
    assert path is not None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def test_a_run_that_has_only_begun_is_abnormal(plan: Plan) -> None:
    report = Report(plan, FakeClock(), ())
    report.phase("stage")
    told = document(plan.files.run_json)
    assert (told["phase"], told["exit_code"], told["timeline"][0]["ended"]) == ("Abnormal", None, None)
    assert document(plan.files.plan)["job"]["id"] == plan.job.id


def test_the_end_is_told_the_same_in_every_place(plan: Plan) -> None:
    report = Report(plan, FakeClock(), ())
    report.phase("stage")
    report.staged(Staged(channel="c", kind="code", source="s", path="p", objects=1, bytes=2, seconds=0.5))
    report.process(Ended(rank=0, local_rank=0, pid=7, exit_code=3, signal=None, started="a", ended="b"))
    report.synced(Synced(channel="o", target="t", objects=1, bytes=1, seconds=1, failed=(FailedKey("k", "e"),)))
    report.finish(failed())
    told = document(plan.files.run_json)
    assert told == document(plan.files.report)
    assert (told["phase"], told["exit_code"], told["cause"]["message"]) == ("Failed", 3, "it broke")
    assert told["attempts"] == [
        {
            "exit_code": 3,
            "cause": told["cause"],
            "started": told["attempts"][0]["started"],
            "ended": told["attempts"][0]["ended"],
            "log": [os.path.basename(plan.files.log)],
            "processes": told["processes"],
            "gain": None,
            "again": None,
        }
    ]
    assert told["synced"][0]["failed"] == [{"key": "k", "error": "e"}]
    termination = document(plan.files.termination)
    assert (termination["phase"], termination["exit_code"], termination["cause"]) == ("Failed", 3, told["cause"])
    assert all(each["ended"] for each in told["timeline"])


def test_secrets_are_masked_in_whatever_is_written(plan: Plan) -> None:
    report = Report(plan, FakeClock(), (SECRET,))
    report.event(f"said {SECRET}")
    report.synced(
        Synced(channel="o", target="t", objects=0, bytes=0, seconds=0, failed=(FailedKey(f"k-{SECRET}", SECRET),))
    )
    report.finish(failed(f"broke at {SECRET}", (SECRET,)))
    for path in (plan.files.run_json, plan.files.events, plan.files.report, plan.files.termination):
        assert path is not None
        with open(path, encoding="utf-8") as file:
            assert SECRET not in file.read()


def test_events_are_lines_with_time_level_message_and_source(plan: Plan) -> None:
    report = Report(plan, FakeClock(), ())
    report.event("[worker-0] training started.")
    report.event("Training job failed.\nReally", "Error")
    with open(plan.files.events, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    assert [(each["level"], each["source"]) for each in lines] == [("Info", "Task"), ("Error", "Job")]
    assert lines[1]["message"] == "Training job failed.\nReally"


def test_a_place_that_cannot_be_written_never_stops_a_run(plan: Plan) -> None:
    files = msgspec.structs.replace(
        plan.files, run_json="/dev/null/run.json", events="/dev/null/e", plan="/dev/null/p", termination="/dev/null/t"
    )
    report = Report(msgspec.structs.replace(plan, files=files), FakeClock(), ())
    report.event("said")
    report.finish(DONE)
    assert document(files.report)["phase"] == "Completed"


def test_a_defect_is_recorded_as_one(plan: Plan) -> None:
    Report(plan, FakeClock(), ()).defect(ValueError("boom"))
    told = document(plan.files.run_json)
    assert (told["phase"], told["exit_code"], "ValueError: boom" in told["cause"]["message"]) == ("Abnormal", 70, True)


def test_a_refused_job_tells_every_problem() -> None:
    told = refusal(SpecError([Problem(path="a", message="is missing", code="X"), Problem(path="b", message="is odd")]))
    assert (told["phase"], told["exit_code"]) == ("Failed", 65)
    assert told["cause"]["evidence"] == ("a: is missing (X)", "b: is odd")


def test_what_the_kernel_counted_is_told(plan: Plan) -> None:
    report = Report(plan, FakeClock(), ())
    report.memory(None, None)
    report.write()
    assert document(plan.files.run_json)["limits"] is None
    before = Memory(source="cgroup v2", limit_bytes=100, peak_bytes=50, oom_kills=1)
    report.memory(before, None)
    report.write()
    told = {"memory_bytes": 100, "oom_kills_before": 1, "oom_kills_after": None, "memory_peak_bytes": None}
    assert document(plan.files.run_json)["limits"] == told
    report.memory(before, Memory(source="cgroup v2", limit_bytes=100, peak_bytes=99, oom_kills=2))
    report.write()
    told |= {"oom_kills_after": 2, "memory_peak_bytes": 99}
    assert document(plan.files.run_json)["limits"] == told


def test_the_termination_message_names_what_was_not_saved(plan: Plan) -> None:
    files = msgspec.structs.replace(plan.files, termination=f"{plan.root}/termination")
    report = Report(msgspec.structs.replace(plan, files=files), FakeClock(), ())
    failed = (FailedKey("last.ckpt", "not uploaded in time"),)
    report.synced(
        Synced(channel="train_url", target="obs://b/", objects=0, bytes=0, seconds=0.0, failed=failed, manifest=None)
    )
    report.finish(Outcome(phase="Terminated", exit_code=143))
    told = document(f"{plan.root}/termination")
    assert told["unsaved"] == {"count": 1, "first": ["train_url: last.ckpt"]}


def test_a_file_that_may_be_written_in_a_folder_that_may_not_is_written_in_place(tmp_path: Path) -> None:
    """As the termination log of a container that does not run as root."""
    folder = tmp_path / "dev"
    folder.mkdir()
    file = folder / "termination-log"
    file.write_bytes(b"something longer of an earlier attempt")
    file.chmod(0o666)
    folder.chmod(0o555)
    # root may write everywhere: it becomes somebody else once it has found its files, and stands in the folder already
    program = (
        "import os, sys\nfrom launcher.report import write_where_asked\nos.chdir(sys.argv[1])\n"
        "if os.getuid() == 0:\n    os.setgroups([])\n    os.setresgid(65534, 65534, 65534)\n"
        "    os.setresuid(65534, 65534, 65534)\nwrite_where_asked('./termination-log', b'{}')"
    )
    done = subprocess.run((sys.executable, "-c", program, folder), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert file.read_bytes() == b"{}"
