"""A recorded run laid beside what is here now: one row for each thing that is not the same, or cannot be told to be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from launcher.core.keys import human_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from launcher.core.reproduce import Code, Git, Packages, Reproduce, Source

SHOWN = 8
"""Files or packages of one kind that get a row of their own."""
NOTHING, UNKNOWN = "-", "not known"
_MEETING = re.compile(r"\A(--init_method=tcp://|--master_addr=)(\[[^]]*\]|[^:/]+)")
"""Where the nodes of a PyTorch job meet: a host's name, which the platform gives anew to each job."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `decides`: with it the same result cannot be expected. `known`: both sides could be looked at."""

    what: str
    then: str
    now: str
    decides: bool = True
    known: bool = True


class Lying(msgspec.Struct, frozen=True, kw_only=True):
    """A folder on this node that holds more than the job brings there.

    `files` lie there, or more where that is not the `whole`; `first` is one that is not of the job, where known.
    """

    name: str
    brought: int
    files: int
    first: str | None = None
    whole: bool = True


def differences(
    then: Reproduce, now: Reproduce, installed: str | None = None, folders: Sequence[Lying] = ()
) -> tuple[Row, ...]:
    """All of them, those that decide first. `installed` is the pip file that a run would install before it trains.

    `folders` are those in which a run would find what it does not bring.
    """
    rows = [*_job(then, now), *_code(then.code, now.code), *_sources(then, now), *map(_lying, folders)]
    rows += (*_packages(then, now, installed), *_surroundings(then, now))
    return tuple(sorted(rows, key=lambda row: not row.decides))


def _job(then: Reproduce, now: Reproduce) -> Iterator[Row]:
    """What the boot file is given. Paths are compared as they are below the root."""
    was, found = ([_below(each, token) for token in each.argv[1:]] for each in (then, now))
    if min(then.node.count, now.node.count) > 1:
        (was, host), (found, other) = _without_host(was), _without_host(found)
        if host != other:
            yield Row(what="host where the nodes meet", then=host or NOTHING, now=other or NOTHING, decides=False)
    if was != found:
        ours, theirs = ([token for token in one if token not in other] for one, other in ((was, found), (found, was)))
        changed = " ".join(ours), " ".join(theirs)
        yield Row(
            what="arguments",
            then=changed[0] or NOTHING,
            now=changed[1] or (NOTHING if ours else "the same, otherwise ordered"),
        )
    pairs = (
        ("working directory", _below(then, then.cwd), _below(now, now.cwd)),
        ("engine", _engine(then), _engine(now)),
        ("nodes", _nodes(then), _nodes(now)),
    )
    yield from (Row(what=what, then=one, now=other) for what, one, other in pairs if one != other)
    yield from _mapped("variable", then.env, now.env)
    yield from _mapped("seed", then.seeds, now.seeds, but=then.env.keys() | now.env.keys())


def _below(record: Reproduce, text: str) -> str:
    """A text with paths as they are without the root, and without that of the search that a trial is one of."""
    for root in (record.root, record.staged or "/"):
        text = text.replace(root.rstrip("/") + "/", "/")
    return text


def _without_host(argv: Sequence[str]) -> tuple[list[str], str]:
    """The arguments without the name of the host where the nodes meet, and that."""
    hosts = [met[2] for token in argv if (met := _MEETING.match(token))]
    return [_MEETING.sub(r"\1HOST", token, count=1) for token in argv], " ".join(hosts)


def _lying(folder: Lying) -> Row:
    first = (folder.first or "").encode(errors="backslashreplace").decode()
    told = f"{folder.files:,} files{'' if folder.whole else ' or more'}{first and f', among them {first}'}"
    return Row(
        what=f"folder of {folder.name}", then=f"{folder.brought:,} files" if folder.brought else "empty", now=told
    )


def _engine(record: Reproduce) -> str:
    return f"{record.engine} {record.engine_version or ''}".strip()


def _nodes(record: Reproduce) -> str:
    node = record.node
    return f"{node.role} {node.index} of {node.count}, {node.processes} processes"


def _mapped(
    kind: str, then: Mapping[str, str], now: Mapping[str, str], but: AbstractSet[str] = frozenset()
) -> Iterator[Row]:
    names = [name for name in sorted(then.keys() | now.keys()) if then.get(name) != now.get(name) and name not in but]
    for name in names[:SHOWN]:
        yield Row(what=f"{kind} {name}", then=then.get(name, NOTHING), now=now.get(name, NOTHING))
    if names[SHOWN:]:
        yield Row(what=f"{kind}s", then=f"and {len(names) - SHOWN:,} more that differ", now="")


def _code(then: Code | None, now: Code | None) -> Iterator[Row]:
    """By their trees where both are known, else by their listings."""
    if then is None and now is None:
        return
    if then is None or now is None:
        yield Row(what="code", then=_code_told(then), now=_code_told(now), known=False)
        return
    if then.tree and now.tree:
        if then.tree == now.tree:
            return
        yield Row(what="code", then=_code_told(then), now=_code_told(now))
        if then.hashes and now.hashes:
            yield from _mapped("code file", _short(then.hashes), _short(now.hashes))
    elif not then.listed or then.listed != now.listed:
        yield Row(what="code", then=_code_told(then), now=_code_told(now), known=False)


def _short(hashes: Mapping[str, str]) -> dict[str, str]:
    return {path: digest[:12] for path, digest in hashes.items()}


def _code_told(code: Code | None) -> str:
    if code is None:
        return UNKNOWN
    digest = f"tree {code.tree[:12]}" if code.tree else "tree not known"
    return f"{code.files:,} files, {human_size(code.bytes)}, {digest}{_git_told(code.git)}"


def _git_told(git: Git | None) -> str:
    if git is None or git.commit is None:
        return ""
    return f", commit {git.commit[:12]}{' and changes' if git.dirty else ''}"


def _sources(then: Reproduce, now: Reproduce) -> Iterator[Row]:
    was, found = ({(each.kind, each.name): each for each in record.inputs} for record in (then, now))
    for key in dict.fromkeys((*was, *found)):
        before, after = was.get(key), found.get(key)
        what = " ".join(key)
        if before is None or after is None:
            # of a trial its search had brought the inputs, and has them in its own record
            elsewhere = before is None and key[0] == "input" and then.staged is not None
            told = UNKNOWN if elsewhere else _source_told(before)
            yield Row(what=what, then=told, now=_source_told(after), known=not elsewhere)
        elif before.digest != after.digest and not (before.hashes and before.hashes == after.hashes):
            yield Row(what=what, then=_source_told(before), now=_source_told(after))
            yield from _files(what, before, after)


def _source_told(source: Source | None) -> str:
    if source is None:
        return NOTHING
    return f"{source.objects:,} objects, {human_size(source.bytes)}, {source.digest[:12]}"


def _files(what: str, then: Source, now: Source) -> Iterator[Row]:
    """Which objects differ, where each of both is known."""
    if then.hashes and now.hashes:
        yield from _mapped(f"{what}:", _short(then.hashes), _short(now.hashes))
        return
    if bool(then.files) != bool(then.objects) or bool(now.files) != bool(now.objects):
        return
    told = [{path: f"{size:,} bytes, {mark[:12]}" for path, size, mark in each.files} for each in (then, now)]
    yield from _mapped(f"{what}:", told[0], told[1])


def _packages(then: Reproduce, now: Reproduce, installed: str | None) -> Iterator[Row]:
    if then.interpreter is None and now.interpreter is None:
        return
    was, found = then.packages, now.packages
    if was is None or found is None:
        yield Row(what="packages", then=_counted(was), now=_counted(found), known=False)
        return
    if was.python != found.python:
        yield Row(what="python", then=was.python, now=found.python)
    lacking = was.versions.keys() - found.versions.keys() if installed else frozenset()
    if lacking:
        yield Row(
            what="packages", then=", ".join(sorted(lacking)[:SHOWN]), now=f"to come by {installed}", decides=False
        )
    yield from _mapped("package", was.versions, found.versions, but=lacking)


def _counted(packages: Packages | None) -> str:
    return UNKNOWN if packages is None else f"{len(packages.versions):,} packages of Python {packages.python}"


def _surroundings(then: Reproduce, now: Reproduce) -> Iterator[Row]:
    """What a result should not hang on, and does now and then."""
    pairs = [
        (
            "image",
            then.image and (then.image.digest or then.image.url),
            now.image and (now.image.digest or now.image.url),
        ),
        ("devices", _devices(then), _devices(now)),
        ("driver", then.devices.driver, now.devices.driver),
        ("runtime of the driver", then.devices.runtime, now.devices.runtime),
        ("processors", f"{then.devices.cpus:g}", f"{now.devices.cpus:g}"),
        ("kernel", then.kernel, now.kernel),
        ("launcher", then.launcher, now.launcher),
        ("interpreter", then.interpreter, now.interpreter),
    ]
    limits = sorted(then.limits.keys() & now.limits.keys())
    pairs += [(f"limit {name}", _limit(then.limits[name]), _limit(now.limits[name])) for name in limits]
    for what, was, found in pairs:
        if was != found:
            yield Row(what=what, then=was or NOTHING, now=found or NOTHING, decides=False)


def _devices(record: Reproduce) -> str:
    named = ", ".join(sorted(set(record.devices.names)))
    return f"{record.devices.count if record.devices.count is not None else '?'} x {named or record.devices.type}"


def _limit(value: int | None) -> str:
    return "unlimited" if value is None else f"{value:,}"


def table(rows: tuple[Row, ...]) -> list[str]:
    """The rows for a person, a line each: what, then, now."""
    heads = ("what", "then", "now")
    cells = [heads, *((f"{row.what}{'' if row.decides else ' (a warning)'}", row.then, row.now) for row in rows)]
    width = [min(max(len(line[column]) for line in cells), 48) for column in (0, 1)]
    return [f"{what:{width[0]}}  {then:{width[1]}}  {now}".rstrip() for what, then, now in cells]
