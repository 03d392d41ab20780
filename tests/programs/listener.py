"""Answers one signal in one manner, with a child that answers in the same manner.

NUMBER is the signal, MANNER is traps, ignores or default, SESSION is same or own (the child's), PROBE is a signal that
ends the boot process with 7: whoever still hears it was not ended by the first one.
"""

from __future__ import annotations

import os
import signal
from typing import Any

number, probe = int(os.environ["NUMBER"]), int(os.environ["PROBE"])
manner, own_session = os.environ["MANNER"], os.environ["SESSION"] == "own"
# A signal for the group reaches the child as well, and so does SIGQUIT, which whoever catches it gets, wherever it is.
# Who ends without waiting for the child has it ended by the SIGTERM for what is left behind, before it can say a word.
together = not own_session or number == signal.SIGQUIT


def answer(trap: Any) -> None:
    if manner == "traps":
        signal.signal(number, trap)
    else:
        signal.signal(number, signal.SIG_IGN if manner == "ignores" else signal.SIG_DFL)


def child_heard(*_: object) -> None:
    os.write(1, b"child heard\n")
    os._exit(0)


def boot_heard(*_: object) -> None:
    os.write(1, b"boot heard\n")
    if together:
        os.waitpid(child, 0)
    os._exit(3)


def probed(*_: object) -> None:
    os.write(1, b"probed\n")
    os._exit(7)


listens, says = os.pipe()
child = os.fork()
if child == 0:
    if own_session:
        os.setsid()
    signal.signal(probe, signal.SIG_IGN)
    answer(child_heard)
    os.write(says, b".")
else:
    signal.signal(probe, probed)
    answer(boot_heard)
    os.read(listens, 1)
    os.write(1, b"ready\n")
while True:
    # A signal may come just before a wait, and the interpreter calls its handler only after it: so each wait ends.
    signal.sigtimedwait([], 0.05)
