"""A device that works while its process spins and waits for it.

devices: varying
"""

from time import monotonic

end = monotonic() + 9
while monotonic() < end:
    pass
print("done", flush=True)
