"""MCP's doors: every transport of both eras, and one door behind them.

all transports     door, face, answer, terms, said        what a client sees, asks and is told
many tools         search, tool_index                     `search_tools` and `call_tool`
the rest           tasks, uris, asking, forgery           tasks, addresses, and what servers
may not say
dialogue/          dialogue, rounds, parking, seal,       a server's questions in the middle of
questions                              a call, in the four pairs of eras
news/              subscription, subscriptions, watched   what changed, for who listens
transport/
HTTP             streamable_http, request, stream       both eras at `/mcp`
old sessions     legacy_http, session, session_stream,  sessions, and streams that are taken
session_feed, event_store              up again
channels         channel; stdio with pipe, sse          one stream for everything
old era          legacy                                 initialize, levels, subscribing
"""
