"""What `--resume-from` makes of the outputs of a plan, and where it makes no sense."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from launcher.core.complete import Overrides, complete
from launcher.core.errors import Exit, PlanError
from launcher.core.facts import Facts
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import parse_job
from launcher.core.parse.text import read_document
from launcher.core.planning import plan

if TYPE_CHECKING:
    from launcher.core.plan import Plan

FACTS = Facts(
    environ={"PATH": "/bin"}, host="node", started="20260102T030405Z", interpreter="/bin/python", shell="/bin/sh"
)


def resumed(url: str | None, *targets: str) -> Plan:
    document: dict[str, Any] = {
        "kind": "job",
        "metadata": {"name": "j", "id": "i-1"},
        "algorithm": {
            "code_dir": "/bucket/code/",
            "boot_file": "/bucket/code/train.py",
            "outputs": [
                {"name": f"out_{number}", "remote": {"obs": {"obs_url": target}}}
                for number, target in enumerate(targets)
            ],
        },
    }
    job = parse_job(read_document(json.dumps(document).encode(), "j.json"), Log())
    return plan(complete(job, None, Overrides()).job, replace(FACTS, resume=url))


def predownloads(made: Plan) -> list[bool]:
    return [each.predownload for each in made.outputs]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, [False, False]),
        ("obs://bucket/old/", [False, False]),
        ("obs://other/", [False, False]),
        ("obs://bucket/out/first/", [True, False]),
        ("obs://bucket/out/first", [True, False]),
        ("obs://bucket/out/second/", [False, False]),
        ("obs://bucket/out/first/ckpt-40.pt", [False, False]),
    ],
)
def test_the_first_outputs_own_place_is_its_predownload_and_any_other_changes_no_output(
    url: str | None, expected: list[bool]
) -> None:
    made = resumed(url, "obs://bucket/out/first/", "obs://bucket/out/second/")
    assert predownloads(made) == expected
    assert made.resilience.resume == url


@pytest.mark.parametrize("url", ["obs://bucket/out/", "obs://bucket/"])
def test_a_folder_above_the_output_is_refused(url: str) -> None:
    with pytest.raises(PlanError, match="into itself") as refused:
        resumed(url, "obs://bucket/out/first/")
    assert (refused.value.exit_code, refused.value.code) == (Exit.USAGE, "resume-from-above")


def test_a_job_without_outputs_has_no_folder_to_fill() -> None:
    with pytest.raises(PlanError, match="the job has no output") as refused:
        resumed("obs://bucket/old/")
    assert (refused.value.exit_code, refused.value.code) == (Exit.USAGE, "nothing-to-resume")
