"""Names of nodes: real ones of this machine, ones that nobody has, and a hosts file that grows while it is read."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from launcher.cli.peers import FEW, SHOWN, find_peers, resolve
from launcher.core.errors import Exit, PlanError
from launcher.core.topology import PENDING, Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
WAITS = """
import sys
from launcher.cli.peers import resolve
def say(line):
    print(line, flush=True)
found = resolve(sys.argv[1:], 60.0, say)
print({name: list(each) for name, each in sorted(found.addresses.items())}, dict(found.missing), flush=True)
"""
needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("mount") is None,
    reason="a hosts file of one's own needs root, unshare and mount",
)


def nodes(*hosts: str, index: int = 0, master: str | None = None) -> Topology:
    return Topology(
        count=len(hosts), workers=len(hosts), index=index, hosts=hosts, master=hosts[0] if master is None else master
    )


def quiet(line: str) -> None:
    raise AssertionError(f"nothing was to be said, and it was: {line}")


def test_names_that_resolve_do_so_without_a_word() -> None:
    found = resolve(("localhost", "127.0.0.2", "::1"), 30.0, quiet)
    assert found.missing == {}
    assert found.addresses["127.0.0.2"] == ("127.0.0.2",)
    assert found.addresses["::1"] == ("::1",)
    assert {"127.0.0.1", "::1"} & set(found.addresses["localhost"])


def test_who_is_missing_is_said_once_by_name_and_why() -> None:
    said: list[str] = []
    found = resolve(("localhost", "w-1.invalid", "a..b"), 3.0, said.append)
    assert set(found.addresses) == {"localhost"}
    assert list(found.missing) == ["w-1.invalid", "a..b"]
    assert all(found.missing.values())
    assert len(said) == 1
    assert said[0].startswith("waiting for nodes whose names do not resolve yet (2 of 3, ")
    assert said[0].endswith("w-1.invalid, a..b")


def test_a_node_alone_asks_nobody() -> None:
    alone = Topology(master="w-0.invalid", hosts=("w-0.invalid",))
    assert find_peers(alone, 0.0, quiet, preview=False) == (alone, None)


def test_the_way_to_worker_0_on_this_machine() -> None:
    for index in (0, 1):
        here = nodes("localhost", "127.0.0.3", index=index)
        same, network = find_peers(here, 30.0, quiet, preview=False)
        assert same == here
        assert network is not None
        assert (network.address in ("127.0.0.1", "::1"), network.interface) == (True, "lo")


def test_names_that_never_resolve_end_the_start_with_71_and_the_names() -> None:
    hosts = ("localhost", *(f"w-{index}.invalid" for index in range(1, 12)))
    said: list[str] = []
    with pytest.raises(PlanError) as caught:
        find_peers(nodes(*hosts), 2.5, said.append, preview=False)
    assert (caught.value.code, caught.value.exit_code) == ("peers-unresolved", Exit.NODE)
    assert str(caught.value).startswith("11 of the job's nodes could not be found by name in 2.5 s: w-1.invalid (")
    assert str(caught.value).endswith(f"and {11 - SHOWN} more")
    assert "LAUNCHER_PEERS_TIMEOUT" in caught.value.action
    assert said


def test_of_many_nodes_only_worker_0_asks_for_all() -> None:
    hosts = ("127.0.0.1", *(f"w-{index}.invalid" for index in range(FEW)))
    assert find_peers(nodes(*hosts, index=1), 30.0, quiet, preview=False)[1] is not None
    with pytest.raises(PlanError):
        find_peers(nodes(*hosts), 1.0, lambda _: None, preview=False)


def test_a_preview_asks_once_and_says_nothing() -> None:
    unknown = nodes("w-0.invalid", "w-1.invalid")
    here, network = find_peers(unknown, 600.0, quiet, preview=True)
    assert network is None
    assert here.pending == ("the address of worker-0: its name w-0.invalid does not resolve here",)
    known = nodes("127.0.0.1", "w-1.invalid")
    here, network = find_peers(known, 600.0, quiet, preview=True)
    assert here == known
    assert network is not None
    nobody = nodes("x", "y", master=PENDING)
    assert find_peers(nobody, 600.0, quiet, preview=True) == (nobody, None)


class Heard(BaseException):
    """What a handler of a signal raises."""


@contextmanager
def heard(number: int) -> Iterator[None]:
    def handle(*_: object) -> None:
        raise Heard

    before = signal.signal(number, handle)
    try:
        yield
    finally:
        signal.signal(number, before)


def test_a_signal_ends_the_waiting_at_once() -> None:
    first = threading.Event()

    def say(line: str) -> None:
        assert "w-0.invalid" in line
        if not first.is_set():
            first.set()
            threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR1)).start()

    with heard(signal.SIGUSR1), pytest.raises(Heard):
        resolve(("w-0.invalid",), 600.0, say)
    assert first.is_set()
    assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@needs_mounts
def test_a_name_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n10.1.2.3 w-0.job\n")
    argv = ["unshare", "-m", "sh", "-ec", 'mount --bind "$1" /etc/hosts; shift; exec "$@"', "sh", str(hosts)]
    argv += [sys.executable, "-c", WAITS, "w-0.job", "w-1.job"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            line = process.stdout.readline()
            if not line:
                pytest.skip(f"no hosts file of one's own here: {process.stderr.read().strip()}")
            assert "(1 of 2, " in line
            assert line.endswith(": w-1.job\n")
            with hosts.open("a") as file:
                file.write("10.1.2.4 w-1.job\n")
            assert process.stdout.readline() == "every node that was waited for is known by its name now\n"
            assert process.stdout.readline() == "{'w-0.job': ['10.1.2.3'], 'w-1.job': ['10.1.2.4']} {}\n"
        finally:
            process.kill()


LOST = """
from launcher.cli.peers import find_peers
from launcher.core.errors import PlanError
from launcher.core.topology import Topology
here = Topology(count=2, workers=2, index=1, master="10.9.8.7")
assert find_peers(here, 5.0, print, preview=True) == (here, None)
try:
    find_peers(here, 5.0, print, preview=False)
except PlanError as error:
    print(error.code, int(error.exit_code), error)
"""


@needs_mounts
def test_a_node_without_a_way_to_worker_0_is_told_so() -> None:
    argv = ("unshare", "-n", sys.executable, "-c", LOST)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip(f"no network of one's own here: {done.stderr.strip()}")
    assert done.stdout == ("peers-unreachable 71 there is no way from this node to worker-0, 10.9.8.7 at 10.9.8.7\n"), (
        done.stderr
    )
