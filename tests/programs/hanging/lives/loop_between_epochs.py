"""An event loop that waits for its next timer, with a thread pool beside it."""

import asyncio


async def main() -> None:
    for epoch in range(3):
        await asyncio.to_thread(sum, range(1000))
        await asyncio.sleep(3)
        print(f"epoch {epoch}", flush=True)


asyncio.run(main())
print("done", flush=True)
