"""A heart that beats into a file of the output, a byte at a time, while all else waits."""

import sys
import threading

folder = next(each.partition("=")[2] for each in sys.argv if each.startswith("--train_url="))
never = threading.Event()
for _ in range(12):
    with open(f"{folder}/heart", "a") as file:
        file.write(".")
    never.wait(0.75)
print("done", flush=True)
