"""What `launcher run` does about the other nodes before anything of a job begins."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from rig import ECHO

if TYPE_CHECKING:
    from rig import Rig


def test_a_job_of_several_nodes_is_refused_where_nobody_tells_of_them(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    local_rig.job["spec"]["resource"] = {"node_count": 2}
    result = local_rig.run()
    assert (result.code, result.cause) == (65, "topology")
    assert "--nodes N --node-index I --master HOST[:PORT]" in result.err


def test_a_contradiction_is_refused_and_stands_in_run_json(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    result = local_rig.run(env={"MA_NUM_HOSTS": "2", "VC_WORKER_NUM": "3", "VC_TASK_INDEX": "0"})
    assert (result.code, result.cause) == (65, "topology")
    assert "VC_WORKER_NUM is 3, and MA_NUM_HOSTS is 2" in result.run_json["cause"]["message"]


def test_nodes_that_are_not_found_by_name_end_a_run_with_71(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    env = {"VC_WORKER_HOSTS": "localhost,w-1.invalid", "VC_TASK_INDEX": "0", "LAUNCHER_PEERS_TIMEOUT": "1"}
    result = local_rig.run(env=env)
    assert (result.code, result.cause) == (71, "peers-unresolved")
    assert "w-1.invalid" in result.run_json["cause"]["message"]
    assert "waiting for nodes whose names do not resolve yet (1 of 2" in result.err


def test_a_job_that_cannot_be_is_refused_before_anybody_is_waited_for(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    local_rig.algorithm["parameters"] = [{"name": "long", "value": "x" * 200_000}]
    env = {"VC_WORKER_HOSTS": "w-0.invalid,w-1.invalid", "VC_TASK_INDEX": "0"}
    result = local_rig.run(env=env)
    assert result.code == 65
    assert "waiting for nodes" not in result.err


def test_sigterm_while_names_are_waited_for_ends_the_start(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    env = {"VC_WORKER_HOSTS": "localhost,w-1.invalid", "VC_TASK_INDEX": "0"}
    with local_rig.running(env=env) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "w-1.invalid" in line
        process.send_signal(signal.SIGTERM)
        result = local_rig.finish(process)
    assert (result.code, result.run_json["phase"]) == (143, "Terminated")


def test_a_job_that_cannot_be_is_refused_before_other_nodes_are_waited_for(local_rig: Rig) -> None:
    asked = ("--nodes", "2", "--node-index", "1", "--master", "nobody.invalid")
    result = local_rig.run(*asked, store=False, env={"LAUNCHER_PEERS_TIMEOUT": "600"})
    assert (result.code, "none is known" in result.err) == (2, True)
