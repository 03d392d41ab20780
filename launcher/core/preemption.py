"""What platforms write down before they take a machine away: where, what of it is a notice, and how it is told on.

Texts in, values out: it opens no file and knows no time but what it is given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from launcher.core.frozen import Record
from launcher.core.record import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable

PREEMPTED = "preempted"
"""The cause of a training that ended because its machine was taken away."""
MOST_BYTES = 65536
"""What is read of a notice."""
SOON_S = 300.0
"""A shutdown that is planned for later than that is no reason why somebody ends a training now."""
_LONGEST = 200
"""Characters of a reason that are told."""

_ANNOTATION = re.compile(r'(?P<name>[^=\s]+)="(?P<value>(?:[^"\\]|\\.)*)"')
_ANNOTATIONS = ("launcher/preempted", "descheduler.alpha.kubernetes.io/eviction-in-progress")
"""Those of a pod that say so: ours, for whoever watches over the nodes, and the descheduler's."""
_NO = ("", "0", "false", "no")
_GRACEFUL = re.compile(r'"GracefulExit"\s*:\s*(?:1|true)\b')
_USEC = re.compile(r"^USEC=(\d{1,19})$", re.MULTILINE)
_MODE = re.compile(r"^MODE=(poweroff|reboot|halt|kexec|soft-reboot)$", re.MULTILINE)


class Source(Record, frozen=True, kw_only=True):
    """A file in which somebody may announce the end of the machine. `read` makes the reason of its text and the time.

    `watched`: it is also looked at while a training runs; any other only once somebody asks for the end.
    """

    path: str
    who: str
    read: Callable[[str, float], str | None]
    watched: bool = True


class Notice(Record, frozen=True, kw_only=True):
    """A reason, and where it stands."""

    path: str
    who: str
    reason: str


def first_line(text: str) -> str:
    """The first line that says something, as it may be shown: bounded, and nothing in it that a terminal would obey."""
    line = next((line for line in map(str.strip, text.splitlines()) if line), "")
    return "".join(each if each.isprintable() else "?" for each in line[:_LONGEST])


def by_annotation(text: str, _now: float) -> str | None:
    """A reason among the annotations of a pod, as the downward API writes them down."""
    for found in map(_ANNOTATION.fullmatch, text.splitlines()):
        if found and found["name"] in _ANNOTATIONS and found["value"].strip().lower() not in _NO:
            return first_line(f"{found['name']}={found['value']}")
    return None


def by_graceful_exit(text: str, _now: float) -> str | None:
    """The request to end that MindCluster lays down for MindSpore's `OnRequestExit`."""
    return '"GracefulExit" is 1' if _GRACEFUL.search(text) else None


def by_schedule(text: str, now: float) -> str | None:
    """A shutdown that systemd has on its schedule, if it is near."""
    at, mode = _USEC.search(text), _MODE.search(text)
    near = at is not None and int(at[1]) / 1e6 - now <= SOON_S
    return f"{mode[1]} is on the schedule" if near and mode else None


def by_nologin(text: str, _now: float) -> str | None:
    """What is shown to who would log in while the machine goes down; it stands there while it comes up, too."""
    return first_line(text) if "going down" in text else None


WELL_KNOWN = (
    Source(path="/etc/podinfo/annotations", who="Kubernetes", read=by_annotation),
    Source(path="/user/restore/reset/config/reset.json", who="MindCluster", read=by_graceful_exit),
    Source(path="/run/systemd/shutdown/scheduled", who="systemd", read=by_schedule, watched=False),
    Source(path="/run/nologin", who="the system", read=by_nologin, watched=False),
)


def named(path: str) -> Source:
    """The file that a platform was told to us to use: that it appears is the notice, what it says the reason."""
    return Source(path=path, who="the platform", read=lambda text, _: first_line(text) or "no reason is given")


def sources(file: str | None) -> tuple[Source, ...]:
    """All files to look at, the one that was named first."""
    return (*((named(file),) if file else ()), *WELL_KNOWN)


def cause(notice: Notice) -> Cause:
    """What a run is told that ends for it."""
    return Cause(
        code=PREEMPTED,
        message=f"The machine is taken away, says {notice.who} in {notice.path}: {notice.reason}.",
        action="Start the job again on another machine; it goes on from its last checkpoint.",
    )


def document(told: Cause, time: str, seconds: float | None) -> str:
    """What boot processes are told in a file of their own; `seconds` are theirs from then on, if that is known."""
    said = {"version": 1, "reason": told.message, "time": time, "seconds": seconds}
    return json.dumps(said, ensure_ascii=False) + "\n"


def catches(status: str, number: int) -> bool:
    """Whether a process has a handler for a signal, as its /proc/<pid>/status tells; without one it might end by it."""
    return any(int(mask, 16) >> (number - 1) & 1 for mask in _masks(status.splitlines()))


def _masks(lines: Iterable[str]) -> Iterable[str]:
    return (line.partition(":")[2].strip() for line in lines if re.fullmatch(r"SigCgt:\s*[0-9a-f]{1,32}", line))
