"""How boot files are started: one pure function per engine, in one table. An argv is a tuple from here to exec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.engines.ascend import ascend
from launcher.core.engines.mindspore import msrun
from launcher.core.engines.mpi import mpi
from launcher.core.engines.plain import PLAIN
from launcher.core.engines.tensorflow import tensorflow
from launcher.core.engines.torch import pytorch, torchrun

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.core.engines.start import Engaged, Start

ENGINES: Mapping[str, Callable[[Start], Engaged]] = {
    **PLAIN,
    "pytorch": pytorch,
    "torchrun": torchrun,
    "tensorflow": tensorflow,
    "mpi": mpi,
    "msrun": msrun,
    "ascend": ascend,
}
