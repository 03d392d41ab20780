"""Job and algorithm documents: found, read, laid together. Everything is told at once, and where."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from launcher.core.complete import Completed, complete, find_algorithm
from launcher.core.errors import Exit, LauncherError, Problem, SpecError
from launcher.core.parse.algorithm import parse_algorithm
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import kind_of, parse_job
from launcher.core.parse.text import MOST_BYTES, read_document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.cli.options import Request
    from launcher.core.parse.cursor import Json
    from launcher.core.spec import Algorithm

SUFFIXES = (".json", ".yaml", ".yml")


def load_job(
    request: Request,
    environ: Mapping[str, str],
    fetch: Callable[[str], bytes],
    document: tuple[str, bytes] | None = None,
) -> Completed:
    """The whole job that a command line names, or that a document is which was read already (its name and bytes).

    Raises SpecError, click.UsageError, or the store's error.
    """
    name, data = document or job_source(request, environ, fetch)
    wanted = request.algorithm or environ.get("LAUNCHER_ALGORITHMS")
    algorithms = load_algorithms(wanted, fetch) if wanted else []
    log = Log()
    try:
        job = parse_job(_expect(read_document(data, name), "job"), log)
        completed = complete(job, find_algorithm(job, algorithms), request.overrides)
    except SpecError as error:
        raise SpecError([_named(problem, name) for problem in error.problems]) from error
    return replace(completed, warnings=(*log.warnings, *completed.warnings))


def load_algorithms(place: str, fetch: Callable[[str], bytes]) -> list[Algorithm]:
    """The algorithms of a file, a folder or a URL."""
    if _is_url(place):
        return [_algorithm(place, fetch(place))]
    if not os.path.isdir(place):
        return [_algorithm(place, read_file(place))]
    try:
        paths = [os.path.join(place, name) for name in sorted(os.listdir(place)) if name.endswith(SUFFIXES)]
    except OSError as error:
        raise _unreadable(place, error) from error
    return [found for path in filter(os.path.isfile, paths) if (found := _algorithm_among(path)) is not None]


def read_file(path: str) -> bytes:
    """The bytes of a document (`-` is standard input), bounded. Raises LauncherError 66 or 77."""
    try:
        if path == "-":
            return os.fdopen(0, "rb", closefd=False).read(MOST_BYTES + 1)
        with open(path, "rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> LauncherError:
    return LauncherError(
        f"{path}: cannot be read: {error.strerror}",
        code="document-unreadable",
        action="Give a file that is there and may be read, or - for standard input.",
        exit_code=Exit.REFUSED if isinstance(error, PermissionError) else Exit.MISSING,
    )


def job_source(request: Request, environ: Mapping[str, str], fetch: Callable[[str], bytes]) -> tuple[str, bytes]:
    """The name of the job's document, and its bytes. Raises as `load_job`."""
    place = request.job or environ.get("LAUNCHER_JOB", "")
    if not place:
        raise click.UsageError("No job. Give JOB (a file, - or an obs:// URL), or set LAUNCHER_JOB.")
    if not request.job and place.lstrip().startswith("{"):
        return "LAUNCHER_JOB", place.encode(errors="surrogateescape")
    return place, fetch(place) if _is_url(place) else read_file(place)


def _is_url(place: str) -> bool:
    return place.startswith(("obs://", "s3://"))


def _algorithm(name: str, data: bytes) -> Algorithm:
    try:
        return parse_algorithm(_expect(read_document(data, name), "algorithm"), Log())
    except SpecError as error:
        raise SpecError([_named(problem, name) for problem in error.problems]) from error


def _algorithm_among(path: str) -> Algorithm | None:
    """The algorithm of one file of a folder; files that are something else are left alone."""
    data = read_file(path)
    try:
        return (
            parse_algorithm(document, Log()) if kind_of(document := read_document(data, path)) == "algorithm" else None
        )
    except SpecError as error:
        raise SpecError([Problem(path=path, message=str(each)) for each in error.problems]) from error


def _expect(document: Json, kind: str) -> Json:
    found = kind_of(document)
    if found != kind:
        message = f"expected {_article(kind)}, found {_article(found)}" if found in ("job", "algorithm") else found
        raise SpecError([Problem(path="", message=message)])
    return document


def _article(kind: str) -> str:
    return "an algorithm" if kind == "algorithm" else "a job"


def _named(problem: Problem, name: str) -> Problem:
    """A problem of a whole document carries the document's name; one with a path says enough."""
    return problem if problem.path else Problem(path=name, message=problem.message, code=problem.code)
