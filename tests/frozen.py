"""A file system that stands still, so that a process really waits in the kernel and no SIGKILL ends it."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOOLS = ("unshare", "mkfs.ext4", "mount", "umount", "fsfreeze")
# In a mount namespace of its own, and in our session, so that nobody takes it for an adopted orphan. However the test
# ends, the end of stdin thaws the file system and takes it away.
HOLDER = """
trap '' INT TERM HUP
cd "$0" && truncate -s 8M image && mkfs.ext4 -q -F image >&2 && mkdir -p mount && mount -o loop image mount || exit 1
echo ready
while read -r flag; do fsfreeze "$flag" mount && echo done; done
fsfreeze -u mount 2>/dev/null
umount -l mount
"""


class Frozen:
    """Its folder `path` can be used by everybody; who writes there between `freeze` and `thaw` waits in state D."""

    def __init__(self, holder: subprocess.Popen[str], folder: Path) -> None:
        self._holder = holder
        self.path = f"/proc/{holder.pid}/root{folder}/mount"

    def freeze(self) -> None:
        self._tell("-f")

    def thaw(self) -> None:
        self._tell("-u")

    def _tell(self, flag: str) -> None:
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        print(flag, file=self._holder.stdin, flush=True)
        assert self._holder.stdout.readline() == "done\n"


@contextmanager
def freezable(folder: Path) -> Iterator[Frozen]:
    """A small file system below a folder; skips where this machine has none to give. Thawed at the end in any case."""
    missing = [tool for tool in TOOLS if shutil.which(tool, path=PATH) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"a file system that can be frozen needs root and {', '.join(missing or TOOLS)}")
    holder = subprocess.Popen(
        ("unshare", "--mount", "sh", "-c", HOLDER, str(folder)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": PATH},
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() != "ready\n":
            pytest.skip(f"no file system to freeze: {holder.stderr.read().strip()}")
        yield Frozen(holder, folder)


PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
