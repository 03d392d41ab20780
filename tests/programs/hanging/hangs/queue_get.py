"""A worker that has died without a word, and a queue that is waited at for ever.

manner: still
"""

import queue
import threading

results: queue.Queue[int] = queue.Queue()
worker = threading.Thread(target=lambda: None)
worker.start()
worker.join()
print("stands", flush=True)
results.get()
