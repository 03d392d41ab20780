"""Asking tools before a run has processes of its own: what is on a node, what an interpreter is.

Nothing is opened before the first question, and between two questions a signal means what it means outside.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from launcher.core.answer import Answer
    from launcher.protocols import Ask


@contextmanager
def asked(environ: Mapping[str, str]) -> Iterator[Ask]:
    """Tools are asked in this environment, but for what is the launcher's own. For the main thread alone.

    A signal that comes meanwhile ends the tool and is then given on to whoever hears signals outside: `interruptible()`
    turns it into `Interrupted`, and without that the command ends.
    """
    theirs = {name: value for name, value in environ.items() if not name.startswith("LAUNCHER_")}

    def ask(argv: Sequence[str], limit_s: float = 5.0, env: Mapping[str, str] | None = None) -> Answer:
        return _ask(theirs, argv, limit_s, env)

    yield ask


class _Ended(BaseException):
    """A signal came that ends what is done here."""


def _ask(environ: Mapping[str, str], argv: Sequence[str], limit_s: float, env: Mapping[str, str] | None) -> Answer:
    import signal

    from launcher.adapters.clock import SystemClock
    from launcher.adapters.process import FORWARDED, SystemProcesses
    from launcher.asking import Asker
    from launcher.core.answer import Answer
    from launcher.core.lifecycle import Signalled

    passed_on: list[int] = []

    def hear(number: int) -> None:
        if number not in (signal.SIGCONT, signal.SIGWINCH):
            passed_on.append(number)
        if number not in (signal.SIGCONT, signal.SIGWINCH, signal.SIGTSTP):
            raise _Ended

    said = Answer(code=None, fault="was interrupted")
    # Blocked when the processes are opened and closed, a signal is not lost between their handlers and those outside.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    try:
        with SystemProcesses() as processes:
            try:
                said = Asker(processes, SystemClock(), environ, hear)(argv, limit_s, env)
            except _Ended:
                pass
            finally:
                signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
                passed_on += [each.number for each in processes.wait(0) if isinstance(each, Signalled)]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    for number in dict.fromkeys(passed_on):
        signal.raise_signal(number)
    return said
