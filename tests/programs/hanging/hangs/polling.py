"""A look for a file that never comes, again and again.

manner: sleeps
"""

import os
from time import sleep

print("stands", flush=True)
while not os.path.exists("/never/there"):
    sleep(0.1)
