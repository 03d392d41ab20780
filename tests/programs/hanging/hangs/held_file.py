"""A lock of a file that somebody else holds for good.

manner: still
"""

import fcntl
import subprocess
import sys
import tempfile

HOLDS = """
import fcntl, signal, sys
with open(sys.argv[1], "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    while True: signal.pause()
"""
with (
    tempfile.NamedTemporaryFile() as file,
    subprocess.Popen((sys.executable, "-c", HOLDS, file.name), stdout=subprocess.PIPE) as holder,
):
    assert holder.stdout is not None
    holder.stdout.readline()
    print("stands", flush=True)
    fcntl.flock(file, fcntl.LOCK_EX)
