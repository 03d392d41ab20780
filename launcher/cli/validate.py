"""`launcher validate`: everything that is wrong with algorithm and job files, at once; and their JSON Schemas."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from launcher.core.errors import Exit, LauncherError, PlanError, Problem, SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.spec import Algorithm, Job


@click.command(name="validate")
@click.argument("files", nargs=-1, metavar="FILE...")
@click.option("--algorithm", metavar="FILE|DIR", help="Algorithm bodies that the jobs name.")
@click.option("--schema", type=click.Choice(["job", "algorithm"]), help="Print the JSON Schema instead.")
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
def command(files: tuple[str, ...], algorithm: str | None, schema: str | None, as_json: bool) -> int:  # noqa: FBT001
    """Check algorithm and job bodies, JSON or YAML: FILE: ok, or every problem with its path (exit code 65).

    \b
    Example:
      launcher validate job.json algorithm.yaml
      launcher validate --schema job > job.schema.json
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    from launcher.cli import result

    if schema:
        result(json.dumps(json_schema(schema), indent=1, ensure_ascii=False))
        return 0
    if not files:
        raise click.UsageError("No FILE. Give algorithm or job bodies, - for standard input, or --schema.")
    algorithms = _algorithms(algorithm, dict(os.environ))
    findings = [_finding(name, algorithms) for name in files]
    if as_json:
        result(json.dumps([{k: v for k, v in each.items() if k != "code"} for each in findings], indent=1))
    else:
        for each in findings:
            _tell(each)
    return int(max(each["code"] for each in findings))


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a document; what only rules can say (clashes, ranges) is not in it."""
    from launcher.core.parse.algorithm import ALGORITHM
    from launcher.core.parse.job import JOB

    form: Any = {"job": JOB, "algorithm": ALGORITHM}[kind]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"ModelArts {'training job' if kind == 'job' else 'algorithm'}",
        **form.schema,
    }


def _algorithms(named: str | None, environ: dict[str, str]) -> list[Algorithm]:
    """The bodies that the command line or the environment names; only a URL needs a store."""
    from launcher.cli.load import load_algorithms
    from launcher.cli.stores import open_store
    from launcher.core.settings import read_settings

    wanted = named or environ.get("LAUNCHER_ALGORITHMS")
    return load_algorithms(wanted, open_store(None, environ, read_settings(environ)).read) if wanted else []


def _finding(name: str, algorithms: Sequence[Algorithm]) -> dict[str, Any]:
    try:
        problems, warnings, code = _check(name, algorithms)
    except LauncherError as error:
        message = f"{str(error).removeprefix(f'{name}: ')}. {error.action}"
        problems, warnings, code = [Problem(path="", message=message)], [], error.exit_code
    return {
        "file": name,
        "ok": not problems,
        "problems": [_as_json(each) for each in problems],
        "warnings": [_as_json(each) for each in warnings],
        "code": code if problems else Exit.OK,
    }


def _check(name: str, algorithms: Sequence[Algorithm]) -> tuple[list[Problem], list[Problem], int]:
    """Problems, warnings and exit code of one document."""
    from launcher.cli.load import read_file
    from launcher.core.complete import find_algorithm
    from launcher.core.parse.algorithm import parse_algorithm
    from launcher.core.parse.cursor import Log
    from launcher.core.parse.job import kind_of, parse_job
    from launcher.core.parse.text import read_document

    log = Log()
    try:
        document = read_document(read_file(name), name)
        kind = kind_of(document)
        if kind == "algorithm":
            parse_algorithm(document, log)
        elif kind == "job":
            job = parse_job(document, log)
            log.warnings.extend(_check_whole(job, find_algorithm(job, algorithms)))
        else:
            return [Problem(path="", message=kind)], [], Exit.INVALID
    except SpecError as error:
        return list(error.problems), log.warnings, Exit.INVALID
    return [], log.warnings, Exit.OK


def _check_whole(job: Job, algorithm: Algorithm | None) -> list[Problem]:
    """What shows only once job and algorithm are laid together; returns warnings, raises SpecError."""
    from launcher.core.complete import Overrides, complete, names_unknown_algorithm
    from launcher.core.facts import Facts
    from launcher.core.planning import plan
    from launcher.core.searchspace import searched_algorithm

    unknown = names_unknown_algorithm(job, algorithm)
    if unknown:
        message = f"only the service knows {unknown!r}; run needs its body by --algorithm"
        return [Problem(path="algorithm.id", message=message)]
    completed = complete(job, algorithm, Overrides())
    strange = list(completed.warnings)
    searched = searched_algorithm(completed.job)
    if searched is not None:
        from launcher.core.search.policy import policy_of

        sought = policy_of(searched)
        strange += sought.warnings if sought else ()
        if sought and find_spec("regex"):
            from launcher.search.expressions import wrong_expressions

            wrong = wrong_expressions(sought.policy)
            if wrong:
                raise SpecError(wrong)
    facts = Facts(environ={}, host="localhost", started="19700101T000000Z")
    try:
        decided = plan(completed.job, facts)
    except SpecError:
        raise
    except PlanError as error:
        return [*strange, Problem(path="", message=str(error))]
    return [*strange, *(Problem(path="", message=each) for each in decided.warnings)]


def _as_json(problem: Problem) -> dict[str, str | None]:
    return {"path": problem.path, "message": problem.message, "code": problem.code}


def _tell(finding: dict[str, Any]) -> None:
    from launcher.cli import result, say

    for kind in ("problem", "warning"):
        for each in finding[f"{kind}s"]:
            say(f"{'error' if kind == 'problem' else kind}: {finding['file']}: {Problem(**each)}")
    if finding["ok"]:
        result(f"{finding['file']}: ok")
