"""The bound for a client written in Python: plain sockets that stay open, a few threads, no retries and no checks.

    python benchmarks/rawsockets.py get URL/BUCKET/PREFIX FOLDER [THREADS [AUTHORITY]]
    python benchmarks/rawsockets.py put FOLDER URL/BUCKET/PREFIX [THREADS [AUTHORITY]]

It lists, and moves every object: a large one in ranges or parts of 16 MiB. It signs nothing and believes every answer,
so nothing that is right can be much quicker in this language. That holds for many small objects; a large one, above all
over TLS, is moved quicker by threads that do not wait for the interpreter. No S3 server takes it; the facade does.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

PART = 16 * 1024**2
RANGED_FROM = 2 * PART
CHUNK = 1024**2


class Place(NamedTuple):
    """A prefix of a bucket on a server, and whose certificates count."""

    host: str
    port: int
    path: str
    authority: str

    @property
    def bucket(self) -> str:
        """The first segment of the path."""
        return self.path.split("/", 2)[1]

    @property
    def prefix(self) -> str:
        """What comes after it."""
        return self.path.split("/", 2)[2]


class Job(NamedTuple):
    """A piece of an object: its name below the prefix, or the path of its file, and which bytes (`end` < 0: all)."""

    name: str
    start: int = 0
    end: int = -1
    upload: str = ""


class Connection:
    """A socket that stays open, and one request after the other on it."""

    def __init__(self, place: Place) -> None:
        plain = socket.create_connection((place.host, place.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = plain
        if place.authority:
            import ssl  # noqa: PLC0415 - it costs a plain run 10 ms

            self.socket = ssl.create_default_context(cafile=place.authority).wrap_socket(
                plain, server_hostname=place.host
            )
        self._host = place.host
        self._room = bytearray(CHUNK)

    def ask(self, method: str, path: str, headers: str = "", body: bytes = b"") -> tuple[int, bytes]:
        """Send a request; how long its answer is, and the beginning of it."""
        length = "" if method == "GET" else f"Content-Length: {len(body)}\r\n"
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n{length}{headers}\r\n"
        self.socket.sendall(head.encode() + body)
        return self.answer()

    def answer(self) -> tuple[int, bytes]:
        """How long the next answer is, and the beginning of it."""
        got = b""
        while (cut := got.find(b"\r\n\r\n")) < 0:
            got += self._more(65536)
        found = re.search(rb"(?i)content-length: *(\d+)", got[:cut])
        return int(found[1]) if found else 0, got[cut + 4 :]

    def whole(self, length: int, begun: bytes) -> bytes:
        """All of an answer."""
        while len(begun) < length:
            begun += self._more(length - len(begun))
        return begun

    def write_to(self, number: int, offset: int, length: int, begun: bytes) -> None:
        """All of an answer, into a file."""
        os.pwrite(number, begun, offset)
        came, room = len(begun), memoryview(self._room)
        while came < length:
            if not (more := self.socket.recv_into(room, min(CHUNK, length - came))):
                sys.exit("error: the server closed the connection")
            os.pwrite(number, room[:more], offset + came)
            came += more

    def send_file(self, path: str, url: str, start: int, end: int) -> None:
        """PUT a piece of a file."""
        with open(path, "rb") as content:
            head = f"PUT {url} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {end - start}\r\n\r\n".encode()
            content.seek(start)
            if end - start <= CHUNK:
                self.socket.sendall(head + content.read(end - start))
            else:
                self.socket.sendall(head)
                self.socket.sendfile(content, start, end - start)
        self.whole(*self.answer())

    def _more(self, most: int) -> bytes:
        came = self.socket.recv(most)
        if not came:
            sys.exit("error: the server closed the connection")
        return came


def main() -> None:
    verb, source, target, *more = sys.argv[1:]
    threads = int(more[0]) if more else 4
    authority = more[1] if len(more) > 1 else ""
    if verb == "get":
        get(parsed(source, authority), target, threads)
    else:
        put(source, parsed(target, authority), threads)


def parsed(url: str, authority: str) -> Place:
    parts = urlsplit(url)
    return Place(parts.hostname or "", parts.port or 80, parts.path, authority)


def get(place: Place, folder: str, threads: int) -> None:
    first = Connection(place)
    jobs: deque[Job] = deque()
    made: set[str] = set()
    for name, size in listed(first, place):
        path = os.path.join(folder, name)
        if (at := os.path.dirname(path)) not in made:
            os.makedirs(at, exist_ok=True)
            made.add(at)
        if size < RANGED_FROM:
            jobs.append(Job(name))
        else:
            jobs.extend(Job(name, start, min(start + PART, size)) for start in range(0, size, PART))

    def work(connection: Connection, job: Job) -> None:
        ranged = f"Range: bytes={job.start}-{job.end - 1}\r\n" if job.end >= 0 else ""
        length, begun = connection.ask("GET", f"{place.path}{job.name}", ranged)
        number = os.open(os.path.join(folder, job.name), os.O_WRONLY | os.O_CREAT, 0o666)
        connection.write_to(number, job.start, length, begun)
        os.close(number)

    labour(place, jobs, work, threads)


def listed(connection: Connection, place: Place) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    token = ""
    while True:
        query = f"/{place.bucket}?list-type=2&prefix={place.prefix}{token}"
        page = connection.whole(*connection.ask("GET", query)).decode()
        pairs = re.findall(r"<Key>([^<]*)</Key>.*?<Size>(\d+)</Size>", page)
        found.extend((key[len(place.prefix) :], int(size)) for key, size in pairs)
        more = re.search("<NextContinuationToken>([^<]*)<", page)
        if not more:
            return found
        token = f"&continuation-token={more[1]}"


def put(folder: str, place: Place, threads: int) -> None:
    first = Connection(place)
    jobs: deque[Job] = deque()
    uploads: list[tuple[str, str]] = []
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            url = f"{place.path}{os.path.relpath(path, folder)}"
            size = os.path.getsize(path)
            if size < RANGED_FROM:
                jobs.append(Job(path, 0, size, url))
                continue
            page = first.whole(*first.ask("POST", f"{url}?uploads")).decode()
            upload = page.partition("<UploadId>")[2].partition("<")[0]
            uploads.append((url, upload))
            parts = enumerate(range(0, size, PART), 1)
            jobs.extend(
                Job(path, start, min(start + PART, size), f"{url}?partNumber={number}&uploadId={upload}")
                for number, start in parts
            )

    def work(connection: Connection, job: Job) -> None:
        connection.send_file(job.name, job.upload, job.start, job.end)

    labour(place, jobs, work, threads)
    for url, upload in uploads:
        first.whole(*first.ask("POST", f"{url}?uploadId={upload}", body=b"<CompleteMultipartUpload/>"))


def labour(place: Place, jobs: deque[Job], work: Callable[[Connection, Job], None], threads: int) -> None:
    """Do all jobs on a few threads, each with a connection of its own."""

    def shift() -> None:
        connection = Connection(place)
        while jobs:
            try:
                job = jobs.popleft()
            except IndexError:
                return
            work(connection, job)

    crew = [threading.Thread(target=shift) for _ in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()


if __name__ == "__main__":
    main()
