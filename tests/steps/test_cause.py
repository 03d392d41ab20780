from __future__ import annotations

import os
from typing import TYPE_CHECKING

from launcher.cause import why
from launcher.children import Attended
from launcher.core.record import Ended, Memory

if TYPE_CHECKING:
    from pathlib import Path


def attended(
    rank: int, code: int, stderr: str = "", *, ended: str | None = None, signal: int | None = None
) -> Attended:
    told = Ended(rank=rank, local_rank=rank, pid=1, exit_code=code, signal=signal, started="", ended=ended)
    return Attended(ended=told, code=code, stdout=b"", stderr=stderr.encode())


def memory(kills: int) -> Memory:
    return Memory(source="cgroup v2", limit_bytes=1 << 30, peak_bytes=1 << 30, oom_kills=kills)


def test_a_good_run_has_no_cause() -> None:
    assert why((attended(0, 0), attended(1, 0)), None, (None, None), "en") is None


def test_the_rank_that_failed_first_speaks_first_and_the_others_in_the_order_of_their_ends() -> None:
    ended = (
        attended(0, 1, "KeyError: 'zero'", ended="2026-01-01T00:00:03Z"),
        attended(1, 1, "KeyError: 'one'", ended="2026-01-01T00:00:02Z"),
        attended(2, 1, "Traceback (most recent call last):\nKeyError: 'two'", ended="2026-01-01T00:00:01Z"),
    )
    cause = why(ended, 2, (None, None), "en")
    assert cause is not None
    assert cause.rank == 2
    followers = [line for line in cause.evidence if line.startswith("rank ")]
    assert [line[:6] for line in followers] == ["rank 1", "rank 0"]


def test_a_kill_that_the_kernel_counted_is_for_want_of_memory() -> None:
    killed = (attended(0, 137, signal=9),)
    counted, not_counted = (why(killed, 0, (memory(1), memory(after)), "en") for after in (2, 1))
    assert counted is not None
    assert not_counted is not None
    assert (counted.code, not_counted.code) == ("oom-killed", "killed")


def test_what_was_refused_is_told_with_its_owner(tmp_path: Path) -> None:
    there, missing = tmp_path / "model.bin", tmp_path / "new.bin"
    there.write_bytes(b"")
    for path, place in ((there, there), (missing, tmp_path)):
        said = f"Traceback (most recent call last):\nPermissionError: [Errno 13] Permission denied: '{path}'\n"
        cause = why((attended(0, 1, said),), 0, (None, None), "en")
        assert cause is not None
        assert cause.code == "permission-denied"
        assert cause.evidence[-1].startswith(f"{place} belongs to uid {os.getuid()}, gid ")
    cause = why(
        (attended(0, 1, "PermissionError: [Errno 13] Permission denied: '/no/such/\0place'"),), 0, (None, None), "zh"
    )
    assert cause is not None
    assert not cause.evidence[-1].startswith("/no")
