from __future__ import annotations

import json
import subprocess
import sys

import pytest

from launcher.install import _INSTALL

STAND_INS = """
import json, os, sys
os.access = lambda path, mode: {writable}
os.path.exists = lambda path: path.endswith("EXTERNALLY-MANAGED") and {managed}
sys.prefix = sys.base_prefix
os.execv = lambda program, argv: print(json.dumps(argv[1:]))
"""


@pytest.mark.parametrize(
    ("managed", "writable", "beside"), [(False, True, False), (True, True, True), (False, False, True)]
)
def test_packages_go_beside_an_interpreter_whose_own_folder_is_not_ours(
    managed: bool,  # noqa: FBT001
    writable: bool,  # noqa: FBT001
    beside: bool,  # noqa: FBT001
) -> None:
    # The interpreter is real; what it finds of itself is stood in for, since no test may change the machine's Python.
    code = STAND_INS.format(managed=managed, writable=writable) + _INSTALL
    argv = (sys.executable, "-c", code, "/packages", "-r", "requirements.txt")
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    pip = json.loads(done.stdout.splitlines()[-1])
    assert pip == [
        "-m",
        "pip",
        "install",
        "-r",
        "requirements.txt",
        *(["--target", "/packages", "--upgrade"] if beside else []),
    ]
