"""Workers that hand small pieces to the training through a queue, each after a while."""

from multiprocessing import get_context
from time import sleep

fork = get_context("fork")


def load(pieces: object) -> None:
    for number in range(12):
        sleep(0.7)
        pieces.put(bytes([number]) * 400)  # type: ignore[attr-defined]


pieces = fork.Queue()
worker = fork.Process(target=load, args=(pieces,))
worker.start()
for _ in range(12):
    pieces.get()
worker.join()
print("done", flush=True)
