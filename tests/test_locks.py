"""The lock files of the images: everything that is installed into them is named, pinned and has its hashes."""

from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path

import pytest

IMAGES = Path(__file__).parent.parent / "images"
LOCKS = {"requirements": ("stacks", "zstd"), "search": ("stacks", "zstd", "search")}


def names(requirements: list[str]) -> set[str]:
    """The packages that requirements name, as the index writes them."""
    found = (re.match(r"[A-Za-z0-9._-]+", each) for each in requirements)
    return {re.sub(r"[-_.]+", "-", each[0]).lower() for each in found if each}


def entries(lock: str) -> list[str]:
    """The requirements of a lock file, each with its hashes."""
    text = (IMAGES / f"{lock}.lock").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return re.split(r"\n(?=\S)", "\n".join(lines).strip())


@pytest.mark.parametrize("lock", ["requirements", "search", "tools"])
def test_everything_locked_is_pinned_with_hashes(lock: str) -> None:
    for entry in entries(lock):
        assert re.match(r"\S+==\S+ .*\\\n( +--hash=sha256:[0-9a-f]{64}( \\\n)?)+$", entry), entry


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_is_locked_but_for_those_that_are_left_out(lock: str) -> None:
    extras = "|".join(LOCKS[lock])
    named = requires("modelarts-launcher") or []
    wanted = names([each for each in named if "extra ==" not in each or re.search(rf"extra == .({extras}).$", each)])
    left_out = names((IMAGES / "absent.txt").read_text(encoding="utf-8").splitlines())
    assert {"click", "obstore", "py-spy"} <= wanted
    assert wanted - names(entries(lock)) - left_out == set(), "make lock writes the lock files anew"
    assert names(entries(lock)) & left_out == set()
