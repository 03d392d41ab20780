"""A sleep of a year where a second was meant.

manner: sleeps
"""

from time import sleep

print("stands", flush=True)
sleep(365 * 24 * 3600)
