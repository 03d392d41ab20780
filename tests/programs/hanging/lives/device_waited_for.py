"""A device that works while its process is blocked until it is done.

devices: varying
"""

import threading

threading.Event().wait(9)
print("done", flush=True)
