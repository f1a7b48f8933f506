"""The Python client of both eras (mcp 2.3) does everything with each server, in one connection."""

import asyncio
import json
import sys
import warnings

import mcp_types as types
from matrix_face import Face, everything
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPDeprecationWarning


async def elicit(context: object, params: object) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"town": "Seoul"})


async def sample(context: object, params: object) -> types.CreateMessageResult:
    content = types.TextContent(text="blue")
    return types.CreateMessageResult(role="assistant", content=content, model="a model")


async def roots(context: object) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///home/matrix")])


class NewFace(Face):
    async def subscribe(self) -> None:
        uri = await self.watched()
        if self.client.protocol_version == "2026-07-28":
            async with self.client.listen(resource_subscriptions=[uri]) as events:
                await self.call("touch")
                async for event in events:
                    assert str(event.uri) == uri, event
                    return
        await self.client.subscribe_resource(uri)
        await self.hear(uri)
        await self.client.unsubscribe_resource(uri)


async def main(wish: dict) -> dict:
    updates: asyncio.Queue[str] = asyncio.Queue()

    async def heard(message: object) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            updates.put_nowait(str(message.params.uri))

    async with create_mcp_http_client() as http:
        if wish["command"]:
            program, *arguments = wish["command"]
            server = StdioServerParameters(command=program, args=arguments, env=wish["env"])
        else:
            server = streamable_http_client(wish["url"], http_client=http)
        async with Client(
            server,
            mode=wish["mode"],
            elicitation_callback=elicit,
            sampling_callback=sample,
            list_roots_callback=roots,
            message_handler=heard,
        ) as client:
            problems = await everything(NewFace, client, updates, wish)
            return {"version": client.protocol_version, "problems": problems}


warnings.simplefilter("ignore", MCPDeprecationWarning)  # The matrix wants all of it.
print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
