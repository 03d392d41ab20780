"""A container's end as the engine's events tell it, whatever they are."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from launcher.adapters.docker.streams import Connection
from launcher.adapters.docker.watch import Watch
from launcher.core.container import End
from launcher.core.errors import LauncherError

if TYPE_CHECKING:
    from collections.abc import Iterator

DIED = {"Action": "die", "Actor": {"Attributes": {"exitCode": "3"}}}


@pytest.fixture
def silent() -> Iterator[Connection]:
    """The streams of a container that says nothing."""
    ours, theirs = socket.socketpair()
    theirs.close()
    yield Connection(ours)
    ours.close()


def watched(events: list[Any], connection: Connection) -> End | None:
    woken = threading.Semaphore(0)
    watch = Watch(iter(events), connection, (lambda chunk: None, lambda chunk: None), woken.release)
    for _ in range(2):  # its output has ended, and its events
        assert woken.acquire(timeout=30)
    return watch.end()


def test_the_end_is_what_the_events_tell(silent: Connection) -> None:
    assert watched([{"Action": "oom"}, DIED], silent) == End(code=3, out_of_memory=True)


@pytest.mark.parametrize(
    "event",
    [
        None,
        "die",
        {**DIED, "Actor": None},
        {**DIED, "Actor": {"Attributes": None}},
        {**DIED, "Actor": {"Attributes": {"exitCode": "x"}}},
    ],
    ids=str,
)
def test_an_event_that_no_engine_tells_is_one_sentence(silent: Connection, event: Any) -> None:
    with pytest.raises(LauncherError, match="which is no answer of a Docker engine") as caught:
        watched([event, DIED], silent)
    assert caught.value.code == "engine-refused"
