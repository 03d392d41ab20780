from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rig import Rig

HEAVY = {
    *("boto3", "botocore", "obstore", "docker", "optuna", "kubernetes", "yaml", "psutil", "asyncio", "pathlib"),
    *("concurrent.futures", "tempfile", "importlib.metadata", "urllib.request", "http.client", "socket", "ssl"),
    *("dataclasses", "multiprocessing", "unittest", "difflib", "xml", "email", "decimal", "shutil"),
}


def imported(*argv: str, rig: Rig) -> set[str]:
    done = subprocess.run(
        (sys.executable, "-X", "importtime", *argv),
        env=rig.env(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines[1:]}


def test_a_run_on_a_local_store_imports_nothing_heavy(local_rig: Rig) -> None:
    local_rig.code("")
    argv = local_rig.argv()[1:]
    by_click = imported("-c", "import click, msgspec, logging, subprocess", rig=local_rig)
    assert imported(*argv, rig=local_rig) & HEAVY - by_click == set()


def test_help_imports_no_command(local_rig: Rig) -> None:
    found = imported("-m", "launcher", "--help", rig=local_rig)
    assert {each for each in found if each.startswith("launcher.")} <= {
        *("launcher.cli", "launcher.core", "launcher.core.errors", "launcher.__main__"),
    }
