"""The tie between a launcher and the one that started it: without that one a trial of a search is nobody's."""

from __future__ import annotations

import logging
import os
import select
import signal
import threading

_log = logging.getLogger(__name__)

LOOK_S = 1.0
"""Between two looks where the kernel cannot tell of another process's end."""


def end_with(parent: int) -> None:
    """Have this process get a SIGTERM as soon as its parent is gone; at once where it is no child of that one."""
    try:
        threading.Thread(target=_watch, args=(parent,), name="lifeline", daemon=True).start()
    except RuntimeError:
        _log.warning("the node allows no more threads: this run would outlive the launcher that has started it")


def _watch(parent: int) -> None:
    try:
        held = os.pidfd_open(parent)
    except OSError:
        _watch_slowly(parent)
    else:
        # Held first, then asked whose it is: the number may have been given to somebody else before.
        if os.getppid() == parent:
            poll = select.poll()
            poll.register(held, select.POLLIN)
            poll.poll()
        os.close(held)
    os.kill(os.getpid(), signal.SIGTERM)


def _watch_slowly(parent: int) -> None:
    never = threading.Event()
    while os.getppid() == parent:
        never.wait(LOOK_S)
