"""What leaves a run under hostile surroundings is true and holds no secret: each of these was once a fault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from rig import Rig

WORDS = "correct-horse-battery-staple-0123456789"
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----"
CONTROLS = "pass\tword\x1bwith-controls"
QUOTED = """pa'ss\\word"quoted"""
MODULE = "hunter2hunter2"


def everything_told(rig: Rig, err: str, termination: Path) -> str:
    """All that has left the run, or says how it went."""
    sent = b"\0".join(rig.stored("log/").values()).decode()
    local = [(rig.log_dir / name).read_text() for name in ("run.json", "events.jsonl", "plan.json")]
    explained = rig_explain(rig)
    return "\0".join((sent, *local, termination.read_text(), err, explained))


def rig_explain(rig: Rig) -> str:
    argv = (*rig.argv("explain", job="", store=False)[:4], str(rig.log_dir / "run.json"))
    return subprocess.run(argv, env=rig.env(), capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("secret", "last"),
    [
        (WORDS, "raise RuntimeError('x' * 455 + secret + 'y' * 3000)"),
        (WORDS, "raise RuntimeError('x' * 1970 + secret)"),
        (PEM, "raise RuntimeError('the key is ' + secret)"),
        (CONTROLS, "raise RuntimeError(secret)"),
        (QUOTED, "raise KeyError(secret)"),
        (QUOTED, "import json; raise SystemExit(json.dumps({'password': secret}))"),
        (MODULE + "  x", "raise ModuleNotFoundError(f'No module named {secret!r}')"),
    ],
    ids=["cut", "at the end", "lines", "controls", "repr", "json", "a pattern's group"],
)
def test_no_part_of_a_secret_is_quoted(local_rig: Rig, tmp_path: Path, secret: str, last: str) -> None:
    local_rig.code(f"import os\nsecret = os.environ['SSH_PRIVATE_KEY']\n{last}\n")
    local_rig.algorithm["environments"] = {"SSH_PRIVATE_KEY": secret}
    termination = tmp_path / "termination"
    termination.touch()
    result = local_rig.run(env={"LAUNCHER_TERMINATION_LOG": str(termination)})
    assert result.code == 1
    own = "\n".join(line for line in result.err.splitlines() if line.startswith(("[ModelArts", "error:")))
    told = everything_told(local_rig, own, termination)
    for part in {secret[at : at + 8] for line in secret.splitlines() for at in range(0, max(len(line) - 8, 1), 4)}:
        assert part not in told
        assert json.dumps(part)[1:-1] not in told


@pytest.mark.parametrize("how", ["os.mkfifo(path)", "os.mkdir(path)"])
def test_run_json_at_the_target_tells_of_what_could_not_be_sent_beside_it(local_rig: Rig, how: str) -> None:
    local_rig.code(f"import os\npath = os.environ['MA_LOG_DIR'] + '/events.jsonl'\nos.unlink(path); {how}\n")
    result = local_rig.run()
    sent: dict[str, Any] = json.loads(local_rig.stored("log/")["modelarts-job-job-1-worker-0.run.json"])
    told = [(each["phase"], each["exit_code"]) for each in (sent, result.run_json)]
    assert (result.code, told) == (73, [("Failed", 73)] * 2)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_nothing_of_ours_is_written_into_the_place_of_a_closed_stream(local_rig: Rig, closed: str) -> None:
    local_rig.code("import sys\nprint('said')\nprint('said', file=sys.stderr)\n")
    subprocess.run(
        ("sh", "-c", f'exec "$@" {closed}', "sh", *local_rig.argv()),
        env=local_rig.env(),
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert (local_rig.log_dir / ".launcher.lock").read_text().strip().isdecimal()
    log = local_rig.stored("log/")["modelarts-job-job-1-worker-0.log"].decode()
    assert log.count("training started.") == 1
    assert log.count("said") == 2


@pytest.mark.parametrize("grace", ["0", "0.05"])
def test_what_a_grace_leaves_no_time_for_is_named(local_rig: Rig, tmp_path: Path, grace: str) -> None:
    local_rig.algorithm["outputs"][0]["remote"]["obs"]["obs_url"] = f"obs://{local_rig.bucket}/out/"
    local_rig.code(
        "import signal, sys\nopen(sys.argv[2].partition('=')[2] + '/ckpt.bin', 'w').write('x')\n"
        "print('ready', flush=True)\nsignal.pause()\n"
    )
    termination = tmp_path / "termination"
    termination.touch()
    with local_rig.running("--grace", grace, env={"LAUNCHER_TERMINATION_LOG": str(termination)}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        result = local_rig.finish(process)
    failed = [each["key"] for entry in result.run_json["synced"] for each in entry["failed"]]
    if grace == "0" or "ckpt.bin" not in local_rig.stored():
        assert "ckpt.bin" in failed
        assert "train_url: ckpt.bin" in json.loads(termination.read_text())["unsaved"]["first"]


def test_a_full_log_folder_keeps_no_run_json_that_is_not_true(local_rig: Rig) -> None:
    if os.getuid() != 0:
        pytest.skip("mounting a small file system takes root")
    local_rig.log_dir.mkdir(parents=True)
    mounted = subprocess.run(
        ("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(local_rig.log_dir)), check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        local_rig.code("print('x' * 1_000_000)\n")
        result = local_rig.run()
        assert result.code == 73
        told = result.run_json
        assert told is None or (told["phase"], told["exit_code"]) == ("Failed", 73)
    finally:
        subprocess.run(("umount", str(local_rig.log_dir)), check=True)


def test_a_stdout_of_another_encoding_gets_escapes(local_rig: Rig) -> None:
    local_rig.code("raise ValueError('bad')\n")
    local_rig.run()
    argv = (*local_rig.argv("explain", job="", store=False)[:4], str(local_rig.log_dir / "run.json"))
    env = local_rig.env({"LAUNCHER_LANG": "zh", "PYTHONIOENCODING": "latin-1:strict"})
    done = subprocess.run(argv, env=env, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u" in done.stdout


def test_a_descriptor_that_is_not_to_be_had_is_no_defect(local_rig: Rig) -> None:
    local_rig.code("print('never')\n")
    codes = set()
    for limit in (11, 12, 13):
        argv = ("sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *local_rig.argv())
        codes.add(subprocess.run(argv, env=local_rig.env(), capture_output=True, check=False, timeout=60).returncode)
    assert 70 not in codes
