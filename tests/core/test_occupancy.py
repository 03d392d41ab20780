from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.errors import Exit
from launcher.core.occupancy import (
    BEATS,
    MOST_BYTES,
    SKEW,
    Marker,
    Owner,
    Rival,
    Verdict,
    dump_marker,
    is_marker,
    is_peer,
    judge,
    last_seen,
    marker_at,
    parse_marker,
    refusal,
    renewed,
    seconds,
    utc,
    yields,
)
from launcher.core.plan import JobName
from launcher.core.urls import Location

NOW = "2024-05-06T07:08:09.000+00:00"
OWNER = Owner(boot="9f0e", namespace=4026531836, pid=17, started=12345)
MINE = Marker(
    job="job-1",
    label="modelarts-job-job-1-worker-0",
    worker=0,
    workers=2,
    host="node-a",
    owner=None,
    token="5" * 32,
    started=NOW,
    beat=NOW,
    every=30.0,
)
OTHER = msgspec.structs.replace(
    MINE, job="job-2", label="modelarts-job-job-2-worker-0", host="node-b", owner=OWNER, token="6" * 32
)
PATH = ".launcher/running-modelarts-job-job-2-worker-0.json"


def unknown(_: Owner) -> None:
    return None


def alive(_: Owner) -> bool:
    return True


def dead(_: Owner) -> bool:
    return False


def change(marker: Marker, **changes: Any) -> Marker:
    return msgspec.structs.replace(marker, **changes)


def judged(other: Marker, alive_here: Any = unknown, *, after: float = 0.0) -> Verdict:
    return judge([other], MINE, seconds(NOW) + after, alive_here)


def test_a_marker_reads_as_documented() -> None:
    assert json.loads(dump_marker(OTHER)) == {
        "version": 1,
        "job": "job-2",
        "label": "modelarts-job-job-2-worker-0",
        "worker": 0,
        "workers": 2,
        "host": "node-b",
        "owner": {"boot": "9f0e", "namespace": 4026531836, "pid": 17, "started": 12345},
        "token": "6" * 32,
        "started": NOW,
        "beat": NOW,
        "every": 30.0,
        "claims": False,
        "ended": False,
        "after": "",
    }
    assert parse_marker(dump_marker(OTHER), PATH) == OTHER
    assert marker_at(Location("b", "out"), OTHER.label) == Location("b", f"out/{PATH}")


def test_a_beat_changes_the_time_alone() -> None:
    later = renewed(OTHER, "2024-05-06T07:09:09.000+00:00")
    assert change(later, beat=NOW) == OTHER
    assert renewed(OTHER, NOW, claims=True).claims
    assert renewed(OTHER, NOW, ended=True).ended


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"job": "x" * 256},
        {"worker": -1},
        {"worker": 2**70},
        {"token": "x"},
        {"token": "A" * 32},
        {"every": 0},
        {"every": 1e9},
        {"owner": {"boot": "x"}},
        {"beat": "yesterday"},
        {"beat": "2024-05-06T07:08:09"},
        {"started": "2024-13-06T07:08:09Z"},
        {"beat": "2024-05-06T24:08:09Z"},
        {"label": "modelarts-job-job-3-worker-0"},
        {"label": "../../x"},
        {"host": None},
    ],
)
def test_what_is_no_marker_is_refused(changes: dict[str, Any]) -> None:
    raw = json.dumps({**json.loads(dump_marker(OTHER)), **changes}).encode()
    with pytest.raises(ValueError, match=r"no marker"):
        parse_marker(raw, PATH)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 8000, b'{"job": "\xed\xa0\x80"}'])
def test_broken_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="no marker"):
        parse_marker(raw, PATH)


def test_a_large_marker_is_refused_unread() -> None:
    with pytest.raises(ValueError, match="larger than 8,192 bytes"):
        parse_marker(dump_marker(OTHER) + b" " * MOST_BYTES, PATH)


def test_a_marker_is_known_by_its_name() -> None:
    assert is_marker(PATH)
    assert not is_marker(".launcher/manifest-worker-0.json")
    assert not is_marker(".launcher/running-x.txt")
    assert not is_marker(".launcher/running-x/y.json")
    assert not is_marker("running-x.json")


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("modelarts-job-a-worker-1", True),
        ("modelarts-job-a-worker-999", True),
        ("modelarts-job-a-worker-0", False),
        ("modelarts-job-b-worker-1", False),
        ("modelarts-job-a-worker-1-worker-1", False),
        ("modelarts-job-a-worker-", False),
        ("modelarts-job-a-worker-\N{SUPERSCRIPT TWO}", False),
        ("modelarts-job-a-b-worker-1", False),
    ],
)
def test_the_other_workers_of_a_job_are_known_by_name(name: str, peer: bool) -> None:  # noqa: FBT001 - a table's column
    job = JobName(id="a", name="n", label="modelarts-job-a-worker-0")
    assert is_peer(f".launcher/running-{name}.json", job) is peer


def test_another_job_that_beats_is_a_rival() -> None:
    verdict = judged(OTHER)
    assert [rival.marker for rival in verdict.rivals] == [OTHER]
    assert not verdict.rivals[0].sure
    assert verdict.rivals[0].until == seconds(NOW) + BEATS * 30 + SKEW
    assert (verdict.gone, verdict.remarks) == ((), ())


def test_another_job_that_beats_no_more_is_gone() -> None:
    until = BEATS * 30 + SKEW
    assert judged(OTHER, after=until).rivals
    verdict = judged(OTHER, after=until + 1)
    assert (verdict.rivals, verdict.gone) == ((), (OTHER,))
    assert "job 'job-2' (worker-0 on 'node-b') has not been heard of since 2024" in verdict.remarks[0]


def test_on_the_same_kernel_a_dead_owner_is_gone_at_once() -> None:
    assert judged(OTHER, dead) == Verdict(gone=(OTHER,), cut_off=(OTHER,))


def test_on_the_same_kernel_a_running_owner_is_a_rival_however_long_it_is_silent() -> None:
    (rival,) = judged(OTHER, alive, after=1e6).rivals
    assert rival.sure


def test_a_run_that_ended_is_gone() -> None:
    ended = change(OTHER, ended=True)
    assert judged(ended, alive) == Verdict(gone=(ended,))


def test_a_marker_without_an_owner_is_judged_by_its_beats() -> None:
    assert judged(change(OTHER, owner=None), dead).rivals


def test_the_other_workers_of_the_job_are_no_rivals() -> None:
    peer = change(OTHER, job="job-1", worker=1)
    for where in (unknown, alive, dead):
        assert judged(peer, where) == Verdict()


def test_an_earlier_attempt_of_this_worker_is_taken_over() -> None:
    earlier = change(OTHER, job="job-1")
    assert judged(earlier, dead) == Verdict(gone=(earlier,), cut_off=(earlier,))
    verdict = judged(earlier)
    assert verdict.rivals == ()
    assert "is an earlier attempt of this worker" in verdict.remarks[0]
    assert verdict.cut_off == (earlier,)


def test_who_was_cut_off_stands_in_the_marker_that_takes_its_place() -> None:
    said = last_seen(OTHER)
    assert said == f"job 'job-2' (worker-0 on 'node-b'), last sign of it {NOW}"
    ours = renewed(MINE, NOW, after=said)
    assert parse_marker(dump_marker(ours), ".launcher/running-modelarts-job-job-1-worker-0.json").after == said
    assert len(last_seen(change(OTHER, job="x" * 255, host="y" * 255))) == 255


def test_the_same_worker_that_runs_here_already_is_a_rival() -> None:
    assert judged(change(OTHER, job="job-1"), alive).rivals


def test_our_own_marker_says_nothing() -> None:
    assert judged(change(OTHER, token=MINE.token), alive) == Verdict()


def test_a_beat_from_the_future_counts_and_is_told() -> None:
    verdict = judged(OTHER, after=-SKEW)
    assert (len(verdict.rivals), verdict.remarks) == (1, ())
    verdict = judged(OTHER, after=-SKEW - 1)
    assert len(verdict.rivals) == 1
    assert "from the future" in verdict.remarks[0]


def rival(**changes: Any) -> Rival:
    return Rival(marker=change(OTHER, **changes), sure=False, until=0.0)


def test_of_two_that_came_together_the_smaller_token_stays() -> None:
    assert yields(MINE, [rival(claims=True, token="4" * 32)]) is not None
    assert yields(MINE, [rival(claims=True, token="6" * 32)]) is None
    assert yields(MINE, []) is None


def test_everyone_gives_way_to_who_is_settled() -> None:
    settled = rival(token="6" * 32)
    assert yields(MINE, [rival(claims=True, token="7" * 32), settled]) is settled


def test_a_refusal_says_who_since_when_until_when_and_what_to_do() -> None:
    folder = Location("b", "out/")
    (found,) = judged(OTHER).rivals
    error = refusal("outputs[0] (train_url)", folder, found)
    assert str(error) == (
        "outputs[0] (train_url): obs://b/out/ is in use by job 'job-2' (worker-0 on 'node-b'), which has been writing "
        f"there since {NOW}; last sign of it {NOW}, it counts as running until 2024-05-06T07:10:39Z"
    )
    assert (error.code, error.exit_code) == ("output-in-use", Exit.INVALID)
    for way in ("another obs_url", "wait until then", "LAUNCHER_OUTPUT_IN_USE=warn", f"remove obs://b/out/{PATH}"):
        assert way in error.action


def test_a_refusal_names_the_process_where_it_runs_here() -> None:
    (found,) = judged(OTHER, alive).rivals
    error = refusal("o", Location("b", "out/"), found)
    assert "its process 17 runs on this node" in str(error)
    assert "wait until it has ended" in error.action


@given(st.datetimes(timezones=st.timezones() | st.just(timezone.utc)))
def test_times_are_read_as_the_standard_library_reads_them(moment: datetime) -> None:
    offset = moment.utcoffset() or timedelta()
    if offset.total_seconds() % 60 == 0:
        assert seconds(moment.isoformat()) == pytest.approx(moment.timestamp(), abs=1e-4)


@given(st.integers(0, 253402300799))
def test_times_are_written_as_they_are_read(moment: int) -> None:
    assert utc(moment) == datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert seconds(utc(moment)) == moment


@given(st.binary(max_size=300) | st.text().map(str.encode))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    with pytest.raises(ValueError, match="marker"):
        parse_marker(raw, PATH)
