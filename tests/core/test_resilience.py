"""What a job and its node's settings say of restarts, hangs, gain and preemption."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from launcher.core.annotations import JobSettings, read_annotations
from launcher.core.devices import Devices
from launcher.core.errors import PlanError
from launcher.core.facts import Facts
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import parse_job
from launcher.core.resilience import Gain, Hanging, Resilience, Retrying, resilience
from launcher.core.settings import Settings, read_settings

FACTS = Facts(environ={}, host="node", started="20260101T000000Z")
GPU = Devices(type="GPU", count=1, cpus=1.0, memory_bytes=None, limits_from="host")


def rules(facts: Facts = FACTS, own: JobSettings | None = None, **annotations: str) -> Resilience:
    named = {f"fault-tolerance/{name.replace('_', '-')}": text for name, text in annotations.items()}
    job: dict[str, Any] = {
        "kind": "job",
        "metadata": {"name": "rules", "annotations": named},
        "algorithm": {"code_dir": "obs://bucket/code/", "boot_file": "obs://bucket/code/train.py"},
    }
    return resilience(parse_job(job, Log()), facts, own)


def with_settings(**environ: str) -> Facts:
    return replace(FACTS, settings=read_settings({f"LAUNCHER_{name}": text for name, text in environ.items()}))


def test_a_job_that_says_nothing_is_tried_once_and_not_watched() -> None:
    assert rules() == Resilience()
    assert not rules().retrying.any


def test_a_job_says_how_often_it_is_started_again_and_after_what() -> None:
    found = rules(job_retry_num="3", job_unconditional_retry="True", hang_retry="false").retrying
    assert (found.most, found.unconditional, found.hang, found.any) == (3, True, False, True)
    hangs = rules(hang_retry="true")
    assert (hangs.retrying.most, hangs.retrying.any, hangs.hanging.watched) == (0, True, True)


def test_a_trial_of_a_search_is_started_again_by_the_search_alone() -> None:
    facts = replace(FACTS, settings=Settings(staged="/shared"))
    assert rules(facts, job_retry_num="3", hang_retry="true").retrying == Retrying()


@pytest.mark.parametrize(
    ("switch", "devices", "own", "watched"),
    [
        ("auto", None, None, False),
        ("auto", GPU, None, True),
        ("off", GPU, None, False),
        ("on", None, None, True),
        ("off", None, "on", True),
        ("on", GPU, "off", False),
        ("on", None, "auto", False),
    ],
)
def test_who_is_watched_is_the_jobs_word_before_the_nodes(
    switch: str, devices: Devices | None, own: Any, *, watched: bool
) -> None:
    facts = with_settings(HANG=switch)
    facts = facts if devices is None else replace(facts, devices=devices)
    assert rules(facts, JobSettings(hang=own) if own else None).hanging.watched is watched


def test_the_settings_of_a_node_are_read() -> None:
    facts = with_settings(
        RETRY_PAUSE="3",
        DEVICE_WAIT="4.5",
        HANG_PERIOD="0",
        HANG_PERIODS="7",
        HANG_LONG_PERIODS="9",
        HANG_WINDOW="11",
        HANG_VARIANCE="2",
        STACKS_NATIVE="1",
        STEP_PATTERN=r"step (\d+)",
        PREEMPTION_FILE="/notice",
        PREEMPTION_NOTICE="1",
    )
    found = rules(facts)
    assert (found.retrying.pause_s, found.retrying.device_wait_s) == (3.0, 4.5)
    assert found.hanging == Hanging(period_s=0.05, periods=7, long_periods=9, window_s=11.0, variance=2.0, native=True)
    assert found.gain == Gain(step=r"step (\d+)")
    assert (found.preemption.file, found.preemption.passed) == ("/notice", True)


@pytest.mark.parametrize("text", ["(", r"step \d+", "x{99999999999}()"])
def test_a_pattern_without_a_number_or_sense_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="LAUNCHER_STEP_PATTERN: expected a regular expression"):
        read_settings({"LAUNCHER_STEP_PATTERN": text})


def test_what_a_jobs_annotations_say_goes_before_the_nodes_settings() -> None:
    log = Log()
    own = read_annotations(
        {
            "launcher/hang": "ON",
            "launcher/checkpoints": "*.bin, last/",
            "launcher/step-pattern": r"it=(\d+)",
            "launcher/preemption-notice": "false",
        },
        (),
        ("train_url",),
        log,
    )
    assert not log.problems
    found = rules(with_settings(STEP_PATTERN=r"step (\d+)", PREEMPTION_NOTICE="1"), own)
    assert found.hanging.watched
    assert found.gain == Gain(checkpoints=("*.bin", "last/"), step=r"it=(\d+)")
    assert not found.preemption.passed
    assert own.patterns == {}


def test_annotations_that_make_no_sense_are_told() -> None:
    log = Log()
    own = read_annotations({"launcher/hang": "maybe", "launcher/step-pattern": "("}, (), (), log)
    assert (own.hang, own.step) == (None, None)
    assert [str(each).partition(":")[0] for each in log.problems] == [
        'metadata.annotations["launcher/hang"]',
        'metadata.annotations["launcher/step-pattern"]',
    ]
