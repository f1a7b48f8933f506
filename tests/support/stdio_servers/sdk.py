"""A server of the official SDK, both eras."""

from mcp.server import MCPServer

server = MCPServer("sdk")


@server.tool()
def add(a: int, b: int) -> int:
    return a + b


server.run()
