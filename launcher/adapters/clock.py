"""The machine's clocks."""

from __future__ import annotations

import time


class SystemClock:
    """Monotonic seconds, and wall time as RFC 3339 with the local zone."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def now(self) -> str:
        """The wall clock, to the millisecond."""
        seconds = time.time()
        local = time.localtime(seconds)
        zone = time.strftime("%z", local)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{int(seconds % 1 * 1000):03d}{zone[:3]}:{zone[3:]}"
