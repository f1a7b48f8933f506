"""The doors: what faces the clients.

    socket ─► HTTP/1.1 ─► gate ─► door ─► face ─► gateway         where to look
    ─────────────────────────────────────────────────────────────────────────────────────────────
    HTTP        listener, open_files, edge, protocol, reader,      one request, and its turn
                known, turn
                exchange (the port); asgi_exchange, web            the same by plain ASGI
    gate        gate, challenge, rejection                         who comes in, and how a no looks
    MCP         mcp/                                               with a map of its own
    models      llm/                                               `/v1`, as providers have it
    telemetry   telemetry                                          `/v1/logs` and its kin (OTLP)
    REST        rest/                                              `/api`, `/metrics`, health
    sign-in     sign_in, callback, client_document                 the hub as a client of OAuth

To follow one call: `protocol` → `reader` → `gate` → `mcp/transport/streamable_http` → `mcp/door` →
`gateway.py`, and back by `mcp/answer` and `mcp/transport/stream`.
"""
