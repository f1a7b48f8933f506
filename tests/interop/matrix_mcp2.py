"""The Python client of both eras (mcp 2.3) does everything with each server, in one connection."""

import asyncio
import json
import sys
import warnings
from collections.abc import Awaitable, Callable

import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPDeprecationWarning

FEATURE_S = 15


async def elicit(context: object, params: object) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"town": "Seoul"})


async def sample(context: object, params: object) -> types.CreateMessageResult:
    content = types.TextContent(text="blue")
    return types.CreateMessageResult(role="assistant", content=content, model="a model")


async def roots(context: object) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///home/matrix")])


class Face:
    """What the client does with one of the servers; an assertion says it is not so."""

    def __init__(self, client: Client, name: str, updates: asyncio.Queue[str], tag: str) -> None:
        self._client = client
        self._name = name
        self._updates = updates
        self._word = tag

    async def _call(self, tool: str, **more: object) -> str:
        given = {"word": self._word}
        result = await self._client.call_tool(f"{self._name}__{tool}", given, **more)
        return "".join(getattr(part, "text", "") for part in result.content)

    async def list(self) -> None:
        names = [tool.name for tool in (await self._client.list_tools()).tools]
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
        """Gives the call up as soon as it has begun; the server writes down that it heard."""
        begun = asyncio.Event()

        async def note(progress: float, total: float | None, message: str | None) -> None:
            begun.set()

        async with asyncio.TaskGroup() as group:
            call = group.create_task(self._call("wait", progress_callback=note))
            await begun.wait()
            call.cancel()

    async def subscribe(self) -> None:
        resources = (await self._client.list_resources()).resources
        (uri,) = (
            str(one.uri) for one in resources if str(one.uri).endswith(f"{self._name}/watched")
        )
        if self._client.protocol_version == "2026-07-28":
            async with self._client.listen(resource_subscriptions=[uri]) as events:
                await self._call("touch")
                async for event in events:
                    assert str(event.uri) == uri, event
                    return
        await self._client.subscribe_resource(uri)
        await self._call("touch")
        assert (updated := await self._updates.get()) == uri, updated
        await self._client.unsubscribe_resource(uri)


async def attempt(feature: Callable[[], Awaitable[None]]) -> str:
    """What went wrong, or nothing."""
    try:
        async with asyncio.timeout(FEATURE_S):
            await feature()
    except Exception as problem:  # noqa: BLE001 - the test wants to read it, whatever it was.
        return f"{type(problem).__name__}: {problem}"[:400]
    return ""


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
            told = {"version": client.protocol_version, "problems": {}}
            for name in wish["servers"]:
                face = Face(client, name, updates, wish["tag"])
                told["problems"][name] = {
                    feature: await attempt(getattr(face, feature)) for feature in wish["features"]
                }
            return told


warnings.simplefilter("ignore", MCPDeprecationWarning)  # The matrix wants all of it.
print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
