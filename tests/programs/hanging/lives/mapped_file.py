"""A file that is read through memory, not by read(2), with a line after each pass."""

import mmap
import tempfile
from time import monotonic

with tempfile.TemporaryFile() as file:
    file.write(bytes(range(256)) * (1 << 14))
    file.flush()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        for number in range(4):
            end = monotonic() + 2.5
            while monotonic() < end:
                for at in range(0, len(whole), 4096):
                    whole[at]
            print(number, flush=True)
print("done", flush=True)
