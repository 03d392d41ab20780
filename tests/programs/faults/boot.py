"""The boot file of every injected fault: each process keeps a checkpoint and meets the others; then one is struck.

`MEET` is a folder that all processes see, `COUNT` their number, `STRUCK` which of them the fault strikes; it does so in
the first attempt alone, or with `LASTS` in each. With `GAINS` every attempt leaves one checkpoint more. Whoever waits
for the struck one takes part in nothing meanwhile, and ends with 0 when it is asked to, or with the words of `CRIES`
and 1.
"""

from __future__ import annotations

import os
import signal
import sys

from strike import strike  # type: ignore[import-not-found] # the fault's own module, laid beside this one

MEET, COUNT, STRUCK = os.environ["MEET"], int(os.environ["COUNT"]), int(os.environ["STRUCK"])
RANK = int(os.environ.get("RANK_ID") or os.environ.get("VC_TASK_INDEX") or 0)
FOLDER = next(each.partition("=")[2] for each in sys.argv if each.startswith("--train_url="))


def asked(*_: object) -> None:
    """Another one has failed."""
    cries = os.environ["CRIES"]
    os.write(2, cries.encode())
    os._exit(1 if cries else 0)


def keep(attempt: int) -> None:
    """Leave a checkpoint, which is there whole or not at all."""
    place = os.path.join(FOLDER, f"rank-{RANK}", f"checkpoint-{attempt}.pt")
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place + ".half", "w", encoding="utf-8") as file:
        file.write(f"{RANK} after {attempt}")
    os.replace(place + ".half", place)


def come(attempt: int) -> None:
    """Say that this one is here, and how it is told that the struck one is through."""
    if RANK != STRUCK:
        os.mkfifo(os.path.join(MEET, f"go-{RANK}-{attempt}"))
    open(os.path.join(MEET, f"here-{RANK}-{attempt}"), "w", encoding="utf-8").close()


def meet(attempt: int) -> None:
    """Wait until everybody is here."""
    for rank in range(COUNT):
        while not os.path.exists(os.path.join(MEET, f"here-{rank}-{attempt}")):
            signal.sigtimedwait([], 0.01)


def main() -> None:
    attempt = 1 + sum(name.startswith(f"here-{RANK}-") for name in os.listdir(MEET))
    if os.environ["GAINS"] == "1":
        keep(attempt)
    if RANK != STRUCK:
        signal.signal(signal.SIGTERM, asked)
    come(attempt)
    meet(attempt)
    others = [os.path.join(MEET, f"go-{rank}-{attempt}") for rank in range(COUNT) if rank != STRUCK]
    if RANK != STRUCK:
        open(os.path.join(MEET, f"go-{RANK}-{attempt}"), encoding="utf-8").close()
        return
    if attempt == 1 or os.environ["LASTS"] == "1":
        strike(FOLDER)
    for place in others:
        open(place, "w", encoding="utf-8").close()


if __name__ == "__main__":
    main()
