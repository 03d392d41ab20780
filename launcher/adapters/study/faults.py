"""A database that does not answer: what passes by itself is waited for, all else is told in a sentence at once.

What is tried again must come out the same when the first try went through and only its answer was lost. What a database
holds may be anybody's: what no search writes is told, and never taken for a defect or as it is.
"""

from __future__ import annotations

import errno
import os
import random
import re
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy.exc
from optuna.exceptions import StorageInternalError

from launcher.core.errors import Exit, StudyError
from launcher.core.search.shown import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

FIRST, LONGEST = 0.1, 5.0
"""Seconds: the pause after the first fault, and the longest."""
LOOK = 0.2
"""Seconds between two looks at `stopped` while a pause goes on."""
UNKNOWN = 30.0
"""Seconds for a database that has never answered: its address may be wrong."""
LAST = 5.0
"""Seconds that are still waited for once there is a wish to stop: how trials ended is worth telling."""

# by what a server says of itself: connections, resources, its own end, a deadlock, a lock that was not given
_PASSING = re.compile(r"08...|53...|57...|40001|40P01|55P03|25P03|XX000")
# where the first word of a server is a refusal, the driver knows no number of it
_REFUSED = re.compile(
    r"authentication failed|no password supplied|does not exist|no pg_hba|permission denied|not permitted"
)
_MOST_SAID = 300
_RIGHTS = re.compile(r"readonly|unable to open")
# what Optuna, and we, stumble with over what is not as it was written; RecursionError: lists in lists in lists
_ODD = (LookupError, TypeError, AttributeError, ValueError, AssertionError, ArithmeticError, RecursionError)


class Again(Exception):  # noqa: N818 - it is none of anybody's
    """What was done may have been done twice, or beside others: it is to be looked at, and done again if need be."""


class Damaged(Exception):  # noqa: N818 - whose error it is, is not known
    """What was read is nothing that a search writes; the message says what and where, in few words."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Around what reads the database, and nothing else: that it makes no sense is the database's fault."""
    try:
        yield
    except _ODD as error:
        told = safe(" ".join(str(error).split()), _MOST_SAID)
        raise Damaged(f"{what} cannot be read ({type(error).__name__}{told and ': '}{told})") from error


class _Outage:
    """Since when nothing has gone well, how long is waited between the tries, and whether a person knows."""

    def __init__(self, since: float, pauses: Iterator[float]) -> None:
        self.since = since
        self.pauses = pauses
        self.told = False


class Patience:
    """How long a database that fails is waited for: `seconds` from the first fault on, until something goes well.

    `note` is told, once, that it is waited for, and that it answers again.
    """

    def __init__(
        self, shown: str, seconds: float, stopped: Callable[[], bool], note: Callable[[str], None], *, file: bool
    ) -> None:
        self._shown = shown
        self._seconds = seconds
        self._stopped = stopped
        self._note = note
        self._file = file
        self._never = threading.Event()
        self._answered = file  # a file that is locked is there
        self.faulted: float | None = None

    def with_(self, act: Callable[[], T]) -> T:
        """Do it, again and again while what is wrong may pass."""
        outage: _Outage | None = None
        while True:
            try:
                done = act()
            except (Again, Damaged, *_FOREIGN) as error:  # noqa: PERF203 - what it does costs a thousand times more
                outage = outage or _Outage(time.monotonic(), _pauses())
                self._bear(error, outage)
            else:
                self._answered = True
                if outage is not None and outage.told:
                    self._note(f"the study's database, {self._shown}, answers again")
                return done

    def _bear(self, error: Exception, outage: _Outage) -> None:
        """Wait before the next try. Raises StudyError where there is to be none."""
        self.faulted = time.monotonic()
        if not passing(error):
            raise self._unreadable(error) from error
        if not outage.told and not isinstance(error, Again):
            outage.told = True
            self._note(f"the study's database, {self._shown}, does not answer and is waited for: {said(error)}")
        if not self._pause(next(outage.pauses), outage.since):
            raise self._unreachable(error, time.monotonic() - outage.since) from error

    def calm(self, seconds: float) -> bool:
        """Whether nothing has failed for so long."""
        return self.faulted is None or time.monotonic() - self.faulted > seconds

    def _pause(self, seconds: float, since: float) -> bool:
        """Wait; False as soon as it was waited for long enough."""
        end = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            if now - since > min(self._seconds, LAST if self._stopped() else self._most()):
                return False
            if now >= end:
                return True
            self._never.wait(min(end - now, LOOK))

    def _most(self) -> float:
        return self._seconds if self._answered else UNKNOWN

    def _unreachable(self, error: Exception, waited: float) -> StudyError:
        cure = (
            "See which process holds the file, and that it lies on a local disk."
            if self._file
            else "See that the server runs and can be reached from here, then start the same command again."
        )
        return StudyError(
            f"the study's database, {self._shown}, did not answer for {waited:.0f} s: {said(error)}",
            code="study-unreachable",
            action=f"{cure} Nothing is lost: what ended meanwhile is tried again.",
        )

    def _unreadable(self, error: Exception) -> StudyError:
        if isinstance(error, Damaged):
            return StudyError(
                f"{self._shown} is no study of a search: {error}",
                code="study-unreadable",
                action="Name another with --storage or --study; where it came from the output (autosearch/study.db), "
                "remove it there.",
                exit_code=Exit.INVALID,
            )
        barred = barred_from(self._shown) if self._file and _of_rights(error) else None
        if barred:
            return StudyError(
                f"{self._shown} cannot be used as a study: {barred}",
                code="study-denied",
                action=f"Give this user (uid {os.geteuid()}) the right, or name another file with --storage.",
                exit_code=Exit.REFUSED,
            )
        if self._file:
            return StudyError(
                f"{self._shown} cannot be used as a study: {said(error)}",
                code="study-unreadable",
                action="Name another file with --storage, on a local disk with room, or move this one away.",
                exit_code=Exit.INVALID,
            )
        return StudyError(
            f"the study's database, {self._shown}, refuses: {said(error)}",
            code="study-refused",
            action="See that the user, the password and the database of the address are right.",
        )


_FOREIGN = (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, sqlite3.Error, OSError)


def passing(error: BaseException) -> bool:
    """Whether it may go well in a while."""
    if isinstance(error, Again):
        return True
    found = _sql(error)
    if isinstance(found, sqlalchemy.exc.TimeoutError | sqlalchemy.exc.PendingRollbackError):
        return True  # no connection was free; or one was lost, and used again before that was noticed
    cause = found.orig if isinstance(found, sqlalchemy.exc.DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return re.search("locked|busy", str(cause)) is not None
    return isinstance(found, sqlalchemy.exc.DBAPIError) and _server_passing(found)


def _server_passing(found: sqlalchemy.exc.DBAPIError) -> bool:
    number = getattr(found.orig, "sqlstate", None)
    if number is not None:
        return _PASSING.fullmatch(number) is not None
    lost = isinstance(found, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError)
    return (lost or found.connection_invalidated) and not _REFUSED.search(str(found.orig))


def said(error: BaseException) -> str:
    """What the database or its driver says, on one line, without the statement."""
    found = _sql(error) or error
    text = str(found.orig if isinstance(found, sqlalchemy.exc.DBAPIError) and found.orig else found)
    return safe(" ".join(text.split()) or type(found).__name__, _MOST_SAID)


def barred_from(path: str) -> str | None:
    """Which right to a file, its lock, its journals or their folder is missing, in words; None where none is."""
    folder = os.path.dirname(path)
    wanted = [(folder, os.X_OK, "be entered"), (folder, os.W_OK, "be written to")]
    for each in (path, f"{path}.lock", f"{path}-wal", f"{path}-shm"):
        wanted += [(each, os.R_OK, "be read"), (each, os.W_OK, "be written to")]
    for each, right, word in wanted:
        try:
            os.stat(each)
        except PermissionError:
            return f"{each} may not be reached by this user"
        except OSError:
            continue
        if not os.access(each, right, effective_ids=True):
            read_only = right == os.W_OK and os.statvfs(each).f_flag & os.ST_RDONLY
            return f"the file system of {each} is read-only" if read_only else f"{each} may not {word} by this user"
    return None


def _of_rights(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return _RIGHTS.search(said(error)) is not None


def _sql(error: BaseException | None) -> sqlalchemy.exc.SQLAlchemyError | None:
    """SQLAlchemy's error of what the driver said, else one of its own: Optuna raises its own from either."""
    found: sqlalchemy.exc.SQLAlchemyError | None = None
    while error is not None:
        if isinstance(error, sqlalchemy.exc.DBAPIError):
            return error
        if isinstance(error, sqlalchemy.exc.SQLAlchemyError):
            found = found or error
        error = error.__cause__ or error.__context__
    return found


def _pauses() -> Iterator[float]:
    longest = FIRST
    while True:
        yield random.uniform(longest / 2, longest)  # noqa: S311 - so that many workers do not come back at once
        longest = min(longest * 2, LONGEST)
