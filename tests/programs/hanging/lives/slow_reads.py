"""A file system that gives a few hundred bytes a second: a FIFO that is fed slowly."""

import os
import subprocess
import sys
import tempfile

FEEDS = """
import sys, time
with open(sys.argv[1], "wb", buffering=0) as fifo:
    for _ in range(30):
        fifo.write(bytes(100))
        time.sleep(0.3)
"""
with tempfile.TemporaryDirectory() as folder:
    os.mkfifo(f"{folder}/fifo")
    with subprocess.Popen((sys.executable, "-c", FEEDS, f"{folder}/fifo")), open(f"{folder}/fifo", "rb", 0) as fifo:
        while fifo.read(4096):
            pass
print("done", flush=True)
