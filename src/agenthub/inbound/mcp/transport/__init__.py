"""How MCP travels to clients: Streamable HTTP, stdio, HTTP+SSE."""
