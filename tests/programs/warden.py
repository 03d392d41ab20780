"""Runs a program and tells what it left: whatever is nobody's child any more when it has ended is a child of this one.

argv: where the report goes, and the program. The program's pid is the first line on stdout.
"""

import ctypes
import json
import os
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
report, *argv = sys.argv[1:]
pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
os.write(1, b"%d\n" % pid)
_, status = os.waitpid(pid, 0)
left = []
with open(f"/proc/self/task/{os.getpid()}/children") as children:
    for child in map(int, children.read().split()):
        with open(f"/proc/{child}/stat") as stat, open(f"/proc/{child}/cmdline") as line:
            left.append([child, stat.read().rpartition(")")[2].split()[0], line.read().replace("\0", " ")])
        os.kill(child, signal.SIGKILL)
with open(report, "w") as file:
    json.dump({"code": os.waitstatus_to_exitcode(status), "left": left}, file)
