"""A node that allows no more threads, as far as Python can tell: no stack is large enough for one."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def no_threads() -> Iterator[None]:
    before = threading.stack_size(1 << 46)
    try:
        yield
    finally:
        threading.stack_size(before)
