"""MindSpore on processors: msrun starts every process on every host, and MindSpore's own AllReduce joins them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hosts import network
from training import ENGINE_S, Training, installed, on_hosts, volcano_names

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.distributed, on_hosts, pytest.mark.timeout(2 * ENGINE_S)]


@pytest.mark.parametrize(("count", "per_host"), [(1, 2), (2, 1)])
def test_every_process_takes_part_in_one_sum(tmp_path: Path, count: int, per_host: int) -> None:
    with network(tmp_path, volcano_names(count)) as hosts:
        training = Training(tmp_path, hosts, "reduced")
        training.engine("MindSpore", installed("mindspore"), MA_RUN_METHOD="msrun", LAUNCHER_PROCESSES=str(per_host))
        ends = training.run()
        names = [host.name.partition(".")[0] for host in hosts]
    assert [end.code for end in ends] == [0] * count, [end.err for end in ends]
    found = training.left("rank")
    assert [(each["rank"], each["size"], each["sum"], each["host"]) for each in found] == [
        (rank, 2, 1.0, names[rank // per_host]) for rank in (0, 1)
    ]
    assert [(each["env"]["RANK_ID"], each["env"]["RANK_SIZE"]) for each in found] == [("0", "2"), ("1", "2")]
