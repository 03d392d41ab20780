"""`images/build`, by a client that only notes what it is asked: which engine builds."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
CLIENT = """#!/bin/sh
[ "$1" != version ] || { echo " $ANSWERS " | grep -qF " ${DOCKER_HOST:-default} "; exit; }
echo "$1 ${DOCKER_HOST:-default}" >>"$NOTES"
"""


@pytest.fixture
def built_by(tmp_path: Path) -> Callable[..., str]:
    """What the client was asked, and with which engine; `answers` are the engines that do."""
    client, notes = tmp_path / "docker", tmp_path / "notes"
    client.write_text(CLIENT)
    client.chmod(0o755)

    def build(*answers: str, host: str | None = None) -> str:
        own = {"DOCKER": str(client), "NOTES": str(notes), "ENGINE_STATE": "/ours", "ANSWERS": " ".join(answers)}
        environ = {"PATH": os.environ["PATH"], **own, **({"DOCKER_HOST": host} if host is not None else {})}
        argv = (ROOT / "images" / "build", "on", "my/pytorch:2.9", "overlay", "my/training")
        subprocess.run(argv, env=environ, check=True, capture_output=True, timeout=60)
        return notes.read_text()

    return build


OURS, OTHER = "unix:///ours/docker.sock", "unix:///other/docker.sock"


def test_the_engine_that_make_images_has_brought_up_builds_the_next_image_too(built_by: Callable[..., str]) -> None:
    assert built_by(OURS) == f"build {OURS}\n"


def test_an_engine_of_the_machine_s_own_or_one_that_is_named_comes_first(built_by: Callable[..., str]) -> None:
    assert built_by("default", OURS) == "build default\n"
    assert built_by(OURS, host=OTHER).splitlines()[-1] == f"build {OTHER}"


def test_where_no_engine_answers_the_client_says_so_of_its_own(built_by: Callable[..., str]) -> None:
    assert built_by() == "build default\n"
