"""What `launcher replay` refuses before it looks at anything, each in one sentence."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from launcher.cli import main

if TYPE_CHECKING:
    from pathlib import Path

RECORD: dict[str, Any] = {
    "version": 1,
    "launcher": "0",
    "root": "/",
    "engine": "python",
    "node": {"index": 0, "count": 1},
    "argv": ["python"],
    "cwd": "/",
    "devices": {"type": "CPU", "count": 0},
    "job": {"kind": "job", "metadata": {"name": "j"}, "algorithm": {}},
}


@pytest.fixture(autouse=True)
def environment() -> Any:
    """What the command changes is put back."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def written(folder: Path, **changes: Any) -> str:
    run = {"version": 1, "phase": "Completed", "exit_code": 0, "reproduce": {**RECORD, **changes}}
    (folder / "run.json").write_text(json.dumps(run))
    return str(folder / "run.json")


def test_json_is_for_a_look_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(("replay", written(tmp_path), "--json")) == 2
    assert "--json goes with --check" in capfd.readouterr().err


def test_outputs_go_to_a_place_in_a_store(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(("replay", written(tmp_path), "--root", str(tmp_path), "--outputs", "file:///x")) == 2
    assert "--outputs: expected obs:// or s3://" in capfd.readouterr().err


def test_secrets_are_asked_for_by_their_names(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = written(tmp_path, hidden={"set": ["token", "pin"], "env": ["KEY"]})
    assert main(("replay", place, "--set", "pin=1")) == 2
    said = capfd.readouterr().err
    assert "--set token=@env:VARIABLE, --env KEY=VALUE." in said
    assert "pin=" not in said


@pytest.mark.parametrize("kind", ["none", "folder", "fifo"])
def test_what_is_no_file_is_66(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / kind
    if kind == "folder":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    assert main(("replay", str(place))) == 66
    assert f"error: {place}: cannot be read" in capfd.readouterr().err


def test_a_url_needs_a_store(capfd: pytest.CaptureFixture[str]) -> None:
    os.environ.pop("S3_ENDPOINT", None)
    assert main(("replay", "obs://bucket/run.json")) == 2
    assert "none is known" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"job": None}, "run.json: reproduce.job: it holds no job"),
        ({"job": {"kind": "job", "metadata": {"name": "j"}}}, "algorithm: is missing"),
        ({"argv": "python"}, "run.json: reproduce: argv: expected `array`"),
    ],
)
def test_a_record_that_cannot_be_is_65(
    tmp_path: Path, changes: dict[str, Any], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(("replay", written(tmp_path, **changes), "--root", str(tmp_path / "root"))) == 65
    assert said in capfd.readouterr().err
    assert not (tmp_path / "root").exists()
