"""A job's body as it may stand in a cluster: without a secret, each of which is given by reference or refused.

Where one is found its place is told, never its value.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

from launcher.core.errors import Problem, SpecError
from launcher.core.frozen import Record
from launcher.core.parse.channels import steers_programs
from launcher.core.parse.cursor import MOST_DEPTH
from launcher.core.parse.job import VARIABLE
from launcher.core.redact import MASK, SHORTEST, assigned, is_secret, mask, spellings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from launcher.core.kube.wishes import Reference, Wishes

PREFIX = "LAUNCHER_SET_"
"""Variables that hold hyperparameters: of the launcher's own names, so that no boot process sees them."""

_OURS = re.compile(
    r"(VK|PET|KUBERNETES)_.*|(ACCESS|SECRET_ACCESS)_KEY(_ID)?|SECURITY_TOKEN|JOB_COMPLETION_INDEX|MASTER_(ADDR|PORT)|RANK"
    r"|WORLD_SIZE"
)
"""Variables that the launcher reads, beside those that steer programs: in the container they would speak to it."""

"""JSON somewhere in a text, as in `--config '{"api_key": "…"}'`, also with its quotes escaped."""
_READS = re.compile(r"\$(\{\w+\}|\w+|\(.*)[)\]},.\\]*")
"""What a shell reads from elsewhere: the way in which a command should have its secrets."""

_NAMES, _VALUES = ("name", "key"), ("value", "valid_range", "discrete_values")


class Withheld(Record, frozen=True, kw_only=True):
    """A body without secrets, the container's variables that bring them, and the launcher's arguments for them."""

    body: dict[str, Any]
    variables: tuple[dict[str, Any], ...] = ()
    arguments: tuple[str, ...] = ()


def withhold(body: Mapping[str, Any], wishes: Wishes, known: Sequence[str] = ()) -> Withheld:
    """Take out what the wishes' references give, and refuse what is secret then, in the wishes too.

    `known` are values that must not be told. Raises SpecError with every place.
    """
    left = _own_copy(body, wishes.hidden)
    algorithm = left["algorithm"]
    given = {each.name: each for each in wishes.secrets}
    values = {*known, *_marked(left)}
    arguments, variables, problems = [], [], _unfit(algorithm, wishes.secrets)
    for number, parameter in enumerate(algorithm["parameters"]):
        reference = given.pop(parameter["name"], None)
        if reference is not None:
            values.add(parameter.pop("value", None) or "")
            parameter.get("constraint", {}).pop("editable", None)  # it is fixed in the secret now
            variable = f"{PREFIX}{number}_{parameter['name'].replace('-', '_').upper()}"
            variables.append(from_secret(variable, reference))
            arguments.append(f"--set={parameter['name']}=@env:{variable}")
    for reference in given.values():
        values.add(algorithm["environments"].pop(reference.name, ""))
        variables.append(from_secret(reference.name, reference))
    problems += [*refused(left, tuple(values)), *_in_options(wishes, tuple(values))]
    if problems:
        raise SpecError(problems)
    return Withheld(body=left, variables=tuple(variables), arguments=tuple(arguments))


def _own_copy(body: Mapping[str, Any], hidden: Sequence[str]) -> dict[str, Any]:
    """The body, with parts of its own where something is changed: the job's own stay whole. What is hidden says so."""
    algorithm = body["algorithm"]
    parameters = [dict(each) for each in algorithm.get("parameters", ())]
    for each in parameters:
        sensitive = {"sensitive": True} if each["name"] in hidden else {}
        if sensitive or "constraint" in each:
            each["constraint"] = {**each.get("constraint", {}), **sensitive}
    environments = dict(algorithm.get("environments", {}))
    return {**body, "algorithm": {**algorithm, "parameters": parameters, "environments": environments}}


def from_secret(name: str, reference: Reference) -> dict[str, Any]:
    """A variable of a container whose value lies in a secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": reference.secret, "key": reference.key}}}


def refused(document: Mapping[str, Any], known: Sequence[str]) -> list[Problem]:
    """Every place of a document that holds a secret, with what to do about it."""
    sought = _sought(known)
    found = dict.fromkeys(where for where, text, named in _texts(document, "", "") if _is(text, named, sought))
    return [Problem(path=mask(_path(where, document), sought), message=_advice(where, document)) for where in found]


def _in_options(wishes: Wishes, known: Sequence[str]) -> Iterator[Problem]:
    """Options, and constraints of the algorithm, that tell a known secret."""
    sought = _sought(known)
    for name, value in msgspec.to_builtins(wishes).items():
        text = json.dumps(value, ensure_ascii=False)
        if mask(text, sought) != text:
            where = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
            yield Problem(path=where, message="holds a secret, and would stand in a manifest; take it out")


_OPTIONS = {
    "requirements": "the algorithm's resource_requirements",
    "pull_secrets": "--image-pull-secret",
    "secrets": "--secret",
    "hidden": "--set",
    "tolerations": "--toleration",
    "claims": "--claim",
}
"""Wishes that are not called as their options are."""


def _sought(known: Sequence[str]) -> tuple[str, ...]:
    return tuple(value for value in spellings(known) if len(value) >= SHORTEST)


def _unfit(algorithm: Mapping[str, Any], references: Sequence[Reference]) -> list[Problem]:
    """References to what can be no variable of a container."""
    parameters = {each["name"] for each in algorithm["parameters"]}
    problems, seen = [], set()
    for each in references:
        at = f"--secret {each.name}"
        if each.name in seen:
            problems.append(Problem(path=at, message="is given twice; keep one"))
        seen.add(each.name)
        if each.name in parameters:
            continue
        if not re.fullmatch(VARIABLE, each.name):
            problems.append(Problem(path=at, message="the job has no hyperparameter of this name, and no variable can"))
        elif _OURS.fullmatch(each.name) or steers_programs(each.name):
            message = "a container's variable of this name speaks to the launcher as well; give it another name"
            problems.append(Problem(path=at, message=message))
    return problems


def _marked(body: Mapping[str, Any]) -> Iterator[str]:
    """The values that say of themselves that they are secret, wherever else they may stand."""
    algorithm = body["algorithm"]
    for each in algorithm["parameters"]:
        value = each.get("value") or ""
        if each.get("constraint", {}).get("sensitive") or is_secret(each["name"], value):
            yield value
    for name, value in algorithm["environments"].items():
        if is_secret(name, value):
            yield value


def _texts(value: Any, where: str, named: str) -> Iterator[tuple[str, str, str]]:
    """Every text of a document, also of the JSON inside a text: where it stands, what it says, what it is called."""
    if isinstance(value, dict):
        for key, inside in value.items():
            step = MASK if holds(key, ()) else key
            yield where, key, ""
            yield from _texts(inside, f"{where}.{step}" if where else step, _name(value, key, named))
    elif isinstance(value, list):
        for index, inside in enumerate(value):
            yield from _texts(inside, f"{where}[{index}]", named)
    elif isinstance(value, str):
        yield where, value, named
        inside = _inside(value)
        if inside is not None:
            yield from ((where, text, name) for _, text, name in _texts(inside, "", ""))


_SENSITIVE = "value of a sensitive parameter"
"""What a value is called whose constraint says that it is sensitive."""


def _name(value: Mapping[str, Any], key: str, named: str) -> str:
    """What a member is called: as the object it is the value of, which its own `name` or its place names."""
    constraint = value.get("constraint")
    sensitive = isinstance(constraint, dict) and constraint.get("sensitive")
    label = next((value[each] for each in _NAMES if isinstance(value.get(each), str)), named)
    if key == "constraint":
        told = isinstance(constraint, dict) and constraint.get("valid_type") == "Range"  # bounds tell no value
        return key if told else _SENSITIVE if sensitive else label
    if key not in _VALUES:
        return key
    return _SENSITIVE if sensitive else label or key


def _inside(text: str) -> Any:
    """The JSON that a text is, where it is more than a word, and no deeper than a document may be."""
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    level = [found]
    for _ in range(MOST_DEPTH):
        level = [inside for each in level for inside in _members(each)]
    return None if level else found


def _members(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _is(text: str, named: str, known: Sequence[str]) -> bool:
    if named is _SENSITIVE:
        return bool(text)
    return is_secret(named, text) or holds(text, known)


def holds(text: str, known: Sequence[str]) -> bool:
    """Whether a text holds a known secret, a URL's password, or what reads like `TOKEN=…` or `"token": "…"`."""
    return mask(text, known) != text or any(
        is_secret(name, value) for name, value in assigned(text) if not _READS.fullmatch(value)
    )


def _path(where: str, document: Mapping[str, Any]) -> str:
    """The place; a variable's with its own name, a hyperparameter's with the name it has."""
    found = _parameter(where, document)
    return f"{where} ({found})" if found else where


def _parameter(where: str, document: Mapping[str, Any]) -> str | None:
    match = re.fullmatch(r"algorithm\.parameters\[(\d+)\]\.value", where)
    return document["algorithm"]["parameters"][int(match[1])]["name"] if match else None


def _advice(where: str, document: Mapping[str, Any]) -> str:
    name = _parameter(where, document)
    if name is None and where.startswith("algorithm.environments."):
        name = where.removeprefix("algorithm.environments.")
    if name is not None:
        return f"is a secret, and none is written into a manifest; give --secret {name}=SECRET/KEY"
    if where == "algorithm.command":
        return "holds a secret; let it read a variable instead, and give that by --secret VARIABLE=SECRET/KEY"
    return "holds a secret; take it out: nothing there can be given by reference"
