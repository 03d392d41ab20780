"""What an input's constraints demand of a dataset: read from the algorithm, asked of each sample and of the whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from launcher.core.dataset import Rules
from launcher.core.dataset.faults import WrongError
from launcher.core.dataset.rules import check_sample, read_rules, wrong_source, wrong_split
from launcher.core.dataset.sample import Sample, read_sample
from launcher.core.spec import RemoteConstraint

PATH = "algorithm.inputs[0].remote_constraints"


def constraint(data_type: str | None = "dataset", **attributes: str) -> RemoteConstraint:
    return RemoteConstraint(data_type=data_type, attributes=(tuple(attributes.items()),))


def sample(**fields: Any) -> Sample:
    return read_sample(json.dumps({"source": "a.jpg", **fields}).encode(), 1)


def labelled(kind: str, **fields: Any) -> Sample:
    return sample(annotation=[{"type": f"modelarts/{kind}", "name": "x", "annotation-loc": "a.xml"}], **fields)


def refused(found: Sample, **rules: Any) -> str | None:
    try:
        check_sample(found, Rules(**rules))
    except WrongError as wrong:
        return f"{wrong.where}: {wrong.message}"
    return None


@pytest.mark.parametrize(
    ("attributes", "rules"),
    [
        ({}, {}),
        ({"data_format": "Default"}, {"formats": ("Default",)}),
        ({"data_format": "default,CarbonData"}, {"formats": ("Default", "CarbonData")}),
        ({"data_format": '["Default", "CarbonData", "Default"]'}, {"formats": ("Default", "CarbonData")}),
        ({"data_segmentation": "Segmented dataset"}, {"segmentation": "segmented"}),
        ({"data_segmentation": "Dataset not segmented"}, {"segmentation": "not segmented"}),
        ({"data_segmentation": "not_segmented"}, {"segmentation": "not segmented"}),
        ({"data_segmentation": "Unlimited"}, {}),
        ({"data_segmentation": "segmented,unlimited"}, {}),
        ({"data_segmentation": "segmented,unsegmented"}, {}),
        ({"dataset_type": "0"}, {"kinds": ("image_classification",)}),
        ({"dataset_type": "[200, 400]"}, {"kinds": ("audio_classification", "table")}),
        ({"dataset_type": "Sound classification"}, {"kinds": ("audio_classification",)}),
        ({"dataset_type": "modelarts/object_detection"}, {"kinds": ("object_detection",)}),
        (
            {"dataset_type": "0", "data_segmentation": "segmented"},
            {"kinds": ("image_classification",), "segmentation": "segmented"},
        ),
    ],
)
def test_the_attributes_of_a_constraint_become_rules(attributes: dict[str, str], rules: dict[str, Any]) -> None:
    assert read_rules([constraint(**attributes)], PATH) == (Rules(sources=("dataset",), **rules), ())


def test_what_several_constraints_allow_is_allowed_together() -> None:
    constraints = [
        constraint("OBS"),
        constraint("dataset", dataset_type="0", data_format="Default"),
        RemoteConstraint(data_type="dataset", attributes=((("dataset_type", "1"),), (("data_format", "CarbonData"),))),
    ]
    rules, problems = read_rules(constraints, PATH, missing=0.1, buckets=("other",))
    assert rules == Rules(
        sources=("obs", "dataset"),
        formats=("Default", "CarbonData"),
        kinds=("image_classification", "object_detection"),
        missing=0.1,
        buckets=("other",),
    )
    assert problems == ()
    assert read_rules([RemoteConstraint()], PATH) == (Rules(), ())


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (constraint("tape"), f"{PATH}[0].data_type: expected obs or dataset, found 'tape'"),
        (
            constraint(data_format="Default,TFRecord"),
            f"{PATH}[0].attributes[0].data_format: expected Default or CarbonData, found 'TFRecord'",
        ),
        (
            constraint(data_format="[1"),
            f"{PATH}[0].attributes[0].data_format: expected Default or CarbonData, found '[1'",
        ),
        (
            constraint(data_segmentation="half"),
            f"{PATH}[0].attributes[0].data_segmentation: expected segmented, not segmented or unlimited, found 'half'",
        ),
        (
            constraint(data_fromat="Default"),
            f"{PATH}[0].attributes[0].data_fromat: unknown constraint; did you mean data_format?",
        ),
        (
            constraint(colour="red"),
            (
                f"{PATH}[0].attributes[0].colour: unknown constraint; "
                "known are data_format, data_segmentation, dataset_type"
            ),
        ),
        (
            constraint(data_segmentation="segmented", dataset_type="0,3"),
            (
                f"{PATH}: data_segmentation: only image_classification, object_detection, text_classification, "
                "audio_classification datasets can be segmented, and dataset_type allows image_segmentation"
            ),
        ),
    ],
)
def test_values_that_mean_nothing_are_told_where_they_stand(found: RemoteConstraint, message: str) -> None:
    (problem,) = read_rules([found], PATH)[1]
    assert str(problem) == f"{message} (ModelArts.2753)"


@pytest.mark.parametrize("value", ["2", "image", "9" * 5000, "²"])
def test_a_dataset_type_that_does_not_exist_is_told_with_those_that_do(value: str) -> None:
    (problem,) = read_rules([constraint(dataset_type=value)], PATH)[1]
    assert "expected a dataset type: 0 (image_classification), 1 (object_detection), 3 " in problem.message
    assert len(problem.message) < 500


def test_a_place_of_the_wrong_kind_is_refused() -> None:
    assert wrong_source(Rules(), dataset=True) is None
    assert wrong_source(Rules(sources=("obs", "dataset")), dataset=False) is None
    assert "allows a dataset only" in str(wrong_source(Rules(sources=("dataset",)), dataset=False))
    assert "data storage path only" in str(wrong_source(Rules(sources=("obs",)), dataset=True))


def test_the_format_of_each_sample_is_checked() -> None:
    carbon = sample(**{"source-type": "CarbonData"})
    for found, format_ in ((carbon, "CarbonData"), (sample(), "Default")):
        assert refused(found, formats=(format_,)) is None
        assert refused(found, formats=("Default", "CarbonData")) is None
        assert refused(found) is None
    assert refused(sample(), formats=("CarbonData",)) == "source-type: expected the data_format CarbonData, found null"
    assert refused(carbon, formats=("Default",)) == 'source-type: expected the data_format Default, found "CarbonData"'


FRAME = {"property": {"@modelarts:parent_source": "v.mp4"}}


@pytest.mark.parametrize(
    ("found", "kinds", "wrong"),
    [
        (labelled("image_classification"), ("image_classification",), None),
        (labelled("image_classification"), ("free_format", "table"), None),
        (
            labelled("object_detection"),
            ("image_classification", "text_entity"),
            "annotation: expected the dataset_type image_classification or text_entity, found object_detection",
        ),
        (labelled("object_detection", **FRAME), ("video",), None),
        (
            labelled("object_detection", **FRAME),
            ("object_detection",),
            "annotation: expected the dataset_type object_detection, found video",
        ),
        (
            sample(
                annotation=[
                    {
                        "type": "text_entity",
                        "property": {"@modelarts:start_index": 0, "@modelarts:end_index": 1},
                    }
                ]
            ),
            ("text_triplet",),
            None,
        ),
        (sample(), ("image_classification",), None),
        (sample(**{"sample-type": 0}), ("image_classification",), None),
        (sample(**{"sample-type": 0}), ("video",), None),
        (
            sample(source="content://a b"),
            ("image_classification",),
            ": expected the dataset_type image_classification, found a sample of text",
        ),
        (sample(**{"source-type": "CarbonData"}), ("table",), None),
        (
            sample(**{"source-type": "CarbonData"}),
            ("text_entity",),
            "annotation: expected the dataset_type text_entity, found table",
        ),
    ],
)
def test_the_kind_of_each_sample_is_checked(found: Sample, kinds: tuple[str, ...], wrong: str | None) -> None:
    assert refused(found, kinds=kinds) == wrong


def test_a_segmented_dataset_has_a_usage_in_each_sample_of_a_kind_that_can_be_segmented() -> None:
    assert refused(labelled("image_classification", usage="eval"), segmentation="segmented") is None
    assert refused(sample(usage="TRAIN"), segmentation="segmented") is None
    assert str(refused(sample(), segmentation="segmented")).startswith("usage: expected one, as a segmented dataset")
    assert str(refused(labelled("image_segmentation", usage="TRAIN"), segmentation="segmented")).endswith(
        "found image_segmentation"
    )


def test_a_dataset_that_is_not_segmented_has_training_samples_only() -> None:
    for usage in ("train", "", "INFERENCE"):
        assert refused(sample(usage=usage), segmentation="not segmented") is None
    for usage in ("eval", "TEST"):
        assert str(refused(sample(usage=usage), segmentation="not segmented")).startswith("usage: expected none but")


@pytest.mark.parametrize(
    ("usages", "lacking"),
    [
        ({"TRAIN": 1, "EVAL": 1}, None),
        ({"TRAIN": 1, "TEST": 1}, None),
        ({"TRAIN": 1}, "EVAL or TEST"),
        ({"EVAL": 1}, "TRAIN"),
    ],
)
def test_a_segmented_dataset_has_a_part_to_train_and_one_to_evaluate(
    usages: dict[str, int], lacking: str | None
) -> None:
    wrong = wrong_split(Rules(segmentation="segmented"), usages)
    assert wrong == (
        lacking and f"a segmented dataset was demanded (data_segmentation), and no sample has the usage {lacking}"
    )
    assert wrong_split(Rules(segmentation="not segmented"), usages) is None
