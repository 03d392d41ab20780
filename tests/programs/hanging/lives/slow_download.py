"""A download by recv, which no counter of reads knows, of some KiB a second.

peer: talks
"""

import os
import socket

with socket.create_connection(("127.0.0.1", int(os.environ["PEER"]))) as line:
    while line.recv(1 << 16):
        pass
print("done", flush=True)
