"""A front before an S3 server that injects faults: an in-process HTTP proxy on a port of its own.

It passes requests through unchanged (the Host too, so signatures hold), notes each one and the bytes of its body, and
answers those that a `Fault` was laid for in that fault's way, as many times as it says.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Kind = Literal["answer", "truncate", "reset", "hang", "alter", "spoil", "pass", "break", "stall", "slow", "stale"]
"""answer: say this instead · truncate: half of the body, then close · reset: close at once by RST · hang: no byte
until `release` · alter: the true answer under these headers · spoil: the true answer, its last byte changed · pass: the
true answer, but for `turn` · break: half of the body, then RST · stall: half of the body, then silence until `release`
· slow: the true answer after `seconds` · stale: the true answer, then the connection that was to be kept is closed."""

BUT_THE_SIGN = r"/out/(?!\.launcher/running-)"
"""Whatever is put into the output but the sign of the run, without which it would not begin."""
_PIECE = 64 * 1024
_LISTING = re.compile(r"[?&]list-type=2(&|$)")


@dataclass(frozen=True)
class Seen:
    """A request that came by."""

    method: str
    target: str
    headers: Mapping[str, str]

    def header(self, name: str) -> str:
        """A header's value by its name in lower case; empty where there is none."""
        return next((value for each, value in self.headers.items() if each.lower() == name), "")


@dataclass
class Fault:
    """One way to fail, for requests whose method and target match, `times` times (None: always).

    Of those that match, `skip` pass first, then a `share` is taken, by `chance`, but each request at most `each` times,
    so that whoever tries again often enough must come through. A storm `lasts` so many seconds.
    """

    kind: Kind
    method: str = ""
    target: str = ""
    times: int | None = None
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    after: Callable[[], None] | None = None
    """Called before the answer goes out, so that a test can change the world in between."""
    when: Callable[[Seen], bool] | None = None
    """What else a request must have to match."""
    skip: int = 0
    share: float = 1.0
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    each: int | None = None
    lasts: float | None = None
    seconds: float = 0.0
    turn: Callable[[bytes], bytes] | None = None
    """What becomes of the true body, for `pass`."""
    hits: int = 0


class _Laid:
    """A fault on one front, and what it has met there. It counts in the fault itself."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._began: float | None = None
        self._met: Counter[tuple[str, str, str]] = Counter()

    def fits(self, seen: Seen) -> bool:
        """Whether this request is to fail; it counts."""
        fault = self.fault
        if fault.times == 0 or fault.method not in {"", seen.method} or re.search(fault.target, seen.target) is None:
            return False
        if fault.when is not None and not fault.when(seen):
            return False
        if fault.skip:
            fault.skip -= 1
            return False
        one = (seen.method, seen.target, seen.header("range"))
        if self._met[one] == fault.each or fault.chance.random() >= fault.share or self._over():
            return False
        self._met[one] += 1
        fault.hits += 1
        if fault.times is not None:
            fault.times -= 1
        return True

    def _over(self) -> bool:
        self._began = self._began or time.monotonic()
        return self.fault.lasts is not None and time.monotonic() - self._began > self.fault.lasts


class Front(ThreadingHTTPServer):
    """The proxy. `lay` a fault, read `seen`, `down` and `up`; `endpoint` is its address."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream)
        self.seen: list[Seen] = []
        self.down: Counter[str] = Counter()
        """Bytes of bodies that were sent to the client, by path."""
        self.up: Counter[str] = Counter()
        """Bytes of bodies that were put, by path."""
        self.page: int | None = None
        """Most keys of a page of a listing, for a server that does not check signatures."""
        self.release = threading.Event()
        self._faults: list[_Laid] = []
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        """Where the front listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def lay(self, *faults: Fault) -> None:
        """Let matching requests fail from now on; the first fault that fits is taken."""
        with self._lock:
            self._faults += map(_Laid, faults)

    def clear(self) -> None:
        """Let every request pass again."""
        with self._lock:
            self._faults.clear()

    def forget(self) -> None:
        """Count from nothing again."""
        with self._lock:
            self.seen.clear()
            self.down.clear()
            self.up.clear()

    def count(self, method: str, target: str = "") -> int:
        """How many requests of this kind came by."""
        return sum(1 for one in list(self.seen) if one.method == method and re.search(target, one.target))

    def moved(self, target: str = "") -> tuple[int, int]:
        """How many bytes of bodies went down and came up for these paths."""
        with self._lock:
            down, up = (
                sum(size for path, size in counted.items() if re.search(target, path))
                for counted in (self.down, self.up)
            )
        return down, up

    def note(self, counted: Counter[str], target: str, size: int) -> None:
        """Count bytes of a body."""
        with self._lock:
            counted[target.partition("?")[0]] += size

    def take(self, seen: Seen) -> Fault | None:
        """Note a request; the fault that is laid for it."""
        with self._lock:
            self.seen.append(seen)
            return next((laid.fault for laid in self._faults if laid.fits(seen)), None)

    def asked(self, target: str) -> str:
        """The target as the server is to see it."""
        if self.page is None or not _LISTING.search(target):
            return target
        return re.sub(r"&max-keys=\d+|(?<=\?)max-keys=\d+&", "", target) + f"&max-keys={self.page}"

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


def is_streaming(seen: Seen) -> bool:
    """Whether a body comes in signed chunks or with a trailer, which OBS does not take."""
    chunked = "aws-chunked" in seen.header("content-encoding") or bool(seen.header("x-amz-trailer"))
    return chunked or seen.header("x-amz-content-sha256").startswith("STREAMING-")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Front
    hop: ClassVar = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
    _upstream: http.client.HTTPConnection | None = None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's own name
        """Stay silent: `seen` is the record."""

    def finish(self) -> None:
        """Leave the server's connection as the client has left ours."""
        super().finish()
        self._hang_up()

    def _serve(self) -> None:
        body = self._body()
        if body is None:
            self.close_connection = True
            return
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
            if fault.kind == "slow":
                self.server.release.wait(fault.seconds)
            self._bend(fault, *self._ask(body))

    def _body(self) -> bytes | None:
        """The request's body; None where the client went away before all of it had come."""
        left, pieces = int(self.headers.get("Content-Length") or 0), []
        while left and (piece := self.rfile.read(min(left, _PIECE))):
            if self.command == "PUT":
                self.server.note(self.server.up, self.path, len(piece))
            pieces.append(piece)
            left -= len(piece)
        return None if left else b"".join(pieces)

    def _bend(self, fault: Fault, status: int, headers: dict[str, str], body: bytes) -> None:
        if fault.kind in {"truncate", "break", "stall"}:
            self._answer(status, headers, body, send=len(body) // 2)
            if fault.kind == "break":
                self._reset()
            elif fault.kind == "stall":
                self.server.release.wait()
        elif fault.kind == "spoil":
            self._answer(status, headers, body[:-1] + bytes([body[-1] ^ 1]))
        elif fault.kind == "pass":
            self._answer(status, headers, fault.turn(body) if fault.turn else body)
        else:
            lower = {name.lower() for name in fault.headers}
            kept = {name: value for name, value in headers.items() if name.lower() not in lower}
            self._answer(status, {**kept, **fault.headers}, body)
            self.close_connection = self.close_connection or fault.kind == "stale"

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        kept = self._upstream is not None
        try:
            return self._exchange(body)
        except (http.client.HTTPException, OSError):
            self._hang_up()
            if not kept:
                raise
            return self._exchange(body)  # the server had closed what was kept

    def _exchange(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = self.server.upstream
        if self._upstream is None:
            self._upstream = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=30)
        connection = self._upstream
        connection.putrequest(self.command, self.server.asked(self.path), skip_host=True, skip_accept_encoding=True)
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

    def _hang_up(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None

    def _answer(self, status: int, headers: dict[str, str], body: bytes, *, send: int | None = None) -> None:
        headers = dict(headers)
        length = headers.pop("X-Length", str(len(body)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self._send(body if send is None else body[:send])
        if send is not None:
            self.wfile.flush()
            self.close_connection = True

    def _send(self, body: bytes) -> None:
        """Send a body piece by piece, so that only what a client still took is counted."""
        for start in range(0, len(body), _PIECE):
            piece = body[start : start + _PIECE]
            self.wfile.write(piece)
            self.server.note(self.server.down, self.path, len(piece))

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815 - the parent calls them so
