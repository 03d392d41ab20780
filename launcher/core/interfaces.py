"""Addresses and network interfaces as trainings name them: the one they use, and whether a choice names any."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.core.facts import Facts, Network

LOOPBACK = "lo"


def at(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def training_interface(facts: Facts) -> str | None:
    """The interface of the way to worker-0, on a job of several nodes; None where that is not known.

    The loopback interface is never the answer: on worker-0 the way to itself leads over it, and nobody else's does.
    """
    network = facts.network
    if network is None or facts.topology.workers <= 1 or network.interface == LOOPBACK:
        return None
    return network.interface


def nccl_interface(facts: Facts) -> str | None:
    """The same as NCCL reads it, which takes a name for a prefix: made exact where another one begins with it."""
    name = training_interface(facts)
    if name is None or facts.network is None:
        return name
    others = (each for each in facts.network.interfaces if each != name)
    return f"={name}" if any(each.startswith(name) for each in others) else name


def unmatched(said: Mapping[str, str], network: Network | None) -> tuple[str, ...]:
    """The warnings about interfaces that are chosen by a variable and are not there."""
    if network is None or not network.interfaces:
        return ()
    there = ", ".join(network.interfaces)
    found = []
    for name, library, chosen in (("NCCL_SOCKET_IFNAME", "NCCL", _nccl), ("GLOO_SOCKET_IFNAME", "gloo", _gloo)):
        value = said.get(name, "").strip()
        if value and not chosen(value, network.interfaces):
            found.append(
                f"{name} is {value}, and this node has no such interface (it has {there}): {library} will find no "
                "socket interface; name one of them, or unset it"
            )
    return tuple(found)


def _nccl(value: str, interfaces: Sequence[str]) -> bool:
    """Whether anything is left: `eth,ib` are prefixes, `=eth0` is exact, `^` in front excludes, `:port` is no part."""
    exclude = value.startswith("^")
    value = value.removeprefix("^")
    exact = value.startswith("=")
    names = [each.partition(":")[0] for each in value.removeprefix("=").split(",")]
    names = [each for each in names if each]

    def fits(interface: str) -> bool:
        return any(interface == each if exact else interface.startswith(each) for each in names)

    return any(fits(each) != exclude for each in interfaces)


def _gloo(value: str, interfaces: Sequence[str]) -> bool:
    """Whether every name is there: gloo opens each."""
    return all(each in interfaces for each in value.split(","))
