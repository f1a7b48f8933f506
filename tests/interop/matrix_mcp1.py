"""The Python client of the old era (mcp 1.30) does everything with each server."""

import asyncio
import json
import sys
from typing import Any

from matrix_face import Face, everything
from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client
from pydantic import AnyUrl


async def elicit(context: object, params: object) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"town": "Seoul"})


async def sample(context: object, params: object) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="blue")
    return types.CreateMessageResult(role="assistant", content=content, model="a model")


async def roots(context: object) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///home/matrix")])


class OldFace(Face):
    def before_cancel(self) -> Any:
        return self.client._request_id

    async def say_cancelled(self, before: Any) -> None:
        """By hand: a call that is cancelled in this library says nothing to its server."""
        params = types.CancelledNotificationParams(requestId=before)
        await self.client.send_notification(
            types.ClientNotification(types.CancelledNotification(params=params))
        )

    async def subscribe(self) -> None:
        uri = await self.watched()
        await self.client.subscribe_resource(AnyUrl(uri))
        await self.hear(uri)
        await self.client.unsubscribe_resource(AnyUrl(uri))


async def main(wish: dict[str, Any]) -> dict[str, Any]:
    updates: asyncio.Queue[str] = asyncio.Queue()

    async def heard(message: object) -> None:
        note = getattr(message, "root", None)
        if isinstance(note, types.ResourceUpdatedNotification):
            updates.put_nowait(str(note.params.uri))

    async with (
        streamable_http_client(wish["url"]) as (read, write, _),
        ClientSession(
            read,
            write,
            elicitation_callback=elicit,
            sampling_callback=sample,
            list_roots_callback=roots,
            message_handler=heard,
        ) as session,
    ):
        version = (await session.initialize()).protocolVersion
        problems = await everything(OldFace, session, updates, wish)
    return {"version": version, "problems": problems}


print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
