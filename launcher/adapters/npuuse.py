"""How much NPUs do, sampled through `npu-smi info -t usages`: one question for each NPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.parse.npuids import parse_mapping
from launcher.core.parse.npuusage import parse_usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.protocols import Ask

LIMIT_S = 5.0
"""How long the tool may take to answer; with a broken driver it may take for ever."""


class NpuSmiUse:
    """Of the NPUs with these physical ids, by the tool at this path, which `ask` runs. One thread's alone."""

    def __init__(self, ask: Ask, tool: str, physical: Sequence[int], limit_s: float = LIMIT_S) -> None:
        self._ask = ask
        self._tool = tool
        self._physical = frozenset(physical)
        self._limit_s = limit_s
        self._cards: Sequence[int] = ()
        self._silent: str | None = None

    def sample(self) -> Sequence[int]:
        """What the tool tells of each. Raises OSError, once and for all where it gives no answer."""
        self._cards = self._cards or self._listed()
        found: list[int] = []
        for card in self._cards:
            rates = parse_usage(self._asked("-t", "usages", "-i", str(card)))
            if not rates:
                raise OSError(0, f"npu-smi info -t usages tells no rates of NPU {card}")
            found += rates
        return found

    def _listed(self) -> Sequence[int]:
        """The ids of the cards, which the tool wants; where it knows other physical ids than we, of all."""
        npus = parse_mapping(self._asked("-m")).npus
        meant = [npu for npu in npus if npu.physical in self._physical] or npus
        if not meant:
            raise OSError(0, "npu-smi info -m lists no NPU")
        return tuple(dict.fromkeys(npu.npu for npu in meant))

    def _asked(self, *options: str) -> str:
        if self._silent is None:
            answer = self._ask((self._tool, "info", *options), self._limit_s)
            if answer.fault is None:
                return answer.stdout
            self._silent = f"npu-smi info {options[0]} {answer.fault}"
        raise OSError(0, self._silent)
