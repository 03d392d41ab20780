"""A job as it would be recorded if it were run now: for `launcher replay`, which lays it beside an earlier record."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from launcher import __version__
from launcher.cli.asked import asked
from launcher.core.freeze import LIMIT_S, question, told
from launcher.core.redact import mask_argv, masked
from launcher.core.replayed import Lying
from launcher.core.reproduce import Code, Hidden, Packages, Reproduce, Source, hide, is_code, of_origin, of_plan
from launcher.core.wheels import NAMES
from launcher.pool import each
from launcher.relisted import code_contents, hashes, relisted
from launcher.snapshot import code_here, is_worth_reading, lying, of_tree, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from launcher.cli.prepare import Ready
    from launcher.core.listed import Listed
    from launcher.core.origin import Origin
    from launcher.core.plan import Plan

    Stopped = Callable[[], bool]

MOST_CODE = 512 * 1024**2
"""Code that is read out of a store where its listing is another one; what is larger is not known to be the same."""
MOST_LYING = 10_000
"""Entries of a folder on the node that are looked at, beside those that the job brings there."""


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """The record of now, the pip file that a run would install first, and the folders that hold more than it brings."""

    record: Reproduce
    installed: str | None
    folders: tuple[Lying, ...]


def as_of_now(ready: Ready, origin: Origin, then: Reproduce, environ: Mapping[str, str]) -> Now:
    """The job as it is now. Raises LauncherError.

    Contents are read only where listings do not tell enough.
    """
    from launcher.core.parse.job import job_document

    job, hidden = hide(origin.job, ready.secrets)
    names = Hidden(
        set=tuple({*hidden.set, *then.hidden.set}), env=tuple({*hidden.env, *then.hidden.env})
    )  # what was a secret then has no place here either
    made = of_origin(of_plan(ready.plan, __version__), origin, job_document(job), names)
    found: list[tuple[Code | None, tuple[Source, ...], tuple[Lying, ...]]] = []
    # on a thread of its own: a store that hangs does not hold a Ctrl-C up
    each(lambda then, stopped: found.append(_looked_up(ready, then, stopped)), (then,), 1, lambda: False, apart=True)
    code, sources, folders = found[0]
    made = replace(
        made,
        argv=mask_argv(made.argv, ready.secrets),
        inputs=sources,
        code=code,
        packages=_packages(ready.plan, environ),
    )
    now = msgspec.convert(masked(msgspec.to_builtins(made), ready.secrets), Reproduce)
    installed = next((name for name in NAMES if code is not None and name in code.hashes), None)
    return Now(record=now, installed=installed, folders=folders)


def _looked_up(
    ready: Ready, then: Reproduce, stopped: Stopped
) -> tuple[Code | None, tuple[Source, ...], tuple[Lying, ...]]:
    listed = tuple(relisted(ready.plan, ready.store, stopped))
    code = next((one for one in listed if one.kind == "code"), None)
    sources = tuple(_source(ready, one, then, stopped) for one in listed if one.kind != "code")
    return _code(ready, code, then.code, stopped), sources, tuple(_folders(ready.plan, listed, stopped))


def _folders(plan: Plan, listed: Sequence[Listed], stopped: Stopped) -> Iterator[Lying]:
    """The folders on this node that hold what the job does not bring there: a boot file would find it."""
    told = {(one.kind, one.name): one for one in listed}
    places = [("output", one.name, one.path) for one in plan.outputs]
    # what is unpacked, and the samples of a dataset, lie there by other names than the store's
    places += [("input", one.name, one.path) for one in plan.inputs if not one.extract and one.dataset is None]
    if plan.code is not None and plan.code.source is not None:
        places.append(("code", "code", plan.code.path))
    for kind, name, path in places:
        one = told.get((kind, name))
        brought = {each for each, _, _ in one.files} if one is not None else set()
        count = one.objects if one is not None else 0
        there, whole = lying(path, count + MOST_LYING, stopped)
        there = [each for each in there if kind == "output" or is_code(each) or each in brought]
        foreign = [each for each in there if each not in brought] if count == len(brought) else []
        if foreign or len(there) > count:
            first = foreign[0] if foreign else None
            yield Lying(name=name, brought=count, files=len(there), first=first, whole=whole)


def _code(ready: Ready, listed: Listed | None, then: Code | None, stopped: Stopped) -> Code | None:
    """The code as it is now; that of the same listing is the same."""
    plan = ready.plan
    if plan.code is None:
        return None
    if listed is None or plan.code.source is None:
        return code_here(plan, None, {}, None, stopped) if os.path.isdir(plan.code.path) else None
    made = Code(source=listed.source, files=listed.objects, bytes=listed.bytes, listed=listed.digest)
    if then is not None and then.tree is not None and then.listed == listed.digest:
        return replace(made, files=then.files, bytes=then.bytes, tree=then.tree, hashes=then.hashes)
    if listed.bytes > MOST_CODE:
        return made
    found = code_contents(listed, plan.code.source.folder, ready.store, stopped)
    return of_tree(replace(made, files=len(found), bytes=sum(one.size for one in found.values())), found)


def _source(ready: Ready, listed: Listed, then: Reproduce, stopped: Stopped) -> Source:
    """A source as it is now, read where that may show that only its marks are others."""
    key = listed.kind, listed.name
    was = next((one for one in then.inputs if (one.kind, one.name) == key), None)
    made = source_of(listed)
    if was is None or not was.hashes or was.digest == listed.digest or not is_worth_reading(listed):
        return made
    at = next(one.source for one in ready.plan.inputs if one.name == listed.name)
    return replace(made, hashes=hashes(listed, at, ready.store, stopped))


def _packages(plan: Plan, environ: Mapping[str, str]) -> Packages | None:
    """What the boot file's interpreter could load now; None where a command decides, or it does not say."""
    if plan.engine == "command":
        return None
    with asked(environ) as ask:
        answer = ask(question(plan.interpreter, plan.processes[0].env.get("PYTHONPATH", "")), LIMIT_S)
    return told(answer.stdout) if answer.fault is None else None
