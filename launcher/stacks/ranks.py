"""Which process of a family is which rank: as the launcher counts its own, and as engines tell those that they start.

A variable that a process has from its parent tells nothing of it: a worker of a data loader has its rank's variables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.standing import LONGEST_NUMBER, MOST_RANKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.core.kin import Relative

    Told = Mapping[str, str]

ENVIRON_BYTES = 1024 * 1024
MOST = 1024
"""So many processes of a family are asked for their variables."""
GIVEN = (
    ("RANK", "LOCAL_RANK"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("PMIX_RANK",),
    ("PMI_RANK",),
    ("RANK_ID",),
    ("MS_NODE_ID", "MS_ROLE"),
)
"""The variables of torchrun, mpirun, Ascend and msrun: of each the rank, and what else is new where it is given."""
SCHEDULER = "MS_SCHED"
"""The role of a process of msrun that is no rank, whatever its number is."""
NAMES = frozenset(name for names in GIVEN for name in names)


def variables(pid: int, names: frozenset[str], proc: str = "/proc") -> dict[str, str]:
    """Those of a process's first variables that are asked for; what they are now, only the process itself knows."""
    try:
        with open(f"{proc}/{pid}/environ", "rb") as file:
            pairs = (each.partition(b"=") for each in file.read(ENVIRON_BYTES).split(b"\0"))
            told = {name.decode("utf-8", "replace"): value for name, _, value in pairs}
    except OSError:
        return {}
    return {name: told[name].decode("utf-8", "surrogateescape") for name in names & told.keys()}


def ranked(family: Sequence[Relative], own: int | None, proc: str = "/proc") -> dict[int, int]:
    """The rank of each process that is one, by its pid; `own` is that of the family's first, a boot process.

    An engine that starts ranks is none itself. Where a rank is a shell, its first Python stands for it.
    """
    if not family:
        return {}
    family, first = family[:MOST], family[0].pid
    given = _all_given(family, proc)
    heads = {first: first}
    for one in family[1:]:
        heads[one.pid] = one.pid if one.pid in given else heads.get(one.parent, first)
    above = {heads.get(one.parent, first) for one in family[1:] if one.pid in given}
    ranks = {pid: rank for pid, rank in given.items() if pid not in above} or ({} if own is None else {first: own})
    chosen: dict[int, int] = {}
    for one in sorted(family, key=lambda one: not one.python):
        chosen.setdefault(heads[one.pid], one.pid)
    found: dict[int, int] = {}
    for head, rank in ranks.items():
        if rank not in found.values():
            found[chosen[head]] = rank
    return found


def starting(family: Sequence[Relative], proc: str = "/proc") -> set[int]:
    """Who of a family has started ranks, and whoever has started those."""
    parents = {one.pid: one.parent for one in family[:MOST]}
    found: set[int] = set()
    for pid in _all_given(family[:MOST], proc):
        above = parents[pid]
        while above in parents and above not in found:
            found.add(above)
            above = parents[above]
    return found


def _all_given(family: Sequence[Relative], proc: str) -> dict[int, int]:
    """The rank of each process that was given one when it was started, the ranks' own children not among them."""
    told = {one.pid: variables(one.pid, NAMES, proc) for one in family}
    given = ((one.pid, _given(told[one.pid], told.get(one.parent, {}))) for one in family[1:])
    return {pid: rank for pid, rank in given if rank is not None}


def _given(own: Told, parents: Told) -> int | None:
    """The rank that a process was given when it was started."""
    if own.get("MS_ROLE") == SCHEDULER:
        return None
    for names in GIVEN:
        text = own.get(names[0], "")
        if any(own.get(name) != parents.get(name) for name in names) and text.isascii() and text.isdecimal():
            return int(text) if len(text) <= LONGEST_NUMBER and int(text) < MOST_RANKS else None
    return None
