"""An MCP server that speaks HTTP+SSE alone, by the Python SDK: `sse_everything.py PORT`."""

import asyncio
import sys
import warnings

import mcp_types as types
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPDeprecationWarning
from pydantic import BaseModel

warnings.simplefilter("ignore", MCPDeprecationWarning)
server = MCPServer("sse-everything")


class Name(BaseModel):
    name: str


@server.tool()
def echo(words: str) -> str:
    return words


@server.tool()
async def count(ctx: Context) -> str:
    for number in range(3):
        await ctx.report_progress(number + 1, 3)
    return "3"


@server.tool()
async def elicit(ctx: Context) -> str:
    answer = await ctx.elicit("Your name?", Name)
    return answer.data.name if answer.action == "accept" else answer.action


@server.tool()
async def sample(ctx: Context) -> str:
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="hi"))
    answer = await ctx.session.create_message([message], max_tokens=10)
    return answer.content.text


@server.tool()
async def roots(ctx: Context) -> str:
    return ",".join(str(root.uri) for root in (await ctx.session.list_roots()).roots)


@server.tool()
async def sleep() -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise
    return "awake"


if __name__ == "__main__":
    uvicorn.run(server.sse_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
