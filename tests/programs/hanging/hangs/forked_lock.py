"""A lock that another thread held when a process was forked: in the child nobody gives it back.

manner: still
"""

import os
import threading
import warnings

warnings.simplefilter("ignore")
lock, held, done = threading.Lock(), threading.Event(), threading.Event()


def hold() -> None:
    with lock:
        held.set()
        done.wait()


threading.Thread(target=hold, daemon=True).start()
held.wait()
print("stands", flush=True)
pid = os.fork()
if not pid:
    lock.acquire()
done.set()
os.waitpid(pid, 0)
