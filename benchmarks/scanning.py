"""How fast a trial's output is looked through for its metrics, beside the plain loop over lines that it replaces.

Run it: python benchmarks/scanning.py [MEBIBYTES]. It prints MB/s of CPU time and asserts nothing.
"""

from __future__ import annotations

import re
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from launcher.core.search import Metric
from launcher.search.scan import Scanner

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 1024 * 1024
QUIET = b"2026-11-22 10:15:42,123 INFO  loading shard 00017 of 00512 from the cache, 8192 samples, nothing to see\n"
COLOUR = b"\x1b[32m2026-11-22\x1b[0m \x1b[1mINFO\x1b[0m loading shard 00017 of 00512 from the cache, 8192 samples\r\n"
EPOCH = b"epoch 17 step 4200: loss=0.0754 accuracy=0.9611 lr=1e-05\n"
CASES = {
    "a reward every 1,000 lines": (r"accuracy=([\d.]+)", QUIET * 999 + EPOCH),
    "a reward every 10 lines": (r"accuracy=([\d.]+)", QUIET * 9 + EPOCH),
    "a reward in every line": (r"accuracy=([\d.]+)", EPOCH),
    "in colours, every 1,000 lines": (r"accuracy=([\d.]+)", COLOUR * 999 + EPOCH),
    "no literal, never a match": (r"\b(\d\.\d{9})\b", QUIET),
    "a literal of 3, every 1,000 lines": (r"([01]\.\d+) lr", QUIET * 999 + EPOCH),
}


def plain(expression: str, chunks: list[memoryview]) -> int:
    """What it replaces: split, decode, search, float."""
    pattern, held, found = re.compile(expression), b"", 0
    for chunk in chunks:
        *lines, held = (held + chunk).split(b"\n")
        for line in lines:
            for match in pattern.finditer(line.decode("utf-8", "replace")):
                found += float(match[1]) >= 0
    return found


def scanned(expression: str, chunks: list[memoryview], *, guarded: bool) -> str:
    spent = time.thread_time if guarded else float
    scanner = Scanner((Metric(name="accuracy", mode="max", regex=expression),), lambda *_: None, spent=spent)
    for chunk in chunks:
        scanner.stdout.write(chunk)
    scanner.stdout.end()
    read = scanner.read()
    return f"{read.count} found" + "".join(f"; {note}" for note in read.notes)


def speed(work: Callable[[], object], size: int) -> tuple[float, object]:
    started = time.thread_time()
    made = work()
    return size / (time.thread_time() - started) / 1e6, made


def main() -> None:
    size = int(sys.argv[1]) * CHUNK if len(sys.argv) > 1 else 64 * CHUNK
    for name, (expression, lines) in CASES.items():
        text = memoryview((lines * (size // len(lines) + 1))[:size])
        chunks = [text[at : at + CHUNK] for at in range(0, size, CHUNK)]
        before, count = speed(partial(plain, expression, chunks), size)
        after, _ = speed(partial(scanned, expression, chunks, guarded=False), size)
        guarded, said = speed(partial(scanned, expression, chunks, guarded=True), size)
        print(
            f"{name:<34}  plain re {before:7.0f} MB/s  scanner {after:7.0f} MB/s  guarded {guarded:7.0f} MB/s  {said}"
        )
        print(f"{'':<34}  (the plain loop found {count})")


if __name__ == "__main__":
    main()
