"""A write to a child that reads nothing any more.

manner: still
"""

import subprocess
import sys

WAITS = "import signal\nwhile True: signal.pause()"
with subprocess.Popen((sys.executable, "-c", WAITS), stdin=subprocess.PIPE) as child:
    assert child.stdin is not None
    print("stands", flush=True)
    child.stdin.write(bytes(1 << 20))
