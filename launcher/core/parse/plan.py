"""The door for a plan.json that lay on a node: what it may make of whoever reads it is no more than a job may.

A boot file can write where it lies, so each rule that held when the plan was made is asked for again.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from launcher.core.errors import Problem, SpecError
from launcher.core.layout import Layout, nested
from launcher.core.parse.places import wrong_folder
from launcher.core.parse.stored import read_json, typed
from launcher.core.plan import Plan
from launcher.core.settings import MOST_GRACE, MOST_TRANSFERS
from launcher.core.urls import CONTROL, LONGEST_NAME, parse_location, wrong_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.core.urls import Location

NAME = "plan.json"
MOST_BYTES = 16 * 1024**2
"""A plan has its arguments and its environment once for each process."""


def parse_plan(raw: bytes) -> Plan:
    """The plan of a run that was. Raises SpecError with everything that a plan could not say."""
    plan = typed(read_json(raw, NAME), Plan, NAME)
    problems = [Problem(path=f"{NAME}: {path}", message=why) for path, why in _wrongs(plan) if why]
    if problems:
        raise SpecError(problems)
    return plan


def _wrongs(plan: Plan) -> Iterator[tuple[str, str | None]]:
    layout = Layout(root=plan.root)
    yield "root", _wrong_path(plan.root) if plan.root != "/" else None
    yield "job.label", _wrong_label(plan.job.label)
    yield "node.index", None if 0 <= plan.node.index < plan.node.count else "expected one of the nodes"
    yield "grace", None if 0 <= plan.grace <= MOST_GRACE else f"expected seconds from 0 to {MOST_GRACE:g}"
    most = plan.transfers.most
    yield "transfers.most", None if 1 <= most <= MOST_TRANSFERS else f"expected 1 to {MOST_TRANSFERS}"
    files = plan.files
    for name, path, expected in (
        ("log", files.log, f"{plan.job.label}.log"),
        ("run_json", files.run_json, "run.json"),
        ("events", files.events, "events.jsonl"),
        ("plan", files.plan, NAME),
        ("staged", files.staged, ".launcher-staged"),
        ("uploads", files.uploads, ".launcher-uploads.jsonl"),
        ("roll", files.roll, ".launcher-processes.json"),
    ):
        place = f"{layout.log_dir}/{expected}"
        yield f"files.{name}", None if path == place else f"expected {place}"
    for index, output in enumerate(plan.outputs):
        yield f"outputs[{index}].name", _wrong_name(output.name)
        yield f"outputs[{index}].path", _wrong_output(plan.root, output.path)
        yield f"outputs[{index}].target", _wrong_location(output.target)
    if plan.log_target is not None:
        yield "log_target", _wrong_location(plan.log_target)
    yield "outputs", _wrong_together(plan, layout)


def _wrong_path(path: str) -> str | None:
    return wrong_folder(path, system=False) or (None if posixpath.normpath(path) == path else "expected a plain path")


def _wrong_output(root: str, path: str) -> str | None:
    inside = path.removeprefix(root.rstrip("/"))
    if not path.startswith(root.rstrip("/") + "/"):
        return f"expected a folder below {root}"
    return wrong_folder(inside, system=True) or _wrong_path(path)


def _wrong_label(label: str) -> str | None:
    if not label.startswith("modelarts-job-") or "/" in label or len(label) > LONGEST_NAME - len(".events.jsonl"):
        return "expected the stem of the names at the target"
    return wrong_key(label)


def _wrong_name(name: str) -> str | None:
    return "expected a channel's name" if not name or CONTROL.search(name) else None


def _wrong_location(place: Location) -> str | None:
    try:
        same = parse_location(place.url) == place
    except ValueError as error:
        return str(error)
    return None if same else "expected a bucket and a key"


def _wrong_together(plan: Plan, layout: Layout) -> str | None:
    """Outputs that reach into each other, or into the folder of the raw log."""
    if len({output.name for output in plan.outputs}) < len(plan.outputs):
        return "two of one name"
    folders = {"the launcher's logs": layout.log_dir, "the launcher's packages": layout.packages}
    if plan.code is not None:
        folders["the code directory"] = plan.code.path
    folders |= {f"input {index}": each.path for index, each in enumerate(plan.inputs)}
    folders |= {f"output {index}": each.path for index, each in enumerate(plan.outputs)}
    clash = nested(folders)
    return f"{clash[1]} lies in the folder of {clash[0]}" if clash else None
