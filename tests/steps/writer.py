"""A process that is never done with its files. Each object tells whether the file it was made from ever was like it.

- `file-*` is replaced by another that was written beside it, truncated to nothing, or deleted. It ends with a digest.
- `log-*` grows, line by line, each line with the digest of the one before it.
- `slab-*` is overwritten in place, from its begin to its end, again and again. Each record has the number of its round,
  so that at any moment some records of one round are followed by records of the round before, and by nothing else.

    python writer.py FOLDER SECONDS SEED
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
import time

RECORDS = 1 << 16
WIDTH = 64


def version(chance: random.Random) -> bytes:
    """One state of a file, which proves itself."""
    word = b"%032x" % chance.getrandbits(128)
    body = (word + b"\n") * chance.choice((0, 1, 100, 40_000, 100_000))
    return body + hashlib.sha256(body).hexdigest().encode()


def was(name: str, content: bytes) -> bool:
    """Whether the file of this name ever was like this, at one moment."""
    if name.startswith("slab-"):
        return _was_slab(content)
    if name.startswith("log-"):
        whole = b""
        while len(whole) < len(content):
            whole += line(whole[-65:])
        return whole.startswith(content)
    return not content or hashlib.sha256(content[:-64]).hexdigest().encode() == content[-64:]


def _was_slab(content: bytes) -> bool:
    numbers = [int(content[start : start + WIDTH]) for start in range(0, len(content), WIDTH)]
    if len(content) != RECORDS * WIDTH or numbers[0] - numbers[-1] not in (0, 1):
        return False
    return numbers == sorted(numbers, reverse=True)


def line(before: bytes) -> bytes:
    """The next line of a log."""
    return hashlib.sha256(before).hexdigest().encode() + b"\n"


def place(path: str, content: bytes) -> None:
    """Write beside and rename over."""
    with open(f"{path}.tmp", "wb") as file:
        file.write(content)
    os.rename(f"{path}.tmp", path)


def slab(path: str, number: int) -> None:
    """Overwrite in place."""
    records = (b"%063d\n" % number) * 1024
    if not number:
        return place(path, records * (RECORDS // 1024))
    with open(path, "r+b", buffering=0) as file:
        file.writelines(records for _ in range(RECORDS // 1024))
    return None


def main(folder: str, seconds: str, seed: str) -> None:
    """Go on until the time is over, and then leave every file whole."""
    chance, never = random.Random(int(seed)), threading.Event()
    end = time.monotonic() + float(seconds)
    logs = {f"{folder}/log-{number}": b"" for number in range(2)}
    rounds = 0
    while time.monotonic() < end:
        path = f"{folder}/file-{chance.randrange(4)}"
        slab(f"{folder}/slab-0", rounds)
        slab(f"{folder}/slab-1", rounds)
        rounds += 1
        what = chance.randrange(6)
        if what < 3:
            place(path, version(chance))
        elif what == 3 and os.path.exists(path):
            os.remove(path)
        elif what == 4 and os.path.exists(path):
            os.truncate(path, 0)
        else:
            log = chance.choice(list(logs))
            with open(log, "ab") as file:
                for _ in range(1_000):
                    logs[log] = line(logs[log])
                    file.write(logs[log])
        never.wait(chance.choice((0, 0, 0, 0.01, 0.15)))
    for number in range(4):
        place(f"{folder}/file-{number}", version(chance))


if __name__ == "__main__":
    main(*sys.argv[1:])
