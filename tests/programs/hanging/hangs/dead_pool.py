"""A pool of processes of which one was killed at its task: its result never comes.

manner: still
"""

import multiprocessing
import os
import signal


def work(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print("stands", flush=True)
        pool.map(work, range(4), chunksize=1)
