"""The names of files with stacks: numbered, the newest kept, and known by a run's label at the target."""

from __future__ import annotations

from msgspec.structs import replace
from test_planning import decided

from launcher.core.stackfiles import KEPT, file_name, listed, next_number, object_name, older

STEM = "job-stacks"
ODD = ("other-stacks-1.txt", f"{STEM}-0.txt", f"{STEM}-1.txt.part", f"{STEM}-x.txt", f"{STEM}-1", STEM, f"{STEM}-1-a-b")


def test_each_request_has_the_next_number_and_its_records_have_it_too() -> None:
    assert next_number(ODD, STEM) == 1
    names = [*ODD, file_name(STEM, 1), file_name(STEM, 12, "nccl", 3)]
    assert names[-2:] == [f"{STEM}-1.txt", f"{STEM}-12-nccl-rank-3"]
    assert next_number(names, STEM) == 13
    assert listed(names, STEM) == [names[-1], names[-2]]


def test_the_newest_are_kept_with_their_records() -> None:
    names = [file_name(STEM, number) for number in range(1, KEPT + 3)] + [file_name(STEM, 2, "nccl", 0)]
    assert older([*ODD, *names], STEM) == [f"{STEM}-1.txt", f"{STEM}-2.txt", f"{STEM}-2-nccl-rank-0"]
    assert older(ODD, STEM) == []


def test_at_the_target_they_are_known_by_the_label() -> None:
    plan = decided()
    label = plan.job.label
    assert object_name(plan, f"{plan.files.stacks}-3.txt") == f"{label}.stacks-3.txt"
    assert object_name(plan, f"{plan.files.stacks}-3-nccl-rank-1") == f"{label}.stacks-3-nccl-rank-1"
    assert object_name(plan, plan.files.log) is None
    assert object_name(replace(plan, files=replace(plan.files, stacks="")), "/log/-1.txt") is None
