from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from launcher.core.complete import Completed, Overrides, complete, find_algorithm, names_unknown_algorithm
from launcher.core.errors import SpecError
from launcher.core.parse.algorithm import parse_algorithm
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import job_document, parse_job
from launcher.core.parse.text import read_document
from launcher.core.spec import Job, JobMetadata

if TYPE_CHECKING:
    from launcher.core.spec import Algorithm


def job(**algorithm: Any) -> Job:
    document = {"kind": "job", "metadata": {"name": "j"}, "algorithm": {"id": "a-1", **algorithm}}
    return parse_job(read_document(json.dumps(document).encode(), "job.json"), Log())


def algorithm(**config: Any) -> Algorithm:
    parameters = [
        {
            "name": "lr",
            "value": "0.1",
            "constraint": {"type": "Float", "valid_type": "Range", "valid_range": ["0", "1"]},
        },
        {"name": "fixed", "value": "1", "constraint": {"editable": False}},
        {"name": "needed", "value": "x", "constraint": {"required": True}},
    ]
    document = {
        "metadata": {"id": "a-1", "name": "alg"},
        "job_config": {
            "code_dir": "/bucket/code/",
            "boot_file": "/bucket/code/train.py",
            "parameters": parameters,
            "inputs": [{"name": "data", "description": "from the algorithm"}],
            "outputs": [{"name": "out", "prefetch_to_local": True}],
            **config,
        },
        "advanced_config": {"auto_search": {"search_params": [{"name": "lr"}]}},
    }
    return parse_algorithm(read_document(json.dumps(document).encode(), "algorithm.json"), Log())


CHANNELS: dict[str, Any] = {
    "inputs": [{"name": "data", "remote": {"obs": {"obs_url": "obs://bucket/data/"}}}],
    "outputs": [{"name": "out", "remote": {"obs": {"obs_url": "obs://bucket/out/"}}}],
}


def laid(*, over: Algorithm | None = None, overrides: Overrides | None = None, **own: Any) -> Completed:
    return complete(job(**CHANNELS, **own), over or algorithm(), overrides or Overrides())


def values(completed: Completed) -> dict[str, Any]:
    assert completed.job.algorithm is not None
    return {each.name: each.value for each in completed.job.algorithm.parameters}


def refused(**own: Any) -> list[str]:
    with pytest.raises(SpecError) as error:
        laid(**own)
    return [str(problem) for problem in error.value.problems]


def test_the_algorithm_gives_what_the_job_does_not_say() -> None:
    whole = laid().job.algorithm
    assert whole is not None
    assert (whole.code_dir, whole.boot_file) == ("/bucket/code/", "/bucket/code/train.py")
    assert whole.inputs[0].description == "from the algorithm"
    assert whole.outputs[0].prefetch_to_local is True
    assert whole.policies is not None
    assert whole.policies.auto_search is not None


def test_values_of_the_job_lie_over_the_algorithms_in_its_order() -> None:
    completed = laid(parameters=[{"name": "mine", "value": "m"}, {"name": "lr", "value": "0.5"}])
    assert list(values(completed).items()) == [("lr", "0.5"), ("fixed", "1"), ("needed", "x"), ("mine", "m")]


def test_the_command_line_lies_over_both() -> None:
    overrides = Overrides(values=(("lr", "0.9"), ("new", "n")), variables=(("A", "1"),))
    completed = laid(
        overrides=overrides, parameters=[{"name": "lr", "value": "0.5"}], environments={"A": "0", "B": "2"}
    )
    assert (values(completed)["lr"], values(completed)["new"]) == ("0.9", "n")
    assert completed.job.algorithm is not None
    assert completed.job.algorithm.environments == {"A": "1", "B": "2"}


def test_null_deletes_what_is_not_required() -> None:
    assert "lr" not in values(laid(parameters=[{"name": "lr", "value": None}]))


def test_an_unset_value_keeps_the_default() -> None:
    assert values(laid(parameters=[{"name": "lr"}]))["lr"] == "0.1"


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (
            {"parameters": [{"name": "lr", "value": "2"}]},
            "algorithm.parameters[0]: expected 0 to 1, found 2 (ModelArts.2769)",
        ),
        (
            {"parameters": [{"name": "fixed", "value": "2"}]},
            "algorithm.parameters[0]: the algorithm fixes 'fixed' (editable is false); leave it out (ModelArts.2814)",
        ),
        (
            {"parameters": [{"name": "needed", "value": None}]},
            "algorithm.parameters[0]: 'needed' is required and cannot be deleted; give a value (ModelArts.2766)",
        ),
        (
            {"parameters": [{"name": "needed", "value": ""}]},
            (
                "hyperparameter needed: is required and has no value; give one in the job or with --set needed=VALUE "
                "(ModelArts.2766)"
            ),
        ),
        (
            {"parameters": [{"name": "mine", "value": "1"}], "over": algorithm(parameters_customization=False)},
            (
                "algorithm.parameters[0]: the algorithm takes no hyperparameter 'mine' of the job's own; "
                "it has: lr, fixed, needed (ModelArts.2814)"
            ),
        ),
        (
            {"overrides": Overrides(values=(("a b", "1"),))},
            "--set a b: expected a hyperparameter name of 1 to 64 letters, digits, '-' and '_' (ModelArts.2788)",
        ),
        (
            {"overrides": Overrides(values=(("a", "x\udcff"),))},
            "--set a: half of a surrogate pair is no text; write the whole character (ModelArts.2788)",
        ),
        (
            {"overrides": Overrides(variables=(("A", "$B"),))},
            "--env A: a value is not expanded and may hold no '$'; write it out (ModelArts.2788)",
        ),
        (
            {"over": algorithm(inputs=[{"name": "other"}])},
            "algorithm.inputs[0].remote.obs.obs_url: is missing; where does 'other' lie? (ModelArts.2791)",
        ),
        (
            {"over": algorithm(outputs=[], parameters=[{"name": "out", "value": "1"}])},
            "algorithm.parameters[0].name: 'out' is also the name of outputs[0]; rename one of them (ModelArts.2767)",
        ),
        (
            {
                "over": algorithm(parameters_customization=False),
                "policies": {"auto_search": {"search_params": [{"name": "nn"}]}},
            },
            (
                "algorithm.policies.auto_search.search_params[0].name: no hyperparameter is called 'nn'; "
                "the algorithm takes none of the job's own (ModelArts.2814)"
            ),
        ),
        (
            {"code_dir": "/bucket/elsewhere/"},
            (
                "algorithm.boot_file: expected a file below /bucket/elsewhere/, found '/bucket/code/train.py' "
                "(ModelArts.2792)"
            ),
        ),
    ],
)
def test_what_does_not_fit_together_is_told(own: dict[str, Any], message: str) -> None:
    assert message in refused(**own)


def test_a_search_name_that_no_parameter_has_is_a_warning_where_the_job_may_bring_its_own() -> None:
    completed = laid(policies={"auto_search": {"search_params": [{"name": "nn"}]}})
    (warning,) = map(str, completed.warnings)
    assert warning == (
        "algorithm.policies.auto_search.search_params[0].name: no hyperparameter is called 'nn'; "
        "it is passed to the boot file all the same"
    )


def test_an_algorithm_is_found_by_id_or_else_by_name() -> None:
    known = [algorithm()]
    assert find_algorithm(job(), known) is known[0]
    assert find_algorithm(job(id="other"), known) is None
    assert find_algorithm(job(id=None, name="alg"), known) is known[0]


def test_a_lone_body_without_an_id_is_the_one_that_is_meant() -> None:
    body = algorithm()
    nameless = replace(body, metadata=replace(body.metadata, id=None))
    assert find_algorithm(job(id="other"), [nameless]) is nameless
    assert find_algorithm(job(id="other"), [nameless, body]) is None


def test_a_typo_on_the_command_line_is_no_new_parameter_of_a_closed_job() -> None:
    own = job(id=None, code_dir="/bucket/c/", boot_file="/bucket/c/a.py", parameters_customization=False)
    with pytest.raises(SpecError, match="takes no hyperparameter 'lrr'"):
        complete(own, None, Overrides(values=(("lrr", "1"),)))


def test_a_job_without_an_algorithm_names_none() -> None:
    bare = Job(kind="job", metadata=JobMetadata(name="j"))
    assert (find_algorithm(bare, [algorithm()]), names_unknown_algorithm(bare, None)) == (None, None)


def test_an_algorithm_that_only_the_service_knows_is_refused_with_the_way_out() -> None:
    assert names_unknown_algorithm(job(), None) == "a-1"
    with pytest.raises(SpecError, match="only the service knows the algorithm 'a-1'; give its body with --algorithm"):
        complete(job(), None, Overrides())


def test_a_dataset_gets_its_place_from_the_body_or_the_command_line() -> None:
    dataset = {"inputs": [{"name": "data", "remote": {"dataset": {"id": "d", "version_id": "v"}}}]}
    own = job(**{**CHANNELS, **dataset})
    given = complete(own, algorithm(), Overrides(datasets=(("d/v", "obs://bucket/set/"),)))
    assert given.job.algorithm is not None
    remote = given.job.algorithm.inputs[0].remote
    assert remote is not None
    assert remote.obs is not None
    assert remote.obs.obs_url == "obs://bucket/set/"
    with pytest.raises(SpecError, match="--dataset d/v=obs://bucket/key/") as error:
        complete(own, algorithm(), Overrides())
    assert error.value.problems[0].code == "ModelArts.2782"
    again = complete(parse_job(job_document(given.job), Log()), None, Overrides()).job.algorithm
    assert again is not None
    assert again.inputs[0].remote is not None
    assert again.inputs[0].remote.obs == remote.obs
    unused = complete(own, algorithm(), Overrides(datasets=(("d/v", "obs://bucket/set/"), ("x/y", "obs://bucket/"))))
    assert [str(each) for each in unused.warnings] == [
        "--dataset x/y: no input of the job is this dataset; it has: d/v"
    ]
    manifest = complete(own, algorithm(), Overrides(datasets=(("d/v", "obs://bucket/V1.manifest"),)))
    assert manifest.warnings == ()
    with pytest.raises(SpecError, match="expected obs://bucket/key/, found 'nonsense'"):
        complete(own, algorithm(), Overrides(datasets=(("d/v", "nonsense"),)))


def test_a_channel_of_a_command_may_not_steer_programs() -> None:
    own = {"inputs": [{"name": "LD_PRELOAD", "remote": {"obs": {"obs_url": "obs://bucket/x"}}}]}
    document = job(id=None, command="true", engine={"image_url": "a:1"}, **own)
    with pytest.raises(SpecError, match="as a variable of the command 'LD_PRELOAD' would steer programs"):
        complete(document, None, Overrides())


def constrained(*constraints: dict[str, Any], url: str = "obs://bucket/data/", **remote: Any) -> list[str]:
    channel = {"name": "data", "remote": {"obs": {"obs_url": url}, **remote}, "remote_constraints": list(constraints)}
    own = job(id=None, code_dir="/bucket/c/", boot_file="/bucket/c/a.py", inputs=[channel])
    try:
        complete(own, None, Overrides(datasets=(("d/v", "obs://bucket/set/"),)))
    except SpecError as error:
        return [str(each) for each in error.problems]
    return []


def test_what_an_algorithm_demands_of_its_data_is_held_against_its_place() -> None:
    dataset, plain = {"data_type": "dataset"}, {"data_type": "obs"}
    assert constrained(dataset) == [
        (
            "algorithm.inputs[0].remote: is a data storage path, but the algorithm's constraint allows a dataset only "
            "(data_type dataset) (ModelArts.2753)"
        )
    ]
    assert constrained(plain, url="obs://bucket/V1.manifest")[0].startswith("algorithm.inputs[0].remote: is a dataset,")
    assert (
        constrained(plain) == constrained(dataset, url="obs://bucket/V1.manifest") == constrained(plain, dataset) == []
    )


def test_constraints_that_mean_nothing_are_told_with_their_place() -> None:
    attributes = [{"data_format": ["pickles"]}]
    (problem,) = constrained({"data_type": "obs", "attributes": attributes})
    assert problem.startswith("algorithm.inputs[0].remote_constraints[0].attributes[0].data_format")


def annotated(**annotations: str) -> Completed:
    own = job(**CHANNELS)
    said = {f"launcher/{name}": text for name, text in annotations.items()}
    return complete(replace(own, metadata=replace(own.metadata, annotations=said)), algorithm(), Overrides())


def test_annotations_of_the_launcher_are_checked_with_their_path() -> None:
    assert annotated(**{"include.data": "*.jpg", "exclude.out": "*.tmp"}).warnings == ()
    assert "did you mean launcher/include" in str(annotated(**{"inclde.data": "*"}).warnings[0])
    with pytest.raises(SpecError) as caught:
        annotated(**{"include.other": "*", "extract.data": "yes"})
    assert {each.path for each in caught.value.problems} == {
        'metadata.annotations["launcher/include.other"]',
        'metadata.annotations["launcher/extract.data"]',
    }


def test_annotations_of_the_platform_are_not_looked_at() -> None:
    own = job(**CHANNELS)
    metadata = replace(own.metadata, annotations={"job_template": "yes"})
    assert complete(replace(own, metadata=metadata), algorithm(), Overrides()).warnings == ()


def alone(**own: Any) -> Completed:
    values = own.pop("values", ())
    code = {"code_dir": "/bucket/code/", "boot_file": "/bucket/code/train.py"}
    document = {"kind": "job", "metadata": {"name": "j"}, "algorithm": {**code, **own}}
    parsed = parse_job(read_document(json.dumps(document).encode(), "job.json"), Log())
    return complete(parsed, None, Overrides(values=values))


def test_a_value_over_an_untyped_hyperparameter_leaves_it_untyped() -> None:
    made = alone(parameters=[{"name": "lr", "value": "0.1"}], values=(("lr", "0.2"),)).job.algorithm
    assert made is not None
    assert [(each.value, each.constraint) for each in made.parameters] == [("0.2", None)]


def test_what_is_searched_needs_no_value() -> None:
    required = [{"name": "lr", "constraint": {"type": "Float", "required": True}}]
    search = {"search_params": [{"name": "lr", "lower_bound": "0", "upper_bound": "1"}]}
    with pytest.raises(SpecError, match="hyperparameter lr: is required and has no value"):
        alone(parameters=required)
    assert alone(parameters=required, policies={"auto_search": search}).job.algorithm is not None
