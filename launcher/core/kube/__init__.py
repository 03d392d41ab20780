"""A job as manifests of Kubernetes: plain values in, plain values out, and no secret in them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from launcher.core.errors import Problem, SpecError
from launcher.core.kube.kinds import KINDS
from launcher.core.kube.names import object_name
from launcher.core.kube.pod import ALGORITHM_FILE, JOB_FILE, Subject
from launcher.core.kube.secrets import withhold
from launcher.core.parse.algorithm import ALGORITHM
from launcher.core.parse.job import job_document
from launcher.core.spec import Algorithm, AlgorithmMetadata, JobConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.core.kube.wishes import Wishes
    from launcher.core.spec import Job

MOST_BYTES = 1024 * 1024
"""What a ConfigMap may hold, all its keys together."""

_UNSEEN = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""Controls, and what YAML takes for the end of a line or of a document."""


def manifests(job: Job, wishes: Wishes, known: Sequence[str] = ()) -> tuple[Mapping[str, Any], ...]:
    """The objects that run a completed job, in the order in which they are applied; the body's ConfigMap is the first.

    `known` are values that were given by reference and must not be told. Raises SpecError with every problem.
    """
    withheld = withhold(job_document(job), wishes, known)
    subject = Subject(job=job, wishes=wishes, name=object_name(job.metadata), withheld=withheld)
    return (_config(subject), *KINDS[wishes.kind](subject))


def _config(subject: Subject) -> dict[str, Any]:
    bodies = {JOB_FILE: subject.withheld.body}
    if subject.wishes.requirements:
        bodies[ALGORITHM_FILE] = _algorithm(subject)
    texts = {name: _text(body) for name, body in bodies.items()}
    if _size(texts) > MOST_BYTES:
        texts = {name: _text(body, indent=None) for name, body in bodies.items()}
    if _size(texts) > MOST_BYTES:
        message = (
            f"has {_size(texts)} bytes as it would stand in a ConfigMap, which holds {MOST_BYTES}; shorten it: what is "
            "long can lie in a file of the code directory or of an input"
        )
        raise SpecError([Problem(path="the job's body", message=message)])
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": subject.metadata(), "data": texts}


def _algorithm(subject: Subject) -> Any:
    """An algorithm that says nothing but its constraints: the rest of it is laid into the job already.

    It is called as the job calls it, by id or else by name: there are no constraints without one of them.
    """
    own = subject.job.algorithm
    known = own.id if own else None
    made = Algorithm(
        metadata=AlgorithmMetadata(id=known, name=own.name if own and known is None else None),
        job_config=JobConfig(),
        resource_requirements=subject.wishes.requirements,
    )
    return ALGORITHM.dump(made)


def _size(texts: Mapping[str, str]) -> int:
    return sum(len(text.encode()) for text in texts.values())


def _text(body: Any, indent: int | None = 1) -> str:
    """JSON that a person can read, where it has indents, and that no reader of YAML breaks into other lines."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(body, ensure_ascii=False, indent=indent, separators=separators) + "\n"
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
