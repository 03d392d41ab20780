from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.facts import Facts, Network
from launcher.core.interfaces import at, nccl_interface, training_interface, unmatched
from launcher.core.topology import Topology

THERE = ("lo", "eth0", "docker0")


def reached(interface: str | None, *interfaces: str, workers: int = 2) -> Facts:
    network = Network(address="192.0.2.1", interface=interface, interfaces=interfaces)
    return Facts(environ={}, host="h", started="t", topology=Topology(workers=workers), network=network)


def test_a_port_stands_behind_a_host() -> None:
    assert at("w0", 6666) == "w0:6666"
    assert at("2001:db8::1", 6666) == "[2001:db8::1]:6666"


def test_a_training_uses_the_interface_of_the_way_to_worker_0() -> None:
    assert training_interface(reached("eth0", *THERE)) == "eth0"
    assert training_interface(reached("lo", *THERE)) is None
    assert training_interface(reached(None)) is None
    assert training_interface(reached("eth0", *THERE, workers=1)) is None
    assert training_interface(Facts(environ={}, host="h", started="t", topology=Topology(workers=2))) is None


def test_nccl_is_told_exactly_where_a_name_begins_another() -> None:
    assert nccl_interface(reached("eth0", *THERE)) == "eth0"
    assert nccl_interface(reached("eth1", "eth1", "eth10")) == "=eth1"
    assert nccl_interface(reached("lo", "lo")) is None


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("eth0", True),
        ("eth", True),
        ("bond0,eth0", True),
        ("bond0", False),
        ("=eth", False),
        ("=eth0", True),
        ("=bond0,eth0", True),
        ("^docker", True),
        ("^lo,eth,docker", False),
        ("^=lo,eth0,docker0", False),
        ("^=docker", True),
        ("eth0:1", True),
        (",", False),
        ("", True),
        ("  ", True),
    ],
)
def test_a_choice_of_nccl_is_held_against_what_is_there(value: str, fits: bool) -> None:  # noqa: FBT001
    network = Network(address="192.0.2.1", interfaces=THERE)
    found = unmatched({"NCCL_SOCKET_IFNAME": value}, network)
    assert len(found) == (not fits)
    if found:
        assert f"NCCL_SOCKET_IFNAME is {value}" in found[0]
        assert "lo, eth0, docker0" in found[0]


def test_every_name_that_gloo_is_given_must_be_there() -> None:
    network = Network(address="192.0.2.1", interfaces=THERE)
    assert unmatched({"GLOO_SOCKET_IFNAME": "eth0,docker0"}, network) == ()
    assert "gloo will find no socket interface" in unmatched({"GLOO_SOCKET_IFNAME": "eth"}, network)[0]


def test_nothing_is_said_where_nobody_looked() -> None:
    said = {"NCCL_SOCKET_IFNAME": "bond0"}
    assert unmatched(said, None) == unmatched(said, Network(address="192.0.2.1")) == ()


@given(st.text(max_size=30), st.lists(st.text("abeth012", min_size=1, max_size=5), max_size=4))
def test_any_value_is_answered(value: str, interfaces: list[str]) -> None:
    network = Network(address="192.0.2.1", interfaces=tuple(interfaces))
    assert len(unmatched({"NCCL_SOCKET_IFNAME": value, "GLOO_SOCKET_IFNAME": value}, network)) <= 2
