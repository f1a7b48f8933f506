"""What the Python clients of both libraries do with a server, written once. Not a test."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

FEATURE_S = 15


class Face:
    """What the client does with one of the servers; an assertion says it is not so."""

    def __init__(self, client: Any, name: str, updates: asyncio.Queue[str], tag: str) -> None:
        self.client = client
        self.updates = updates
        """The resources that changed."""
        self._name = name
        self._word = tag

    async def call(self, tool: str, **more: Any) -> str:
        given = {"word": self._word}
        result = await self.client.call_tool(f"{self._name}__{tool}", given, **more)
        return "".join(getattr(part, "text", "") for part in result.content)

    async def list(self) -> None:
        names = [tool.name for tool in (await self.client.list_tools()).tools]
        assert f"{self._name}__echo" in names, names

    async def echo(self) -> None:
        assert (said := await self.call("echo")) == f"echo {self._word}", said

    async def progress(self) -> None:
        seen: list[float] = []

        async def note(progress: float, total: float | None, message: str | None) -> None:
            seen.append(progress)

        said = await self.call("progress", progress_callback=note)
        assert (said, seen) == ("progress done", [1, 2, 3]), (said, seen)

    async def elicit(self) -> None:
        assert (said := await self.call("elicit")) == "elicit Seoul", said

    async def sample(self) -> None:
        assert (said := await self.call("sample")) == "sample blue", said

    async def roots(self) -> None:
        assert (said := await self.call("roots")) == "roots file:///home/matrix", said

    async def cancel(self) -> None:
        """Gives the call up as soon as it has begun; the server writes down that it heard."""
        begun = asyncio.Event()

        async def note(progress: float, total: float | None, message: str | None) -> None:
            begun.set()

        before = self.before_cancel()
        async with asyncio.TaskGroup() as group:
            call = group.create_task(self.call("wait", progress_callback=note))
            await begun.wait()
            await self.say_cancelled(before)
            call.cancel()

    def before_cancel(self) -> Any:
        """What `say_cancelled` needs to know of the call, before it begins."""
        return None

    async def say_cancelled(self, before: Any) -> None:
        """Where the library does not say it by itself."""

    async def watched(self) -> str:
        """The address of the resource that changes."""
        resources = (await self.client.list_resources()).resources
        uris = [str(one.uri) for one in resources]
        (uri,) = (uri for uri in uris if uri.endswith(f"{self._name}/watched"))
        return uri

    async def hear(self, uri: str) -> None:
        """The resource changes, and the client is told."""
        await self.call("touch")
        assert (updated := await self.updates.get()) == uri, updated


async def attempt(feature: Callable[[], Awaitable[None]]) -> str:
    """What went wrong, or nothing."""
    try:
        async with asyncio.timeout(FEATURE_S):
            await feature()
    except Exception as problem:  # noqa: BLE001 - the test wants to read it, whatever it was.
        return f"{type(problem).__name__}: {problem}"[:400]
    return ""


async def everything(
    face: Callable[..., Face], client: Any, updates: asyncio.Queue[str], wish: dict[str, Any]
) -> dict[str, dict[str, str]]:
    """The problems with each server, by feature."""
    problems: dict[str, dict[str, str]] = {}
    for name in wish["servers"]:
        one = face(client, name, updates, wish["tag"])
        problems[name] = {
            feature: await attempt(getattr(one, feature)) for feature in wish["features"]
        }
    return problems
