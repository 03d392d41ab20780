"""Where a study lies: a file of SQLite or a PostgreSQL server, as the user wrote it and as SQLAlchemy wants it.

What is shown of an address never has its password, nor what stands behind its question mark. SQLAlchemy is imported for
a server alone: the command line asks here what is a file.
"""

from __future__ import annotations

import os

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
    """Read one. Raises StudyError."""
    path = path_of(written)
    if path is not None:
        path = os.path.abspath(path)
        return Address(url=f"sqlite:///{path}", shown=path, path=path)
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    scheme, _, rest = written.partition("://")
    try:
        url = make_url(f"{scheme.lower()}://{rest}").set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise _refused(f"what is behind {scheme}:// is no address of a database") from None
    host = url.host or url.query.get("host") or "localhost"
    port = f":{url.port}" if url.port else ""
    shown = f"postgresql://{host if isinstance(host, str) else ','.join(host)}{port}/{url.database or ''}"
    return Address(url=url.render_as_string(hide_password=False), shown=shown)


def path_of(written: str) -> str | None:
    """The path of a file, as it is written; None for a server. A text without a scheme is a path. Raises StudyError."""
    scheme, mark, rest = written.partition("://")
    if not mark or "/" in scheme:
        return _path(written)
    if scheme.lower() == "sqlite":
        if rest and not rest.startswith("/"):
            raise _refused(f"sqlite://{rest} names a host, and a file has none: write sqlite:///{rest}")
        return _path(rest[1:])
    if scheme.lower() not in _SERVERS:
        raise _refused(f"a study lies in a file of SQLite or on a PostgreSQL server, and {scheme!r} is neither")
    return None


def _path(path: str) -> str:
    if not path or path == ":memory:":
        raise _refused("a study is kept in a file, and none is named")
    if "?" in path or "\0" in path:
        raise _refused(f"the file of a study has no settings behind a question mark, and no NUL in it: {path!r}")
    return path


def _refused(message: str) -> StudyError:
    return StudyError(message, code="study-storage", action=_ACTION, exit_code=Exit.INVALID)
