"""`launcher local` and what is no Docker engine, or a broken one: one sentence, soon."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from rig import ECHO, Result

from launcher.adapters.docker import FIRST_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rig import Rig

VERSION = {"ApiVersion": "1.41", "Version": "20.10.24"}
WELL = {
    "/version": VERSION,
    "/info": {"NCPU": 2, "MemTotal": 1 << 33, "ID": "one"},
    "/images/an/json": {},
    "/containers/json": [],
    "/containers/create": {"Id": "c0ffee"},
}


class Fake:
    """Whatever answers at a socket: `answer` is given each connection and what was asked in it."""

    def __init__(self, path: Path, answer: Callable[[socket.socket, str], None]) -> None:
        self.path = path
        self.over = threading.Event()
        self._answer = answer
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self.over.set()
        self._server.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(near,), daemon=True))
                self._threads[-1].start()

    def _serve(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError):
            if asked := near.recv(1 << 16):
                self._answer(near, asked.decode().split()[1].partition("?")[0])


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[[Callable[[socket.socket, str], None]], Fake]]:
    """Makes one, and ends it."""
    made: list[Fake] = []

    def make(answer: Callable[[socket.socket, str], None]) -> Fake:
        made.append(Fake(tmp_path / "e", answer))
        return made[-1]

    yield make
    for each in made:
        each.close()


def tried(rig: Rig, fake: Fake) -> Result:
    rig.code(ECHO)
    environ = {"DOCKER_HOST": f"unix://{fake.path}", "TMPDIR": str(fake.path.parent)}
    return rig.run("--image", "an", command="local", env=environ)


def content(found: Any) -> bytes:
    body = json.dumps(found).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize("drips", [False, True], ids=["silent", "dripping"])
def test_what_accepts_and_gives_no_answer_is_told_soon(local_rig: Rig, engine: Any, *, drips: bool) -> None:
    def answer(near: socket.socket, _: str) -> None:
        while not fake.over.wait(0.2):
            near.sendall(b"H" if drips else b"")

    fake = engine(answer)
    begun = time.monotonic()
    result = tried(local_rig, fake)
    assert (result.code, len(result.err.splitlines())) == (71, 1), result.err
    assert f"does not answer: nothing whole came within {FIRST_S:g} s" in result.err
    assert time.monotonic() - begun < 3 * FIRST_S


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/version", None),
        ("/version", {"ApiVersion": 7}),
        ("/version", {"ApiVersion": "new"}),
        ("/info", None),
        ("/info", {"NCPU": "many"}),
        ("/info", {"MemTotal": "much"}),
        ("/containers/json", None),
        ("/containers/json", [None]),
        ("/containers/json", [{"Names": ["/one"]}]),
        ("/containers/json", [{"Id": "c0ffee", "Names": "one"}]),
        ("/containers/json", [{"Id": "c0ffee", "Labels": [1]}]),
        ("/containers/create", None),
        ("/containers/create", {"Id": None}),
    ],
    ids=str,
)
def test_an_answer_that_no_engine_gives_is_one_sentence(local_rig: Rig, engine: Any, path: str, found: Any) -> None:
    def answer(near: socket.socket, asked: str) -> None:
        short = asked if asked in WELL else "/" + asked.split("/", 2)[2]
        near.sendall(content(found if short == path else WELL[short]))

    result = tried(local_rig, engine(answer))
    last = result.err.splitlines()[-1]
    assert result.code == 71, result.err
    assert "which is no answer of a Docker engine" in last
    assert "Traceback" not in result.err
