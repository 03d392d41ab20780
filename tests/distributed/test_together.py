"""Launchers of a job's nodes among each other: they begin together, and what ends one ends all. No engine is needed."""

from __future__ import annotations

import shutil
import signal
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from hosts import network, until
from training import ENGINE_S, Training, on_hosts, volcano, volcano_names

if TYPE_CHECKING:
    from pathlib import Path

    from hosts import Running
    from training import End

pytestmark = [pytest.mark.distributed, on_hosts, pytest.mark.timeout(2 * ENGINE_S)]

MANY = 1500
"""Small objects, moved one after the other: enough to stop a launcher among them."""


def staged_at(end: End) -> float:
    """When a host had its code and its inputs."""
    staging = next(each for each in end.run_json["timeline"] if each["phase"] == "stage")
    return datetime.fromisoformat(staging["ended"]).timestamp()


def all_train(started: list[Running]) -> list[Running]:
    """Wait until every boot file runs."""
    for each in started:
        each.await_word("trains")
    return started


def test_nobody_trains_before_the_slowest_is_staged(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(3)) as hosts:
        training = Training(tmp_path, hosts, "alone")
        for index in range(MANY):
            (training.bucket / "data" / f"{index}.txt").write_text("x")
        started = [training.start(host, env={"LAUNCHER_TRANSFERS": "1"} if host.number == 1 else {}) for host in hosts]
        arriving = hosts[1].files / "home/ma-user/modelarts/inputs/data_url_0"
        until(lambda: arriving.is_dir() and any(arriving.iterdir()))
        started[1].signal(signal.SIGSTOP)
        until(lambda: all(training.has_told(hosts[number], "data_url) downloaded") for number in (0, 2)))
        assert training.left("began") == []
        started[1].signal(signal.SIGCONT)
        ends = training.ends(started)
    assert [end.code for end in ends] == [0, 0, 0], ends[0].err
    slowest = staged_at(ends[1])
    assert all(staged_at(end) < slowest for end in (ends[0], ends[2]))
    began = [each["at"] for each in training.left("began")]
    assert len(began) == 3
    assert min(began) >= slowest


def test_an_input_that_one_host_cannot_bring_ends_all_with_that_cause(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(3)) as hosts:
        training = Training(tmp_path, hosts, "alone")
        other = tmp_path / "other"
        shutil.copytree(training.bucket.parent, other)
        shutil.rmtree(other / "bucket" / "data")
        started = [training.start(host, *(["--store", str(other)] * (host.number == 1))) for host in hosts]
        ends = training.ends(started)
    assert {end.code for end in ends} == {66}, [end.err for end in ends]
    assert [end.cause for end in ends] == ["peer-failed", "nothing-there", "peer-failed"]
    assert all("worker-1" in end.told and "data_url" in end.told for end in (ends[0], ends[2]))
    assert training.left("began") == []


def test_a_boot_file_that_fails_ends_all_and_the_others_name_it(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(3)) as hosts:
        now, failing = tmp_path / "now", hosts[1].name.partition(".")[0]
        training = Training(tmp_path, hosts, "alone", stays=1, fails_on=failing, fails_when=now)
        started = all_train([training.start(host) for host in hosts])
        now.touch()
        ends = training.ends(started)
    assert [end.code for end in ends] == [3, 3, 3], [end.err for end in ends]
    assert [end.cause for end in ends] == ["peer-failed", "boot-failed", "peer-failed"]
    assert all("worker-1" in end.told for end in (ends[0], ends[2]))
    assert [each["signal"] for each in training.left("stopped")] == [signal.SIGTERM] * 2, "and their outputs are saved"


@pytest.mark.parametrize("killed", [0, 1])
def test_a_host_that_is_killed_ends_all_and_the_others_name_it(tmp_path: Path, killed: int) -> None:
    with network(tmp_path, volcano_names(3)) as hosts:
        training = Training(tmp_path, hosts, "alone", stays=1)
        started = all_train([training.start(host) for host in hosts])
        hosts[killed].kill()
        ends = [end for end in training.ends(started) if end.host.alive]
    assert len(ends) == 2
    assert [(end.code, end.cause) for end in ends] == [(71, "peer-lost")] * 2, [end.err for end in ends]
    assert all(f"worker-{killed}" in end.told for end in ends)


def test_a_host_without_a_network_is_missed_by_all(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(2)) as hosts:
        training = Training(tmp_path, hosts, "alone", stays=1)
        started = all_train([training.start(host) for host in hosts])
        hosts.unplug(hosts[1])
        ends = training.ends(started)
    assert [end.cause for end in ends] == ["peer-lost", "peer-lost"]
    assert ["worker-1" in ends[0].told, "worker-0" in ends[1].told] == [True, True]


def test_a_name_that_does_not_resolve_is_told_by_every_host(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(2)) as hosts:
        training = Training(tmp_path, hosts, "alone")
        training.environ["LAUNCHER_PEERS_TIMEOUT"] = "2"
        wrong = f"{hosts[0].name},ma-job-1-worker-9.nowhere"
        ends = training.run(told=lambda host: {**volcano(host), "VC_WORKER_HOSTS": wrong})
    assert [end.code for end in ends] == [71, 71], [end.err for end in ends]
    assert all("ma-job-1-worker-9.nowhere" in end.told for end in ends)
    assert [end.cause for end in ends] == ["peers-unresolved"] * 2


def test_a_host_that_never_comes_is_told_by_name(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(3)) as hosts:
        training = Training(tmp_path, hosts, "alone")
        training.environ["LAUNCHER_PEERS_TIMEOUT"] = "3"
        ends = training.ends([training.start(hosts[number]) for number in (0, 1)])
    assert [(end.code, end.cause) for end in ends] == [(71, "peers-missing")] * 2, [end.err for end in ends]
    assert all("worker-2" in end.told for end in ends)


def test_sigterm_for_all_is_143_and_keeps_the_outputs(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(3)) as hosts:
        training = Training(tmp_path, hosts, "alone", stays=1)
        started = all_train([training.start(host) for host in hosts])
        for each in started:
            each.signal(signal.SIGTERM)
        ends = training.ends(started)
    assert [end.code for end in ends] == [143, 143, 143], [end.err for end in ends]
    assert [each["signal"] for each in training.left("stopped")] == [signal.SIGTERM] * 3


def test_sigterm_for_one_ends_all(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(2)) as hosts:
        training = Training(tmp_path, hosts, "alone", stays=1)
        started = all_train([training.start(host) for host in hosts])
        started[1].signal(signal.SIGTERM)
        ends = training.ends(started)
    assert [end.code for end in ends] == [143, 143], [end.err for end in ends]
    assert "worker-1" in ends[0].told
    assert [each["signal"] for each in training.left("stopped")] == [signal.SIGTERM] * 2


def test_a_stranger_at_the_door_changes_nothing(tmp_path: Path) -> None:
    with network(tmp_path, [*volcano_names(2), "stranger.elsewhere"]) as hosts:
        training = Training(tmp_path, list(hosts)[:2], "alone", stays=1)
        both = [training.start(host) for host in training.hosts]
        knock = (
            "import socket, sys\n"
            "for text in (b'', b'GET / HTTP/1.1\\r\\n\\r\\n', b'\\x00' * 70000, b'{' * 70000):\n"
            "    with socket.create_connection((sys.argv[1], 6665)) as caller:\n"
            "        try:\n            caller.sendall(text)\n            caller.shutdown(socket.SHUT_WR)\n"
            "            while caller.recv(4096): pass\n        except OSError: pass\n"
        )
        all_train(both)
        assert hosts[2].start("knock", ("python3", "-c", knock, hosts[0].name)).wait() == 0
        for each in both:
            each.signal(signal.SIGTERM)
        ends = training.ends(both)
    assert [end.code for end in ends] == [143, 143], [end.err for end in ends]
