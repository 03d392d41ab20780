"""The first question to an engine: whether one answers at the socket at all, and which API it speaks."""

from __future__ import annotations

import errno
import json
import re
import socket
import time

from launcher.adapters.docker.faults import odd, unreachable

FIRST_S = 10.0
"""For the whole of the first answer, however it comes."""
_ASKS = b"GET /version HTTP/1.0\r\nHost: docker\r\nConnection: close\r\n\r\n"
_MOST = 1 << 20


def api_version(path: str) -> str:
    """The API of the engine at a socket. Raises LauncherError.

    Asked at the socket itself: the SDK tells of no engine and no permission in one and the same way, waits for a
    silent one as long as for any answer, and without end for one that says a little now and then.
    """
    wanted = f"the Docker engine at {path}"
    try:
        said = _answer(path)
    except OSError as error:
        raise unreachable(path, error) from error
    head, _, body = said.partition(b"\r\n\r\n")
    try:
        found = json.loads(body) if re.match(rb"HTTP/1\.[01] 200\b", head) else None
    except ValueError:
        found = None
    version = found.get("ApiVersion") if isinstance(found, dict) else None
    if not isinstance(version, str) or not re.fullmatch(r"[0-9]+\.[0-9]+", version):
        raise odd(said.decode(errors="replace"), wanted)
    return version


def _answer(path: str) -> bytes:
    """All that is said until the connection ends. Raises OSError."""
    until, said = time.monotonic() + FIRST_S, b""
    with socket.socket(socket.AF_UNIX) as knock:
        knock.settimeout(FIRST_S)
        try:
            knock.connect(path)
            knock.sendall(_ASKS)
            while (left := until - time.monotonic()) > 0 and len(said) < _MOST:
                knock.settimeout(left)
                if not (chunk := knock.recv(1 << 16)):
                    return said
                said += chunk
        except TimeoutError:
            pass
    raise TimeoutError(errno.ETIMEDOUT, f"nothing whole came within {FIRST_S:g} s")
