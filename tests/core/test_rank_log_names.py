from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_planning import decided

from launcher.core.plan import Process
from launcher.core.ranklogs import Aged, newest, rank_log_folders

LOGS = "/home/ma-user/modelarts/log"
PREFIX = "modelarts-job-i-1-worker-0/ascend/process_log/rank_0/"


def folders(*places: str) -> dict[str, str]:
    plan = decided()
    own = [{"ASCEND_PROCESS_LOG_PATH": place} if place else {} for place in places]
    processes = tuple(
        Process(rank=rank, local_rank=rank, argv=("x",), env=env, cwd="/") for rank, env in enumerate(own)
    )
    return dict(rank_log_folders(replace(plan, processes=processes)))


def test_each_rank_s_folder_has_its_name_at_the_target() -> None:
    assert folders(f"{LOGS}/j/rank_0", f"{LOGS}/j/rank_1") == {
        f"{LOGS}/j/rank_0": PREFIX,
        f"{LOGS}/j/rank_1": PREFIX.replace("rank_0", "rank_1"),
    }


def test_a_place_that_the_job_chose_is_its_own_matter() -> None:
    assert folders("", "/elsewhere", LOGS, f"{LOGS}/../../x", f"{LOGS}/a/./b", f"{LOGS}x/y") == {}


def test_a_folder_that_ranks_share_goes_once() -> None:
    assert folders(f"{LOGS}/j", f"{LOGS}/j") == {f"{LOGS}/j": PREFIX}


def test_an_engine_that_writes_logs_of_ranks_has_a_folder_for_them() -> None:
    plan = decided()
    for engine in ("torchrun", "mpi", "msrun"):
        made = rank_log_folders(replace(plan, engine=engine))
        assert made == {f"{LOGS}/{engine}": f"modelarts-job-i-1-worker-0/{engine}/"}
    assert rank_log_folders(replace(plan, engine="pytorch")) == {}


def test_the_newest_go_first_and_those_that_do_not_fit_stay() -> None:
    files = {"old": Aged(1, 4), "large": Aged(5, 90), "new": Aged(9, 6), "b": Aged(7, 1), "a": Aged(7, 1)}
    kept = newest(files, PREFIX, most_bytes=10)
    assert (kept.names, kept.left, kept.odd) == (("new", "a", "b"), 2, ())
    assert newest(files, PREFIX, most_bytes=100, most_files=2).names == ("new", "a")


def test_what_has_no_plain_name_is_odd() -> None:
    names = ["plog/plog-1.log", "a\nb", "\udcff", "x/../y", "k" * 200 + "/" + "l" * 200 + "/" + "m" * 250, "é" * 120]
    deep = "/".join(["d" * 250] * 4)
    kept = newest(dict.fromkeys([*names, deep], Aged(0, 1)), PREFIX)
    assert set(kept.odd) == {"a\nb", "\udcff", "x/../y", deep}


@given(
    st.dictionaries(st.text(max_size=6), st.builds(Aged, st.integers(0, 9), st.integers(0, 50))), st.integers(0, 120)
)
def test_never_more_than_the_limits_and_nothing_is_forgotten(files: dict[str, Aged], most: int) -> None:
    kept = newest(files, PREFIX, most_bytes=most, most_files=3)
    assert sum(files[name].size for name in kept.names) <= most
    assert len(kept.names) <= 3
    assert len(kept.names) + kept.left + len(kept.odd) == len(files)
