"""A process among its relatives, in words."""

from __future__ import annotations

import msgspec
import pytest

from launcher.core.kin import STATES, Relative, describe

STUCK = Relative(
    pid=1234, parent=1, name="python", state="D", threads=12, waits_in="nfs_wait_on_request", catches_quit=False
)


def test_a_process_is_one_line() -> None:
    assert describe(STUCK) == (
        "1234 python: waits in the kernel and cannot be killed (state D) in nfs_wait_on_request, 12 threads"
    )
    alone = msgspec.structs.replace(STUCK, state="R", threads=1, waits_in=None)
    assert describe(alone) == "1234 python: runs (state R), 1 thread"


@pytest.mark.parametrize("state", [*STATES, "W"])
def test_every_state_has_words(state: str) -> None:
    line = describe(msgspec.structs.replace(STUCK, state=state))
    assert f"(state {state})" in line
    assert STATES.get(state, "has no word here") in line


@pytest.mark.parametrize(("state", "ended"), [("Z", True), ("X", True), ("D", False), ("S", False)])
def test_what_has_ended_holds_nothing_up(state: str, ended: bool) -> None:  # noqa: FBT001
    assert msgspec.structs.replace(STUCK, state=state).ended is ended


@pytest.mark.parametrize(
    ("name", "python"),
    [("python", True), ("python3.11 (pt_main_thread)", True), ("java", False), ("sh", False)],
)
def test_a_python_is_known_by_its_name(name: str, python: bool) -> None:  # noqa: FBT001
    assert msgspec.structs.replace(STUCK, name=name).python is python
