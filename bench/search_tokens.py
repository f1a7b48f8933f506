"""What a client's model reads of 200 tools: the whole list, or what `search_tools` finds.

    python bench/search_tokens.py [tools]

Tokens are counted as bytes / 4, the usual rule of thumb for English and JSON; the ratio does not
depend on it. The tools are made up: 11 servers, 2 to 5 described parameters each, 160 tokens on
average, where published ones have 100 to 900.
"""

import random
import sys
import time

import msgspec

from agenthub.domain.caller import Caller
from agenthub.inbound.mcp.search import ToolSearch, offered

VERBS = ("read", "write", "list", "search", "create", "delete", "update", "move", "copy", "merge")
NOUNS = (
    "file",
    "issue",
    "branch",
    "invoice",
    "ticket",
    "page",
    "message",
    "row",
    "contact",
    "build",
)
PLACES = ("docs", "git", "mail", "web", "crm", "shop", "wiki", "cloud", "chat", "news", "maps")
QUERIES = ("merge a branch", "create an invoice for a contact", "delete old messages")


def made(count):
    chance = random.Random(7)
    names = [f"{place}__{verb}_{noun}" for place in PLACES for verb in VERBS for noun in NOUNS]
    return [definition(name, chance) for name in sorted(chance.sample(names, count))]


def definition(name, chance):
    _, _, own = name.partition("__")
    verb, _, noun = own.partition("_")
    properties = {
        f"{chance.choice(NOUNS)}_{key}": {
            "type": "string",
            "description": f"The {key} of the {noun} to {verb}, as the server lists it.",
        }
        for key in chance.sample(["id", "name", "path", "owner", "filter"], chance.randint(2, 5))
    }
    about = (
        f"Use this to {verb} one {noun} or several of them. It needs the right to {verb} them,"
        " and answers with what was done, in the order in which it was asked for."
    )
    schema = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    return msgspec.json.encode({"name": name, "description": about, "inputSchema": schema})


def tokens(size):
    return round(size / 4)


def main():
    tools = made(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
    whole = sum(len(tool) + 1 for tool in tools)
    both = sum(len(tool) + 1 for tool in offered(Caller("bench", frozenset())))
    search, sizes, spans = ToolSearch(), [], []
    for query in QUERIES:
        began = time.perf_counter()
        sizes.append(len(msgspec.json.encode(search.found(tools, query, 5))))
        spans.append(time.perf_counter() - began)
    print(f"the whole list of {len(tools)} tools: {tokens(whole):,} tokens")
    print(f"search_tools and call_tool: {tokens(both):,} tokens")
    print(f"an answer with 5 tools: {tokens(sum(sizes) / len(sizes)):,} tokens")
    used = both + sum(sizes) / len(sizes)
    print(f"a task that searches once reads {used / whole:.1%} of the list")
    first, later = spans[0] * 1e3, min(spans) * 1e3
    print(f"the first search (with its index) {first:.1f} ms, later {later:.1f} ms")


if __name__ == "__main__":
    main()
