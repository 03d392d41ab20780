"""What a boot file's interpreter could load: the script that it is asked by, and its answer as a value.

The answer is text of a foreign program, and bounded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from launcher.core.reproduce import Packages

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

MARK = "launcher-packages: "
"""Begins every line that counts: what else a site's own start-up code prints is passed over."""
LIMIT_S = 30.0
MOST_BYTES = 60_000
"""Of the answer; who asks remembers 64 KiB of it."""

_SCRIPT = """
import os, sys
try:
    import _signal as signal
except ImportError:
    import signal
signal.alarm(int(sys.argv[3]))
os.nice(19)
mark, mine = sys.argv[1], [each for each in sys.argv[2].split(":") if each]
out, seen, size = [mark + "python %d.%d.%d" % sys.version_info[:3]], set(), 0
try:
    import site
    if "PYTHONNOUSERSITE" not in os.environ:
        mine.append(site.getusersitepackages())
except Exception:
    pass
def version_in(path):
    try:
        with open(path, "rb") as file:
            for line in file.read(8192).decode("utf-8", "replace").splitlines():
                if line.startswith("Version:"):
                    return line[8:].strip()
    except Exception:
        pass
    return "?"
for folder in mine + sys.path[:]:
    try:
        names = sorted(os.listdir(folder or "."))
    except OSError:
        continue
    for name in names:
        stem, kind = os.path.splitext(name)
        if kind not in (".dist-info", ".egg-info") or stem.startswith("~"):
            continue
        parts = stem.split("-")
        if len(parts) > 1:
            version = parts[1]
        else:
            version = version_in(os.path.join(folder, name, "PKG-INFO"))
        known = parts[0].lower().replace("_", "-").replace(".", "-")
        if known in seen:
            continue
        seen.add(known)
        line = mark + "has " + known + " " + version
        size += len(line) + 1
        if size < int(sys.argv[4]):
            out.append(line)
out.append(mark + "over %d" % len(seen))
sys.stdout.write("\\n" + "\\n".join(out) + "\\n")
"""
"""It runs under Python 3.6 as well, imports nothing that it tells of, and ends itself when it takes too long.

A package's name and version stand in the name of the folder of its metadata, which is all that is read. `signal` brings
enumerations along, a quarter of what the whole question costs.
"""

_HAS = re.compile(r"has ([A-Za-z0-9][A-Za-z0-9._-]{0,127}) ([A-Za-z0-9?][A-Za-z0-9._+!-]{0,127})")


def question(interpreter: str, paths: str) -> tuple[str, ...]:
    """The argv that asks; `paths` are folders that the boot file looks into first, joined by colons.

    Isolated, so that no module of the job's own is imported in place of Python's.
    """
    return (interpreter, "-I", "-B", "-c", _SCRIPT, MARK, paths, f"{LIMIT_S:.0f}", str(MOST_BYTES))


def told(text: str, asked: Literal["begin", "end"] = "begin") -> Packages | None:
    """The packages by an answer; None for one that is not whole."""
    lines = [line[len(MARK) :] for line in text.splitlines() if line.startswith(MARK)]
    over = re.fullmatch(r"over ([0-9]{1,9})", lines[-1]) if lines else None
    if over is None:
        return None
    python = next((line[7:] for line in lines if line.startswith("python ")), "")
    if not re.fullmatch(r"[0-9.]{1,32}", python):
        return None
    versions = dict(_pairs(lines))
    return Packages(python=python, versions=versions, left_out=max(0, int(over[1]) - len(versions)), asked=asked)


def _pairs(lines: Sequence[str]) -> list[tuple[str, str]]:
    return [(found[1], found[2]) for line in lines if (found := _HAS.fullmatch(line))]
