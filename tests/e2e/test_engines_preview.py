from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from previews import CASES, DATA, document, written
from rig import LAUNCHER

if TYPE_CHECKING:
    from pathlib import Path

    from previews import Case

INTERPRETER = "/home/ma-user/anaconda/bin/python"
# No name of theirs resolves here, so that nobody can tell the way to worker-0: where an argument holds what that has
# (an address, an interface), or a rank table is wanted, what is written down is not what is shown.
BY_THE_WAY = {"torchrun-4x8", "torchrun-4x8-worker-2", "mpi-4x8"}
ALIKE = [case for case in CASES if case.name not in BY_THE_WAY and "ascend-2x8" not in case.name]


@pytest.mark.parametrize("case", ALIKE, ids=lambda case: case.name)
def test_a_preview_shows_what_is_written_down(case: Case, tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to("/bin/true")
    told = json.loads((DATA / "environments" / f"{case.environment}.json").read_text())
    devices = told["devices"]
    environ = told["tasks"][case.task]["environ"] | {"PATH": f"{tmp_path}:{os.defpath}", "CUDA_VISIBLE_DEVICES": ""}
    job = json.dumps(document(case.engine, told["nodes"], devices["count"], devices["type"]))
    argv = (*LAUNCHER, "preview", "-", "--json")
    done = subprocess.run(argv, env=environ, input=job, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    shown, expected = json.loads(done.stdout), written(case)
    arguments = [
        [INTERPRETER if token == f"{tmp_path}/python" else token for token in process["argv"]]
        for process in shown["processes"]
    ]
    assert [" ".join(each[:1]).rpartition("/")[2] for each in arguments] == [
        each["argv"][0].rpartition("/")[2] for each in expected["processes"]
    ]
    assert [each[1:] for each in arguments] == [each["argv"][1:] for each in expected["processes"]]
    alike = ("engine", "serves", "ssh", "documents")
    assert {name: shown[name] for name in alike} == {name: expected[name] for name in alike}
    ranks = [(process["rank"], process["local_rank"]) for process in shown["processes"]]
    assert ranks == [(process["rank"], process["local_rank"]) for process in expected["processes"]]
