"""Data that is loaded at the start, for long and without a word."""

from time import sleep

for _ in range(30):
    with open("/bin/sh", "rb") as file:
        file.read(1 << 16)
    sleep(0.3)
print("done", flush=True)
