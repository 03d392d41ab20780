"""A listing that goes on where it broke off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.errors import Cancelled, StoreError
from launcher.retry import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.core.stored import StoredObject
    from launcher.core.urls import Location
    from launcher.protocols import Source
    from launcher.retry import Retries


def objects(folder: Location, store: Source, retries: Retries, stopped: Callable[[], bool]) -> Iterator[StoredObject]:
    """Every object below a folder, in order; a listing that broke off goes on where it was."""
    last, trial = "", None
    while True:
        try:
            for item in store.walk(folder, last):
                if stopped():
                    raise Cancelled
                last = item.key
                if trial is not None:
                    trial = None
                    retries.went_well()
                yield item
        except StoreError as error:  # noqa: PERF203 - a listing that breaks off is the rare case
            trial = trial or Trial(retries)
            trial.failed(error, stopped)
        else:
            retries.went_well()
            return
