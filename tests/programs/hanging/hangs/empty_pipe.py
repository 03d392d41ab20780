"""A read of a pipe to which nobody writes, and which nobody closes.

manner: still
"""

import os

read, write = os.pipe()
print("stands", flush=True)
os.read(read, 1)
