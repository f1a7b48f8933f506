"""Rows and helpers for tests of the store."""

import asyncio
from collections.abc import Callable

from agenthub.ports import CallRow, KeyRow


def call_row(number: int = 0, **facts: object) -> CallRow:
    values: dict[str, object] = {
        "at_us": 4_000_000_000_000_000 + number,
        "id": f"c-{number:08x}",
        "caller": "key-1",
        "door": "mcp",
        "endpoint": "calculator",
        "served_by": "calculator",
        "method": "tools/call",
        "name": "add",
        "outcome": "ok",
        "code": 0,
        "attempts": 1,
        "duration_us": 1_200,
        "bytes_in": 300,
        "bytes_out": 200,
    }
    return CallRow(**(values | facts))


def key_row(key_id: str = "k1", **facts: object) -> KeyRow:
    values: dict[str, object] = {
        "id": key_id,
        "name": "laptop",
        "digest": b"\x00\xff" * 16,
        "scopes": ("tools", "read"),
        "endpoints": None,
        "created_at": 1_700_000_000,
    }
    return KeyRow(**(values | facts))


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for a condition, with a bound."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - processes and files have no events
            await asyncio.sleep(0.005)
