"""`launcher verify`: whether a finished output is whole, by the manifests in it; it changes nothing."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import click

from launcher.cli import result, say
from launcher.cli.stores import HOW_TO_NAME_A_STORE, open_store
from launcher.core.errors import Exit, PlanError
from launcher.core.keys import human_size, readable
from launcher.core.occupancy import described
from launcher.core.redact import to_json
from launcher.core.settings import read_settings
from launcher.core.urls import Location, parse_location
from launcher.verify import SHOWN, verify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.verify import Verified


@click.command(name="verify")
@click.argument("url", metavar="URL")
@click.option("--store", metavar="URL|DIR", help="Where obs:// lives, as for run.")
@click.option("--content", is_flag=True, help="Read every object back and compare its SHA-256, not its size alone.")
@click.option("--json", "as_json", is_flag=True, help="What was found as JSON.")
def command(url: str, store: str | None, content: bool, as_json: bool) -> int:  # noqa: FBT001 - click passes by name
    """Compare a finished output with the manifests that its workers left in it.

    0: it is whole. 73: something is missing or differs, each told in a line. 66: no manifest there.

    \b
    Example:
      launcher verify obs://bucket/output/ --store ./store
      launcher verify obs://bucket/output/ --content --json
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    gc.enable()
    folder = _folder(url)
    environ = dict(os.environ)
    settings = read_settings(environ)
    opened = open_store(store, environ, settings)
    if opened.store is None:
        raise PlanError(
            f"{folder.url} is in an object store, and none is known",
            code="store-unknown",
            action=HOW_TO_NAME_A_STORE,
            exit_code=Exit.USAGE,
        )
    for warning in opened.warnings:
        say(f"warning: {warning}")
    found = verify(opened.store, folder, lambda: False, content=content, patience=settings.transfers.patience)
    if as_json:
        result(to_json(found).decode())
    else:
        for line in _told(found):
            say(line)
        result(_summary(found))
    return Exit.OK if found.whole else Exit.NOT_SAVED


def _folder(url: str) -> Location:
    try:
        return parse_location(url).folder
    except ValueError as error:
        raise click.UsageError(f"URL: {error}.") from error


def _told(found: Verified) -> Iterator[str]:
    """A line for everything that differs, as far as a person reads on, and for what is strange."""
    for each in found.problems[:SHOWN]:
        yield f"error: {readable(each.key)}: expected {each.expected}, found {each.found}"
    if len(found.problems) > SHOWN:
        yield f"error: and {len(found.problems) - SHOWN:,} more; --json names them all"
    if found.unnamed:
        yield f"warning: {found.unnamed:,} objects are there that no manifest names"
    for marker in found.running[:SHOWN]:
        yield f"warning: {described(marker)} writes there, last sign of it {marker.beat}"


def _summary(found: Verified) -> str:
    verdict = "whole" if found.whole else f"not whole, {len(found.problems):,} problems"
    compared = "content compared" if found.content else "sizes compared"
    workers = "1 worker" if found.workers == 1 else f"{found.workers:,} workers"
    objects = f"{found.objects:,} objects, {human_size(found.bytes)}"
    return f"{found.url}: {verdict}: {objects} of job {found.job!r}, {workers}; {compared}"
