"""The Python client of both eras (mcp 2.3): does what a `Wish` says, tells what it got."""

import asyncio
import json
import sys

from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client


async def note(*_: object) -> None:
    """Progress, which need only arrive."""


async def talk(client: Client, wish: dict) -> dict:
    told: dict = {"version": client.protocol_version}
    told["tools"] = [tool.name for tool in (await client.list_tools()).tools]
    if wish["all_lists"]:
        told["prompts"] = [one.name for one in (await client.list_prompts()).prompts]
        told["resources"] = [str(one.uri) for one in (await client.list_resources()).resources]
    told["answers"] = []
    for name, arguments in wish["calls"]:
        progress = note if wish["progress"] else None
        result = await client.call_tool(name, arguments, progress_callback=progress)
        text = "".join(getattr(part, "text", "") for part in result.content)
        told["answers"].append({"text": text, "error": bool(result.is_error)})
    return told


async def main(wish: dict) -> dict:
    if wish["command"]:
        program, *arguments = wish["command"]
        server = StdioServerParameters(command=program, args=arguments, env=wish["env"])
        async with Client(server, mode=wish["mode"]) as client:
            return await talk(client, wish)
    headers = {"Authorization": f"Bearer {wish['key']}"} if wish["key"] else {}
    async with create_mcp_http_client(headers=headers) as http:
        transport = streamable_http_client(wish["url"], http_client=http)
        async with Client(transport, mode=wish["mode"]) as client:
            return await talk(client, wish)


print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
