"""A real PostgreSQL for the tests: Debian's binaries, a cluster in a folder of its own, a unix socket and no port.

It refuses root, so that root starts it as the user that the package made.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACES = ("/usr/lib/postgresql", "/usr/local/pgsql")
START_S = 30.0
_glance = threading.Event()
_names = count()


def binaries_or_skip() -> Path:
    """The folder of the newest server that is installed."""
    found = [path.parent for place in PLACES for path in Path(place).glob("**/bin/initdb")]
    if not found:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    if os.geteuid() == 0 and "postgres" not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("root cannot run PostgreSQL, and there is no user named postgres")
    return max(found, key=lambda path: [int(part) for part in path.parts if part.isdecimal()])


class Server:
    """One cluster; `kill` is what a power cut does to it, `start` brings it up again with all that was committed."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self.folder = folder
        self._running: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._as = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(folder, "postgres", "postgres")
        self._call("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "launcher", "--no-sync", "-E", "UTF8")

    def url(self, database: str) -> str:
        """What a user would write."""
        return f"postgresql://launcher@/{database}?host={self.folder}"

    def fresh(self) -> str:
        """The address of a new database."""
        name = f"study{next(_names)}"
        self._call("createdb", "-h", str(self.folder), "-U", "launcher", name)
        return self.url(name)

    def start(self) -> None:
        """Come up; what is left of a killed one is waited for."""
        end = threading.Event()
        timer = threading.Timer(START_S, end.set)
        timer.start()
        try:
            while not self._came_up():
                assert not end.is_set(), (self.folder / "log").read_text()
        finally:
            timer.cancel()

    def _came_up(self) -> bool:
        with (self.folder / "log").open("ab") as log:
            self._running = subprocess.Popen(
                [
                    self._binaries / "postgres", "-D", self.folder / "data", "-k", self.folder,
                    "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60",
                ],
                stdout=log, stderr=log, cwd=self.folder, **self._as,
            )  # fmt: skip
        while self._running.poll() is None:
            if subprocess.run([self._binaries / "pg_isready", "-q", "-h", self.folder], check=False).returncode == 0:
                return True
            _glance.wait(0.05)
        _glance.wait(0.1)
        return False

    def kill(self) -> None:
        """End it with SIGKILL, and all that serve its connections end with it."""
        assert self._running is not None
        self._running.kill()
        self._running.wait()

    def stop(self) -> None:
        """End it at once, with its connections."""
        if self._running is not None and self._running.poll() is None:
            self._running.send_signal(signal.SIGQUIT)
            self._running.wait()

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._binaries / program, *arguments], capture_output=True, cwd=self.folder, check=False, **self._as
        )
        assert done.returncode == 0, done.stderr.decode()


@contextlib.contextmanager
def postgres() -> Iterator[Server]:
    """A server that runs. Its folder is not pytest's, which nobody but root may enter."""
    binaries = binaries_or_skip()
    folder = Path(tempfile.mkdtemp(prefix="launcher-postgres-"))
    server = Server(binaries, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
