"""Two threads that each hold the lock that the other wants.

manner: still
"""

import threading

first, second = threading.Lock(), threading.Lock()
both = threading.Barrier(2)


def take(one: threading.Lock, other: threading.Lock) -> None:
    with one:
        both.wait()
        with other:
            print("never", flush=True)


threads = [threading.Thread(target=take, args=pair) for pair in ((first, second), (second, first))]
print("stands", flush=True)
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
