"""Stores that tests run on (one moto and one rclone per worker, started when first asked for), whole jobs, children."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

import pytest
from fronts import front
from hypothesis import HealthCheck, settings
from rig import Rig
from servers import LOCALFS, AnyStore, S3Server, fresh_bucket, moto, rclone
from talking import Talking

from launcher.adapters.process import SystemProcesses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fronts import Front

# A runner under nohup hands an ignored SIGHUP down to every child; the tests are about signals that arrive.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No test asserts a time, and none fails for one that a busy machine took.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("busy")


@pytest.fixture
def processes() -> Iterator[SystemProcesses]:
    """The children of a test, as a launcher has its own."""
    with SystemProcesses() as opened:
        yield opened


@pytest.fixture
def talk(processes: SystemProcesses) -> Iterator[Callable[..., Talking]]:
    """Start children that say something."""
    made: list[Talking] = []

    def start(script: str, *program: str) -> Talking:
        made.append(Talking(processes, script, *program))
        return made[-1]

    yield start
    for one in made:
        one.said.close()


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """One moto for all tests of this worker."""
    with moto() as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One rclone for all tests of this worker."""
    with rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(params=["moto", "rclone"])
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """A real S3 server; ask `s3_server.capability.need(...)` for what not each of them can do."""
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture(params=["localfs", "moto", "rclone"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> AnyStore:
    """Each store that a launcher may meet, so that one suite runs on all of them."""
    if request.param == "localfs":
        directory = tmp_path / "store"
        directory.mkdir()
        return AnyStore("localfs", LOCALFS, launcher_args=("--store", str(directory)), directory=directory)
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    return AnyStore(server.name, server.capability, env=server.env, server=server)


@pytest.fixture
def bucket() -> str:
    """A bucket's name that no other test has; `seed` makes it."""
    return fresh_bucket()


@pytest.fixture
def fronted() -> Iterator[Callable[[S3Server], Front]]:
    """Put a fault-injecting front before a server, for this test alone."""
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(front(server.endpoint))


@pytest.fixture
def rig(any_store: AnyStore, tmp_path: Path) -> Rig:
    """A whole job on each store."""
    return Rig(any_store, tmp_path)


@pytest.fixture
def local_rig(tmp_path: Path) -> Rig:
    """A whole job on a store that is a directory, where the store makes no difference."""
    directory = tmp_path / "store"
    directory.mkdir()
    return Rig(AnyStore("localfs", LOCALFS, ("--store", str(directory)), directory=directory), tmp_path)


@pytest.fixture
def moto_rig(moto_server: S3Server, tmp_path: Path) -> Rig:
    """A whole job on the store that takes any key."""
    return Rig(AnyStore("moto", moto_server.capability, env=moto_server.env, server=moto_server), tmp_path)
