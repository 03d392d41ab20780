"""One child that compiles for long, and writes nothing before it is done."""

import subprocess
import sys

COMPILES = """
import time
end = time.monotonic() + 3.5
source = "\\n".join(f"def f{i}(x): return [x + {i}, x * {i}, x ** {i % 7}]" for i in range(2000))
while time.monotonic() < end: compile(source, "big", "exec")
"""
for _ in range(3):
    subprocess.run((sys.executable, "-c", COMPILES), check=True)
print("done", flush=True)
