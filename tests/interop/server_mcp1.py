"""A server of the old era (mcp 1.30) with every feature of the matrix, over each of its transports.

    python server_mcp1.py NAME FOLDER stdio | http PORT | sse PORT

What a test must see of it, in whichever of its processes it happened, it writes into FOLDER.
"""

import asyncio
import sys
from pathlib import Path

from mcp.server.fastmcp import Context, FastMCP
from mcp.types import ResourcesCapability, SamplingMessage, ServerCapabilities, TextContent
from pydantic import AnyUrl, BaseModel

NAME, FOLDER, TRANSPORT = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
PORT = int(sys.argv[4]) if len(sys.argv) > 4 else 0
TOUCHED = FOLDER / f"{NAME}.touched"
WATCHED = f"matrix://{NAME}/watched"
LOOK_S = 0.05

server = FastMCP(NAME, host="127.0.0.1", port=PORT, log_level="ERROR")


class Town(BaseModel):
    town: str


def record(words: str) -> None:
    with (FOLDER / "log").open("a") as log:
        log.write(f"{NAME} {words}\n")


@server.tool()
async def echo(word: str) -> str:
    return f"echo {word}"


@server.tool()
async def progress(ctx: Context) -> str:
    for done in (1, 2, 3):
        await ctx.report_progress(done, 3)
    return "progress done"


@server.tool()
async def elicit(ctx: Context, word: str = "") -> str:
    record(f"elicit {word}")
    answer = await ctx.elicit("Which town?", Town)
    return f"elicit {answer.data.town}"


@server.tool()
async def sample(ctx: Context) -> str:
    asked = SamplingMessage(role="user", content=TextContent(type="text", text="Which colour?"))
    answer = await ctx.session.create_message(
        [asked], max_tokens=10, related_request_id=ctx.request_id
    )
    return f"sample {answer.content.text}"


@server.tool()
async def roots(ctx: Context) -> str:
    """It goes over the session's own stream: this library cannot say to which call it belongs."""
    found = await ctx.session.list_roots()
    return f"roots {found.roots[0].uri}"


@server.tool()
async def wait(word: str, ctx: Context) -> str:
    """Ends when it is cancelled; what tells the client that it has begun is progress."""
    record(f"wait {word}")
    try:
        await ctx.report_progress(1)
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        record(f"cancelled {word}")
        raise
    return "nobody cancelled it"


@server.tool()
async def touch() -> str:
    """Changes the resource, for whoever watches it in any process."""
    with TOUCHED.open("a") as file:
        file.write("x")
    return "touched"


@server.resource(WATCHED)
def watched() -> str:
    return str(size())


def size() -> int:
    return TOUCHED.stat().st_size if TOUCHED.exists() else 0


watchers: dict[int, asyncio.Task[None]] = {}
"""By session; each ends when its client wants no more."""


async def watch(session: object) -> None:
    seen = size()
    while True:
        await asyncio.sleep(LOOK_S)
        if seen != (seen := size()):
            await session.send_resource_updated(AnyUrl(WATCHED))


@server._mcp_server.subscribe_resource()
async def subscribe(uri: AnyUrl) -> None:
    session = server._mcp_server.request_context.session
    if id(session) not in watchers:
        watchers[id(session)] = asyncio.create_task(  # noqa: TID251 - ends with the process
            watch(session)
        )


@server._mcp_server.unsubscribe_resource()
async def unsubscribe(uri: AnyUrl) -> None:
    watcher = watchers.pop(id(server._mcp_server.request_context.session), None)
    if watcher is not None:
        watcher.cancel()


def capabilities(*given: object) -> ServerCapabilities:
    """The library never says that it takes subscriptions, even where it does."""
    known = found(*given)
    known.resources = ResourcesCapability(subscribe=True, listChanged=False)
    return known


found = server._mcp_server.get_capabilities
server._mcp_server.get_capabilities = capabilities
server.run({"stdio": "stdio", "http": "streamable-http", "sse": "sse"}[TRANSPORT])
