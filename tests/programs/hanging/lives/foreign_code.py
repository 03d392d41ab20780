"""Computing in C, in one call that lets no Python run, and without a trace."""

import hashlib
from time import monotonic

for number in range(3):
    end = monotonic() + 3
    while monotonic() < end:
        hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 300_000)
    print(number, flush=True)
print("done", flush=True)
