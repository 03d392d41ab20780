"""What is said where no rule decides: events, errors, why a program did not start."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from launcher.core import events
from launcher.core.errors import Cancelled, Exit, LauncherError
from launcher.core.outcome import sentence
from launcher.core.record import Cause
from launcher.core.unstarted import Attempt, not_started, unstartable

SAMPLE = Path(__file__).parent.parent / "data" / "modelarts" / "job-events.response.json"


def test_events_are_those_of_the_services_own_sample() -> None:
    said = {each["message"] for each in json.loads(SAMPLE.read_text())["events"]}
    assert {
        events.job_ended("Failed"),
        events.job_running(),
        events.training_started("worker-0"),
        events.training_finished("worker-0", 1),
        events.output_uploading("worker-0", "train_url"),
        events.output_uploaded("worker-0", 0.296, "train_url"),
    } <= said


def test_events_that_the_sample_lacks_follow_the_services_list() -> None:
    assert events.code_downloading("worker-0") == "[worker-0] The training code is being downloaded."
    assert events.code_downloaded("worker-0", 1.5) == "[worker-0] [Duration: 1.500s] Training code downloaded."
    assert "Failure cause: why" in events.code_failed("worker-0", 1, "why")
    assert events.input_downloading("worker-0") == "[worker-0] The training input is being downloaded."
    assert "(parameter: d) downloaded." in events.input_downloaded("worker-0", 1, "d")
    assert "(parameter: d). Failure cause: why" in events.input_failed("worker-0", 1, "d", "why")
    assert "Import the following files: r.txt" in events.packages_installing("worker-0", "r.txt")
    assert "installed. Import the following files: r.txt" in events.packages_installed("worker-0", 1, "r.txt")
    assert "failed. Failure cause: why" in events.output_failed("worker-0", 1, "o", "why")


def test_an_error_has_its_class_code_unless_it_says_another() -> None:
    assert LauncherError("m", code="c", action="a").exit_code == Exit.DEFECT
    assert LauncherError("m", code="c", action="a", exit_code=66).exit_code == Exit.MISSING
    assert Cancelled().code == "cancelled"


@pytest.mark.parametrize(
    ("message", "line"), [("it broke", "error: it broke. Mend it."), ("Why?", "error: Why? Mend it.")]
)
def test_a_cause_is_one_line_for_a_person(message: str, line: str) -> None:
    assert sentence(Cause(code="c", message=message, action="Mend it.")) == line


def attempt(program: str = "prog", *, cwd_failed: bool = False, program_exists: bool = False) -> Attempt:
    return Attempt(program=program, cwd="/w", path="/bin", uid=7, cwd_failed=cwd_failed, program_exists=program_exists)


@pytest.mark.parametrize(
    ("tried", "number", "code", "slug", "words"),
    [
        (attempt(), errno.ENOENT, 127, "program-not-found", "no such program on its PATH (/bin)"),
        (attempt("./p"), errno.ENOENT, 127, "program-not-found", "no such file"),
        (attempt("/p", program_exists=True), errno.ENOENT, 127, "interpreter-not-found", "the interpreter or loader"),
        (attempt(cwd_failed=True), errno.ENOENT, 127, "cwd-unusable", "its working directory '/w'"),
        (attempt(), errno.EACCES, 126, "program-not-executable", "for uid 7"),
        (attempt(), errno.E2BIG, 126, "arguments-too-long", "larger than the kernel allows"),
        (attempt(), errno.ENOEXEC, 126, None, "Cannot start 'prog'"),
        (attempt(), errno.EAGAIN, 126, "start-failed", "Cannot start 'prog'"),
    ],
)
def test_why_a_program_did_not_start(tried: Attempt, number: int, code: int, slug: str | None, words: str) -> None:
    error = not_started(tried, number)
    assert (error.exit_code, words in str(error)) == (code, True), str(error)
    assert slug in {None, error.code}
    assert error.action


def test_arguments_that_no_kernel_takes_are_told() -> None:
    error = unstartable("prog", "embedded null byte")
    assert (error.exit_code, error.code) == (126, "argument-invalid")
