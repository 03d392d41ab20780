"""What it costs that the nodes of a job start together, and what a thousand of them cost worker-0.

    python benchmarks/rendezvous.py [--rounds 20] [--nodes 1000] [--idle 10]

The barrier: four launchers' parts as four processes over loopback; each says that it is ready at a moment of its own,
and what counts is the time from the last of these moments to the one at which the last process knows that all may
start. Many nodes: number 0 is a process of its own, as in a launcher; the others are connections that speak as
launchers do, held by one process, which also measures. Its own work is part of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import measuring

from launcher.core.meeting.words import VERSION, Hello, Ready, line
from launcher.core.plan import Meeting, Rendezvous
from launcher.rendezvous import proof

if TYPE_CHECKING:
    from collections.abc import Sequence

BARRIER_NODES = 4
NODE = """
import queue, sys, time
from launcher.adapters.clock import SystemClock
from launcher.core.lifecycle import Released
from launcher.core.plan import Meeting as Times, Rendezvous
from launcher.rendezvous import Meeting
number, count, port = map(int, sys.argv[1:])
names = tuple(f"worker-{i}" for i in range(count))
known = Rendezvous(host="127.0.0.1", number=number, names=names, nonce="n" * 64, meeting=Times(port=port))
events = queue.SimpleQueue()
meeting = Meeting(known, SystemClock(), events.put, lambda text, level: print(text, file=sys.stderr))
meeting.open()
print("there", flush=True)
sys.stdin.readline()
said = time.monotonic()
meeting.ready()
while not isinstance(events.get(), Released):
    pass
print(said, time.monotonic(), flush=True)
sys.stdin.readline()
meeting.close()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the rendezvous of the nodes costs.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds")
    options = parser.parse_args()
    print(measuring.machine())
    print(f"\nFrom the last node that is ready to the last that starts, {BARRIER_NODES} processes, ms:")
    together = [barrier() for _ in range(options.rounds + 1)][1:]
    tell("at one moment", together)
    tell("the last 200 ms behind", [barrier(late_s=0.2) for _ in range(options.rounds)])
    print(f"\n{options.nodes} nodes:")
    crowd(options.nodes, options.idle)


def tell(name: str, seconds: Sequence[float]) -> None:
    milliseconds = [1e3 * each for each in seconds]
    print(f"{name:24} median {statistics.median(milliseconds):7.2f}  most {max(milliseconds):7.2f}")


class Node:
    """One launcher's part in a process of its own."""

    def __init__(self, number: int, count: int, port: int) -> None:
        argv = (sys.executable, "-c", NODE, str(number), str(count), str(port))
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def line(self) -> str:
        """The next that it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")

    def end(self) -> None:
        """Let it come to its end."""
        self.tell()
        self.process.communicate()


def barrier(late_s: float = 0.0) -> float:
    """Seconds that the barrier takes once."""
    port = free_port()
    nodes = [Node(number, BARRIER_NODES, port) for number in range(BARRIER_NODES)]
    for node in nodes:
        node.line()
    for node in nodes[:-1]:
        node.tell()
    time.sleep(late_s)
    nodes[-1].tell()
    times = [[float(word) for word in node.line().split()] for node in nodes]
    for node in reversed(nodes):
        node.end()
    return max(heard for _, heard in times) - max(said for said, _ in times)


def crowd(count: int, idle_s: float) -> None:
    """Let so many nodes meet at one number 0."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count + 100
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    port = free_port()
    number_0 = Node(0, count, port)
    number_0.line()
    before = memory(number_0.process.pid)
    names = tuple(f"worker-{i}" for i in range(count))
    started = time.monotonic()
    found = [call(Rendezvous(host="", number=i, names=names, nonce="n" * 64, meeting=Meeting(port=port)))
             for i in range(1, count)]  # fmt: skip
    print(f"{'all have called':24} {1e3 * (time.monotonic() - started):10.1f} ms")
    number_0.tell()
    ready = line(Ready())
    for connection in found[:-1]:
        connection.sendall(ready)
    cpu_before, since = cpu(number_0.process.pid), time.monotonic()
    hold(found, idle_s)
    used = (cpu(number_0.process.pid) - cpu_before) / (time.monotonic() - since)
    print(f"{'worker-0 meanwhile':24} {100 * used:10.2f} % of a core, over {idle_s:g} s of greetings")
    last = time.monotonic()
    found[-1].sendall(ready)
    heard(found)
    print(f"{'last ready, all released':24} {1e3 * (time.monotonic() - last):10.1f} ms")
    own = float(number_0.line().split()[1]) - last
    print(f"{'the same for worker-0':24} {1e3 * own:10.1f} ms")
    grown = memory(number_0.process.pid) - before
    print(f"{'memory of worker-0':24} {grown / 2**20:10.1f} MiB more, {grown / count / 2**10:.1f} KiB a node")
    for connection in found:
        connection.close()
    number_0.end()


def call(known: Rendezvous) -> socket.socket:
    """One node's connection, let in."""
    connection = dial(known.meeting.port)
    challenge = said(connection)
    own = proof.fresh()
    shown = proof.guest(known, challenge["random"], own, "s")
    connection.sendall(line(Hello(version=VERSION, number=known.number, session="s", random=own, proof=shown)))
    assert said(connection)["is"] == "welcome"
    return connection


def dial(port: int) -> socket.socket:
    connection = socket.socket()
    while connection.connect_ex(("127.0.0.1", port)):
        time.sleep(0.01)
    return connection


def said(connection: socket.socket) -> Any:
    text = b""
    while not text.endswith(b"\n"):
        text += connection.recv(1024)
    return json.loads(text)


def hold(found: Sequence[socket.socket], seconds: float) -> None:
    """Greet number 0 as launchers do, and read its greetings."""
    with selectors.DefaultSelector() as selector:
        for connection in found:
            selector.register(connection, selectors.EVENT_READ)
        end = time.monotonic() + seconds
        ping_at = time.monotonic()
        while (now := time.monotonic()) < end:
            if now >= ping_at:
                ping_at = now + 5.0
                for connection in found:
                    connection.sendall(b'{"is":"ping"}\n')
            for key, _ in selector.select(max(0.0, min(end, ping_at) - now)):
                os.read(key.fd, 65536)


def heard(found: Sequence[socket.socket]) -> None:
    """Wait until every connection has heard that all may start."""
    with selectors.DefaultSelector() as selector:
        for connection in found:
            selector.register(connection, selectors.EVENT_READ)
        waiting = len(found)
        while waiting:
            for key, _ in selector.select():
                if b"released" in os.read(key.fd, 65536):
                    selector.unregister(key.fileobj)
                    waiting -= 1


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def cpu(pid: int) -> float:
    """Seconds of processor that a process has used, by the scheduler's own nanoseconds."""
    return (
        sum(
            int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0])
            for task in os.listdir(f"/proc/{pid}/task")
        )
        / 1e9
    )


if __name__ == "__main__":
    main()
