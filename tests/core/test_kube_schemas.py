"""What is printed, against the schemas of Kubernetes itself and of the custom resources, with no field unknown."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from kube_cases import CASES, DATA, WRITTEN, Case, pod_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.core.kube.wishes import Kind

VERSIONS = tuple(f"1.{minor}" for minor in range(28, 35))
NATIVE = {"v1", "batch/v1"}


def strict(schema: Any, *, metadata: bool = False) -> Any:
    """A structural schema as an API server prunes by it: what it does not name is refused.

    The metadata of an object itself is the server's own, and is checked as that of a native one.
    """
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items() if key != "properties"}
    if "properties" in schema:
        made["properties"] = {
            key: strict(value, metadata="apiVersion" in schema["properties"] and key == "metadata")
            for key, value in schema["properties"].items()
        }
    keeps = metadata or schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if schema.get("type") == "object" and not keeps:
        made["additionalProperties"] = False
    return made


@cache
def validator(version: str, kind: str) -> jsonschema.Draft7Validator:
    """The check of one custom resource."""
    path = DATA / "crds" / f"{version.replace('/', '_')}_{kind.lower()}.json"
    return jsonschema.Draft7Validator(strict(json.loads(path.read_text())))


def wrong(value: Mapping[str, Any]) -> list[str]:
    """What a custom resource's schema says against a value."""
    errors = validator(value["apiVersion"], value["kind"]).iter_errors(value)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("case", "kind"), WRITTEN, ids=lambda each: each if isinstance(each, str) else each.name)
def test_kubernetes_takes_every_object_of_its_own(case: Case, kind: Kind, version: str) -> None:
    objects = [each for each in case.objects(kind) if each["apiVersion"] in NATIVE]
    assert objects
    for each in objects:
        kubernetes_validate.validate(copy.deepcopy(each), version, strict=True)


@pytest.mark.parametrize(("case", "kind"), WRITTEN, ids=lambda each: each if isinstance(each, str) else each.name)
def test_the_pods_of_every_kind_are_pods(case: Case, kind: Kind) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": copy.deepcopy(pod_of(case.objects(kind))),
    }
    kubernetes_validate.validate(pod, VERSIONS[0], strict=True)


@pytest.mark.parametrize(("case", "kind"), WRITTEN, ids=lambda each: each if isinstance(each, str) else each.name)
def test_volcano_and_the_trainer_take_theirs(case: Case, kind: Kind) -> None:
    for each in case.objects(kind):
        if each["apiVersion"] not in NATIVE:
            assert wrong(each) == []
            native = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": copy.deepcopy(each["metadata"])}
            kubernetes_validate.validate(native, VERSIONS[0], strict=True)


def test_every_kind_of_object_is_checked() -> None:
    found = {(each["apiVersion"], each["kind"]) for case, kind in WRITTEN for each in case.objects(kind)}
    assert found == {
        ("v1", "ConfigMap"),
        ("v1", "Service"),
        ("v1", "Pod"),
        ("batch/v1", "Job"),
        ("batch.volcano.sh/v1alpha1", "Job"),
        ("trainer.kubeflow.org/v1alpha1", "TrainingRuntime"),
        ("trainer.kubeflow.org/v1alpha1", "TrainJob"),
    }


@pytest.mark.parametrize("kind", ["volcano", "trainjob"])
def test_a_field_that_is_none_is_seen(kind: Kind) -> None:
    """The checks above would be worth nothing if they let an unknown or a wrong field pass, at any depth."""
    for change in (
        lambda pod: pod.update(terminationGraceSeconds=3),
        lambda pod: pod["containers"][0].update(livenessprobe={}),
        lambda pod: pod["containers"][0]["env"][0].update(valueOf="x"),
        lambda pod: pod.update(restartPolicy=["Never"]),
        lambda pod: pod["volumes"][0]["configMap"].update(named="x"),
    ):
        objects = copy.deepcopy(CASES[0].objects(kind))
        change(pod_of(objects))  # type: ignore[no-untyped-call]
        assert [problem for each in objects if each["apiVersion"] not in NATIVE for problem in wrong(each)]


def test_kubernetes_sees_a_field_that_is_none() -> None:
    objects = copy.deepcopy(CASES[0].objects("job"))
    pod_of(objects)["terminationGraceSeconds"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(objects[-1], VERSIONS[0], strict=True)
