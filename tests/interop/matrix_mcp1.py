"""The Python client of the old era (mcp 1.30) does everything with each server."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client
from pydantic import AnyUrl

FEATURE_S = 15


async def elicit(context: object, params: object) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"town": "Seoul"})


async def sample(context: object, params: object) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="blue")
    return types.CreateMessageResult(role="assistant", content=content, model="a model")


async def roots(context: object) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///home/matrix")])


class Face:
    """What the client does with one of the servers; an assertion says it is not so."""

    def __init__(
        self, session: ClientSession, name: str, updates: asyncio.Queue[str], tag: str
    ) -> None:
        self._session = session
        self._name = name
        self._updates = updates
        self._word = tag

    async def _call(self, tool: str, **more: Any) -> str:
        given = {"word": self._word}
        result = await self._session.call_tool(f"{self._name}__{tool}", given, **more)
        return "".join(getattr(part, "text", "") for part in result.content)

    async def list(self) -> None:
        names = [tool.name for tool in (await self._session.list_tools()).tools]
        assert f"{self._name}__echo" in names, names

    async def echo(self) -> None:
        assert (said := await self._call("echo")) == f"echo {self._word}", said

    async def progress(self) -> None:
        seen: list[float] = []

        async def note(progress: float, total: float | None, message: str | None) -> None:
            seen.append(progress)

        said = await self._call("progress", progress_callback=note)
        assert (said, seen) == ("progress done", [1, 2, 3]), (said, seen)

    async def elicit(self) -> None:
        assert (said := await self._call("elicit")) == "elicit Seoul", said

    async def sample(self) -> None:
        assert (said := await self._call("sample")) == "sample blue", said

    async def roots(self) -> None:
        assert (said := await self._call("roots")) == "roots file:///home/matrix", said

    async def cancel(self) -> None:
        """By hand: a call that is cancelled in this library says nothing to its server."""
        begun = asyncio.Event()

        async def note(progress: float, total: float | None, message: str | None) -> None:
            begun.set()

        number = self._session._request_id
        async with asyncio.TaskGroup() as group:
            call = group.create_task(self._call("wait", progress_callback=note))
            await begun.wait()
            params = types.CancelledNotificationParams(requestId=number)
            await self._session.send_notification(
                types.ClientNotification(types.CancelledNotification(params=params))
            )
            call.cancel()

    async def subscribe(self) -> None:
        resources = (await self._session.list_resources()).resources
        uris = [str(one.uri) for one in resources]
        (uri,) = (AnyUrl(uri) for uri in uris if uri.endswith(f"{self._name}/watched"))
        await self._session.subscribe_resource(uri)
        await self._call("touch")
        assert (updated := await self._updates.get()) == str(uri), updated
        await self._session.unsubscribe_resource(uri)


async def attempt(feature: Callable[[], Awaitable[None]]) -> str:
    """What went wrong, or nothing."""
    try:
        async with asyncio.timeout(FEATURE_S):
            await feature()
    except Exception as problem:  # noqa: BLE001 - the test wants to read it, whatever it was.
        return f"{type(problem).__name__}: {problem}"[:400]
    return ""


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
        told = {"version": (await session.initialize()).protocolVersion, "problems": {}}
        for name in wish["servers"]:
            face = Face(session, name, updates, wish["tag"])
            told["problems"][name] = {
                feature: await attempt(getattr(face, feature)) for feature in wish["features"]
            }
    return told


print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
