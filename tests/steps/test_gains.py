"""Looking how far a training is: real folders and logs, of any size and with anything in them."""

from __future__ import annotations

import os
import signal
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from fake_store import make_output, make_plan
from msgspec.structs import replace

from launcher.core.gain import compare
from launcher.core.resilience import Gain, Resilience
from launcher.gain import TAIL, Gains
from launcher.streams.logs import LogFile

if TYPE_CHECKING:
    from pathlib import Path

    from launcher.core.plan import Plan

STEP = r"step[ =](\S+)"


def planned(root: Path, *, step: str | None = None, checkpoints: tuple[str, ...] = ()) -> Plan:
    plan = make_plan(str(root), outputs=(make_output(str(root)), make_output(str(root), name="other")))
    os.makedirs(os.path.dirname(plan.files.log), exist_ok=True)
    return replace(plan, resilience=Resilience(gain=Gain(step=step, checkpoints=checkpoints)))


def write(plan: Plan, path: str, text: str = "x", *, output: int = 0) -> None:
    whole = os.path.join(plan.outputs[output].path, path)
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    with open(whole, "w", encoding="utf-8") as file:
        file.write(text)


def logged(plan: Plan, *lines: str) -> None:
    with open(plan.files.log, "a", encoding="utf-8", errors="surrogateescape") as file:
        file.writelines(f"{line}\n" for line in lines)


def test_a_new_checkpoint_in_any_output_is_a_gain(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    gains = Gains(plan)
    marks = [gains.mark()]
    for path, output in (("ckpt-9.pt", 0), ("deep/checkpoint-2/model.pt", 1), ("ckpt-10.pt", 0), ("image.png", 0)):
        write(plan, path, output=output)
        marks.append(gains.mark())
    told = [compare(*pair) for pair in pairwise(marks)]
    assert [each.gained for each in told] == [True, True, True, False]
    assert told[-1].after == "ckpt-10.pt, deep/checkpoint-2/"
    assert told[-1].words == "the newest checkpoint is still ckpt-10.pt, deep/checkpoint-2/"


def test_what_the_job_calls_its_checkpoints_is_looked_at(tmp_path: Path) -> None:
    plan = planned(tmp_path, checkpoints=("*.state",))
    gains = Gains(plan)
    before = gains.mark()
    write(plan, "ckpt-1.pt")
    assert compare(before, gains.mark()).gained is None
    write(plan, "a_1.state")
    assert compare(before, gains.mark()).gained


def test_nothing_is_followed_and_nothing_of_the_launchers_own_counts(tmp_path: Path) -> None:
    plan = planned(tmp_path / "root")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "ckpt-7.pt").write_text("x")
    write(plan, ".launcher/ckpt-8.pt")
    write(plan, ".launcher-part-9.pt")
    base = plan.outputs[0].path
    os.symlink(elsewhere, f"{base}/linked")
    os.symlink(elsewhere / "ckpt-7.pt", f"{base}/ckpt-7.pt")
    os.mkfifo(f"{base}/ckpt-6.pt")
    os.symlink(elsewhere, plan.outputs[1].path)
    gains = Gains(plan)
    assert compare(gains.mark(), gains.mark()).gained is None


def test_an_output_that_is_no_folder_has_no_checkpoints(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    os.makedirs(os.path.dirname(plan.outputs[0].path), exist_ok=True)
    with open(plan.outputs[0].path, "w", encoding="utf-8"):
        pass
    assert Gains(plan).mark().unknown is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_leaves_it_open(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    write(plan, "closed/ckpt-1.pt")
    os.chmod(f"{plan.outputs[0].path}/closed", 0)
    assert "permission denied" in (Gains(plan).mark().unknown or "")


def test_more_files_than_can_be_looked_at_are_not_judged(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    for number in range(30):
        write(plan, f"{number % 3}/ckpt-{number}.pt")
    gains = Gains(plan, most_entries=20)
    told = compare(gains.mark(), gains.mark())
    assert told.gained is None
    assert "more files than could be looked at" in told.words


def test_a_look_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    write(plan, "ckpt-1.pt")
    clock = iter(range(0, 10_000, 10))
    told = Gains(plan, lambda: float(next(clock))).mark()
    assert "in time" in (told.unknown or "")


def test_steps_count_from_the_mark_before(tmp_path: Path) -> None:
    plan = planned(tmp_path, step=STEP)
    logged(plan, "step 500 of an earlier run")
    gains = Gains(plan)
    marks = [gains.mark()]
    for lines in (
        ("step 1", "step 1,200 loss 0.1", "step 7"),
        ("step 3", "step=1200"),
        ("no such thing",),
        ("step 2e3",),
    ):
        logged(plan, *lines)
        marks.append(gains.mark())
    assert [(mark.step, mark.latest) for mark in marks] == [
        (None, None), (1200, 1200), (1200, 1200), (1200, None), (2000, 2000)
    ]  # fmt: skip
    told = [compare(*pair).gained for pair in pairwise(marks)]
    assert told == [True, False, False, True]


def test_a_log_that_goes_on_in_new_segments_is_read_on(tmp_path: Path) -> None:
    plan = planned(tmp_path, step=STEP)
    log = LogFile(plan.files.log, replace(plan.logs, segment_bytes=64))
    log.write(b"step 900\n")
    gains = Gains(plan)
    before = gains.mark()
    for step in (910, 1000, 20, 30, 40, 50, 60, 70, 80, 90, 95):
        log.write(b"step %d and some more\n" % step)
    after = gains.mark()
    log.close()
    assert len(list((tmp_path).rglob("*.log.*"))) > 2
    assert (before.latest, after.latest) == (None, 1000)
    assert gains.mark().latest is None


def test_of_a_very_long_log_its_end_is_read(tmp_path: Path) -> None:
    plan = planned(tmp_path, step=STEP)
    gains = Gains(plan)
    gains.mark()
    logged(plan, "step 5", "x" * 100 + "\n" * 10)
    gains.mark()
    with open(plan.files.log, "a", encoding="utf-8") as file:
        file.write("step 900\n")
        file.write("and much besides\n" * (TAIL // 17 + 1))
        file.write("step 50\n")
    assert gains.mark().latest == 50


@pytest.mark.parametrize("content", [b"\xff\xfe" * 1000, b"\0" * 5000, b"step " + b"9" * 100_000, b"step x", b"\r\r\n"])
def test_any_log_is_read(tmp_path: Path, content: bytes) -> None:
    plan = planned(tmp_path, step=STEP)
    gains = Gains(plan)
    gains.mark()
    with open(plan.files.log, "wb") as file:
        file.write(content)
    assert gains.mark().latest is None


def test_something_else_in_the_logs_place_is_left_alone(tmp_path: Path) -> None:
    plan = planned(tmp_path, step=STEP)
    os.mkfifo(plan.files.log)
    gains = Gains(plan)
    assert compare(gains.mark(), gains.mark()).gained is None


def test_steps_behind_a_carriage_return_are_found(tmp_path: Path) -> None:
    plan = planned(tmp_path, step=STEP)
    logged(plan, "")
    gains = Gains(plan)
    gains.mark()
    logged(plan, "step 1\rstep 2\rstep 3")
    assert gains.mark().latest == 3


@pytest.mark.parametrize("limited", [True, False])
@pytest.mark.parametrize("expression", [r"(a+)+b(\d)", r"(?:\w+\s*)+step (\d+)!", r".*.*.*.*(\d)"])
def test_an_expression_that_would_never_end_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expression: str, *, limited: bool
) -> None:
    if not limited:
        monkeypatch.setitem(sys.modules, "regex", None)
    plan = planned(tmp_path, step=expression)
    logged(plan, "")
    gains = Gains(plan)
    gains.mark()
    logged(plan, *["a" * 4000] * 50)
    mark = gains.mark()
    assert mark.latest is None
    assert limited or "may take very long" in (mark.unknown or "")


@pytest.mark.parametrize("expression", [r"(?:a{1,30}){1,30}(\d)b", r"[a-z]*[a-z]*[a-z]*[a-z]*[a-z]*(\d)b"])
def test_what_no_rule_has_foreseen_is_ended_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expression: str
) -> None:
    monkeypatch.setitem(sys.modules, "regex", None)
    before = signal.getsignal(signal.SIGALRM)
    plan = planned(tmp_path, step=expression)
    logged(plan, "")
    gains = Gains(plan)
    gains.mark()
    logged(plan, *["a" * 4000] * 3)
    mark = gains.mark()
    assert mark.latest is None
    assert "may take very long" in (mark.unknown or "")
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)) == (before, (0.0, 0.0))


def test_without_a_limit_of_time_the_begin_of_each_line_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "regex", None)
    plan = planned(tmp_path, step=r"\[.*\] step (\d+)")
    logged(plan, "")
    gains = Gains(plan)
    gains.mark()
    logged(plan, "[info] step 7", "x" * 2000 + "[info] step 9")
    assert gains.mark().latest == 7


def test_an_expression_that_only_one_of_the_two_knows_is_used_all_the_same(tmp_path: Path) -> None:
    plan = planned(tmp_path, step=r"step{(\d+)")
    logged(plan, "")
    gains = Gains(plan)
    gains.mark()
    logged(plan, "step{7")
    assert gains.mark().latest == 7
