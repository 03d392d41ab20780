"""A sleep between epochs."""

from time import sleep

for epoch in range(3):
    sleep(3)
    print(f"epoch {epoch}", flush=True)
print("done", flush=True)
