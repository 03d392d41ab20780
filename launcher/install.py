"""The pip file of a code directory: found after staging, installed by the boot file's own interpreter."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from launcher.core.plan import Process
from launcher.core.wheels import NAMES

if TYPE_CHECKING:
    from launcher.core.plan import Plan

_INSTALL = """
import os, sys, sysconfig
target, pip = sys.argv[1], sys.argv[2:]
fixed = sys.prefix == sys.base_prefix and os.path.exists(sysconfig.get_path("stdlib") + "/EXTERNALLY-MANAGED")
if fixed or not os.access(sysconfig.get_path("purelib"), os.W_OK):
    print("the interpreter's own packages cannot be written; installing into " + target, flush=True)
    pip += ["--target", target, "--upgrade"]
os.execv(sys.executable, [sys.executable, "-m", "pip", "install"] + pip)
"""
"""Runs under the boot file's interpreter, which may be as old as Python 3.6 and is asked nothing twice."""


def pip_file(plan: Plan) -> str | None:
    """The pip file of the staged code, if it has one that is not installed yet."""
    if plan.staged or plan.code is None or plan.code.boot_file is None:
        return None
    paths = (f"{plan.code.path}/{name}" for name in NAMES)
    return next((path for path in paths if os.path.isfile(path)), None)


def pip_process(plan: Plan, file: str) -> Process:
    """How the pip file is installed; wheels that it names are looked for beside it."""
    folder = os.path.dirname(file)
    options = ("--find-links", folder, *plan.pip_index, "-r", file)
    return Process(
        rank=0,
        local_rank=0,
        argv=(plan.interpreter, "-c", _INSTALL, plan.packages, *options),
        env={
            # as variables: a pip that is too old to know one leaves it alone
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "PIP_PROGRESS_BAR": "off",
            "PIP_ROOT_USER_ACTION": "ignore",
            "PYTHONUNBUFFERED": "1",
            **({"TMPDIR": plan.scratch} if plan.scratch else {}),
        },
        cwd=folder,
    )
