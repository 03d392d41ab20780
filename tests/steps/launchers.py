"""Launchers that meet over loopback, as threads of a test or processes of their own, and what stands between them."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import msgspec

from launcher.adapters.clock import SystemClock
from launcher.core import plan
from launcher.core.lifecycle import Event, PeerEnded
from launcher.core.meeting import Rhythm
from launcher.rendezvous import Meeting
from launcher.rendezvous.guest import Guest
from launcher.rendezvous.host import Host

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 60.0
QUICK = Rhythm(ping_s=0.1, lost_s=1.0, silent_s=3.0, dead_s=1.0, hello_s=0.5, tell_s=0.2)
NONCE = "a" * 64

E = TypeVar("E", bound=Event)


SLOW = msgspec.structs.replace(QUICK, lost_s=600.0, silent_s=600.0)
"""Nobody is lost, however long a busy machine takes."""


def known(
    number: int,
    count: int,
    port: int,
    *,
    host: str = "127.0.0.1",
    nonce: str = NONCE,
    servers: int = 0,
    peers_s: float = PATIENCE_S,
    ready_s: float = PATIENCE_S,
) -> plan.Rendezvous:
    names = (*(f"worker-{i}" for i in range(count - servers)), *(f"ps-{i}" for i in range(servers)))
    meeting = plan.Meeting(port=port, peers_s=peers_s, ready_s=ready_s)
    return plan.Rendezvous(host=host, number=number, names=names, nonce=nonce, meeting=meeting)


class Launcher:
    """One launcher's part in a meeting: what its desk would hear, and what its record would say."""

    def __init__(self, who: plan.Rendezvous, rhythm: Rhythm = QUICK) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        self.lines: queue.Queue[str] = queue.Queue()
        self.meeting = Meeting(who, SystemClock(), self.events.put, lambda text, level: self.lines.put(text), rhythm)
        self.meeting.open()

    def hears(self, kind: type[E]) -> E:
        """The next event of a kind; others before it are let go."""
        while True:
            event = self.events.get(timeout=PATIENCE_S)
            if isinstance(event, kind):
                return event

    def heard(self) -> list[Event]:
        """What has come so far."""
        found = []
        with suppress(queue.Empty):
            while True:
                found.append(self.events.get_nowait())
        return found

    def cause(self) -> tuple[str, str]:
        """Code and message of why another node has ended this one."""
        ended = self.hears(PeerEnded).failure.cause
        return ended.code, ended.message

    def says(self, part: str) -> str:
        """The next line of the record that holds this."""
        while True:
            line = self.lines.get(timeout=PATIENCE_S)
            if part in line:
                return line

    @property
    def host(self) -> Host:
        """The inside of number 0."""
        assert isinstance(self.meeting._side, Host)
        return self.meeting._side

    @property
    def guest(self) -> Guest:
        """The inside of another one."""
        assert isinstance(self.meeting._side, Guest)
        return self.meeting._side

    def listens(self) -> None:
        """Wait until number 0 does, or cannot."""
        until(lambda: bool(self.host._listeners or self.host.table.ended))

    def close(self) -> None:
        self.meeting.close()


class Between:
    """A way to number 0 that can be cut: connections are passed on, until they are not."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Close all connections; who calls now is not let through until `mend`."""
        self._open.clear()
        for pair in self._pairs:
            for each in pair:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._open.set()

    def close(self) -> None:
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self.cut()
        for each in self._threads:
            each.join()
        for each_socket in (self._door, *(one for pair in self._pairs for one in pair)):
            each_socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._door.accept()
                there = socket.socket()
                if not self._open.is_set() or there.connect_ex(("127.0.0.1", self._to)):
                    caller.close()
                    there.close()
                    continue
                self._pairs.append((caller, there))
                for one, other in ((caller, there), (there, caller)):
                    self._threads.append(threading.Thread(target=self._pass_on, args=(one, other), daemon=True))
                    self._threads[-1].start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while piece := one.recv(65536):
                other.sendall(piece)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)


PROGRAM = """
import json, resource, sys
from launchers import Launcher, known
number, count, port, files, ready = json.loads(sys.argv[1])
if files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
launcher = Launcher(known(number, count, port))
print("there", flush=True)
if ready:
    launcher.meeting.ready()
while True:
    print(type(launcher.events.get()).__name__, flush=True)
"""


class Process:
    """A launcher's part in a meeting in a process of its own, to be killed or stopped."""

    def __init__(self, number: int, count: int, port: int, *, files: int = 0, ready: bool = True) -> None:
        told = f"[{number}, {count}, {port}, {files}, {str(ready).lower()}]"
        self._process = subprocess.Popen(
            (sys.executable, "-c", PROGRAM, told), stdout=subprocess.PIPE, text=True, cwd=os.path.dirname(__file__)
        )
        assert self.line() == "there"

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def close(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()


def until(fact: Callable[[], object]) -> None:
    """Look until something is so."""
    glance = threading.Event()
    for _ in range(int(PATIENCE_S / 0.01)):
        if fact():
            return
        glance.wait(0.01)
    raise AssertionError("it never became so")
