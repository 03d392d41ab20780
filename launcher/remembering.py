"""What the record of a run holds, put together on a thread beside the training: from the plan, the job, the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import asdict, replace

from launcher import __version__
from launcher.core.parse.job import job_document
from launcher.core.redact import mask_argv
from launcher.core.reproduce import hide, of_origin, of_plan
from launcher.gitfolder import git_of
from launcher.snapshot import code_here, hashes_here, source_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.core.listed import Listed
    from launcher.core.plan import Plan
    from launcher.core.reproduce import Reproduce
    from launcher.snapshot import Summed
    from launcher.world import World


class Taking(Protocol):
    """What takes in what is found. Its methods may be called from any thread."""

    @property
    def since_ns(self) -> int:
        """When the training was about to begin."""
        ...

    def secrets(self) -> Sequence[str]:
        """What is masked in all that leaves."""
        ...

    def stopped(self) -> bool:
        """Whether nobody waits for more."""
        ...

    def note(self, words: str) -> None:
        """Say what is missing."""
        ...

    def put(self, **known: Any) -> None:
        """Note what is known now."""
        ...


def look_up(
    plan: Plan,
    world: World,
    listed: Mapping[tuple[str, str], Listed],
    known: Mapping[str, Summed],
    record: Taking,
) -> None:
    """Look up everything but the packages; what is known at once is put down first."""
    if world.origin is None:
        return
    origin, secrets = world.origin(), record.secrets()
    job, hidden = hide(origin.job, secrets)
    made = of_origin(of_plan(plan, __version__), origin, job_document(job), hidden)
    sources = {key: source_of(each) for key, each in listed.items() if key[0] != "code"}
    told = {name: value for name, value in asdict(made).items() if name not in ("notes", "packages", "finished")}
    record.put(**{**told, "argv": mask_argv(made.argv, secrets), "inputs": tuple(sources.values())})
    if plan.code is not None:
        code = code_here(plan, listed.get(("code", "code")), known, record.since_ns, record.stopped)
        if code.changed:
            record.note(f"the code was written to since it was staged: {', '.join(code.changed[:3])}")
        record.put(code=replace(code, git=git_of(plan.code.path, record.stopped)))
    folders = {("input", each.name): each.path for each in plan.inputs}
    for key in sources.keys() & folders.keys():
        hashes = hashes_here(listed[key], folders[key], record.since_ns, record.stopped)
        sources[key] = replace(sources[key], hashes=hashes)
    record.put(inputs=tuple(sources.values()))


def laid(plan: Plan, record: Reproduce | None, known: Mapping[str, Any]) -> Reproduce:
    """The record with what is known now."""
    return replace(record or of_plan(plan, __version__), **known)


def closed(plan: Plan, record: Reproduce | None, *, looked: bool, asked: bool) -> Reproduce:
    """The record as it stays, and what is missing in it; `asked`: somebody has asked the interpreter."""
    record = record or of_plan(plan, __version__)
    notes = list(record.notes)
    if not looked or record.job is None:
        notes.append("the run ended before everything was looked up")
    if plan.staged is not None:
        notes.append("it is a trial: its packages are those of its search")
    elif record.interpreter is not None and record.packages is None:
        late, never = "did not say in time what it could load", "was not asked what it could load: the run ended before"
        notes.append(f"the interpreter {late if asked else never}")
    return replace(record, notes=tuple(notes), finished=not notes)
