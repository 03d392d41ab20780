"""Have the orphans of our children handed to us, as PID 1 has them anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37


def adopt() -> Callable[[], object] | None:
    """Adopt orphans from now on; what undoes it, or None where the system does not let us."""
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return None
    before = ctypes.c_int()
    prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    if before.value:
        return bool  # somebody wanted it before us: nothing is to be undone
    if prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        return None
    return lambda: prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
