"""An old server with a resource that changes when a tool is called. Not a test."""

from base import say, serve, text

NOTE = "note:1"
SUBSCRIBED = set()


def other(message):
    method, number = message.get("method"), message.get("id")
    if method == "initialize":
        capabilities = {"tools": {}, "resources": {"subscribe": True}}
        info = {"name": "changing", "version": "1"}
        result = {"protocolVersion": "2025-06-18", "capabilities": capabilities, "serverInfo": info}
    elif method == "tools/list":
        result = {"tools": [{"name": "change", "inputSchema": {"type": "object"}}]}
    elif method == "resources/list":
        result = {"resources": [{"name": "note", "uri": NOTE}]}
    elif method == "resources/templates/list":
        result = {"resourceTemplates": []}
    elif method == "resources/subscribe":
        SUBSCRIBED.add(message["params"]["uri"])
        result = {}
    elif method == "resources/unsubscribe":
        SUBSCRIBED.discard(message["params"]["uri"])
        result = {}
    else:
        return False
    say({"id": number, "result": result})
    return True


def call(message, arguments):
    for uri in SUBSCRIBED:
        say({"method": "notifications/resources/updated", "params": {"uri": uri}})
    text(message, str(len(SUBSCRIBED)))


serve(call, other=other)
