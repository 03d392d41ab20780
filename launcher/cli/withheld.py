"""Whether the log of an earlier run may leave the node: only when every secret that the run masked is known again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.redact import MASK, redact
from launcher.sync.journal import heading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.cli.prepare import Ready
    from launcher.core.plan import Plan

_AS_IT_WAS = "give --job JOB with its --set and --env, in the environment that the run had"


def log_stays(plan: Plan, ready: Ready | None, environ: Mapping[str, str], secrets: Sequence[str]) -> str | None:
    """Why the log may not leave the node: it is raw there, and may hold secrets of the run that are not known here."""
    if plan.log_target is None:
        return None
    hidden = _hidden(plan)
    if hidden and ready is None:
        return f"it may hold the secret {_named(hidden)} of the job; give --job JOB as the run had it"
    unknown = hidden - _hidden(redact(ready.plan, ready.secrets)) if ready else set()
    if unknown:
        return f"it may hold the secret {_named(unknown)}, which this --job does not say; give --set and --env as well"
    first = heading(plan.files.uploads)
    if first is None:
        # who gives the job vouches for the rest
        return None if ready else f"{plan.files.uploads} does not tell what secrets it may hold; {_AS_IT_WAS}"
    if first.covered(secrets):
        return None
    changed = [name for name in first.environment if not first.knows(environ.get(name, ""))]
    if changed:
        return f"it may hold {changed[0]} of the launcher's environment; set that variable to what the run had"
    return f"it may hold a secret that has another value now; {_AS_IT_WAS}"


def _hidden(plan: Plan) -> set[tuple[str, str]]:
    """Where a redacted plan hides a secret: the variables and the arguments with a mask, as they stand there."""
    found = {(name, value) for each in plan.processes for name, value in each.env.items() if MASK in value}
    return found | {(token.partition("=")[0], token) for each in plan.processes for token in each.argv if MASK in token}


def _named(hidden: set[tuple[str, str]]) -> str:
    name = min(hidden)[0]
    return name if len(name) <= 80 else "in the command"  # noqa: PLR2004 - a command is one long argument
