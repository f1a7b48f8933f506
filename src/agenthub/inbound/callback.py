"""`/oauth/callback`: where a browser comes back after a person signed in for a server.

It needs no key, for a browser has none: what it brings is the secret of a sign-in that an admin
began, good once and for ten minutes.
Source: RFC 6749 §4.1.2, RFC 9207; attack A24.
"""

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
    "<meta name=viewport content='width=device-width'><h1>{title}</h1><p>{words}</p></html>"
)


class CallbackDoor:
    """An ASGI application."""

    def __init__(self, sign_ins: "SignIns") -> None:
        self._sign_ins = sign_ins

    async def __call__(self, scope: "AsgiScope", receive: "Receive", send: "Send") -> None:
        del receive
        if scope["method"] != "GET":
            await _answer(send, 405, "Not here", "A browser comes here after signing in.")
            return
        try:
            name = await self._finish(scope["query_string"])
        except HubError as error:
            await _answer(send, 400, "Not signed in", str(error))
        else:
            await _answer(send, 200, "Signed in", f"The hub can use {name} now. Close this page.")

    async def _finish(self, query: bytes) -> str:
        said: dict[str, str] = {}
        if len(query) <= QUERY_MAX:
            with suppress(ValueError):
                pairs = parse_qs(query.decode("latin-1"), max_num_fields=20)
                said = {key: values[0] for key, values in pairs.items() if len(values) == 1}
        return await self._sign_ins.finish(said)


async def _answer(send: "Send", status: int, title: str, words: str) -> None:
    body = PAGE.format(title=escape(title), words=escape(words)).encode()
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
