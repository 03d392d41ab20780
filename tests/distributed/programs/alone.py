"""A boot file that needs no engine: it says when it began, and ends as it is told to, or not before a signal.

What it leaves in the output is named by its node, so that several may have one output.
"""

import argparse
import json
import os
import signal
import socket
import sys
import threading
import time
from types import FrameType

parser = argparse.ArgumentParser()
parser.add_argument("--data_url")
parser.add_argument("--train_url", required=True)
parser.add_argument("--fails_on", default="", help="the host on which it ends with 3, when `fails_when` is there")
parser.add_argument("--fails_when", default="")
parser.add_argument("--stays", type=int, default=0, help="1: until it is told to end")
options, _ = parser.parse_known_args()
host = socket.gethostname()


def leave(name: str, found: dict[str, object]) -> None:
    place = os.path.join(options.train_url, f"{name}-{os.environ['MA_TASK_NAME']}-{os.environ['VC_TASK_INDEX']}.json")
    with open(place, "w", encoding="utf-8") as file:
        json.dump(found, file)


def stopped(number: int, _frame: FrameType | None) -> None:
    leave("stopped", {"signal": number})
    sys.exit(0)


signal.signal(signal.SIGTERM, stopped)
leave("began", {"host": host, "at": time.time(), "argv": sys.argv[1:], "env": dict(os.environ)})
print("trains", flush=True)
if options.fails_on == host:
    while not os.path.exists(options.fails_when):
        threading.Event().wait(0.01)
    sys.exit(3)
while options.stays:
    signal.pause()
