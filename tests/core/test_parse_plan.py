from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from launcher.core.errors import SpecError
from launcher.core.parse.plan import parse_plan
from launcher.core.redact import to_json
from launcher.core.urls import Location

MOUNT = "/r/home/ma-user/modelarts"
LABEL = "modelarts-job-1-worker-0"
PLAN: dict[str, Any] = {
    "job": {"id": "1", "name": "j", "label": LABEL},
    "node": {"index": 0, "count": 2, "host": "h"},
    "root": "/r",
    "folders": [MOUNT],
    "code": {
        "source": {"bucket": "bkt", "key": "code/"},
        "path": f"{MOUNT}/user-job-dir/code",
        "boot_file": f"{MOUNT}/user-job-dir/code/t.py",
    },
    "inputs": [
        {
            "name": "data_url",
            "description": "",
            "field": "inputs[0]",
            "path": f"{MOUNT}/inputs/data_url_0",
            "source": {"bucket": "bkt", "key": "data/"},
        }
    ],
    "outputs": [
        {
            "name": name,
            "description": "",
            "field": f"outputs[{index}]",
            "path": f"{MOUNT}/outputs/{name}_{index}",
            "target": {"bucket": "bkt", "key": f"{name}/"},
            "predownload": False,
            "period": 30.0,
        }
        for index, name in enumerate(("train_url", "model"))
    ],
    "processes": [
        {
            "rank": 0,
            "local_rank": 0,
            "argv": ["python", "t.py", "\udc80"],
            "env": {"A": "******"},
            "cwd": "/r",
            "log": None,
        }
    ],
    "packages": f"{MOUNT}/python-packages",
    "scratch": None,
    "pip_index": [],
    "files": {
        "log": f"{MOUNT}/log/{LABEL}.log",
        "run_json": f"{MOUNT}/log/run.json",
        "events": f"{MOUNT}/log/events.jsonl",
        "plan": f"{MOUNT}/log/plan.json",
        "staged": f"{MOUNT}/log/.launcher-staged",
        "uploads": f"{MOUNT}/log/.launcher-uploads.jsonl",
        "roll": f"{MOUNT}/log/.launcher-processes.json",
        "termination": None,
        "report": None,
    },
    "log_target": {"bucket": "bkt", "key": "log/"},
    "limits": {"entries": 1024, "bytes": 1, "depth": 32},
    "logs": {"segment_bytes": 1, "bytes_per_minute": 1, "rank_prefix": True},
    "grace": 25.0,
    "stop_after": None,
    "transfers": {"most": 16, "memory_bytes": 1, "stage_timeout": None, "extract_ratio": 100},
    "in_use": "refuse",
    "language": "en",
    "warnings": [],
}


def changed(document: dict[str, Any], path: str, value: Any) -> bytes:
    made = copy.deepcopy(document)
    at: Any = made
    *steps, last = path.split(".")
    for step in steps:
        at = at[int(step) if step.isdecimal() else step]
    at[int(last) if last.isdecimal() else last] = value
    return json.dumps(made).encode()


def problems(raw: bytes) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_plan(raw)
    return [str(each) for each in caught.value.problems]


def test_what_a_launcher_wrote_is_read_back_whole() -> None:
    plan = parse_plan(json.dumps(PLAN).encode())
    assert plan.outputs[1].target == Location("bkt", "model/")
    assert parse_plan(to_json(plan)) == plan


def test_a_plan_without_root_code_outputs_and_log_target_is_one() -> None:
    text = json.dumps({**PLAN, "root": "/", "code": None, "inputs": [], "outputs": [], "log_target": None})
    plan = parse_plan(text.replace("/r/home", "/home").encode())
    assert (plan.root, plan.outputs, plan.log_target) == ("/", (), None)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "plan.json: no valid JSON: "),
        (b"\xff\xff", "plan.json: no valid JSON: "),
        (b"[1]", "plan.json: expected an object"),
        (b"[" * 100_000, "plan.json: it is nested too deep"),
        (b"1" * 5000, "plan.json: no valid JSON: "),
        (b"{}", "plan.json: object missing required field `job`"),
        (changed(PLAN, "outputs.1.path", 1), "plan.json: outputs[1].path: expected `str`, got `int`"),
        (changed(PLAN, "grace", "25"), "plan.json: grace: expected `float`, got `str`"),
    ],
)
def test_what_is_no_plan_is_refused_with_the_place(raw: bytes, said: str) -> None:
    (problem,) = problems(raw)
    assert problem.startswith(said)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("root", "r", "root: expected an absolute path"),
        ("root", "/r/../etc", "root: expected a path without"),
        ("root", "/r//x", "root: expected a plain path"),
        ("job.label", "../../x", "job.label: expected the stem"),
        ("job.label", "modelarts-job-../x", "job.label: expected the stem"),
        ("job.label", "modelarts-job-" + "x" * 240, "job.label: expected the stem"),
        ("job.label", "modelarts-job-\n", "job.label: a control character"),
        ("node.index", 2, "node.index: expected one of the nodes"),
        ("node.index", -1, "node.index: expected one of the nodes"),
        ("grace", float("nan"), "grace: expected seconds"),
        ("grace", -1.0, "grace: expected seconds"),
        ("transfers.most", 0, "transfers.most: expected 1 to 512"),
        ("transfers.most", 10**9, "transfers.most: expected 1 to 512"),
        ("files.log", "/etc/shadow", f"files.log: expected {MOUNT}/log/{LABEL}.log"),
        ("files.run_json", "/etc/passwd", "files.run_json: expected"),
        ("files.events", f"{MOUNT}/log/../x", "files.events: expected"),
        ("files.plan", "/x/plan.json", "files.plan: expected"),
        ("files.staged", "/x", "files.staged: expected"),
        ("files.uploads", "/x", "files.uploads: expected"),
        ("files.roll", "/x", "files.roll: expected"),
        ("outputs.0.name", "", "outputs[0].name: expected a channel's name"),
        ("outputs.0.name", "a\x1b[2J", "outputs[0].name: expected a channel's name"),
        ("outputs.0.name", "model", "outputs: two of one name"),
        ("outputs.0.path", "/etc", "outputs[0].path: expected a folder below /r"),
        ("outputs.0.path", "/root", "outputs[0].path: expected a folder below /r"),
        ("outputs.0.path", "/r", "outputs[0].path: expected a folder below /r"),
        ("outputs.0.path", "/r/etc/ssl", "outputs[0].path: '/etc/ssl' lies in a folder of the system"),
        ("outputs.0.path", "/r/home/../../etc", "outputs[0].path: expected a path without"),
        ("outputs.0.path", "/r/home//x", "outputs[0].path: expected a plain path"),
        ("outputs.0.path", f"{MOUNT}/log/x", "outputs: output 0 lies in the folder of the launcher's logs"),
        ("outputs.0.path", "/r/home", "outputs: "),
        ("outputs.0.path", f"{MOUNT}/inputs/data_url_0/x", "outputs: output 0 lies in the folder of input 0"),
        ("outputs.0.path", f"{MOUNT}/user-job-dir/code", "outputs: "),
        ("outputs.0.target.bucket", "a/b", "outputs[0].target: "),
        ("outputs.0.target.bucket", "abc/d", "outputs[0].target: expected a bucket and a key"),
        ("outputs.0.target.key", "../x", "outputs[0].target: the segment '..'"),
        ("log_target.bucket", "", "log_target: no bucket"),
    ],
)
def test_a_plan_may_say_no_more_than_a_job(path: str, value: Any, said: str) -> None:
    assert any(each.startswith(f"plan.json: {said}") for each in problems(changed(PLAN, path, value)))


def test_everything_wrong_is_told_at_once() -> None:
    raw = changed(json.loads(changed(PLAN, "outputs.0.path", "/etc")), "log_target.key", "..")
    assert len(problems(raw)) == 2
