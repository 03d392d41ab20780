# ruff: noqa: RUF001 - Chinese punctuation is under test
from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from launcher.core.parse.run import MOST_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from rig import Rig

LOG = """\
epoch 1
Traceback (most recent call last):
  File "/code/train.py", line 3, in <module>
    import torchvision
ModuleNotFoundError: No module named 'torchvision'
"""


SYNCED = {"objects": 0, "bytes": 0, "seconds": 1.5, "failed": []}


def explain(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("LAUNCHER_")}
    return subprocess.run(
        (sys.executable, "-m", "launcher", "explain", *arguments),
        env={**own, **environ},
        capture_output=True,
        check=False,
        encoding="utf-8",
        timeout=60,
    )


def run_json(folder: Path, name: str = "run.json", **change: Any) -> str:
    document = {"version": 1, "phase": "Completed", "exit_code": 0, "cause": None, **change}
    (folder / name).write_text(json.dumps(document))
    return str(folder / name)


def cause(code: str = "module-missing", message: str = "m") -> dict[str, Any]:
    return {"code": code, "message": message, "action": "Do it.", "evidence": LOG.splitlines(), "rank": 0}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "train.log"
    path.write_text(LOG)
    return path


def test_a_log_is_explained_in_words(log: Path) -> None:
    done = explain(str(log))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "cause: The Python module torchvision is not installed in the boot file's interpreter (module-missing)"
    )
    assert lines[1].startswith("action: Add the package that provides torchvision")
    assert "  ModuleNotFoundError: No module named 'torchvision'" in lines


def test_it_speaks_chinese(log: Path) -> None:
    assert explain(str(log), LAUNCHER_LANG="zh").stdout.startswith(
        "原因：启动文件所用的 Python 解释器中没有模块 torchvision"
    )


def test_json_is_the_cause_alone(log: Path, tmp_path: Path) -> None:
    assert json.loads(explain("--json", str(log)).stdout)["code"] == "module-missing"
    assert json.loads(explain("--json", run_json(tmp_path)).stdout) is None


def test_only_the_end_of_a_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.log"
    with path.open("wb") as file:
        file.truncate(10 * 1024**3)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + LOG.encode() + b"\xff\xfe\x1b]0;title\x07\n")
    done = explain(str(path))
    assert (done.returncode, "(module-missing)" in done.stdout) == (0, True)
    assert "\x1b" not in done.stdout


def test_a_log_that_tells_of_no_failure_is_explained_too(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("")
    done = explain(str(path))
    assert done.returncode == 0
    assert "(nothing-found)" in done.stdout


def test_a_log_may_begin_with_a_brace(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"a": 1}\n' + LOG)
    assert "(module-missing)" in explain(str(path)).stdout
    path.write_text('{"a": 1}')
    assert "(nothing-found)" in explain(str(path)).stdout


def test_a_run_that_went_well_says_so(tmp_path: Path) -> None:
    done = explain(run_json(tmp_path))
    assert (done.returncode, done.stdout) == (
        0,
        "phase: Completed\nexit code: 0\nThe run ended well, and every output is in its place.\n",
    )


def test_a_run_json_of_any_name_is_known(tmp_path: Path) -> None:
    assert explain(run_json(tmp_path, "report")).stdout.startswith("phase: Completed")


def test_a_failed_run_is_diagnosed_again(tmp_path: Path) -> None:
    path = run_json(
        tmp_path,
        phase="Failed",
        exit_code=1,
        cause=cause(),
        processes=[{"rank": 0, "exit_code": 1, "signal": None, "ended": None}],
    )
    done = explain(path, LAUNCHER_LANG="zh")
    assert "原因：启动文件所用的 Python 解释器中没有模块 torchvision (module-missing)" in done.stdout.splitlines()
    assert "  ModuleNotFoundError: No module named 'torchvision'" in done.stdout.splitlines()


def test_what_another_step_found_is_told_as_it_is(tmp_path: Path) -> None:
    path = run_json(tmp_path, phase="Failed", exit_code=66, cause=cause("store-missing", "no such\nobject\x1b[2J"))
    lines = explain(path).stdout.splitlines()
    assert lines[:4] == [
        "phase: Failed",
        "exit code: 66",
        "cause: no such\\nobject\\x1b[2J (store-missing)",
        "action: Do it.",
    ]


def test_what_is_not_in_its_place_is_named_with_the_way_to_put_it_there(tmp_path: Path) -> None:
    failed = [{"key": f"a{each}.pt", "error": "timeout \ud800"} for each in range(7)]
    synced = [
        {**SYNCED, "channel": "train_url", "target": "obs://b/out/", "failed": failed},
        {**SYNCED, "channel": "log", "target": "obs://b/log/"},
    ]
    path = run_json(tmp_path, "a run.json", phase="Failed", exit_code=73, synced=synced)
    done = explain(path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2:] == [
        "not in its place: train_url -> obs://b/out/",
        *(f"  a{each}.pt: timeout \\ud800" for each in range(5)),
        "  … and 2 more",
        f"put in place what is still on the node: launcher sync '{path}'",
    ]


def test_a_run_that_has_not_ended_says_how_far_it_came(tmp_path: Path) -> None:
    path = run_json(tmp_path, phase="Abnormal", exit_code=None, timeline=[{"phase": "stage"}, {"phase": "run"}])
    lines = explain(path).stdout.splitlines()
    assert lines[1].endswith("the last phase it came to: run.")
    assert lines[2].endswith(f"launcher sync {path}")
    assert explain(run_json(tmp_path, exit_code=None)).stdout.splitlines()[1].endswith(": -.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "run.json: expected a run.json, with version, phase and exit_code"),
        ("[1]", "run.json: expected an object"),
        ("", "run.json: no valid JSON"),
        ("[" * 100_000, "run.json: it is nested too deep"),
        ('{"version": 1, "phase": 3, "exit_code": 1}', "run.json: phase: "),
        ('{"version": 2, "phase": "Failed", "exit_code": 1}', "run.json: version: invalid enum value 2"),
    ],
)
def test_a_file_named_json_must_be_a_run_json(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.json").write_text(text)
    done = explain(str(tmp_path / "x.json"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (65, "", 1)
    assert said in done.stderr


def test_a_run_json_has_a_size(tmp_path: Path) -> None:
    for name, code in (("x.json", 65), ("x.log", 0)):
        with (tmp_path / name).open("wb") as file:
            file.write(b"{")
            file.truncate(MOST_BYTES + 1)
        assert explain(str(tmp_path / name)).returncode == code


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, why in (("nothing", "No such file"), (".", "Is a directory"), ("fifo", "it is not a regular file")):
        done = explain(str(tmp_path / name))
        assert (done.returncode, done.stderr.count("\n")) == (66, 1)
        assert why in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_what_may_not_be_read_is_told(log: Path) -> None:
    log.chmod(0)
    assert explain(str(log)).returncode == 77


def test_the_job_of_a_launcher_is_explained(local_rig: Rig) -> None:
    local_rig.code("import nosuchmodule")
    local_rig.run()
    done = explain(str(local_rig.log_dir / "run.json"), LAUNCHER_LANG="zh")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("阶段：Failed\n退出码：1\n原因：")
