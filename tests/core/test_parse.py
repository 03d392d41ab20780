from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from bad_input import ALGORITHM, GONE, JOB, ROWS

from launcher.core.errors import SpecError
from launcher.core.parse.algorithm import ALGORITHM as ALGORITHM_FORM
from launcher.core.parse.algorithm import parse_algorithm
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import JOB as JOB_FORM
from launcher.core.parse.job import kind_of, parse_job
from launcher.core.parse.text import MOST_BYTES, read_document

BODIES = sorted((Path(__file__).parent.parent / "data" / "modelarts").glob("*create*.json"))
PARSERS: dict[str, Any] = {"job": parse_job, "algorithm": parse_algorithm}
FORMS: dict[str, Any] = {"job": JOB_FORM, "algorithm": ALGORITHM_FORM}


def put(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    made = copy.deepcopy(document)
    *folders, last = path.split(".")
    at = made
    for folder in folders:
        at = at[folder]
    if value is GONE:
        at.pop(last, None)
    else:
        at[last] = value
    return made


def parse(kind: str, document: Any) -> Any:
    return PARSERS[kind](read_document(json.dumps(document).encode(), "x.json"), Log())


def problems(kind: str, document: Any) -> tuple[str, ...]:
    with pytest.raises(SpecError) as error:
        parse(kind, document)
    return tuple(str(problem) for problem in error.value.problems)


def test_the_good_documents_of_the_table_are_good() -> None:
    assert parse("job", JOB).metadata.name == "digits"
    assert parse("algorithm", ALGORITHM).metadata.name == "digits"


@pytest.mark.parametrize(("kind", "path", "value", "messages"), ROWS)
def test_bad_input_is_told_exactly(kind: str, path: str, value: Any, messages: tuple[str, ...]) -> None:
    assert problems(kind, put(JOB if kind == "job" else ALGORITHM, path, value)) == messages


def test_all_problems_of_a_document_are_told_at_once() -> None:
    document = put(put(put(JOB, "metadata.name", "a b"), "algorithm.inputs", 3), "spec.resource.node_count", 0)
    assert [problem.split(":")[0] for problem in problems("job", document)] == [
        "metadata.name",
        "algorithm.inputs",
        "spec.resource.node_count",
    ]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.name)
def test_every_body_of_the_service_is_valid_and_survives_a_dump(body: Path) -> None:
    document = read_document(body.read_bytes(), body.name)
    kind = kind_of(document)
    log = Log()
    parsed = PARSERS[kind](document, log)
    assert log.warnings == []
    assert parse(kind, FORMS[kind].dump(parsed)) == parsed


def test_unknown_keys_are_warnings_with_a_suggestion() -> None:
    log = Log()
    document = put(JOB, "algorithm.outputs", [{"name": "o", "prefetch_to_locall": True}])
    parse_job(read_document(json.dumps(document).encode(), "x.json"), log)
    (warning,) = map(str, log.warnings)
    assert warning == (
        "algorithm.outputs[0].prefetch_to_locall: is not a field of this document and is left alone; "
        "did you mean prefetch_to_local?"
    )


@pytest.mark.parametrize("description", ["Learning rate, initial.", "学习率，初始值。", "a-b_c 1"])
def test_descriptions_of_both_languages_are_valid(description: str) -> None:
    parameters = [{"name": "lr", "description": description}]
    assert parse("job", put(JOB, "algorithm.parameters", parameters)).algorithm.parameters[0].description == description


@pytest.mark.parametrize("several", [False, True])
def test_a_description_in_several_languages_is_a_list_or_one_of_it(*, several: bool) -> None:
    texts = [{"language": "zh", "description": "学习率"}, {"language": "en", "description": "Rate"}][: 1 + several]
    parameters = [{"name": "lr", "i18n_description": texts if several else texts[0]}]
    job = parse("job", put(JOB, "algorithm.parameters", parameters))
    assert len(job.algorithm.parameters[0].i18n_description) == 1 + several
    assert parse("job", JOB_FORM.dump(job)) == job


@pytest.mark.parametrize(
    ("path", "value", "read"),
    [
        ("algorithm.outputs", [{"name": "o", "period": "30s"}], lambda job: job.algorithm.outputs[0].period == 30),
        ("algorithm.outputs", [{"name": "o", "period": 30}], lambda job: job.algorithm.outputs[0].period == 30),
        ("algorithm.environments", {"A": "1"}, lambda job: job.algorithm.environments == {"A": "1"}),
        (
            "algorithm.environments",
            [{"A": "1"}, {"B": 2}],
            lambda job: job.algorithm.environments == {"A": "1", "B": "2"},
        ),
        (
            "spec.resource.flavor_detail",
            {"flavor_info": {"npu": {"unit_num": "8"}, "gpu": {"unit_num": 4}}},
            lambda job: (
                (
                    job.spec.resource.flavor_detail.flavor_info.npu.unit_num,
                    job.spec.resource.flavor_detail.flavor_info.gpu.unit_num,
                )
                == (8, 4)
            ),
        ),
        (
            "algorithm.inputs",
            [
                {
                    "name": "d",
                    "remote_constraint": [{"data_type": "dataset", "attributes": [{"data_format": "Default"}]}],
                }
            ],
            lambda job: job.algorithm.inputs[0].remote_constraints[0].attributes == ((("data_format", "Default"),),),
        ),
        (
            "algorithm.parameters",
            [{"name": "a", "value": 1e-3}, {"name": "b", "value": True}, {"name": "c", "value": None}, {"name": "d"}],
            lambda job: [each.value for each in job.algorithm.parameters[:3]] == ["0.001", "True", None],
        ),
        ("algorithm.working_dir", "/anywhere/at/all", lambda job: job.algorithm.working_dir == "/anywhere/at/all"),
        ("metadata.annotations", {"fault-tolerance/job-retry-num": "3"}, lambda job: job.metadata.annotations),
    ],
)
def test_both_spellings_of_the_service_are_read(path: str, value: Any, read: Any) -> None:
    assert read(parse("job", put(JOB, path, value)))


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("algorithm.code_dir", "file:///srv/a\tb", "a path has no control characters"),
        ("algorithm.working_dir", "/" + "x" * 256, "a name in the path is longer than 255 bytes"),
        ("algorithm.working_dir", "/d" * 600, "a path of 1200 bytes leaves no room for files below it"),
        ("algorithm.environments", ["A=1"], "expected an object of variable names and texts, found 'A=1'"),
    ],
)
def test_more_bad_input(path: str, value: Any, found: str) -> None:
    assert found in problems("job", put(JOB, path, value))[0]


def test_empty_folders_count_as_not_said() -> None:
    assert parse("job", put(JOB, "algorithm.working_dir", "")).algorithm.working_dir == ""


def test_tasks_are_left_alone_with_a_warning() -> None:
    log = Log()
    document = {
        **JOB,
        "tasks": [{"role": "worker"}],
        "status": {"task_statuses": [{"task": "worker-0", "exit_code": 1}]},
    }
    job = parse_job(read_document(json.dumps(document).encode(), "x.json"), log)
    assert job.tasks == '[{"role": "worker"}]'
    assert [warning.path for warning in log.warnings] == ["tasks"]
    assert JOB_FORM.dump(job)["status"] == {"task_statuses": [{"task": "worker-0", "exit_code": 1}]}


@pytest.mark.parametrize("spelling", ["16, 32", ["16", "32"]])
def test_discrete_values_are_a_list_or_one_text(spelling: Any) -> None:
    search = {
        "search_params": [
            {"name": "b", "param_type": "discrete", "discrete_values": spelling, "discrete_points_num": "2"}
        ]
    }
    job = parse("job", put(JOB, "algorithm.policies", {"auto_search": search}))
    assert job.algorithm.policies.auto_search.search_params[0].discrete_values == ("16", "32")


def test_attributes_are_maps_one_map_or_text_and_survive_a_dump() -> None:
    for attributes in ([{"a": "1", "b": 2}], {"a": "1", "b": 2}, '{"a": "1", "b": "2"}'):
        inputs = [{"name": "d", "remote_constraints": [{"attributes": attributes}]}]
        job = parse("job", put(JOB, "algorithm.inputs", inputs))
        assert job.algorithm.inputs[0].remote_constraints[0].attributes == ((("a", "1"), ("b", "2")),)
        assert parse("job", JOB_FORM.dump(job)) == job


def test_truth_values_may_be_texts() -> None:
    constraint = {"editable": "False", "required": "true", "sensitive": False}
    job = parse("job", put(JOB, "algorithm.parameters", [{"name": "a", "value": "1", "constraint": constraint}]))
    found = job.algorithm.parameters[0].constraint
    assert (found.editable, found.required, found.sensitive) == (False, True, False)


def test_the_number_of_points_is_a_number() -> None:
    search = {"search_params": [{"name": "b", "discrete_points_num": "few"}]}
    (problem,) = problems("job", put(JOB, "algorithm.policies", {"auto_search": search}))
    assert "discrete_points_num: expected a whole number, found 'few'" in problem


def test_opaque_values_survive_in_any_spelling_of_yaml() -> None:
    text = b"kind: job\nmetadata: {name: a}\nalgorithm: {id: x}\nendpoints: {a: [+1, 0.5, x, true, null]}\n"
    job = parse_job(read_document(text, "x.yaml"), Log())
    assert job.endpoints == '{"a": ["+1", 0.5, "x", true, null]}'


def test_what_is_no_object_is_no_job() -> None:
    with pytest.raises(SpecError, match="expected an object, found a list"):
        parse_job([], Log())
    with pytest.raises(SpecError, match="expected an object, found nothing"):
        parse_algorithm(None, Log())


@pytest.mark.parametrize("key", ["values", "value"])
def test_requirements_have_two_spellings(key: str) -> None:
    requirement = {"key": "flavor_type", key: ["GPU"], "operator": "in"}
    assert parse("algorithm", put(ALGORITHM, "resource_requirements", [requirement])).resource_requirements[
        0
    ].values == ("GPU",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the document is empty"),
        (b" \n", "the document is empty"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice in one object; keep one"),
        (b'{"a": NaN}', "NaN is no JSON number; write the value as text"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number; write the value as text"),
        (b"[" * 100_000, "the document is nested deeper than 100 levels"),
        (b"[" * 100_000 + b"]" * 100_000, "the document is nested deeper than 100 levels"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "the document is nested deeper than 100 levels"),
        (b"{" + b" " * MOST_BYTES, f"the document is larger than {MOST_BYTES} bytes; is this a job file at all?"),
        (b'\xff\xfe{\x00"\x00', "the document is UTF-16 or UTF-32; save it as UTF-8"),
        (b'{\x00"\x00}\x00', "the document is UTF-16 or UTF-32; save it as UTF-8"),
        (b'{\n"a": "\xe9"}', "byte 0xe9 in line 2 is not UTF-8; save the document as UTF-8"),
        (b'{"a": 1', "no valid JSON in line 1, column 8: Expecting ',' delimiter"),
        (b'{"a": 1} x', "no valid JSON in line 1, column 10: Extra data"),
    ],
)
def test_unreadable_json_is_told(data: bytes, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)) as error:
        read_document(data, "job.json")
    assert error.value.problems[0].code == "ModelArts.2787"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: &x 1\nb: *x\n", "no valid YAML in line 2, column 4: aliases are not read; write the value out"),
        (b"a: 1\na: 2\n", "no valid YAML in line 2, column 1: the key 'a' stands twice in one object; keep one"),
        (b"- " * 1_000 + b"a", "the document is nested deeper than 100 levels"),
        (
            b"a: !!python/object/apply:os.system [id]",
            "tags such as 'tag:yaml.org,2002:python/object/apply:os.system' are not read",
        ),
        (b"a: !!timestamp 20x", "tags such as 'tag:yaml.org,2002:timestamp' are not read; write the plain value"),
        (b"a: !!bool maybe", "tags such as 'tag:yaml.org,2002:bool' are not read"),
        (b"!own {a: 1}", "tags such as '!own' are not read"),
        (b"a: [", "no valid YAML in line 1, column 5"),
        (b"a: \x01", "no valid YAML: unacceptable character #x0001"),
        (b"", "the document is empty"),
        (b"? [a]\n: 1", "no valid YAML in line 1, column 3: a key must be text"),
        (b"--- 1\n--- 2\n", "expected a single document in the stream"),
    ],
)
def test_unreadable_yaml_is_told(data: bytes, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        read_document(data, "job.yaml")


@pytest.mark.parametrize("text", [b'{"kind": "job"}', b"kind: job"])
def test_what_a_document_without_a_name_is_its_first_letter_tells(text: bytes) -> None:
    assert read_document(text, "-") == {"kind": "job"}


def test_a_byte_order_mark_is_no_matter() -> None:
    assert read_document(b'\xef\xbb\xbf{"a": "1"}', "x.json") == {"a": "1"}
    assert read_document(b"\xef\xbb\xbfa: 1\n", "x.yaml") == {"a": "1"}


def test_yaml_values_stay_as_they_are_written() -> None:
    text = b"a: 1e-3\nb: yes\nc: true\nd: 2024-01-01\ne: 1:30\nf: 0x1F\ng: ~\nh: 0.10\ni: 0777\n"
    assert read_document(text, "x.yaml") == {
        "a": "1e-3",
        "b": "yes",
        "c": True,
        "d": "2024-01-01",
        "e": "1:30",
        "f": "0x1F",
        "g": None,
        "h": "0.10",
        "i": "0777",
    }


@pytest.mark.parametrize("document", [[], "text", None, {"a": 1}])
def test_what_is_neither_job_nor_algorithm_is_told(document: Any) -> None:
    assert kind_of(document).startswith("expected a job")


@pytest.mark.parametrize(
    "name", ["mask", "vctk", "manifest", "main_data", "mapped_images", "user", "home", "s3data", "env1"]
)
def test_ordinary_names_are_no_variables_that_steer_programs(name: str) -> None:
    inputs = [{"name": name, "access_method": "env"}]
    assert parse("job", put(JOB, "algorithm.inputs", inputs)).algorithm.inputs[0].name == name


@pytest.mark.parametrize(
    "name", ["PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "MA_HOME", "AWS_PROFILE", "http_proxy", "HTTPS_PROXY"]
)
def test_variables_that_steer_programs_are_no_channels(name: str) -> None:
    assert (
        "would steer programs"
        in problems("job", put(JOB, "algorithm.inputs", [{"name": name, "access_method": "env"}]))[0]
    )


def test_a_clash_is_told_beside_all_else() -> None:
    document = put(JOB, "algorithm.parameters", [{"name": "data_url", "value": "1"}])
    assert problems("job", put(document, "spec.resource.node_count", 0)) == (
        "algorithm.parameters[0].name: 'data_url' is also the name of inputs[0]; rename one of them (ModelArts.2767)",
        "spec.resource.node_count: expected a whole number from 1 to 100000, found 0 (ModelArts.2793)",
    )
