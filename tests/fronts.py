"""A front before an S3 server that injects faults: an in-process HTTP proxy on a port of its own.

It passes requests through unchanged (the Host too, so signatures hold), notes each one, and answers those that a
`Fault` was laid for in that fault's way, as many times as it says.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Kind = Literal["answer", "truncate", "reset", "hang", "alter", "spoil"]
"""answer: say this instead · truncate: half of the body, then close · reset: close at once by RST · hang: no byte
until `release` · alter: the true answer under these headers · spoil: the true answer, its last byte changed."""


@dataclass
class Fault:
    """One way to fail, for requests whose method and target match, `times` times (None: always)."""

    kind: Kind
    method: str = ""
    target: str = ""
    times: int | None = None
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    after: Callable[[], None] | None = None
    """Called before the answer goes out, so that a test can change the world in between."""

    def fits(self, method: str, target: str) -> bool:
        """Whether this request is to fail."""
        return self.times != 0 and self.method in {"", method} and re.search(self.target, target) is not None


@dataclass(frozen=True)
class Seen:
    """A request that came by."""

    method: str
    target: str
    headers: Mapping[str, str]


class Front(ThreadingHTTPServer):
    """The proxy. `lay` a fault, read `seen`; `endpoint` is its address."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream)
        self.seen: list[Seen] = []
        self.release = threading.Event()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        """Where the front listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def lay(self, fault: Fault) -> None:
        """Let matching requests fail from now on."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Let every request pass again."""
        with self._lock:
            self._faults.clear()

    def count(self, method: str, target: str = "") -> int:
        """How many requests of this kind came by."""
        return sum(1 for one in list(self.seen) if one.method == method and re.search(target, one.target))

    def take(self, seen: Seen) -> Fault | None:
        """Note a request; the fault that is laid for it."""
        with self._lock:
            self.seen.append(seen)
            for fault in self._faults:
                if fault.fits(seen.method, seen.target):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


@contextlib.contextmanager
def front(upstream: str) -> Iterator[Front]:
    """Run a front before a server, on threads of this process."""
    with Front(upstream) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.release.set()
            server.shutdown()
            thread.join()


def s3_error(status: int, code: str, message: str = "injected", extra: str = "", **more: object) -> Fault:
    """A fault that answers as S3 does; `more` goes to the Fault (method, target, times, headers)."""
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{extra}'
        f"<RequestId>REQ-{code}</RequestId></Error>"
    )
    return Fault("answer", status=status, body=body.encode(), **more)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Front
    hop: ClassVar = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's own name
        """Stay silent: `seen` is the record."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.take(Seen(self.command, self.path, dict(self.headers.items())))
        if fault is None:
            self._answer(*self._ask(body))
            return
        if fault.after is not None:
            fault.after()
        if fault.kind == "answer":
            self._answer(fault.status, {"Content-Type": "application/xml", **fault.headers}, fault.body)
        elif fault.kind == "reset":
            self._reset()
        elif fault.kind == "hang":
            self.server.release.wait()
            self.close_connection = True
        else:
            self._bend(fault, *self._ask(body))

    def _bend(self, fault: Fault, status: int, headers: dict[str, str], body: bytes) -> None:
        if fault.kind == "truncate":
            self._answer(status, headers, body, send=len(body) // 2)
        elif fault.kind == "spoil":
            self._answer(status, headers, body[:-1] + bytes([body[-1] ^ 1]))
        else:
            lower = {name.lower() for name in fault.headers}
            kept = {name: value for name, value in headers.items() if name.lower() not in lower}
            self._answer(status, {**kept, **fault.headers}, body)

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = self.server.upstream
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=30)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "connection":
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            content = answer.read()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in self.hop}
            if self.command == "HEAD":
                headers["X-Length"] = answer.getheader("Content-Length") or "0"
            return answer.status, headers, content
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes, *, send: int | None = None) -> None:
        headers = dict(headers)
        length = headers.pop("X-Length", str(len(body)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if send is None else body[:send])
        if send is not None:
            self.wfile.flush()
            self.close_connection = True

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815 - the parent calls them so
