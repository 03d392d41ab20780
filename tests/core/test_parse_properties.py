from __future__ import annotations

import json
import string
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.core.complete import Overrides, complete
from launcher.core.errors import PlanError, SpecError
from launcher.core.facts import Facts
from launcher.core.parse.algorithm import ALGORITHM, parse_algorithm
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import JOB, kind_of, parse_job
from launcher.core.parse.text import read_document
from launcher.core.planning import plan

NAMES = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=12)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
KEYS = st.sampled_from(
    [
        *("kind", "metadata", "algorithm", "spec", "job_config", "name", "id", "description", "annotations", "value"),
        *("code_dir", "boot_file", "command", "parameters", "inputs", "outputs", "engine", "environments", "policies"),
        *("auto_search", "constraint", "type", "valid_type", "valid_range", "remote", "obs", "obs_url", "local_dir"),
        *("resource", "node_count", "log_export_path", "period", "remote_constraint", "attributes", "volumes"),
        *("search_params", "reward_attrs", "regex", "lower_bound", "resource_requirements", "values", "status"),
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.sampled_from(
        ["job", "/bucket/code/", "/bucket/code/a.py", "obs://bucket/x", "True", "1", "1e3", "Float", "Range"]
    ),
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | NAMES, inner, max_size=6), max_leaves=40
)


def value_text(kind: str) -> st.SearchStrategy[str]:
    by_kind = {
        "String": TEXTS,
        "Boolean": st.sampled_from(["True", "false"]),
        "Integer": st.integers(-1000, 1000).map(str),
    }
    return by_kind.get(kind, st.floats(-1e3, 1e3).map(repr))


@st.composite
def parameters(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for name in draw(st.lists(NAMES, max_size=5, unique=True)):
        kind = draw(st.sampled_from(["String", "Integer", "Float", "Boolean"]))
        value = draw(value_text(kind))
        parameter: dict[str, Any] = {"name": name, "value": value, "constraint": {"type": kind}}
        if draw(st.booleans()):
            parameter["description"] = draw(st.text(string.ascii_letters + " -_,.学习率", max_size=20))
        if draw(st.booleans()):
            parameter["i18n_description"] = [{"language": "zh", "description": "x"}] * draw(st.integers(0, 2))
        made.append(parameter)
    return made


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    algorithm: dict[str, Any] = {"code_dir": "obs://bucket/code/", "boot_file": "/bucket/code/train.py"}
    algorithm["parameters"] = draw(parameters())
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    algorithm["inputs"] = [
        {"name": f"in-{name}", "remote": {"obs": {"obs_url": f"s3://bucket/{name}"}}} for name in names
    ]
    algorithm["outputs"] = [
        {
            "name": f"out-{name}",
            "prefetch_to_local": True,
            "remote": {"obs": {"obs_url": f"/bucket/{name}/"}},
            "period": 5,
        }
        for name in names
    ]
    if draw(st.booleans()):
        algorithm["environments"] = {"A_1": draw(TEXTS.filter(lambda text: "$" not in text))}
    return {
        "kind": "job",
        "metadata": {"name": draw(NAMES), "annotations": {"a": draw(TEXTS)}},
        "algorithm": algorithm,
        "spec": {"resource": {"node_count": 1}, "tasks": None} if draw(st.booleans()) else None,
        "endpoints": draw(st.none() | st.dictionaries(NAMES, st.integers(), max_size=2)),
    }


def read(document: Any) -> Any:
    return read_document(json.dumps(document).encode(), "x.json")


@given(jobs())
def test_parse_dump_parse_is_the_identity_for_jobs(document: dict[str, Any]) -> None:
    job = parse_job(read(document), Log())
    assert parse_job(read(JOB.dump(job)), Log()) == job


@given(parameters(), st.booleans())
def test_parse_dump_parse_is_the_identity_for_algorithms(found: list[dict[str, Any]], free: bool) -> None:  # noqa: FBT001
    document = {
        "metadata": {"name": "a", "tags": [{"key": 1}]},
        "job_config": {
            "code_dir": "/bucket/c/",
            "boot_file": "/bucket/c/a.py",
            "parameters": found,
            "parameters_customization": free,
        },
        "resource_requirements": [{"key": "flavor_type", "value": ["CPU"], "operator": "in"}],
    }
    algorithm = parse_algorithm(read(document), Log())
    assert parse_algorithm(read(ALGORITHM.dump(algorithm)), Log()) == algorithm


@given(JSON)
@settings(max_examples=500)
def test_no_document_raises_anything_but_a_spec_error(document: Any) -> None:
    try:
        plain = read(document)
        if kind_of(plain) == "algorithm":
            parse_algorithm(plain, Log())
        else:
            job = parse_job(plain, Log())
            plan(complete(job, None, Overrides()).job, Facts(environ={}, host="h", started="t"))
    except (SpecError, PlanError):
        pass


def refused_with(data: bytes, name: str) -> SpecError | None:
    try:
        read_document(data, name)
    except SpecError as error:
        return error
    return None


@given(st.binary(max_size=200), st.sampled_from(["a.json", "a.yaml", "-"]))
@settings(max_examples=500)
def test_no_bytes_raise_anything_but_a_spec_error(data: bytes, name: str) -> None:
    error = refused_with(data, name)
    assert error is None or error.problems[0].code == "ModelArts.2787"


@given(st.text("{}[]:,-?&*!|>'\"%@`#ab1. \n\t~", max_size=60))
@settings(max_examples=500)
def test_no_yaml_raises_anything_but_a_spec_error(text: str) -> None:
    error = refused_with(text.encode(), "a.yaml")
    assert error is None or "\n" not in str(error)
