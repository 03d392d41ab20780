"""docs/docker.md: its commands, as they stand there, in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from incontainer import IMAGE, docker, in_docker

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "docker.md").read_text(encoding="utf-8")
BUNDLE, BASE = "launcher:bundle", "launcher-base:bookworm"
pytestmark = [pytest.mark.docker, in_docker]


def is_there(image: str) -> bool:
    return subprocess.run(("docker", "image", "inspect", image), capture_output=True, check=False).returncode == 0


def test_every_command_of_the_page_goes_well(tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    with_overlay = is_there(BUNDLE) and is_there(BASE)
    if not with_overlay:
        blocks = [each for each in blocks if "overlay" not in each]
    shutil.copytree(ROOT / "images", tmp_path / "images")
    mine = f"launcher-test-page-{os.getpid()}"
    script = "\n".join(blocks).replace("launcher:cpu", IMAGE).replace("my/image:1", BASE).replace("my/training:1", mine)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAUNCHER_", "S3_", "AWS_"))}
    # Debian's client brings all that it needs to build, a newer one may not
    path = f"{os.path.dirname(sys.executable)}:/usr/bin:{os.environ['PATH']}"
    try:
        done = subprocess.run(
            ("bash", "-euxo", "pipefail", "-c", script),
            cwd=tmp_path,
            env={**kept, "PATH": path, "DOCKER_BUILDKIT": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=110,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        if is_there(mine):
            docker("image", "rm", mine)
    if not with_overlay:
        pytest.skip(f"all but the overlay, for which {BUNDLE} and {BASE} are not here")
