"""What is refused of a rehearsal before any of its nodes is started: what every one of them would refuse."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from launcher.cli.cast import node_root
from launcher.core.errors import LauncherError, PlanError
from launcher.core.rehearsal import told
from launcher.core.topology import Flags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from launcher.cli.options import Request
    from launcher.cli.prepare import Ready
    from launcher.core.rehearsal import Scenery

_UNKNOWN = "store-unknown"


def check_first(asked: Request, environ: Mapping[str, str], scenery: Scenery) -> None:
    """Refuse at once, and in one voice, what every node would refuse. Raises LauncherError."""
    from launcher.precheck import constraint_items, refusal

    failed = [each for each in constraint_items(_first(asked, environ, scenery).plan) if each.state == "failed"]
    if failed:
        raise refusal(failed)


def check_store(asked: Request, environ: Mapping[str, str], scenery: Scenery) -> None:
    """Refuse a rehearsal on one node that needs a store and has none. Raises PlanError.

    Whatever else is wrong the node says, and leaves word of it.
    """
    if asked.store is not None:
        return
    try:
        _first(asked, environ, scenery)
    except LauncherError as error:
        if error.code == _UNKNOWN:
            raise


def _first(asked: Request, environ: Mapping[str, str], scenery: Scenery) -> Ready:
    """What the first node would do. Raises LauncherError."""
    from launcher.cli.prepare import need_store, prepare

    first = replace(asked, root=node_root(asked.root, 0), flags=Flags(nodes=scenery.nodes, index=0))
    with _by_a_folder():
        ready = prepare(first, told(environ, scenery, 0), preview=True)
        need_store(ready.plan, ready.opened)
    return ready


@contextmanager
def _by_a_folder() -> Iterator[None]:
    """Have a store that is missing be asked for as a rehearsal takes it: no server, which others write to."""
    try:
        yield
    except PlanError as error:
        if error.code == _UNKNOWN:
            error.action = "Give --store DIR, a folder whose first level are the buckets; no server is written to."
        raise
