from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from failures import traceback
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.diagnose import Evidence, Witness, diagnose
from launcher.core.diagnose.retold import retold
from launcher.core.errors import SpecError
from launcher.core.parse.run import is_run, parse_run
from launcher.core.record import Cause, Memory

MISSING = diagnose(
    Evidence(witnesses=(Witness(code=1, rank=0, stderr=traceback("ModuleNotFoundError: No module named 'a'")),))
)


def document(cause: Cause | None, *processes: dict[str, Any], **more: Any) -> dict[str, Any]:
    failed = processes or ({"rank": 0, "exit_code": 1, "signal": None, "ended": "2024-01-01T00:00:00Z"},)
    told = None if cause is None else msgspec.to_builtins(cause)
    return {"version": 1, "phase": "Failed", "exit_code": 1, "cause": told, "processes": list(failed), **more}


def again(cause: Cause | None, *processes: dict[str, Any], language: str = "zh", **more: Any) -> Cause | None:
    return retold(parse_run(copy.deepcopy(document(cause, *processes, **more))), language)


def test_a_cause_is_told_in_another_language_with_the_evidence_of_then() -> None:
    found = again(MISSING)
    assert found is not None
    assert (found.code, found.evidence, found.rank) == ("module-missing", MISSING.evidence, 0)
    assert found.message == "启动文件所用的 Python 解释器中没有模块 a"
    assert again(MISSING, language="en") == MISSING


def test_counters_tell_again_of_an_oom_kill() -> None:
    limits = {"memory_bytes": 1024, "oom_kills_before": 0, "oom_kills_after": 1, "memory_peak_bytes": 1000}
    killed = Cause(code="killed", message="m", action="a", rank=0)
    found = again(killed, {"rank": 0, "exit_code": 137, "signal": 9}, language="en", limits=limits)
    assert found is not None
    assert found.code == "oom-killed"
    assert "limit 1.00 KiB (1,024 bytes), peak 1000 bytes" in found.message
    before, after = parse_run(document(killed, limits=limits)).limits.around()  # type: ignore[union-attr]
    assert (before.oom_kills, after) == (0, Memory(source="cgroup v2", limit_bytes=1024, peak_bytes=1000, oom_kills=1))


def test_the_uid_is_the_one_of_then() -> None:
    line = traceback("PermissionError: [Errno 13] Permission denied: '/data'")
    then = diagnose(Evidence(witnesses=(Witness(code=1, rank=0, stderr=line),), uid=1102))
    assert "uid 1102" in then.message
    found = again(then)
    assert found is not None
    assert "uid 1102" in found.message


@pytest.mark.parametrize(
    "cause",
    [
        None,
        Cause(code="store-missing", message="no such object", action="a"),
        Cause(code="interrupted", message="SIGTERM", action="a"),
        Cause(code="gpu-memory", message="words that were not kept as evidence", action="a", rank=0),
        Cause(code="segfault", message="of a rank that is not there", action="a", rank=7),
    ],
)
def test_what_cannot_be_found_again_is_told_as_it_was(cause: Cause | None) -> None:
    assert again(cause) == cause


def test_the_rank_that_failed_first_is_the_one_that_ended_first() -> None:
    cause = Cause(code="boot-failed", message="m", action="a", rank=1)
    processes: list[dict[str, Any]] = [
        {"rank": 0, "exit_code": 143, "signal": 15, "ended": "2024-01-01T00:00:02Z"},
        {"rank": 1, "exit_code": 3, "signal": None, "ended": "2024-01-01T00:00:01Z"},
        {"rank": 2, "exit_code": 0, "signal": None, "ended": "2024-01-01T00:00:00Z"},
    ]
    found = again(cause, *processes, language="en")
    assert found is not None
    assert found.message.startswith("Rank 1 failed first: Training failed: the boot process ended with exit code 3")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"phase": "Fine"}, "run.json: phase: "),
        ({"exit_code": -1}, "run.json: exit_code: "),
        ({"exit_code": "0"}, "run.json: exit_code: "),
        ({"processes": [{"signal": 99}]}, "run.json: processes[0].signal: "),
        ({"limits": {"memory_bytes": 2**64}}, "run.json: limits.memory_bytes: "),
        ({"synced": [{"channel": 1}]}, "run.json: synced[0].channel: "),
        ({"cause": {"code": "x"}}, "run.json: cause: "),
    ],
)
def test_a_wrong_member_is_named_by_its_path(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_run({**document(None), **change})
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize("value", [None, [], {}, {"version": 1}, "run"])
def test_what_is_no_run_json_is_refused(value: object) -> None:
    assert not is_run(value)
    with pytest.raises(SpecError, match=r"expected a run\.json"):
        parse_run(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["code", "rank", "signal"]), inner),
)


@given(st.dictionaries(st.sampled_from(["cause", "processes", "limits", "synced", "timeline", "phase"]), JSON))
def test_any_document_is_read_or_refused(change: dict[str, Any]) -> None:
    try:
        run = parse_run({**document(MISSING), **change})
    except SpecError:
        return
    told = retold(run, "en")
    assert (told is None) == (run.cause is None)
