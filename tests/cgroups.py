"""Control groups of the kernel with a memory limit, in whichever version this machine has them."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOP = Path("/sys/fs/cgroup")
_numbers = itertools.count()


class Group:
    """A control group with a memory limit and no swap; `source` is how the launcher calls its version."""

    def __init__(self, folder: Path, source: str) -> None:
        self.folder = folder
        self.source = source

    def inside(self, argv: Sequence[str] = ()) -> tuple[str, ...]:
        """The same program, in the group from its first instruction on; without one what starts any."""
        return ("sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.folder / "cgroup.procs"), *argv)

    def remove(self) -> None:
        """Take the group away; whoever is still in it was started by the test."""
        end = time.monotonic() + 20
        while True:
            for pid in (self.folder / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
            try:
                self.folder.rmdir()
            except OSError:  # a process that ends is a member until it is gone
                if time.monotonic() > end:
                    raise
                threading.Event().wait(0.02)
            else:
                return


@contextlib.contextmanager
def limited(limit_bytes: int) -> Iterator[Group]:
    """A group with this limit as long as the test goes on; skips with what stands in the way."""
    name = f"launcher-test-{os.getpid()}-{next(_numbers)}"
    if (TOP / "memory" / "memory.limit_in_bytes").exists():
        group = Group(TOP / "memory" / name, "cgroup v1")
        # The second one bounds memory and swap together; a kernel that does not count swap has no such file.
        limits = {"memory.limit_in_bytes": limit_bytes, "memory.memsw.limit_in_bytes": limit_bytes}
    elif (TOP / "cgroup.subtree_control").exists():
        if "memory" not in (TOP / "cgroup.subtree_control").read_text().split():
            pytest.skip("the root control group does not hand the memory controller down")
        group = Group(TOP / name, "cgroup v2")
        limits = {"memory.max": limit_bytes, "memory.swap.max": 0}
    else:
        pytest.skip(f"no memory controller is mounted below {TOP}")
    try:
        group.folder.mkdir()
    except OSError as error:
        pytest.skip(f"a control group cannot be made here: {error}")
    try:
        for file, value in limits.items():
            if (group.folder / file).exists():
                (group.folder / file).write_text(str(value))
        yield group
    finally:
        group.remove()
