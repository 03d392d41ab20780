"""The values that tell of nodes, read out of an environment: numbers, hosts, ports; refused where they are none.

A host's name ends up in argument vectors and in configurations of ssh: what could be an option or a line is no name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from launcher.core.errors import PlanError
from launcher.core.frozen import Record
from launcher.core.settings import HIGHEST_PORT
from launcher.core.topology import MOST_NODES

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_HOST = 253

_NUMBER = re.compile(r"[0-9]{1,6}")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*")
_SIX = re.compile(r"[0-9A-Fa-f:.]{2,45}")
_FOUR = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")

SAY_IT_BY_HAND = "--nodes N --node-index I --master HOST[:PORT] stand over the environment."


class Number(Record, frozen=True, kw_only=True):
    """A number and who says it."""

    teller: str
    value: int

    def __str__(self) -> str:
        return f"{self.teller} is {self.value}"


class Place(Record, frozen=True, kw_only=True):
    """A host, maybe with a port, and who says it."""

    teller: str
    host: str
    port: int | None = None

    def __str__(self) -> str:
        return f"{self.teller} is {self.host}"


def refused(message: str, action: str = f"Correct it; {SAY_IT_BY_HAND}") -> PlanError:
    """A topology that cannot be."""
    return PlanError(message, code="topology", action=action)


def contradiction(one: object, other: object, why: str) -> PlanError:
    """Two who do not say the same."""
    return refused(f"{one}, and {other}: {why}", f"Correct one of them; {SAY_IT_BY_HAND}")


def text(environ: Mapping[str, str], name: str) -> str:
    """The value of a variable; one that is empty says nothing."""
    return environ.get(name, "").strip()


def numbers(environ: Mapping[str, str], *names: str, least: int = 0) -> tuple[Number, ...]:
    """What those of these variables say that are set. Raises PlanError."""
    return tuple(
        Number(teller=name, value=number(name, value, least=least)) for name in names if (value := text(environ, name))
    )


def number(teller: str, value: str, *, least: int = 0) -> int:
    """A number of nodes, or of one. Raises PlanError."""
    if not _NUMBER.fullmatch(value) or not least <= int(value) <= MOST_NODES:
        raise refused(f"{teller}: expected a whole number from {least} to {MOST_NODES}, found {_shown(value)}")
    return int(value)


def port(teller: str, value: str) -> int:
    """A port. Raises PlanError."""
    if not _NUMBER.fullmatch(value) or not 1 <= int(value) <= HIGHEST_PORT:
        raise refused(f"{teller}: expected a port from 1 to {HIGHEST_PORT}, found {_shown(value)}")
    return int(value)


def place(teller: str, value: str) -> Place:
    """`HOST`, `HOST:PORT`, `[IPv6]` or `[IPv6]:PORT`. Raises PlanError."""
    host, mark, after = value.strip(), "", ""
    if host.startswith("["):
        host, bracket, after = host[1:].partition("]")
        mark, after = after[:1], after[1:]
        if not bracket or mark not in ("", ":") or not is_address(host) or ":" not in host:
            raise _no_host(teller, value)
    elif host.count(":") == 1:
        host, mark, after = host.partition(":")
    if not is_host(host):
        raise _no_host(teller, value)
    return Place(teller=teller, host=host, port=port(f"the port of {teller}", after) if mark else None)


def places(teller: str, value: str) -> tuple[Place, ...]:
    """A list with commas; one comma at its end is let pass. Raises PlanError."""
    parts = value.removesuffix(",").split(",")
    if len(parts) > MOST_NODES:
        raise refused(f"{teller} has {len(parts)} names; expected at most {MOST_NODES}")
    return tuple(place(f"{teller}[{index}]", part) for index, part in enumerate(parts))


def is_host(value: str) -> bool:
    """Whether this may be the name or the address of a host."""
    return len(value) <= LONGEST_HOST and (is_address(value) if ":" in value else bool(_NAME.fullmatch(value)))


def is_address(value: str) -> bool:
    """Whether this is an address, of either version, and no name."""
    if _FOUR.fullmatch(value):
        return True
    if ":" not in value or not _SIX.fullmatch(value):
        return False
    from ipaddress import IPv6Address  # noqa: PLC0415 - few write one

    try:
        IPv6Address(value)
    except ValueError:
        return False
    return True


def label(host: str) -> str:
    """The first label of a name, as a host calls itself; an address is one label."""
    return host.lower() if is_address(host) else host.lower().partition(".")[0]


def same(one: str, other: str) -> bool:
    """Whether two names may be one host's: equal, one the other's longer form, or one of them an address."""
    one, other = one.lower(), other.lower()
    if is_address(one) != is_address(other):
        return True
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _no_host(teller: str, value: str) -> PlanError:
    return refused(
        f"{teller}: expected the name or the address of a host (letters, digits, `.`, `-`, `_`; an IPv6 address before "
        f"a port in brackets), found {_shown(value)}"
    )


def _shown(value: str) -> str:
    most = 80
    return repr(value if len(value) <= most else f"{value[:most]}…")
