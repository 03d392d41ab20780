"""A child that somebody has stopped and nobody continues, and a parent that waits for it.

manner: stopped
"""

import os
import signal
import subprocess
import sys

COMPUTES = "print('on', flush=True)\nwhile True: pass"
with subprocess.Popen((sys.executable, "-c", COMPUTES), stdout=subprocess.PIPE) as child:
    assert child.stdout is not None
    child.stdout.readline()
    os.kill(child.pid, signal.SIGSTOP)
    print("stands", flush=True)
    child.wait()
