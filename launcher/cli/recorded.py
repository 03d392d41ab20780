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
from launcher.core.reproduce import Code, Hidden, Packages, Reproduce, Source, hide, of_origin, of_plan
from launcher.core.wheels import NAMES
from launcher.pool import each
from launcher.relisted import code_contents, hashes, relisted
from launcher.snapshot import code_here, is_worth_reading, of_tree, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.cli.prepare import Ready
    from launcher.core.listed import Listed
    from launcher.core.origin import Origin
    from launcher.core.plan import Plan

    Stopped = Callable[[], bool]

MOST_CODE = 512 * 1024**2
"""Code that is read out of a store where its listing is another one; what is larger is not known to be the same."""


def as_of_now(
    ready: Ready, origin: Origin, then: Reproduce, environ: Mapping[str, str]
) -> tuple[Reproduce, str | None]:
    """The record of now, and the pip file that a run would install first. Raises LauncherError.

    Contents are read only where listings do not tell enough.
    """
    from launcher.core.parse.job import job_document

    job, hidden = hide(origin.job, ready.secrets)
    names = Hidden(
        set=tuple({*hidden.set, *then.hidden.set}), env=tuple({*hidden.env, *then.hidden.env})
    )  # what was a secret then has no place here either
    made = of_origin(of_plan(ready.plan, __version__), origin, job_document(job), names)
    found: list[tuple[Code | None, tuple[Source, ...]]] = []
    # on a thread of its own: a store that hangs does not hold a Ctrl-C up
    each(lambda then, stopped: found.append(_looked_up(ready, then, stopped)), (then,), 1, lambda: False, apart=True)
    code, sources = found[0]
    made = replace(
        made,
        argv=mask_argv(made.argv, ready.secrets),
        inputs=sources,
        code=code,
        packages=_packages(ready.plan, environ),
    )
    now = msgspec.convert(masked(msgspec.to_builtins(made), ready.secrets), Reproduce)
    return now, next((name for name in NAMES if code is not None and name in code.hashes), None)


def _looked_up(ready: Ready, then: Reproduce, stopped: Stopped) -> tuple[Code | None, tuple[Source, ...]]:
    listed = tuple(relisted(ready.plan, ready.store, stopped))
    code = next((one for one in listed if one.kind == "code"), None)
    return _code(ready, code, then.code, stopped), tuple(
        _source(ready, one, then, stopped) for one in listed if one.kind != "code"
    )


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
