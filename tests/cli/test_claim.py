"""One root, one launcher: who has it, who may not, and what lies in the place of the lock."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from launcher.cli.claim import LOCK, Claim
from launcher.core.errors import Exit, PlanError

if TYPE_CHECKING:
    from pathlib import Path

HOLDS = """
import signal, sys
from launcher.cli.claim import Claim
claim = Claim()
claim.take(sys.argv[1])
print("held", flush=True)
signal.pause()
"""


def refused(folder: Path) -> PlanError:
    with pytest.raises(PlanError) as caught:
        Claim().take(str(folder))
    return caught.value


def test_a_folder_is_one_launchers_until_that_one_is_gone(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = (sys.executable, "-c", HOLDS, str(tmp_path))
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        error = refused(tmp_path)
        assert (error.code, error.exit_code) == ("root-in-use", Exit.NODE)
        assert f"(pid {holder.pid})" in str(error)
        holder.kill()
    Claim().take(str(tmp_path))


def test_what_is_claimed_already_may_be_claimed_again_by_the_same(tmp_path: Path) -> None:
    claim = Claim()
    claim.take(str(tmp_path))
    claim.take(str(tmp_path))
    assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"
    assert refused(tmp_path).code == "root-in-use"


@pytest.mark.parametrize("kind", ["link", "folder", "socket"])
def test_what_lies_in_the_place_of_the_lock_is_not_used(tmp_path: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    if kind == "link":
        (tmp_path / LOCK).symlink_to(victim)
    elif kind == "folder":
        (tmp_path / LOCK).mkdir()
    else:
        os.mknod(tmp_path / LOCK, 0o140600)
    assert refused(tmp_path).code == "log-folder"
    assert victim.read_text() == "mine"


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    assert "No such file or directory" in str(refused(tmp_path / "gone"))


FILLS = """
import os, sys
from contextlib import suppress
from launcher.cli.claim import LOCK, Claim
from launcher.core.errors import PlanError
folder = sys.argv[1]
descriptor = os.open(f"{folder}/{LOCK}", os.O_WRONLY | os.O_CREAT)
os.close(descriptor)
with open(f"{folder}/ballast", "wb", buffering=0) as file, suppress(OSError):
    while True:
        file.write(b"-")
try:
    Claim().take(folder)
except PlanError as error:
    print(error.code, int(error.exit_code), error, error.action)
"""


def test_a_disk_that_is_full_is_no_matter_of_rights(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=4k none "$1" || exit 99; exec "$2" -c "$3" "$1"'
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = ("unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, FILLS)
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0 and not done.stdout:
        pytest.skip(f"no small file system can be made here (needs root): {done.stderr.strip()}")
    assert done.stdout.startswith("log-folder 71 ")
    assert "No space left on device" in done.stdout
    assert done.stdout.endswith("Make room there, or give --root DIR on a disk that has some.\n")
