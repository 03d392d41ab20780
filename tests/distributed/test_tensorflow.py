"""TensorFlow on several hosts: workers and a parameter server, told of each other by TF_CONFIG, as it reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hosts import network
from training import ENGINE_S, Training, installed, on_hosts, volcano_names

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.distributed, on_hosts, pytest.mark.timeout(2 * ENGINE_S)]


def test_workers_share_a_server_which_is_done_when_they_are(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(2, servers=1)) as hosts:
        training = Training(tmp_path, hosts, "shared")
        training.engine("TensorFlow", installed("tensorflow"), TF_CPP_MIN_LOG_LEVEL="2")
        ends = training.run()
        cluster = {"worker": [f"{host.name}:6666" for host in list(hosts)[:2]], "ps": [f"{hosts[2].name}:6666"]}
    assert [end.code for end in ends] == [0, 0, 0], [end.err for end in ends]
    found = training.left("worker")
    assert [each["task"] for each in found] == [["worker", 0], ["worker", 1]]
    assert [each["cluster"] for each in found] == [cluster, cluster]
    assert [each["sum"] for each in found] == [3, 3]
    assert "--job_name=worker" in found[0]["argv"]
    assert ends[2].run_json["phase"] == "Completed"
    assert not (hosts[2].files / "home/ma-user/modelarts/inputs/data_url_0/train.csv").exists(), (
        "a server needs no data"
    )
