"""How this launcher starts another one like itself: for the trials of a search, for the nodes of a rehearsal."""

from __future__ import annotations

import os
import sys


def again(*arguments: str) -> tuple[str, ...]:
    """The command line of one more launcher, by the same interpreter, and deaf to what this one is deaf to.

    In an image the interpreter is the launcher's own, and neither PYTHONPATH nor a `click` of the user's may reach it.
    The command `launcher` does not look for modules in the working directory; `-m` would, before all others.
    """
    isolated = ("-I",) if sys.flags.isolated else ("-P",) if _is_the_command() else ()
    without_site = ("-S",) if sys.flags.no_site else ()
    return (sys.executable, *isolated, *without_site, "-m", "launcher", *arguments)


def _is_the_command() -> bool:
    """Whether this one was not started by `-m` itself; Python 3.10 cannot be told to leave that folder out."""
    return sys.version_info >= (3, 11) and os.path.basename(sys.argv[0]) != "__main__.py"
