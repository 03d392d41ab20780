"""The check of the node at the begin of a run: refused before anything is brought, or told and gone on."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

from fronts import Fault, s3_error
from servers import AnyStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from fronts import Front
    from rig import Rig
    from servers import S3Server

ROOMY = {"LAUNCHER_CHECK_ROOT": "1", "LAUNCHER_CHECK_CACHE": "1"}
"""Shared memory cannot be asked for in less than a GiB: where there is less, the run is refused for that too."""


def refused_by(rig: Rig, *arguments: str) -> str:
    """The message of a run that the check refuses before anything else is done."""
    result = rig.run(*arguments, env=ROOMY)
    assert (result.code, result.out) == (71, "")
    assert not rig.inputs.exists()
    assert rig.store.listing(rig.bucket, "out/") == {}
    return str(result.run_json["cause"]["message"])


def algorithm_for(rig: Rig, kind: str) -> tuple[str, str]:
    body = {
        "metadata": {"name": "a", "id": "a-1"},
        "job_config": {key: rig.algorithm[key] for key in ("code_dir", "boot_file")},
        "resource_requirements": [{"key": "flavor_type", "values": [kind]}],
    }
    path = rig.folder / "algorithm.json"
    path.write_text(json.dumps(body))
    rig.algorithm["id"] = "a-1"
    return "--algorithm", str(path)


def test_a_job_for_other_devices_is_refused_and_run_all_the_same_on_request(local_rig: Rig) -> None:
    local_rig.code("print('trained')")
    named = algorithm_for(local_rig, "Ascend")
    message = refused_by(local_rig, *named)
    assert message.startswith("the algorithm asks for flavor_type Ascend; this node has ")
    assert message.endswith("(ModelArts.2763)")
    assert local_rig.run_json()["cause"]["code"] == "constraints-unmet"
    result = local_rig.run(*named, "--no-precheck")
    assert (result.code, result.out) == (0, "trained\n")
    assert "item constraints: warning: the algorithm asks for flavor_type Ascend" in result.err


def test_a_pre_check_that_fails_ends_the_run_before_it_begins(
    moto_rig: Rig, moto_server: S3Server, fronted: Callable[[S3Server], Front]
) -> None:
    moto_rig.code("print('trained')")
    front = fronted(moto_server)
    front.lay(s3_error(403, "AccessDenied", method="PUT", target="/out/"))
    env = moto_server.through(front.endpoint).env
    moto_rig.store = AnyStore("moto", moto_server.capability, env=env, server=moto_server)
    message = refused_by(moto_rig, "--precheck")
    assert "store-write train_url: could not write" in message
    assert moto_rig.run_json()["cause"]["code"] == "precheck-failed"
    assert any("Pre-check failed. Error: " in event for event in moto_rig.events())


def test_a_job_that_is_started_again_begins_with_it(local_rig: Rig) -> None:
    local_rig.code("print('trained')")
    words = "[worker-0] The training environment is being pre-checked."
    local_rig.run(env=ROOMY)
    assert words not in local_rig.events()
    local_rig.job["metadata"]["annotations"] = {"fault-tolerance/job-retry-num": "1"}
    result = local_rig.run(env=ROOMY)
    assert words in local_rig.events()
    assert "item store-write train_url: ok: " in result.err
    assert result.code == (71 if "error,exiting" in result.err else 0)
    assert local_rig.run("--no-precheck", env=ROOMY).code == 0
    assert words not in local_rig.events()


def test_a_termination_is_heard_while_the_store_says_nothing(
    moto_rig: Rig, moto_server: S3Server, fronted: Callable[[S3Server], Front]
) -> None:
    moto_rig.code("print('trained')")
    front = fronted(moto_server)
    env = moto_server.through(front.endpoint).env
    moto_rig.store = AnyStore("moto", moto_server.capability, env=env, server=moto_server)
    with moto_rig.running("--precheck", "--grace", "3", env=ROOMY) as process:
        front.lay(Fault("hang", after=lambda: process.send_signal(signal.SIGTERM), times=1))
        result = moto_rig.finish(process)
    assert (result.code, result.out) == (143, "")
    assert result.run_json["phase"] == "Terminated"
