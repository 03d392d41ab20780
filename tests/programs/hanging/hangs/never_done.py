"""An event loop with a future that nobody completes.

manner: still
"""

import asyncio


async def main() -> None:
    print("stands", flush=True)
    await asyncio.get_running_loop().create_future()


asyncio.run(main())
