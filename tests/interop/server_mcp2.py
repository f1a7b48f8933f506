"""A server of the new era alone (mcp 2.3) with every feature of the matrix.

    python server_mcp2.py NAME FOLDER stdio | http PORT

What a test must see of it it writes into FOLDER. `initialize` it refuses: the library would serve
both eras.
"""

import asyncio
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

NAME, FOLDER, TRANSPORT = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
WATCHED = f"matrix://{NAME}/watched"
MODERN = "2026-07-28"
ANYTHING = {"type": "object", "properties": {"word": {"type": "string"}}}
TOWN = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
bus = InMemorySubscriptionBus()


def says(words: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=words)])


def record(words: str) -> None:
    with (FOLDER / "log").open("a") as log:
        log.write(f"{NAME} {words}\n")


async def echo(ctx: Any, params: Any) -> Any:
    return says(f"echo {params.arguments['word']}")


async def progress(ctx: Any, params: Any) -> Any:
    for done in (1, 2, 3):
        await ctx.session.report_progress(done, 3)
    return says("progress done")


def asks(question: types.InputRequest, told: Callable[[Any], str]) -> Callable[..., Any]:
    """A tool that says what the client answered to the question."""

    async def call(ctx: Any, params: Any) -> Any:
        answer = (params.input_responses or {}).get("question")
        if answer is None:
            return types.InputRequiredResult(input_requests={"question": question})
        return says(told(answer))

    return call


async def wait(ctx: Any, params: Any) -> Any:
    """Ends when it is cancelled; what tells the client that it has begun is progress."""
    try:
        await ctx.session.report_progress(1)
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        record(f"cancelled {params.arguments['word']}")
        raise
    return says("nobody cancelled it")


async def touch(ctx: Any, params: Any) -> Any:
    await bus.publish(ResourceUpdated(uri=WATCHED))
    return says("touched")


FORM = types.ElicitRequestFormParams(message="Which town?", requested_schema=TOWN)
COLOUR = types.CreateMessageRequestParams(
    messages=[types.SamplingMessage(role="user", content=types.TextContent(text="Which colour?"))],
    max_tokens=10,
)
TOOLS: dict[str, Callable[..., Any]] = {
    "echo": echo,
    "progress": progress,
    "elicit": asks(
        types.ElicitRequest(params=FORM), lambda answer: f"elicit {answer.content['town']}"
    ),
    "sample": asks(
        types.CreateMessageRequest(params=COLOUR), lambda answer: f"sample {answer.content.text}"
    ),
    "roots": asks(types.ListRootsRequest(), lambda answer: f"roots {answer.roots[0].uri}"),
    "wait": wait,
    "touch": touch,
}


async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(
        tools=[types.Tool(name=name, input_schema=ANYTHING) for name in TOOLS]
    )


async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> Any:
    return await TOOLS[params.name](ctx, params)


async def list_resources(ctx: Any, params: Any) -> types.ListResourcesResult:
    return types.ListResourcesResult(resources=[types.Resource(uri=WATCHED, name="watched")])


async def only_modern(ctx: Any, call_next: Any) -> Any:
    if ctx.protocol_version != MODERN:
        data = {"supported": [MODERN], "requested": ctx.protocol_version}
        raise MCPError(-32022, "Unsupported protocol version", data)
    return await call_next(ctx)


async def main() -> None:
    warnings.simplefilter("ignore", MCPDeprecationWarning)  # The matrix wants all of it.
    server = Server(
        NAME,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_subscriptions_listen=ListenHandler(bus),
    )
    server.middleware.append(only_modern)
    if TRANSPORT == "http":
        app = server.streamable_http_app()
        config = uvicorn.Config(app, "127.0.0.1", int(sys.argv[4]), log_level="error")
        await uvicorn.Server(config).serve()
    else:
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())


asyncio.run(main())
