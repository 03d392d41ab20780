"""Which engine starts a boot file. How, is a pure function for each, all in one table (`table.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.core.spec import Engine, JobAlgorithm

FAMILIES = (
    ("ascend", "ascend"),
    ("pytorch", "pytorch"),
    ("tensorflow", "tensorflow"),
    ("tf-", "tensorflow"),
    ("horovod", "mpi"),
    ("mpi", "mpi"),
    ("mindspore", "mpi"),
)
"""How names and versions of the service's preset engines begin, and what starts them. MindSpore on GPUs runs by MPI."""

METHODS: Mapping[str, Mapping[str, frozenset[str]]] = {
    "torchrun": {
        "python": frozenset(),
        "pytorch": frozenset(),
        "ascend": frozenset({"mindspore", "tensorflow", "tf-"}),
    },
    "msrun": {
        "python": frozenset(),
        "mpi": frozenset({"horovod", "mpi"}),
        "ascend": frozenset({"pytorch", "tensorflow", "tf-"}),
    },
}
"""What MA_RUN_METHOD may be, with which engines, less those whose name or version begins so."""


def engine_of(algorithm: JobAlgorithm, environ: Mapping[str, str]) -> str:
    """Which engine starts this algorithm: a key of `table.ENGINES`. `environ` as a boot process would see it.

    Raises PlanError for a MA_RUN_METHOD that is none, or is none of this engine's.
    """
    if not algorithm.boot_file:
        return "command"
    names = _names(algorithm.engine)
    family = _family(names)
    method = environ.get("MA_RUN_METHOD", "").strip()
    if not method:
        return family
    engines = METHODS.get(method)
    if engines is None:
        raise PlanError(
            f"MA_RUN_METHOD is {method[:80]!r}; expected torchrun or msrun",
            code="run-method",
            action="Correct MA_RUN_METHOD, or leave it out: the engine is then started in its own way.",
        )
    if family not in engines or any(name.startswith(tuple(engines[family])) for name in names):
        raise PlanError(
            f"MA_RUN_METHOD is {method}, and the job's engine is {' '.join(names) or 'none'}, which is not started so",
            code="run-method",
            action="Use torchrun with PyTorch, msrun with MindSpore, or leave MA_RUN_METHOD out.",
        )
    return method


def _names(engine: Engine | None) -> tuple[str, ...]:
    """Everything by which the job names its engine, in lower case."""
    said = (engine.engine_name, engine.engine_version, engine.engine_id) if engine else ()
    return tuple(dict.fromkeys(name.strip().lower() for name in said if name and name.strip()))


def _family(names: tuple[str, ...]) -> str:
    found = [family for name in names for begin, family in FAMILIES if name.startswith(begin)]
    if found and any("cann" in name for name in names):
        return "ascend"
    return found[0] if found else "python"
