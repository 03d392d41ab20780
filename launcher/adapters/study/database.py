"""The database of a study, opened: Optuna's tables in a file or on a server, and the lock beside them.

What is in the tables is not read here.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import sqlalchemy
from optuna.storages import RDBStorage, get_storage

from launcher.adapters.study.faults import reading
from launcher.adapters.study.quiet import quiet
from launcher.adapters.study.turn import FileTurn, ServerTurn, Turn
from launcher.core.errors import Exit, StudyError
from launcher.core.search.shown import safe

if TYPE_CHECKING:
    from collections.abc import Container

    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState

    from launcher.adapters.study.addresses import Address

FILE_WAIT_S = 60.0
SERVER_CONNECT_S = 10
_OTHERS = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
# a server that is gone without a word is noticed within a minute
_ALIVE = {
    "connect_timeout": SERVER_CONNECT_S,
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


class Database:
    """`storage` is Optuna's, with its memory of finished trials; `turn` the lock; `faults` counts what went wrong."""

    def __init__(
        self, storage: BaseStorage, rows: RDBStorage, turn: Turn, engines: tuple[sqlalchemy.Engine, ...]
    ) -> None:
        self.storage = storage
        self.rows = rows
        self.turn = turn
        self.faults = 0
        self._engines = engines
        sqlalchemy.event.listen(rows.engine, "handle_error", self._count)

    def _count(self, _context: Any) -> None:
        self.faults += 1

    def trials(self, study_id: int, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """All rows of a study, not to be changed. Raises Damaged."""
        with reading("what it says of its trials"):
            return self.storage.get_all_trials(study_id, deepcopy=False, states=states)

    def silent(self, study_id: int) -> set[int]:
        """The running trials that have never been said to be alive, by Optuna's own numbers."""
        asked = sqlalchemy.text(
            "SELECT t.trial_id FROM trials t LEFT JOIN trial_heartbeats h ON h.trial_id = t.trial_id"
            " WHERE t.study_id = :study AND t.state = 'RUNNING' AND h.trial_id IS NULL"
        )
        with self.rows.engine.connect() as connection:
            return {int(row[0]) for row in connection.execute(asked, {"study": study_id})}

    def close(self) -> None:
        """Let go of all connections."""
        for engine in self._engines:
            engine.dispose()


def opened(where: Address, name: str, beat_s: float, grace_s: float) -> Database:
    """Open it; its tables are made where there are none."""
    if where.path is not None:
        return _file(where, where.path, beat_s, grace_s)
    locks = sqlalchemy.create_engine(
        where.url,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        connect_args={**_ALIVE, "application_name": "launcher search: lock", "prepare_threshold": None},
    )
    # two that make the tables at once would both fail
    with ServerTurn(locks, "").taken():
        rows = _storage(
            where.url,
            {
                "pool_pre_ping": True,
                "connect_args": {**_ALIVE, "application_name": "launcher search", "prepare_threshold": None},
            },
            beat_s,
            grace_s,
        )
    return Database(get_storage(rows), rows, ServerTurn(locks, name), (rows.engine, locks))


def _file(where: Address, path: str, beat_s: float, grace_s: float) -> Database:
    turn = FileTurn(path)
    with turn.taken():
        _look_at(path)
        rows = _storage(where.url, {"connect_args": {"timeout": FILE_WAIT_S}}, beat_s, grace_s)
    return Database(get_storage(rows), rows, turn, (rows.engine,))


def _look_at(path: str) -> None:
    """Refuse a database of something else before tables are put into it; let readers and a writer work at once."""
    with closing(sqlite3.connect(path, timeout=FILE_WAIT_S)) as connection:
        tables = {name for (name,) in connection.execute(_OTHERS)}
        if tables and not {"studies", "trials", "version_info"} <= tables:
            some = ", ".join(safe(name) for name in sorted(tables)[:4])
            raise StudyError(
                f"{path} is a database of something else: it has the tables {some}",
                code="study-unreadable",
                action="Name another file with --storage.",
                exit_code=Exit.INVALID,
            )
        connection.execute("PRAGMA journal_mode=WAL")


def _storage(url: str, settings: dict[str, Any], beat_s: float, grace_s: float) -> RDBStorage:
    with quiet(), reading("what it says of its tables"):
        try:
            return RDBStorage(
                url.replace("{", "{{").replace("}", "}}"),  # Optuna takes it for a template
                engine_kwargs=settings,
                heartbeat_interval=_seconds(beat_s),
                grace_period=_seconds(grace_s),
            )
        except RuntimeError as error:
            # of another version; Optuna says so, and in which command its own cure is
            raise StudyError(
                f"the tables of the study are another Optuna's: {error}",
                code="study-unreadable",
                action="Use the launcher that made it, or name another storage with --storage.",
                exit_code=Exit.INVALID,
            ) from error


def _seconds(asked: float) -> int:
    """Optuna and the clocks of databases count whole ones."""
    return max(1, -int(-asked // 1))


def copied(path: str, to: str) -> None:
    """A copy of a file as it is at one moment, whoever writes to it; it stands in its place when it is whole.

    Raises OSError.
    """
    part = f"{to}.part"
    if os.path.exists(part):
        os.remove(part)
    try:
        with (
            closing(sqlite3.connect(path, timeout=FILE_WAIT_S)) as source,
            closing(sqlite3.connect(part)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise OSError(errno.EIO, str(error), to) from error
    os.replace(part, to)
