"""Where flight recorders listen and write, by the variables of a rank; and CANN's logs."""

from __future__ import annotations

import pytest

from launcher.core.flights import NAMES, Flight, flight, plog_folder


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({}, None),
        ({"TORCH_NCCL_TRACE_BUFFER_SIZE": "0", "TORCH_FR_BUFFER_SIZE": "many"}, None),
        ({"TORCH_NCCL_TRACE_BUFFER_SIZE": "9" * 40}, None),
        (
            {
                "TORCH_NCCL_TRACE_BUFFER_SIZE": "2000",
                "TORCH_NCCL_DEBUG_INFO_PIPE_FILE": "/tmp/pipe_",
                "TORCH_NCCL_DEBUG_INFO_TEMP_FILE": "/tmp/trace_",
            },
            ("nccl", "/tmp/pipe_3.pipe", ("/tmp/trace_3",)),
        ),
        (
            {
                "TORCH_FR_BUFFER_SIZE": "2000",
                "TORCH_FR_DUMP_TEMP_FILE": "new_",
                "TORCH_NCCL_DEBUG_INFO_TEMP_FILE": "/old_",
                "TORCH_NCCL_DEBUG_INFO_PIPE_FILE": "../pipe",
            },
            ("nccl", "/job/pipe3.pipe", ("/job/code/new_3",)),
        ),
        (
            {"TORCH_FR_BUFFER_SIZE": "1", "HOME": "/home/me"},
            (
                "nccl",
                None,
                (
                    "/home/me/.cache/torch/comm_lib_trace_rank_3",
                    "/home/me/.cache/torch/nccl_trace_rank_3",
                    "/tmp/nccl_trace_rank_3",
                ),
            ),
        ),
        (
            {"TORCH_HCCL_TRACE_BUFFER_SIZE": "5", "TORCH_HCCL_DEBUG_INFO_PIPE_FILE": "/p" * 3000},
            ("hccl", None, ("/tmp/hccl_trace_rank_3",)),
        ),
    ],
)
def test_a_recorder_is_known_by_the_variables_of_its_rank(
    told: dict[str, str], found: tuple[str, str | None, tuple[str, ...]] | None
) -> None:
    assert told.keys() <= NAMES
    one = flight(told, 3, "/job/code")
    assert (one and (one.name, one.pipe, one.files)) == found


def test_without_a_home_its_usual_place_is_below_the_temporary_folder() -> None:
    one = flight({"TORCH_FR_BUFFER_SIZE": "1", "XDG_CACHE_HOME": "/cache"}, 0, "/")
    assert isinstance(one, Flight)
    assert one.files[0] == "/cache/torch/comm_lib_trace_rank_0"
    assert one.variable == "TORCH_NCCL_DEBUG_INFO_PIPE_FILE"
    bare = flight({"TORCH_FR_BUFFER_SIZE": "1"}, 0, "/")
    assert bare is not None
    assert bare.files[0] == "/tmp/.cache/torch/comm_lib_trace_rank_0"


def test_the_logs_of_cann_lie_where_they_are_told_to() -> None:
    assert plog_folder({"ASCEND_PROCESS_LOG_PATH": "/log/rank_0", "HOME": "/home/me"}) == "/log/rank_0"
    assert plog_folder({"HOME": "/home/me"}) == "/home/me/ascend/log"
    assert plog_folder({}) is None
