"""The job of one trial, and what is said of a job that is searched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from launcher.core.parse.cursor import Log
from launcher.core.parse.job import JOB, parse_job
from launcher.core.parse.text import read_document
from launcher.core.search.trialjob import best_job, nodes_told, single, trial_job, without
from launcher.core.searchspace import searched_algorithm
from launcher.core.spec import Job
from launcher.core.topology import Flags

SEARCH = {"search_params": [{"name": "lr", "lower_bound": "0", "upper_bound": "1"}]}


def job(**algorithm: Any) -> Job:
    document = {
        "kind": "job",
        "metadata": {"name": "j"},
        "algorithm": {
            "code_dir": "obs://bkt/code/",
            "boot_file": "obs://bkt/code/t.py",
            "parameters": [{"name": "lr", "value": "0.1"}, {"name": "kept", "value": "1"}],
            "outputs": [
                {"name": "o", "prefetch_to_local": True, "remote": {"obs": {"obs_url": "obs://bkt/out"}}},
                {"name": "p", "remote": {"obs": {"obs_url": "obs://bkt/p/"}}},
            ],
            "policies": {"auto_search": SEARCH},
            **algorithm,
        },
        "spec": {
            "resource": {"flavor_id": "f", "node_count": 4},
            "log_export_path": {"obs_url": "obs://bkt/log/"},
            "auto_stop": {"time_unit": "HOURS", "duration": 1},
        },
    }
    return read(document)


def read(document: dict[str, Any]) -> Job:
    return parse_job(read_document(json.dumps(document).encode(), "job.json"), Log())


def test_a_trial_runs_alone_and_searches_nothing() -> None:
    made = single(job())
    assert searched_algorithm(made) is None
    assert made.spec is not None
    assert made.spec.resource is not None
    assert made.spec.resource.node_count == 1
    assert made.spec.auto_stop is not None, "it is the search's"
    assert "auto_stop" not in JOB.dump(trial_job(made, "0a1b2c3d", {}))["spec"]


def test_a_trial_has_its_values_and_places_of_its_own() -> None:
    document = JOB.dump(trial_job(single(job()), "0a1b2c3d", {"lr": "0.5", "new": "x"}))
    algorithm = document["algorithm"]
    assert {each["name"]: each["value"] for each in algorithm["parameters"]} == {"lr": "0.5", "kept": "1", "new": "x"}
    places = [each["remote"]["obs"]["obs_url"] for each in algorithm["outputs"]]
    assert places == ["obs://bkt/out/trials/0a1b2c3d/", "obs://bkt/p/trials/0a1b2c3d/"]
    assert [each.get("prefetch_to_local") for each in algorithm["outputs"]] == [False, False]
    assert document["spec"]["log_export_path"]["obs_url"] == "obs://bkt/log/trials/0a1b2c3d/"
    assert document["metadata"]["id"] == "j-0a1b2c3d"
    assert read(document).metadata.id == "j-0a1b2c3d"


def test_a_job_without_a_spec_or_places_is_as_good() -> None:
    bare = read(
        {
            "kind": "job",
            "metadata": {"name": "j"},
            "algorithm": {"command": "x", "engine": {"image_url": "i"}, "outputs": [{"name": "o"}]},
        }
    )
    made = trial_job(single(bare), "0a1b2c3d", {})
    assert made.spec is None
    assert made.algorithm is not None
    assert made.algorithm.outputs[0].remote is None
    nothing = Job(kind="job", metadata=bare.metadata)
    assert trial_job(single(nothing), "0a1b2c3d", {}).algorithm is not None
    assert best_job(nothing, {"a": "1"}).algorithm is not None
    without = read(
        {
            "kind": "job",
            "metadata": {"name": "j"},
            "algorithm": {"command": "x", "engine": {"image_url": "i"}},
            "spec": {},
        }
    )
    assert trial_job(single(without), "0a1b2c3d", {}).spec == without.spec


def test_the_best_job_is_the_job_with_the_best_values() -> None:
    document = JOB.dump(best_job(single(job()), {"lr": "0.5"}))
    algorithm = document["algorithm"]
    assert {each["name"]: each["value"] for each in algorithm["parameters"]} == {"lr": "0.5", "kept": "1"}
    assert algorithm["outputs"][0]["remote"]["obs"]["obs_url"] == "obs://bkt/out"
    assert document["metadata"]["name"] == "j"
    assert not algorithm["policies"].get("auto_search")


def test_a_job_is_written_down_without_its_secrets() -> None:
    environments = {"API_TOKEN": "hush", "PLAIN": "said"}
    parameters = [{"name": "key", "value": "hush"}, {"name": "lr", "value": "0.1"}, {"name": "unset"}]
    left, missing = without(job(environments=environments, parameters=parameters), lambda value: value == "hush")
    assert left.algorithm is not None
    assert [each.name for each in left.algorithm.parameters] == ["lr", "unset"]
    assert left.algorithm.environments == {"PLAIN": "said"}
    assert missing == ("--set=key=…", "--env=API_TOKEN=…")
    nothing = Job(kind="job", metadata=left.metadata)
    assert without(nothing, bool)[1] == ()


def test_a_job_is_searched_where_it_says_what_of() -> None:
    assert searched_algorithm(job()) is not None
    unsaid: tuple[dict[str, Any], ...] = ({"auto_search": {}}, {}, {"auto_search": None})
    for policies in unsaid:
        assert searched_algorithm(job(policies=policies)) is None
    assert searched_algorithm(Job(kind="job", metadata=job().metadata)) is None


@pytest.mark.parametrize(
    ("environ", "flags", "nodes"),
    [
        ({}, Flags(), 4),
        ({"MA_NUM_HOSTS": "8"}, Flags(), 8),
        ({"VC_WORKER_NUM": "x", "PET_NNODES": "1:4"}, Flags(), 4),
        ({}, Flags(nodes=6), 6),
    ],
)
def test_the_nodes_are_those_that_somebody_tells_of(environ: dict[str, str], flags: Flags, nodes: int) -> None:
    assert nodes_told(job(), environ, flags) == nodes
    assert nodes_told(Job(kind="job", metadata=job().metadata), {}, Flags()) == 1
