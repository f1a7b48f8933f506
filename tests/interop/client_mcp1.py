"""The Python client of the legacy era (mcp 1.30): does what a `Wish` says, tells what it got."""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client


async def note(*_: object) -> None:
    """Progress, which need only arrive."""


async def main(wish: dict) -> dict:
    headers = {"Authorization": f"Bearer {wish['key']}"} if wish["key"] else {}
    told: dict = {}
    async with (
        create_mcp_http_client(headers=headers) as http,
        streamable_http_client(wish["url"], http_client=http) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        told["version"] = (await session.initialize()).protocolVersion
        told["tools"] = [tool.name for tool in (await session.list_tools()).tools]
        if wish["all_lists"]:
            told["prompts"] = [one.name for one in (await session.list_prompts()).prompts]
            told["resources"] = [str(one.uri) for one in (await session.list_resources()).resources]
        told["answers"] = []
        for name, arguments in wish["calls"]:
            progress = note if wish["progress"] else None
            result = await session.call_tool(name, arguments, progress_callback=progress)
            text = "".join(getattr(part, "text", "") for part in result.content)
            told["answers"].append({"text": text, "error": result.isError})
    return told


print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
