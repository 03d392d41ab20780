"""Large checkpoints, written and brought to the disk."""

import os
import sys
from time import sleep

folder = next(each.partition("=")[2] for each in sys.argv if each.startswith("--train_url="))
for _number in range(4):
    with open(f"{folder}/checkpoint.pt", "wb") as file:
        for _ in range(16):
            file.write(os.urandom(1 << 20))
            file.flush()
            os.fsync(file.fileno())
            sleep(0.1)
print("done", flush=True)
