"""The pages that show commands: every `sh` block of a page is run, in its order, as one script in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("migrate-from-modelarts", "rehearsal", "checkpoints", "replay")


def script(page: str) -> str:
    """The commands of a page."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def run(page: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The page's commands, stopped at the first that fails."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAUNCHER_", "S3_", "AWS_"))}
    return subprocess.run(
        ("bash", "-euxo", "pipefail", "-c", script(page)),
        cwd=folder,
        env={**kept, "PATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_goes_well(page: str, tmp_path: Path) -> None:
    done = run(page, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
