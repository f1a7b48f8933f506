"""`/oauth/callback`: where a browser comes back after a person signed in for a server.

It needs no key, for a browser has none: what it brings is the secret of a sign-in that an admin or
a caller began, good once and for ten minutes; of a caller's, the browser's own secret too.
Source: RFC 6749 §4.1.2, RFC 9207; attack A24.
"""

import re
from contextlib import suppress
from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from agenthub.domain.errors import HubError

if TYPE_CHECKING:
    from starlette.types import Receive, Send
    from starlette.types import Scope as AsgiScope

    from agenthub.admission import SignIns

QUERY_MAX: Final = 8_192
PAGE: Final = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>AgentHub</title>"
    "<meta name=referrer content=same-origin><meta name=viewport content='width=device-width'>"
    "<h1>{title}</h1><p>{words}</p>{more}</html>"
)
"""Its form has an `Origin`, which the gate looks at, and its links tell nobody where they were."""
COOKIE: Final = "agenthub-sign-in"
_COOKIE = re.compile(rf"(?:^|; *){COOKIE}=([A-Za-z0-9_-]{{43}})(?:;|$)")


class CallbackDoor:
    """An ASGI application."""

    def __init__(self, sign_ins: "SignIns") -> None:
        self._sign_ins = sign_ins

    async def __call__(self, scope: "AsgiScope", receive: "Receive", send: "Send") -> None:
        del receive
        if scope["method"] != "GET":
            await answer(send, 405, "Not here", "A browser comes here after signing in.")
            return
        try:
            browser = browser_of(scope)
            name = await self._sign_ins.finish(said_in(scope["query_string"]), browser)
        except HubError as error:
            await answer(send, 400, "Not signed in", str(error))
        else:
            await answer(send, 200, "Signed in", f"The hub can use {name} now. Close this page.")


def said_in(query: bytes) -> dict[str, str]:
    """What an address says; of what it says twice, nothing."""
    if len(query) <= QUERY_MAX:
        with suppress(ValueError):
            pairs = parse_qs(query.decode("latin-1"), max_num_fields=20)
            return {key: values[0] for key, values in pairs.items() if len(values) == 1}
    return {}


def browser_of(scope: "AsgiScope") -> str:
    """The secret that this browser was given; empty: it has none."""
    for name, value in scope["headers"]:
        if name == b"cookie" and (found := _COOKIE.search(value.decode("latin-1"))):
            return found[1]
    return ""


async def answer(
    send: "Send", status: int, title: str, words: str, more: str = "", cookie: str = ""
) -> None:
    """A page; `more` is HTML."""
    body = PAGE.format(title=escape(title), words=escape(words), more=more).encode()
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"content-length", str(len(body)).encode()),
    ]
    if cookie:
        headers.append((b"set-cookie", cookie.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
