"""Trains for show: writes FILES files to two outputs over SECONDS seconds, and does as KIND says when disturbed.

Run without site packages, it starts in some milliseconds. KIND: works, fails, saves, stubborn, leaves, dies, stops.
"""

import os
import signal
import sys

folders = [argument.partition("=")[2] for argument in sys.argv[2:4]]
kind, files, seconds = os.environ["KIND"], int(os.environ["FILES"]), float(os.environ["SECONDS"])


def write(name: str, size: int, *, second: bool = False) -> None:
    with open(f"{folders[second]}/{name}", "wb") as file:
        file.write(os.urandom(size))


def save(*_: object) -> None:
    write("last.ckpt", 5000)
    os._exit(0)


def leave_behind(*, own_session: bool) -> None:
    """A child that nobody waits for, and that holds our stdout open."""
    if os.fork() == 0:
        if own_session:
            os.setsid()
            if os.fork():
                os._exit(0)
        while True:
            signal.pause()


if kind == "saves":
    signal.signal(signal.SIGTERM, save)
    signal.signal(signal.SIGINT, save)
if kind == "stubborn":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
if kind == "leaves":
    leave_behind(own_session=False)
    leave_behind(own_session=True)
for index in range(files):
    write(f"{index % 7}-{index}.bin", 100 + index * 37, second=index % 3 == 2)
    print("step", index, flush=True)
    if kind == "stops" and index == files // 2:
        os.kill(os.getpid(), signal.SIGSTOP)
    signal.sigtimedwait([], seconds / files)
if kind == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
os._exit(5 if kind == "fails" else 0)
