"""A hub in a process of its own, to be killed: runs the given servers and says so."""

import asyncio
import sys

from support.stdio_hub import House, server


async def main() -> None:
    houses = [House(server("family"), {"PIDS": path}) for path in sys.argv[1:]]
    nursery = houses[0].nursery
    for house in houses:
        house.upstream._way._nursery = nursery  # one guardian for all
        house.upstream.start()
    print("started", flush=True)
    for house in houses:
        await house.watcher.until("connected")
    print("up", nursery.pid, flush=True)
    await asyncio.sleep(600)


asyncio.run(main())
