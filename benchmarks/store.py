"""Moving objects between an S3 server on loopback and this machine: the launcher and its rivals, whole processes.

    python benchmarks/store.py [--rounds 5] [--case NAME]... [--quick] [--checkout DIR] [--no-slow]

The server is a facade (facade.py): nginx, which costs little beside any client. All files are in memory, so that no
disk is measured. The launcher's turn is a whole job: it starts, lists, stages, runs a boot file that does nothing,
syncs and reports; the phase that moves the objects is told beside it, from run.json. What is uploaded lies in the
output folder before the launcher starts. s5cmd, rclone and a program with boto3 move the same objects; plain sockets
are the bound for this language (rawsockets.py), `cp -r` is what the file system allows. All run in turns, after one
that is not counted; rclone and boto3 take fewer. What arrived is counted after each turn and compared, byte for byte,
after the first. Nothing is asserted; the last table says what is reached of what is wanted.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import facade
import measuring
import rivals
import wanted
import watching
from rivals import BOTO3, BUCKET, CP, LAUNCHER, RAW, RCLONE, S5CMD
from wanted import CASES, Bar, Case

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

BUILD = "build/bench"
SLOW = (RCLONE, BOTO3)
PIECE = 1 << 20


class Turns(NamedTuple):
    """What all clients took in one case, and the phase of the launcher that moved the objects."""

    costs: Mapping[str, Sequence[measuring.Cost]]
    phase: Sequence[float]


class Session(NamedTuple):
    """What stays the same from case to case."""

    rounds: int
    quick: bool
    without: tuple[str, ...]
    programs: Mapping[str, str]
    venv: str
    work: str


def main() -> None:
    options = arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that servers and folders go when it is ended
    facade.stop_if_missing()
    programs = rivals.tools()
    print(measuring.machine())
    venv = measuring.launcher_venv(BUILD, options.checkout)
    chosen = [case for case in CASES if not options.case or case.name in options.case]
    reached: list[tuple[str, Bar, float]] = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=facade.memory()) as work:
        rounds = 1 if options.quick else options.rounds
        session = Session(rounds, options.quick, SLOW if options.no_slow else (), programs, venv, work)
        for tree in dict.fromkeys((case.up, case.files, case.size) for case in chosen):
            reached += of_tree(session, [case for case in chosen if (case.up, case.files, case.size) == tree])
        if not options.case or watching.NAME in options.case:
            share = watching.share(venv, work, 12_500 if options.quick else 100_000)
            reached += [(watching.NAME, bar, share) for bar in watching.BARS]
    wanted.table(reached)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure moving objects against s5cmd, rclone, boto3 and cp.")
    parser.add_argument("--rounds", type=int, default=5)
    names = (*(case.name for case in CASES), watching.NAME)
    parser.add_argument("--case", action="append", choices=names, help="only this one; may be given again")
    parser.add_argument("--quick", action="store_true", help="an eighth of the objects, one round: to try it out")
    parser.add_argument("--no-slow", action="store_true", help=f"without {' and '.join(SLOW)}")
    parser.add_argument("--checkout", default=".", help="the launcher to measure (default: %(default)s)")
    return parser.parse_args()


def of_tree(session: Session, cases: Sequence[Case]) -> list[tuple[str, Bar, float]]:
    """Lay one tree of objects down, and run every case of it."""
    first = cases[0]
    files, size = first.scaled() if session.quick else (first.files, first.size)
    served, below = f"{session.work}/served", "source" if first.up else f"served/{BUCKET}/data"
    source = f"{session.work}/{below}"
    reached = []
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, served, ignore_errors=True)
        stack.callback(shutil.rmtree, source, ignore_errors=True)
        fill(source, files, size)
        measuring.lay_down({f"{served}/{BUCKET}/code/boot.py": "pass\n"})
        server = stack.enter_context(facade.serving(served))
        for case in cases:
            turns = in_turns(session, case, server, source)
            told(session, case, turns, files, files * size / wanted.MIB)
            reached += [(case.name, bar, value) for bar in case.bars for value in figures(bar, turns, files)]
    return reached


def fill(folder: str, files: int, size: int) -> None:
    """Files of random bytes, 64 to a folder; none is like another."""
    block = os.urandom(min(size, PIECE))
    for number in range(files):
        part = f"{folder}/part-{number // 64:04}"
        if number % 64 == 0:
            os.makedirs(part)
        with open(f"{part}/file-{number:06}.bin", "wb") as out:
            for start in range(0, size, PIECE):
                mark = b"%016x%016x" % (number, start)
                out.write((mark + block[len(mark) :])[: size - start])


def in_turns(session: Session, case: Case, server: facade.Facade, source: str) -> Turns:
    """Run every client one after the other, round by round. One that fails is told and left out from there on."""
    way = rivals.Way(
        up=case.up,
        source=source,
        endpoint=getattr(server, case.wire),
        authority=server.authority if "tls" in case.wire else "",
        connections=case.connections,
        work=session.work,
    )
    measuring.lay_down({f"{session.work}/job.json": rivals.job(up=case.up)})
    phase: list[float] = []
    todo = measured(session, way, server, phase)
    costs: dict[str, list[measuring.Cost]] = {name: [] for name in todo}
    for turn in range(session.rounds + 1):
        for name, each in tuple(todo.items()):
            # the first turn warms, and shows that all is right; the slow ones take a third of the others
            if (turn == 0 and session.quick) or (name in SLOW and turn not in range(1, session.rounds // 3 + 2)):
                continue
            try:
                cost = measuring.once(each)
            except SystemExit as failure:
                print(f"{case.name}: {failure}")
                del todo[name], costs[name]
                continue
            if turn:
                costs[name].append(cost)
    return Turns({name: runs for name, runs in costs.items() if runs}, phase[0 if session.quick else 1 :])


def measured(session: Session, way: rivals.Way, server: facade.Facade, phase: list[float]) -> dict[str, measuring.Case]:
    env = rivals.environment(way, session.venv)
    compared: set[str] = set()

    def clear(name: str) -> None:
        shutil.rmtree(f"{session.work}/root", ignore_errors=True)
        shutil.rmtree(f"{session.work}/copied", ignore_errors=True)
        os.makedirs(f"{session.work}/copied")
        server.forget()
        if way.up and name == LAUNCHER:
            shutil.copytree(way.source, f"{session.work}/root/{rivals.OUTPUT}", copy_function=os.link)

    def check(name: str) -> None:
        wanted_here = counted(way.source)
        uploaded = way.up and name != CP
        arrived = server.uploads(f"{way.target(name)}part-") if uploaded else counted(way.target(name))
        if arrived != wanted_here:
            sys.exit(f"error: {name}: {arrived} (files, bytes) arrived, expected {wanted_here}")
        if not uploaded and name not in compared:
            compare(name, way.source, way.target(name))
            compared.add(name)
        if name == LAUNCHER:
            phase.append(seconds(f"{session.work}/root", "sync" if way.up else "stage"))

    return {
        name: measuring.Case(name, argv, env, partial(clear, name), partial(check, name))
        for name, argv in rivals.commands(way, session.programs, session.venv).items()
        if name not in session.without
    }


def counted(folder: str) -> tuple[int, int]:
    """Files and bytes below a folder."""
    sizes = [os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names]
    return len(sizes), sum(sizes)


def compare(name: str, source: str, target: str) -> None:
    for at, _, names in os.walk(source):
        there = os.path.join(target, os.path.relpath(at, source))
        for each in names:
            if not filecmp.cmp(os.path.join(at, each), os.path.join(there, each), shallow=False):
                sys.exit(f"error: {name}: {there}/{each} is not what was sent")
        filecmp.clear_cache()


def seconds(root: str, phase: str) -> float:
    """How long a phase of the launcher's own record took."""
    with open(f"{root}/home/ma-user/modelarts/log/run.json") as record:
        spells = {spell["phase"]: spell for spell in json.load(record)["timeline"]}
    started, ended = (datetime.fromisoformat(spells[phase][name]) for name in ("started", "ended"))
    return (ended - started).total_seconds()


def told(session: Session, case: Case, turns: Turns, files: int, mebibytes: float) -> None:
    """Print what every client took."""
    limit = f", {case.connections} connections" if case.connections else ""
    quick = " (an eighth: --quick)" if session.quick else ""
    print(f"\n{case.name}{quick}: {case.meaning}{limit}; whole processes in turns, medians")
    print(f"{'':16}{'wall s':>8}  {'min..max':>15}{'turns':>6}{'x s5cmd':>9}{'x raw':>7}{'CPU s':>8}{'peak MiB':>10}")
    wall = {name: statistics.median(run.wall for run in runs) for name, runs in turns.costs.items()}
    for name, runs in turns.costs.items():
        walls = [run.wall for run in runs]
        print(
            f"{name:16}{wall[name]:8.3f}  {f'{min(walls):.3f}..{max(walls):.3f}':>15}{len(runs):6}"
            f"{ratio(wall.get(S5CMD), wall[name])}{ratio(wall[name], wall.get(RAW), 7)}"
            f"{statistics.median(run.cpu for run in runs):8.2f}{max(run.peak for run in runs) / 2**20:10.1f}"
        )
    if turns.phase:
        alone = statistics.median(turns.phase)
        spread = f"{min(turns.phase):.3f}..{max(turns.phase):.3f}"
        print(
            f"  the launcher's {'sync' if case.up else 'stage'} phase: {alone:.3f} s ({spread}), "
            f"{ratio(wall.get(S5CMD), alone).strip()} x s5cmd; {rate(files, mebibytes, alone)}; "
            f"the whole process: {rate(files, mebibytes, wall[LAUNCHER])}"
        )
    sys.stdout.flush()


def rate(files: int, mebibytes: float, took: float) -> str:
    """What moved in a second: objects where there are many, bytes where there is one."""
    return f"{files / took:,.0f} objects/s" if files > 1 else f"{mebibytes / took:,.0f} MiB/s"


def ratio(one: float | None, other: float | None, width: int = 9) -> str:
    """How many times the other, or a dash."""
    return f"{one / other:{width}.2f}" if one and other else f"{'-':>{width}}"


def figures(bar: Bar, turns: Turns, files: int) -> Iterable[float]:
    """What is reached of a bar, if all took part that it needs."""
    wall = {name: statistics.median(run.wall for run in runs) for name, runs in turns.costs.items()}
    ours = wall.get(LAUNCHER)
    if ours is None:
        return
    if bar.kind == "s5cmd" and S5CMD in wall:
        yield wall[S5CMD] / ours
    elif bar.kind == "raw" and RAW in wall:
        yield ours / wall[RAW]
    elif bar.kind == "peak":
        yield max(run.peak for run in turns.costs[LAUNCHER]) / 2**20
    elif bar.kind == "rate":
        yield files / ours / wanted.CEILING * 100


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
