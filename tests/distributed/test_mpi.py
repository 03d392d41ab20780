"""Open MPI on several hosts: mpirun on worker-0, which reaches the others by ssh with keys of the job's own."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from hosts import network
from training import ENGINE_S, Training, on_hosts, volcano_names

if TYPE_CHECKING:
    from pathlib import Path

    from hosts import Hosts

NEEDED = ("mpirun", "ssh", "sshd", "ssh-keygen")
missing = [name for name in NEEDED if shutil.which(name) is None and shutil.which(f"/usr/sbin/{name}") is None]
pytestmark = [
    pytest.mark.distributed,
    on_hosts,
    pytest.mark.timeout(2 * ENGINE_S),
    pytest.mark.skipif(bool(missing), reason=f"not found: {', '.join(missing)}; make e2e-distributed installs them"),
]


def barrier(folder: Path, hosts: Hosts, **parameters: object) -> Training:
    training = Training(folder, hosts, "barrier", **parameters)
    training.engine("MPI")
    return training


@pytest.mark.parametrize(("count", "per_host"), [(2, 1), (3, 2)])
def test_every_rank_comes_to_the_barrier_once(tmp_path: Path, count: int, per_host: int) -> None:
    size = count * per_host
    with network(tmp_path, volcano_names(count)) as hosts:
        training = barrier(tmp_path, hosts)
        training.environ["LAUNCHER_PROCESSES"] = str(per_host)
        ends = training.run()
        names = [host.name.partition(".")[0] for host in hosts]
    assert [end.code for end in ends] == [0] * count, [end.err for end in ends]
    assert [(each["rank"], each["size"], each["sum"], each["host"]) for each in training.left("rank")] == [
        (rank, size, sum(range(size)), names[rank // per_host]) for rank in range(size)
    ]
    assert {each["env"]["OMPI_COMM_WORLD_SIZE"] for each in training.left("rank")} == {str(size)}


def test_a_rank_that_fails_elsewhere_ends_all(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(2)) as hosts:
        ends = barrier(tmp_path, hosts, fails_on=hosts[1].name.partition(".")[0]).run()
    assert all(end.code != 0 for end in ends), [end.err for end in ends]


def test_a_host_that_is_killed_ends_all(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(3)) as hosts:
        training = barrier(tmp_path, hosts, stays=1)
        started = [training.start(host) for host in hosts]
        started[0].await_word("rank=2 of 3")
        hosts[1].kill()
        ends = [end for end in training.ends(started) if end.host.alive]
    assert [end.code != 0 for end in ends] == [True, True], [end.err for end in ends]


def test_sigterm_for_all_ends_every_rank(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(2)) as hosts:
        training = barrier(tmp_path, hosts, stays=1)
        started = [training.start(host) for host in hosts]
        started[0].await_word("rank=1 of 2")
        for each in started:
            each.signal(signal.SIGTERM)
        ends = training.ends(started)
    assert {end.run_json["phase"] for end in ends} == {"Terminated"}, [end.err for end in ends]
    assert len(training.left("rank")) == 2


def test_no_key_of_the_job_is_left_or_uploaded(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(2)) as hosts:
        training = barrier(tmp_path, hosts)
        ends = training.run()
        keys = [path for host in hosts for path in host.folder.rglob("*") if path.is_file() and _is_key(path)]
    assert [end.code for end in ends] == [0, 0], [end.err for end in ends]
    stored = [path for path in training.bucket.rglob("*") if path.is_file()]
    assert not [path for path in stored if _is_key(path)]
    assert all(path.stat().st_mode & 0o077 == 0 for path in keys), keys


def _is_key(path: Path) -> bool:
    return b"PRIVATE KEY" in path.read_bytes()
