"""Optuna without its own voice: it logs to stderr and warns of what is decided here on purpose.

Imported before any of its parts is used. Nothing else is silenced.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import ExperimentalWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

optuna.logging.set_verbosity(optuna.logging.CRITICAL)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of what is experimental (heartbeats, a pruner) or goes with Optuna 6 (`gamma`)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield
