"""The two scripts by which one takes the boot process's place in a run that holds: its environment, and its start."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from launcher.core.plan import Document
from launcher.core.redact import is_secret, mask_argv

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from launcher.core.plan import Plan

ENTER, BOOT = "enter", "boot"
HELD = "held before the boot file"
"""How the line begins that tells that one may enter: `launcher local --shell` waits for it."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHELLS_OWN = re.compile(
    r"BASH(OPTS|PID|_.*)?|DIRSTACK|EPOCH(REALTIME|SECONDS)|EUID|FUNCNAME|GROUPS|HISTCMD|LINENO|OPTIND|PIPESTATUS|PPID"
    r"|RANDOM|SECONDS|SHELLOPTS|SRANDOM|UID"
)
"""A shell ends when it is told to set one of these, forgets it, or reckons with the value: bash runs what is in it."""

_ENTER = """\
#!/bin/sh
# {title}: the environment and the working directory of its boot process.
{unset}cd -- {cwd} || exit 126
{exports}
if [ "$#" -gt 0 ]; then exec {odd}"$@"; fi
printf '%s\\n' {hint} >&2
for shell in "${{SHELL:-}}" bash /bin/sh; do
  if command -v "$shell" >/dev/null 2>&1; then exec {odd}"$shell"; fi
done
"""
_BOOT = """\
#!/bin/sh
# {title}: starts what a run would, in the environment that a run gives it; arguments are added at the end.
exec /bin/sh {enter} {argv} "$@"
"""


def enter_path(mount: str) -> str:
    """Where the script lies by which one enters, in a container whose MA_MOUNT_PATH this is."""
    return f"{mount}/{ENTER}"


def scripts(plan: Plan, mount: str, unset: Iterable[str], secrets: Sequence[str]) -> tuple[Document, Document]:
    """Both scripts, for files that this user alone may read: they hold what a boot process is given, secrets too.

    Where a node runs several boot processes, they are the first one's. `unset` are variables of the launcher's own,
    `secrets` what must not be shown on a terminal.
    """
    process, boot, title = plan.processes[0], f"{mount}/{BOOT}", " ".join(plan.job.label.split())
    shown = shlex.join(mask_argv(process.argv, secrets))
    more = len(plan.processes) - 1
    count = f" (rank {process.rank}; {more} more like it)" if more else ""
    entered = _ENTER.format(
        title=title,
        unset=_unset(unset),
        cwd=shlex.quote(process.cwd),
        exports="\n".join(f"export {name}={shlex.quote(value)}" for name, value in _settable(process.env)),
        odd=_odd(process.env),
        hint=shlex.quote(f"A run would start{count}:\n  {shown}\nTo start just that: sh {shlex.quote(boot)}"),
    )
    started = _BOOT.format(title=title, enter=shlex.quote(enter_path(mount)), argv=shlex.join(process.argv))
    return Document(path=enter_path(mount), text=entered), Document(path=boot, text=started)


def _unset(names: Iterable[str]) -> str:
    known = [name for name in names if _NAME.fullmatch(name)]
    return f"unset {' '.join(known)}\n" if known else ""


def _settable(env: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in env.items() if _NAME.fullmatch(name) and not _SHELLS_OWN.fullmatch(name)]


def _odd(env: Mapping[str, str]) -> str:
    """What no shell can set, by env(1) in front; a secret would stand on its command line, so it is left out."""
    settable = dict(_settable(env))
    odd = [f"{name}={value}" for name, value in env.items() if name not in settable and not is_secret(name, value)]
    return f"env -- {shlex.join(odd)} " if odd else ""
