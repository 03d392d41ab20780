"""From a command line to manifests, as YAML or as a folder: what `launcher kube` does beside reading its options."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import msgspec

from launcher.core.errors import Exit, LauncherError, PlanError, Problem, SpecError
from launcher.core.redact import mask, secret_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from launcher.cli.options import Request
    from launcher.core.complete import Completed
    from launcher.core.kube.wishes import Wishes
    from launcher.core.spec import Job

_FILES = frozenset(
    f"{name}.yaml" for name in ("configmap", "service", "pod", "job", "trainingruntime", "trainjob", "kustomization")
)
"""Every file that a base can have: what is called otherwise is somebody's, whatever stands in it."""
_OTHER_NAMES = ("kustomization.yml", "Kustomization")
"""By these kustomize knows a kustomization too, and takes a folder with two of them for none."""
MARK = "# Written by launcher kube; the next time it is written anew.\n"
_FIELDS_OF_VALUES = re.compile(r"parameters\[|environments|annotations|--set|--env|hyperparameter|search_params")
_TOLD_VALUE = re.compile(r"(?s)(expected one of |found |is no \w+: ).*")
_FIELDS_OF_WORDS = re.compile(r".*\.(type|valid_type|param_type|scale)")
"""What these may be is told: the words are the service's own, and no choice of a hyperparameter."""
_TOLD_WORD = re.compile(r"(?s)(found ).*")
_QUOTED = re.compile(r"[-+.~0-9].*|[yYnN]|(?s:.*[\x7f-\x9f\u2028\u2029\ufeff].*)")
"""What one version of YAML takes for a number is text in another (1e3, 0o17, 1:30); likewise with ends of lines, and
with `y` and `n`, which PyYAML writes as they are and kubectl reads as truth values."""


def rendered(request: Request, environ: Mapping[str, str], wishes: Wishes) -> tuple[Mapping[str, Any], ...]:
    """The manifests of the job that a command line names. Raises LauncherError; no message holds a secret."""
    from launcher.cli import say
    from launcher.core.kube import manifests

    known = secret_values((*environ.items(), *request.overrides.values), request.secrets)
    store = _endpoint(request.store, environ)
    with _discreet(known):
        completed = _completed(request, environ, wishes)
        _check_store(store, completed.job)
    asked = request.resume_from
    wishes = msgspec.structs.replace(wishes, store=store, requirements=completed.requirements, resume_from=asked)
    objects = manifests(completed.job, wishes, known)  # from here on no text of the job holds a secret
    with _discreet(known):
        warnings = (*completed.warnings, *_planned(completed, store, asked))
    for each in warnings:
        say(f"warning: {_without_value(each, known)}")
    return objects


@contextmanager
def _discreet(known: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except SpecError as error:
        raise SpecError([_without_value(each, known) for each in error.problems]) from None


def _completed(request: Request, environ: Mapping[str, str], wishes: Wishes) -> Completed:
    """The whole job. What is required and comes by reference needs no value here."""
    from launcher.cli.load import job_source, load_job
    from launcher.cli.stores import open_store
    from launcher.core.settings import read_settings

    def fetch(url: str) -> bytes:
        return open_store(request.store, environ, read_settings(environ)).read(url)

    document = job_source(request, environ, fetch)  # once: standard input is read only once
    try:
        return load_job(request, environ, fetch, document)
    except SpecError as error:
        paths = {each.path for each in error.problems}
        lacking = [each.name for each in wishes.secrets if f"hyperparameter {each.name}" in paths]
        if not lacking:
            raise
        filled = (*request.overrides.values, *((name, "by reference") for name in lacking))
        overrides = msgspec.structs.replace(request.overrides, values=filled)
        return load_job(msgspec.structs.replace(request, overrides=overrides), environ, fetch, document)


def _planned(completed: Completed, store: str | None, resume: str | None) -> Iterator[Problem]:
    """Warnings of a plan as it can be made without the cluster. Raises SpecError, and PlanError where a store lacks."""
    from launcher.cli.prepare import need_store
    from launcher.cli.stores import Opened
    from launcher.core.facts import Facts
    from launcher.core.planning import plan
    from launcher.core.searchspace import searched_algorithm

    facts = Facts(environ={}, host="localhost", started="19700101T000000Z", preview=True, resume=resume)
    try:
        decided = plan(completed.job, facts)
    except SpecError:
        raise
    except PlanError as error:
        return iter((Problem(path="", message=str(error)),))
    if store is None:
        need_store(decided, Opened())
    found = [*decided.warnings]
    resource = completed.job.spec.resource if completed.job.spec else None
    if searched_algorithm(completed.job) is not None:
        found.append(
            "the job is a search, and the launcher of an image can do one only where its bundle was built for that: "
            "build it with LOCK=search images/build bundle, or take auto_search away"
        )
        if resource and (resource.node_count or 1) > 1:
            found.append(
                f"each of the {resource.node_count} pods searches by itself, and ends with 65 where the study is a "
                "file: let LAUNCHER_STORAGE name a database in the container's env, or ask for one node"
            )
    return (Problem(path="", message=each) for each in found)


def _endpoint(named: str | None, environ: Mapping[str, str]) -> str | None:
    """The store as the launcher in the pod is told it. Raises click.UsageError where it holds a password."""
    from launcher.cli.stores import with_scheme

    endpoint = environ.get("S3_ENDPOINT")
    store = named or (with_scheme(endpoint, environ) if endpoint else None)
    if not store:
        return None
    if not re.fullmatch(r"(https?://[^/@?#\s]+|file://|)(/[^@?#\s]*)?", store) or not store.isprintable():
        raise click.UsageError(
            "--store: expected an endpoint without user, password and query, or an absolute path in the pod."
        )
    return store


def _check_store(store: str | None, job: Job) -> None:
    """Refuse a folder that no volume of the job brings into the pod. Raises SpecError."""
    if store is None or store.startswith("http"):
        return
    path = os.path.normpath(store.removeprefix("file://"))
    mounts = [each.path for each in (job.spec.volumes if job.spec else ())]
    if not any(path == mount or path.startswith(f"{mount}/") for mount in mounts):
        message = f"{path} is in no volume of the job (spec.volumes); mount one there, or give an endpoint"
        raise SpecError([Problem(path="--store", message=message)])


def _without_value(problem: Problem, known: Sequence[str]) -> Problem:
    """A problem whose message shows no value that may be secret: `launcher validate` shows it."""
    from launcher.core.kube.secrets import holds

    path, message = mask(problem.path, known), mask(problem.message, known)
    if _FIELDS_OF_VALUES.search(problem.path):
        told = _TOLD_WORD if _FIELDS_OF_WORDS.fullmatch(problem.path) else _TOLD_VALUE
        message = told.sub(r"\1what is not shown here", message)
    if holds(path, ()):
        path = "a member whose name reads like a secret and is not shown here"
    if holds(message, ()):
        message = "is wrong, or strange, and reads like a secret; launcher validate shows it"
    return msgspec.structs.replace(problem, path=path, message=message)


def yaml_text(value: Mapping[str, Any]) -> str:
    """A manifest as YAML that means the same to every reader, in its own order; texts of several lines as blocks."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
            return True

        def text(self, text: str) -> yaml.ScalarNode:
            style = '"' if _QUOTED.fullmatch(text) else "|" if "\n" in text else None
            return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, Dumper.text)
    written: str = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=2**31)
    return written


def written_base(folder: str, objects: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write a base of kustomize, one file for each object; what was written. Raises LauncherError.

    Files of an earlier base that are of no use any more are deleted; a file that is not ours is never touched.
    """
    from launcher.report import write_whole

    files = {f"{each['kind'].lower()}.yaml": MARK + yaml_text(each) for each in objects}
    base = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(files),
    }
    files["kustomization.yaml"] = MARK + yaml_text(base)
    try:
        os.makedirs(folder, exist_ok=True)
        ours = _ours(folder)
        for name in (*files, *_OTHER_NAMES):
            if os.path.lexists(f"{folder}/{name}") and name not in ours:
                raise LauncherError(
                    f"{folder}/{name} is there and was not written by launcher kube",
                    code="not-ours",
                    action="Give another folder, or move the file away.",
                    exit_code=Exit.NOT_SAVED,
                )
        for name, text in files.items():
            write_whole(f"{folder}/{name}", text.encode())
        for name in ours - files.keys():
            os.unlink(f"{folder}/{name}")
    except OSError as error:
        raise LauncherError(
            f"{folder}: the base cannot be written: {error.strerror}",
            code="base-unwritable",
            action="Give a folder that may be written.",
            exit_code=Exit.NOT_SAVED,
        ) from error
    return [f"{folder}/{name}" for name in files]


def _ours(folder: str) -> set[str]:
    """The files of a folder that an earlier call wrote."""
    found = set()
    for name in os.listdir(folder):
        path = f"{folder}/{name}"
        if name in _FILES and os.path.isfile(path) and not os.path.islink(path):
            with open(path, "rb") as file:
                if file.read(len(MARK)) == MARK.encode():
                    found.add(name)
    return found
