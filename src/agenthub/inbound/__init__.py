"""The doors: what faces the clients.

    socket ─► HTTP/1.1 ─► gate ─► door ─► face ─► gateway         where to look
    ─────────────────────────────────────────────────────────────────────────────────────────────
    HTTP        listener, edge, protocol, reader, known, turn      one request, and its turn
                exchange (the port); asgi_exchange, web            the same by plain ASGI
    gate        gate, challenge, rejection                         who comes in, and how a no looks
    MCP         mcp, mcp_face, mcp_answer, mcp_terms, mcp_said     what all transports answer
      HTTP      mcp_http, mcp_request, mcp_stream                  both eras at `/mcp`
      old HTTP  mcp_legacy_http, mcp_session, mcp_session_stream,  sessions, and streams that are
                mcp_event_store, mcp_session_feed                  taken up again
      channels  mcp_channel; mcp_stdio with pipe, mcp_sse          one stream for everything
      old era   mcp_legacy                                         initialize, levels, subscribing
      asking    mcp_dialogue; mcp_asking, mcp_rounds,              a server's questions, in the four
                mcp_parking, mcp_seal, mcp_questions               pairs of eras
      the rest  mcp_search with tool_index, mcp_tasks, mcp_uris    search, tasks, addresses
                subscriptions, subscription, watched; forgery      news; what servers may not say
    REST        rest/                                              `/api`, `/metrics`, health
    sign-in     callback                                           back from a server's own OAuth

To follow one call: `protocol` → `reader` → `gate` → `mcp_http` → `mcp` → `gateway.py`, and back by
`mcp_answer` and `mcp_stream`.
"""
