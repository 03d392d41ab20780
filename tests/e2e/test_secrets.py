from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rig import Rig

VALUE = "correct-horse-battery"


def test_a_secret_is_masked_in_all_that_leaves_and_whole_where_it_belongs(rig: Rig) -> None:
    rig.code(
        "import os, sys; print(os.environ['DB_PASSWORD']); print(sys.argv[-1], file=sys.stderr); sys.exit(sys.argv[-1])"
    )
    rig.algorithm["environments"] = {"DB_PASSWORD": VALUE}
    message = rig.folder / "termination"
    result = rig.run("--set", "api_key=@env:MINE", env={"MINE": VALUE + "-2", "LAUNCHER_TERMINATION_LOG": str(message)})
    assert result.out == VALUE + "\n"  # our own stdout is the boot file's, byte for byte
    sent = rig.stored("log/")
    assert len(sent) == 3
    for name, content in sent.items():
        assert VALUE.encode() not in content, name
    assert b"******" in sent["modelarts-job-job-1-worker-0.log"]
    for path in ("run.json", "plan.json", "events.jsonl"):
        assert VALUE not in (rig.log_dir / path).read_text(), path
    assert VALUE not in message.read_text()
    log = rig.log_dir / "modelarts-job-job-1-worker-0.log"
    assert (VALUE in log.read_text(), log.stat().st_mode & 0o777) == (True, 0o600)


def test_the_stores_own_keys_never_leave(rig: Rig) -> None:
    rig.store.capability.need("signatures")
    rig.code("import os; print(os.environ['AWS_SECRET_ACCESS_KEY'])")
    assert rig.run().code == 0
    assert rig.store.env["AWS_SECRET_ACCESS_KEY"].encode() not in b"".join(rig.stored("log/").values())


def test_numbers_are_no_secrets(local_rig: Rig) -> None:
    local_rig.code("import sys; print(sys.argv[-1])")
    local_rig.algorithm["parameters"] = [{"name": "max_token", "value": "512000000"}]
    assert local_rig.run().run_json["command"]["argv"][-1] == "--max_token=512000000"


def test_a_secret_that_the_script_before_the_boot_file_sets_never_leaves(local_rig: Rig) -> None:
    local_rig.algorithm["engine"] = {"engine_name": "Ascend-Powered-Engine"}
    script = f"export HUB_TOKEN={VALUE}\n".encode()
    local_rig.code("import os, sys; sys.exit(os.environ['HUB_TOKEN'])", {"ma-pre-start.sh": script})
    result = local_rig.run()
    assert VALUE in result.err  # the boot file's own words, byte for byte
    assert VALUE not in "".join(result.errors)
    for name, content in local_rig.stored("log/").items():
        assert VALUE.encode() not in content, name
    assert VALUE not in json.dumps(result.run_json)
    assert "******" in result.run_json["cause"]["message"] + str(result.run_json["cause"]["evidence"])


def test_a_secret_in_a_script_that_fails_never_leaves_either(local_rig: Rig) -> None:
    local_rig.algorithm["engine"] = {"engine_name": "Ascend-Powered-Engine"}
    script = f"export HUB_TOKEN={VALUE}\necho no access with $HUB_TOKEN >&2\nexit 3\n".encode()
    local_rig.code("", {"ma-pre-start.sh": script})
    result = local_rig.run()
    assert (result.code, "no access with ******" in result.run_json["cause"]["message"]) == (71, True)
    for name, content in local_rig.stored("log/").items():
        assert VALUE.encode() not in content, name
    assert VALUE not in "".join(result.errors) + json.dumps(result.run_json)
    assert not (local_rig.log_dir / ".launcher-pre-start").exists()
