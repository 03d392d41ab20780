"""How much GPUs do, sampled through NVML: percent of the time in which kernels ran, and memory was read or written."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from launcher.adapters.nvidia.nvml import MOST

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT_S = 5.0
"""How long the driver may take for a sample; a broken one may take for ever."""


class NvmlUse:
    """Of the GPUs of these ids, in their order; without ids of all. One thread's alone.

    The second number tells who waits from who works: a kernel that spins until others come keeps a GPU at 100 % and
    leaves its memory alone.
    """

    def __init__(self, ids: Sequence[str] = (), limit_s: float = LIMIT_S) -> None:
        self._ids = tuple(ids)[:MOST]
        self._limit_s = limit_s
        self._handles: Sequence[object] | None = None
        self._silent = False

    def sample(self) -> Sequence[int]:
        """Two numbers of each GPU. Raises OSError, once and for all where the driver gives no answer."""
        told: list[Sequence[int] | Exception] = []

        def ask() -> None:
            try:
                told.append(self._asked())
            except Exception as error:  # noqa: BLE001 - a library that nobody here knows: whatever it raises is an answer
                told.append(error)

        if not self._silent:
            thread = threading.Thread(target=ask, name="nvml", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise OSError(0, "this node allows no more threads") from error
            thread.join(self._limit_s)
        if not told:
            self._silent = True  # its thread is left behind, for nothing can end it
            raise OSError(0, f"NVIDIA's driver gave no answer in {self._limit_s:g} s")
        if isinstance(told[0], Exception):
            raise OSError(0, f"NVIDIA's driver says {str(told[0])[:200]!r}") from told[0]
        return told[0]

    def _asked(self) -> Sequence[int]:
        import pynvml  # type: ignore[import-untyped]

        if self._handles is None:
            pynvml.nvmlInit()
            self._handles = self._found(pynvml)
        rates = [pynvml.nvmlDeviceGetUtilizationRates(handle) for handle in self._handles]
        return [int(number) for rate in rates for number in (rate.gpu, rate.memory)]

    def _found(self, pynvml: Any) -> Sequence[object]:
        if self._ids:
            return [pynvml.nvmlDeviceGetHandleByUUID(each) for each in self._ids]
        count = min(pynvml.nvmlDeviceGetCount(), MOST)
        return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
