"""Signals before anybody answers them: between the start of a command and the processes that it opens."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from launcher.adapters.process.inbox import FORWARDED

if TYPE_CHECKING:
    from collections.abc import Iterator

STOPS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(BaseException):
    """A signal came before there was anything to end in an orderly way."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a signal end the reading of documents; one that comes just after waits for who listens next."""

    def interrupt(number: int, _: object) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in STOPS if _is_heard(number)}
    try:
        yield
    finally:
        # Nor may one end a launcher that has told its outcome: opened, the processes hear them all; closed, they wait.
        # What is ignored stays as it is, for children inherit it.
        ignored = {number for number in FORWARDED if before.get(number, signal.getsignal(number)) is signal.SIG_IGN}
        signal.pthread_sigmask(signal.SIG_BLOCK, {*FORWARDED} - ignored | {signal.SIGTERM})
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_heard(number: int) -> bool:
    """Whether a signal ends us: one that was ignored when we started (a shell's `&`) does not; SIGTERM always does."""
    return number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN
