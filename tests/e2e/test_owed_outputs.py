"""What a killed run left on the node is not forgotten by starts that come to nothing after it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from rig import LAUNCHER

if TYPE_CHECKING:
    from rig import Rig

WRITES = (
    "import sys, os\nopen(sys.argv[2].partition('=')[2] + '/ckpt.bin', 'w').write('hours of work')\n"
    "print('ready', flush=True)\nimport signal; signal.pause()\n"
)


def killed(rig: Rig) -> None:
    """A run whose launcher was killed before its output was uploaded."""
    rig.code(WRITES)
    with rig.running() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
        process.wait(60)
    assert rig.stored() == {}


def later(rig: Rig) -> int:
    argv = (*LAUNCHER, "sync", str(rig.log_dir / "run.json"), *rig.store.launcher_args)
    return subprocess.run(argv, env=rig.env(), capture_output=True, check=False, timeout=60).returncode


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("how", ["refused", "cannot be staged"])
def test_a_start_that_comes_to_nothing_leaves_it_to_be_put_in_place(local_rig: Rig, how: str, *, twice: bool) -> None:
    killed(local_rig)
    code = local_rig.algorithm["boot_file"]
    local_rig.algorithm["boot_file"] = f"obs://{local_rig.bucket}/code/not-there.py"
    for _ in range(1 + twice):
        if how == "refused":
            assert local_rig.run("--set", "lr").code == 2
            assert local_rig.run("--set", "1.5=nonsense name").code == 65
        else:
            assert local_rig.run().code == 66
    local_rig.algorithm["boot_file"] = code
    assert later(local_rig) == 0
    assert local_rig.stored() == {"ckpt.bin": b"hours of work"}


def test_a_run_that_trains_takes_it_over(local_rig: Rig) -> None:
    killed(local_rig)
    local_rig.code("print('trained again')\n")
    result = local_rig.run()
    assert (result.code, result.run_json["owed"]) == (0, False)
    assert local_rig.stored() == {"ckpt.bin": b"hours of work"}
