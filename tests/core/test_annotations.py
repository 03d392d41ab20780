from __future__ import annotations

import pytest

from launcher.core.annotations import FORMS, LONGEST_LIST, TABLE, JobSettings, read_annotations
from launcher.core.parse.cursor import Log
from launcher.core.plan import Patterns

INPUTS, OUTPUTS = ("data_url", "archive"), ("train_url",)


def read(**said: str) -> tuple[JobSettings, list[str], list[str]]:
    """What is read of `launcher/` annotations whose names are spelled with `__` for a dot and `_d_` for a dash."""
    return read_named({f"launcher/{name.replace('__', '.').replace('_d_', '-')}": text for name, text in said.items()})


def read_named(annotations: dict[str, str]) -> tuple[JobSettings, list[str], list[str]]:
    log = Log()
    settings = read_annotations(annotations, INPUTS, OUTPUTS, log)
    return settings, [str(each) for each in log.problems], [str(each) for each in log.warnings]


def test_a_job_without_annotations_says_nothing() -> None:
    settings, problems, warnings = read()
    assert (settings, problems, warnings) == (JobSettings(), [], [])
    assert settings.patterns_of("data_url") == Patterns()


def test_every_setting_is_read() -> None:
    settings, problems, warnings = read(
        include__data_url="*.jpg, labels/**",
        exclude__data_url="tmp/",
        exclude__train_url="*.tmp,",
        extract__archive="True",
        extract__data_url="false",
        dataset_d_missing="0.01",
        dataset_d_buckets="other, another",
    )
    assert (problems, warnings) == ([], [])
    assert settings.patterns_of("data_url") == Patterns(include=("*.jpg", "labels/**"), exclude=("tmp/",))
    assert settings.patterns_of("train_url") == Patterns(exclude=("*.tmp",))
    assert settings.patterns_of("archive") == Patterns()
    assert settings.extract == {"archive"}
    assert settings.dataset_missing == 0.01
    assert settings.dataset_buckets == ("other", "another")


def test_annotations_of_the_platform_are_left_alone() -> None:
    assert read_named({"fault-tolerance/job-retry-num": "3", "job_template": "x"}) == (JobSettings(), [], [])


def test_what_is_set_empty_is_empty() -> None:
    settings, problems, _ = read(include__data_url="", dataset_d_buckets=" ")
    assert problems == []
    assert settings.patterns_of("data_url") == Patterns()
    assert settings.dataset_buckets == ()


def test_every_problem_is_told_at_once_with_its_annotation() -> None:
    settings, problems, warnings = read(
        include__data_url="a//b,*.pt,x**",
        exclude__data_url="[",
        include__dat_url="*",
        exclude__nosuch="*",
        extract__train_url="true",
        extract__train="true",
        extract__archive="yes",
        dataset_d_missing="2",
        dataset_d_buckets="Other,fine-one",
    )
    told = ["a//b", "x**", "[", "dat_url", "nosuch", "train_url", "train", "yes", "2", "Other"]
    assert len(problems) == len(told)
    assert all(each.startswith('metadata.annotations["launcher/') for each in problems)
    assert all(each.endswith("(ModelArts.2788)") for each in problems)
    assert warnings == []
    assert settings.patterns_of("data_url") == Patterns()
    assert settings.extract == frozenset()
    assert settings.dataset_missing is None


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ("include.dat_url", "has no input or output 'dat_url'; did you mean data_url?"),
        ("exclude.train_ulr", "has no input or output 'train_ulr'; did you mean train_url?"),
        ("extract.archiv", "has no input 'archiv'; did you mean archive?"),
        ("extract.zzz", "the job has no input 'zzz' ("),
        ("extract.train_url", "train_url is an output; only an input is unpacked"),
    ],
)
def test_a_channel_that_is_not_there_is_a_problem(annotation: str, said: str) -> None:
    _, problems, _ = read_named({f"launcher/{annotation}": "true"})
    assert len(problems) == 1
    assert problems[0].startswith(f'metadata.annotations["launcher/{annotation}"]: ')
    assert said in problems[0]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("launcher/inculde.data_url", "did you mean launcher/include.data_url?"),
        ("launcher/include", "did you mean launcher/include.<channel>?"),
        ("launcher/exclude.", "did you mean launcher/exclude.<channel>?"),
        ("launcher/dataset-mising", "did you mean launcher/dataset-missing?"),
        ("launcher/dataset-missing.data_url", "did you mean launcher/dataset-missing?"),
        ("launcher/zzzzzzzz", "left alone"),
        ("launcher/", ""),
    ],
)
def test_an_unknown_name_is_a_warning_with_what_was_meant(name: str, meant: str) -> None:
    settings, problems, warnings = read_named({name: "x"})
    assert (settings, problems) == (JobSettings(), [])
    assert len(warnings) == 1
    assert warnings[0].startswith(f'metadata.annotations["{name}"]: ')
    assert meant in warnings[0]


def test_lists_have_an_end() -> None:
    _, problems, _ = read(include__data_url="a," * 101, exclude__data_url="a" * (LONGEST_LIST + 1))
    assert "at most 100 patterns, found 101" in problems[0]
    assert "at most 4,096 characters, found 4,097" in problems[1]


@pytest.mark.parametrize(("text", "share"), [("0", 0.0), ("1", 1.0), (".5", 0.5), ("0.25", 0.25), ("1.00", 1.0)])
def test_a_share_is_from_0_to_1(text: str, share: float) -> None:
    settings, problems, _ = read(dataset_d_missing=text)
    assert (settings.dataset_missing, problems) == (share, [])


@pytest.mark.parametrize("text", ["", "-0.1", "1.1", "10%", "nan", "1e-2", "0." + "1" * 99])
def test_what_is_no_share_is_a_problem(text: str) -> None:
    assert len(read(dataset_d_missing=text)[1]) == 1


def test_each_setting_is_documented() -> None:
    assert all(each.meaning.endswith(".") and FORMS[each.kind] for each in TABLE)
