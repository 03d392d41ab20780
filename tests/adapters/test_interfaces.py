"""The ways of real kernels: this machine's own, and those of network namespaces of this test's alone."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.adapters.interfaces import interface_of, interfaces, is_loopback, route

WAYS = """
import json, sys
from launcher.adapters.interfaces import interface_of, interfaces, route
found = {"interfaces": interfaces()}
for asked in sys.argv[1:]:
    here = asked.startswith("here:")
    way = route(asked.removeprefix("here:").split(","), here=here)
    found[asked] = None if way is None else [way.address, way.interface]
print(json.dumps(found))
"""
ROOT = Path(__file__).resolve().parent.parent.parent
needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None,
    reason="network namespaces need root, ip and unshare",
)


def ways(setup: str, *asked: str) -> dict[str, object]:
    """What the adapter tells in a network namespace of its own, which `setup` has furnished."""
    argv = ("unshare", "-n", "sh", "-ec", f'ip link set lo up; {setup}\nexec "$@"', "sh", sys.executable, "-c", WAYS)
    done = subprocess.run((*argv, *asked), capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    if "Unknown device type" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip(f"this machine makes no such network: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_the_way_to_this_machine_itself_is_by_loopback() -> None:
    way = route(("127.0.0.1",))
    assert way is not None
    assert (way.address, way.interface) == ("127.0.0.1", "lo")
    assert way.interfaces == interfaces() == tuple(name for _, name in socket.if_nameindex())
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("203.0.113.77") is None


def test_what_is_no_address_has_no_way() -> None:
    assert route(()) is None
    assert route(("not.an.address", "-x", "")) is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.0.1.1", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("::2", False),
        ("1127.0.0.1", False),
    ],
)
def test_loopback_is_known_by_its_addresses(address: str, *, expected: bool) -> None:
    assert is_loopback(address) is expected


TWO = """
ip link add eth0 type veth peer name end0; ip addr add 10.77.0.5/24 dev eth0; ip link set eth0 up; ip link set end0 up
ip link add ib0 type veth peer name end1; ip addr add 10.88.0.5/24 dev ib0; ip link set ib0 up; ip link set end1 up
"""


@needs_namespaces
def test_a_node_takes_the_interface_on_the_way_to_worker_0() -> None:
    found = ways(TWO, "10.77.0.1", "10.88.0.1", "10.99.0.1", "10.99.0.1,10.88.0.1")
    assert found["10.77.0.1"] == ["10.77.0.5", "eth0"]
    assert found["10.88.0.1"] == ["10.88.0.5", "ib0"]
    assert found["10.99.0.1"] is None
    assert found["10.99.0.1,10.88.0.1"] == ["10.88.0.5", "ib0"]
    assert isinstance(found["interfaces"], list)
    assert {"lo", "eth0", "ib0", "end0", "end1"} <= set(found["interfaces"])


@needs_namespaces
def test_worker_0_is_reached_at_its_own_address_and_not_by_loopback() -> None:
    found = ways(TWO, "here:10.88.0.5", "here:127.0.1.1,10.88.0.5", "here:127.0.0.1", "127.0.0.1")
    assert found["here:10.88.0.5"] == ["10.88.0.5", "ib0"]
    assert found["here:127.0.1.1,10.88.0.5"] == ["10.88.0.5", "ib0"]
    assert found["here:127.0.0.1"] in (["10.77.0.5", "eth0"], ["10.88.0.5", "ib0"])
    assert found["127.0.0.1"] == ["127.0.0.1", "lo"]


@needs_namespaces
def test_a_name_that_is_loopback_on_its_own_node_is_told_by_the_default_route() -> None:
    found = ways(f"{TWO}\nip route add default via 10.88.0.1", "here:127.0.1.1")
    assert found["here:127.0.1.1"] == ["10.88.0.5", "ib0"]


@needs_namespaces
def test_a_node_without_a_network_has_loopback() -> None:
    assert ways("", "here:127.0.1.1")["here:127.0.1.1"] == ["127.0.0.1", "lo"]


SIX = """
sysctl -qw net.ipv6.conf.default.accept_dad=0 || true
ip link add eth0 type veth peer name end0; ip link set eth0 up; ip link set end0 up
ip -6 addr add fd00:77::5/64 dev eth0 nodad
ip -6 addr add fe80::77/64 dev eth0 nodad
"""


@needs_namespaces
def test_ipv6_is_as_good() -> None:
    found = ways(SIX, "fd00:77::1", "fe80::1%eth0", "here:::1", "10.0.0.1")
    assert found["fd00:77::1"] == ["fd00:77::5", "eth0"]
    assert found["here:::1"] == ["fd00:77::5", "eth0"]
    way = found["fe80::1%eth0"]
    assert isinstance(way, list)
    assert way[1] == "eth0"
    assert way[0].startswith("fe80::")
    assert "%" not in way[0]
    assert found["10.0.0.1"] is None
