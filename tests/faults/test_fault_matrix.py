"""Every fault of the library in jobs of one process, of four, and of two nodes, with restarts and without.

An outage of the store lasts FAULTS_OUTAGE_S seconds (2; 60 for the minute that a store is waited for by default).
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from ends import marked
from library import FAULTS, LAYOUTS, LOST, OWN, PAGE, RETRIES, STRUCK, USELESS, WELL, End, page
from scenes import OUTAGE_S, Scene, written
from servers import LOCALFS, AnyStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from library import Injected, Layout
    from servers import S3Server


def name_of(fault: Injected, layout: Layout, retries: int, *, lasts: bool) -> str:
    """One case, in a word that `-k` takes."""
    return "-".join((fault.name, *layout.split(), f"retries{retries}", *(() if lasts else ("once",))))


CASES = [
    pytest.param(fault, layout, retries, lasts, id=name_of(fault, layout, retries, lasts=lasts))
    for fault in FAULTS
    for layout in fault.layouts
    for retries in (0, RETRIES, *(() if fault.gains else (USELESS,)))
    for lasts in (True, False)
    if lasts or (retries and fault.passes)
]


@pytest.fixture
def scene(request: pytest.FixtureRequest, fault: Injected, layout: Layout, tmp_path: Path) -> Iterator[Scene]:
    """The job and what the fault needs around it; whoever a failed test leaves is ended."""
    made = Scene(store_of(request, fault, tmp_path), tmp_path, fault, layout)
    with made.furnished(request):
        yield made
        for pid in marked(made.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def store_of(request: pytest.FixtureRequest, fault: Injected, folder: Path) -> AnyStore:
    """A directory, or where requests are to be disturbed a server."""
    if "store" not in fault.scene:
        directory = folder / "store"
        directory.mkdir()
        return AnyStore("localfs", LOCALFS, ("--store", str(directory)), directory=directory)
    server: S3Server = request.getfixturevalue("moto_server")
    return AnyStore("moto", server.capability, env=server.env, server=server)


@pytest.mark.timeout(120 + 2 * OUTAGE_S)
@pytest.mark.parametrize(("fault", "layout", "retries", "lasts"), CASES)
def test_a_fault_comes_to_what_the_page_says(
    scene: Scene, fault: Injected, layout: Layout, retries: int, *, lasts: bool
) -> None:
    end = fault.after(retries, lasts=lasts)
    result = scene.play(retries, lasts=lasts)
    told = scene.told()
    ends = [brief(each) for each in told]
    assert end in ends, result.err
    assert [each for each in ends if replace(each, cause=end.cause) != end] == [], result.err
    assert {each.cause for each in ends} <= {end.cause, "peer-failed", "peer-stopped"}, result.err
    assert result.code == end.code, result.err
    if fault.strike and end.cause == fault.end.cause and end.phase == "Failed":
        assert (ends[-1], told[-1]["cause"]["rank"]) == (end, STRUCK[layout]), "the struck one is named"
    if fault.blame == "a hang":
        told_where = [text for name, text in scene.stored("log/").items() if "stacks-" in name and b"strike.py" in text]
        assert told_where, "nobody says where it hangs"
    assert scene.stored() == kept(fault, layout, end)
    assert scene.left() == []


@pytest.mark.parametrize(("fault", "layout"), [(OWN[0], layout) for layout in LAYOUTS])
def test_the_users_own_failures_are_retried_where_the_job_says_so(
    scene: Scene, fault: Injected, layout: Layout
) -> None:
    scene.job["metadata"]["annotations"] = {"fault-tolerance/job-unconditional-retry": "true"}
    result = scene.play(RETRIES, lasts=True)
    assert brief(scene.told()[-1]) == replace(fault.end, attempts=1 + RETRIES), result.err


@pytest.mark.parametrize(("fault", "layout"), [(LOST, "2 nodes")])
@pytest.mark.parametrize("retries", [0, RETRIES])
def test_a_node_that_is_lost_ends_the_other_or_takes_part_again(scene: Scene, fault: Injected, retries: int) -> None:
    """With retries the cluster starts it again in its place; without it is gone."""
    scene.tell(retries, lasts=False)
    first, lost = scene.launch(0), scene.launch(1)
    scene.ended(lost)
    assert lost.returncode == -signal.SIGKILL
    if retries == 0:
        result = scene.ended(first)
        assert (result.code, brief(scene.told()[0])) == (fault.end.code, fault.end), result.err
        assert scene.stored() == {"rank-0/checkpoint-1.pt": b"0 after 1"}, "what was here is in its place"
        return
    result = scene.ended(first, scene.launch(1))
    assert (result.code, first.returncode) == (0, 0), result.err
    assert [brief(each) for each in scene.told()] == [fault.after(retries, lasts=False), WELL], result.err
    assert scene.stored() == kept(fault, "2 nodes", fault.after(retries, lasts=False))
    assert scene.left() == []


def brief(told: Any) -> End:
    """What run.json says of the end."""
    cause = told["cause"] and told["cause"]["code"]
    return End(told["exit_code"], told["phase"], cause, len(told["attempts"]))


def kept(fault: Injected, layout: Layout, end: End) -> dict[str, bytes]:
    """What has to be in its place in the end."""
    attempts = range(1, end.attempts + 1) if fault.gains else range(1)
    return written(attempts if fault.saves else (), layout)


def test_the_page_is_what_the_library_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python tests/faults/library.py"
