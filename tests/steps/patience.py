"""Patience that costs a test no time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.retry import Retries

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.core.errors import StoreError


class Once(Retries):
    """None at all: whatever fails has failed."""

    def __init__(self, slowed: Callable[[], object], seconds: float) -> None:
        super().__init__(slowed=slowed, patience=seconds)

    def wait_after(self, error: StoreError, failures: int, since: float) -> float | None:
        super().wait_after(error, failures, since)
        return None


class Hasty(Retries):
    """As much as there is, without the pauses."""

    def __init__(self, slowed: Callable[[], object], seconds: float) -> None:
        super().__init__(slowed=slowed, patience=seconds)

    def wait_after(self, error: StoreError, failures: int, since: float) -> float | None:
        return None if super().wait_after(error, failures, since) is None else 0.0
