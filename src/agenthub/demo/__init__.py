"""Small MCP servers that ship with the package: what `make run` shows without a key."""
