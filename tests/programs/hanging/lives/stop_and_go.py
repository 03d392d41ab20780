"""A child that is stopped for a moment and goes on, as by a scheduler that shares a machine."""

import os
import signal
import subprocess
import sys
from time import sleep

COMPUTES = "import time\nfor i in range(60): time.sleep(0.15); print(i, flush=True)"
with subprocess.Popen((sys.executable, "-c", COMPUTES)) as child:
    for _ in range(3):
        sleep(1.5)
        os.kill(child.pid, signal.SIGSTOP)
        sleep(1)
        os.kill(child.pid, signal.SIGCONT)
print("done", flush=True)
