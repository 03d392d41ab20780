"""Four ranks of which one never comes to the barrier; all of them go on telling each other that they are there.

manner: still
"""

import signal
import socket
import threading
from multiprocessing import get_context
from time import sleep

WORLD = 4
fork = get_context("fork")


def beat(line: socket.socket) -> None:
    while True:
        line.sendall(b"still here, " * 20)
        sleep(0.25)


def hear(line: socket.socket) -> None:
    while line.recv(1 << 16):
        pass


def talk(line: socket.socket) -> None:
    for target in (beat, hear):
        threading.Thread(target=target, args=(line,), daemon=True).start()


def rank(number: int, barrier: object, port: int) -> None:
    talk(socket.create_connection(("127.0.0.1", port)))
    if number:
        barrier.wait()  # type: ignore[attr-defined]
    while True:
        signal.pause()


with socket.socket() as door:
    door.bind(("127.0.0.1", 0))
    door.listen()
    barrier = fork.Barrier(WORLD)
    ranks = [fork.Process(target=rank, args=(each, barrier, door.getsockname()[1])) for each in range(WORLD)]
    for each in ranks:
        each.start()
    lines = [door.accept()[0] for _ in ranks]
    print("stands", flush=True)
    for line in lines:
        talk(line)
    for each in ranks:
        each.join()
