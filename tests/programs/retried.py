"""Trains for show in several attempts, each of which ends as its word in ENDS says, and notes in NOTES what it did.

ENDS: works, fails, dies, struck, leaves; attempts beyond the last word do as that says. FILES files are written over
SECONDS seconds, and amid them a checkpoint or a step as MARKS says: each, renewed, once, none, steps, still. MANNER is
what it does when asked to end: plain, saves, stubborn. Run without site packages, it starts in milliseconds.
"""

import hashlib
import os
import signal
import sys

ECC = b"RuntimeError: CUDA error: uncorrectable ECC error encountered\n"

folders = [argument.partition("=")[2] for argument in sys.argv[2:4]]
notes, ends, manner = os.environ["NOTES"], os.environ["ENDS"].split(), os.environ["MANNER"]
marks, files, seconds = os.environ["MARKS"], int(os.environ["FILES"]), float(os.environ["SECONDS"])
attempt = 1 + sum(name.startswith("begun-") for name in os.listdir(notes))
end = ends[min(attempt, len(ends)) - 1]
told = os.open(f"{notes}/told-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def note(*words: object) -> None:
    os.write(told, " ".join(map(str, words)).encode() + b"\n")


def say(*words: object) -> None:
    note("says", *words)
    os.write(1, " ".join(map(str, words)).encode() + b"\n")
    note("said", *words)


def write(name: str, size: int, *, second: bool = False) -> None:
    content = os.urandom(size)
    note("writes", int(second), name)
    with open(f"{folders[second]}/{name}", "wb") as file:
        file.write(content)
    note("wrote", int(second), name, hashlib.sha256(content).hexdigest())


def save(*_: object) -> None:
    write(f"last-words-{attempt}.bin", 5000)
    signal.sigtimedwait([], 0.1)
    os._exit(0)


def tell(word: str) -> None:
    """Show that this attempt has come so far; the name is all of it, so that it is there at once or not at all."""
    os.close(os.open(f"{notes}/{word}-{attempt}-{os.getpid()}", os.O_WRONLY | os.O_CREAT))


def mark() -> None:
    """Show how far it is, in one of the ways in which that can be seen from outside."""
    if marks == "each":
        write(f"checkpoint-{attempt}.pt", 3000 + attempt)
    elif marks == "renewed":
        write("last.ckpt", 3000 + attempt)
    elif marks == "once" and not os.path.exists(f"{folders[0]}/checkpoint-40.pt"):
        write("checkpoint-40.pt", 3000)
    elif marks in ("steps", "still"):
        say("step", attempt if marks == "steps" else 7)


for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, save if manner == "saves" else signal.SIG_IGN if manner == "stubborn" else signal.SIG_DFL)
tell("begun")
if end == "leaves" and os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    if manner == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # or each attempt would take seconds to get rid of it
    while True:
        signal.pause()
for index in range(files):
    if index == files // 2:
        mark()
    write(f"{attempt}-{index}.bin", 100 + index * 37, second=index % 3 == 2)
    say("process", os.getpid(), "at", index)
    signal.sigtimedwait([], seconds / files)
tell("ending")
if end == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
if end in ("struck", "leaves"):
    os.write(2, ECC)
os._exit({"works": 0, "fails": 5}.get(end, 1))
