"""Where a study lies: a file of SQLite or a PostgreSQL server, as the user wrote it and as SQLAlchemy wants it.

What is shown of an address never has its password, nor what stands behind its question mark.
"""

from __future__ import annotations

import os

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from launcher.core.errors import Exit, StudyError
from launcher.core.frozen import Record

_SERVERS = ("postgres", "postgresql", "postgresql+psycopg")
_ACTION = (
    "Name a file on a local disk, sqlite:////path/of/study.db, or a server, postgresql://user:password@host/database."
)


class Address(Record, frozen=True, kw_only=True):
    """`url` is SQLAlchemy's and may hold a password, `shown` is for people; `path` is a file's."""

    url: str
    shown: str
    path: str | None = None


def address(written: str) -> Address:
    """Read one; a text without a scheme is the path of a file."""
    if "://" not in written:
        return _file(written)
    scheme = written.partition("://")[0].lower()
    if scheme == "sqlite":
        return _file(written[len("sqlite://") :].removeprefix("/"))
    if scheme not in _SERVERS:
        raise _refused(f"a study lies in a file of SQLite or on a PostgreSQL server, and {scheme!r} is neither")
    try:
        url = make_url(written).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise _refused(f"what is behind {scheme}:// is no address of a database") from None
    host = url.host or url.query.get("host") or "localhost"
    port = f":{url.port}" if url.port else ""
    shown = f"postgresql://{host if isinstance(host, str) else ','.join(host)}{port}/{url.database or ''}"
    return Address(url=url.render_as_string(hide_password=False), shown=shown)


def _file(path: str) -> Address:
    if not path or path == ":memory:":
        raise _refused("a study is kept in a file, and none is named")
    if "?" in path:
        raise _refused(f"the file of a study has no settings behind a question mark: {path!r}")
    path = os.path.abspath(path)
    return Address(url=f"sqlite:///{path}", shown=path, path=path)


def _refused(message: str) -> StudyError:
    return StudyError(message, code="study-storage", action=_ACTION, exit_code=Exit.INVALID)
