"""The cases of store.py: which objects, which way, over which wire, and what the launcher is to reach there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

KIB, MIB, GIB = 2**10, 2**20, 2**30
CEILING = 64 / 0.02
"""Objects a second that 64 connections can bring where each waits 20 ms for its first byte."""

WHAT = {
    "s5cmd": "times as fast as s5cmd",
    "raw": "times the raw sockets' time",
    "peak": "MiB resident at the peak",
    "rate": f"% of {CEILING:,.0f} objects/s",
    "core": "% of a core",
}
AT_LEAST = ("s5cmd", "rate")


class Bar(NamedTuple):
    """What must be reached and what is aimed at, in the words of WHAT."""

    kind: Literal["s5cmd", "raw", "peak", "rate", "core"]
    must: float
    aim: float | None = None

    def met(self, value: float, limit: float) -> bool:
        """Whether a value is on the right side of a limit."""
        return value >= limit if self.kind in AT_LEAST else value <= limit


class Case(NamedTuple):
    """One tree of objects, moved one way over one wire of the facade."""

    name: str
    files: int
    size: int
    up: bool = False
    wire: Literal["plain", "tls", "slow", "slow_tls"] = "plain"
    connections: int = 0
    bars: tuple[Bar, ...] = ()

    @property
    def meaning(self) -> str:
        """The case in words."""
        unit, name = next(
            (unit, name) for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")) if self.size >= unit
        )
        wire = {"plain": "", "tls": ", TLS", "slow": ", 20 ms to the first byte", "slow_tls": ", TLS and 20 ms"}
        return f"{self.files:,} x {self.size // unit} {name} {'up' if self.up else 'down'}{wire[self.wire]}"

    def scaled(self) -> tuple[int, int]:
        """An eighth of it: of the objects, or of the one."""
        return (1, self.size // 8) if self.files == 1 else (self.files // 8, self.size)


def _with_wires(case: Case) -> tuple[Case, Case, Case]:
    """The case, and the same over TLS and with 20 ms; those have no bars."""
    tls = case._replace(name=f"{case.name}-tls", wire="tls", bars=())
    return case, tls, case._replace(name=f"{case.name}-20ms", wire="slow", connections=64, bars=())


CASES = (
    *_with_wires(Case("1024x4KiB", 1024, 4 * KIB, bars=(Bar("s5cmd", 2.5, 3.5), Bar("raw", 2.6, 2.0)))),
    Case("10000x16KiB", 10_000, 16 * KIB, bars=(Bar("s5cmd", 2, 3),)),
    Case("10000x16KiB-20ms", 10_000, 16 * KIB, wire="slow", connections=64, bars=(Bar("rate", 80, 90),)),
    Case("100000x4KiB", 100_000, 4 * KIB, bars=(Bar("s5cmd", 2), Bar("peak", 150))),
    Case("2GiB", 1, 2 * GIB, bars=(Bar("s5cmd", 1, 1.2),)),
    Case("2GiB-tls", 1, 2 * GIB, wire="tls", bars=(Bar("s5cmd", 0.6, 1),)),
    *_with_wires(Case("1000x64KiB-up", 1000, 64 * KIB, up=True, bars=(Bar("s5cmd", 1.5, 2),))),
    *_with_wires(Case("1GiB-up", 1, GIB, up=True, bars=(Bar("s5cmd", 1.5, 2),))),
)


def table(reached: Iterable[tuple[str, Bar, float]]) -> None:
    """Say what is reached of what is wanted."""
    print(f"\n{'case':18}{'what':30}{'reached':>9}{'must':>9}{'aim':>7}  met")
    for name, bar, value in reached:
        sign = ">=" if bar.kind in AT_LEAST else "<="
        aim = "-" if bar.aim is None else f"{bar.aim:g}"
        met = "aim" if bar.aim is not None and bar.met(value, bar.aim) else "yes" if bar.met(value, bar.must) else "NO"
        print(f"{name:18}{WHAT[bar.kind]:30}{value:9.2f}{f'{sign} {bar.must:g}':>9}{aim:>7}  {met}")
