"""Pure computing, with a short line now and then."""

from time import monotonic

for step in range(4):
    end = monotonic() + 2.5
    while monotonic() < end:
        sum(range(1000))
    print(step, flush=True)
print("done", flush=True)
