"""`/oauth/sign-in`: where a person agrees to sign in to a server for one caller of the hub.

    GET  ?ticket=…   whom it is for; nothing happens yet, so whoever unfurls links may come
    POST ?ticket=…   begun: a secret for this browser, and on to the authorization server

A link that somebody else was given can be sent on, so the page says for which caller it is, and the
answer counts in no other browser than the one that pressed the button. No page elsewhere can press
it: the gate lets no post in from another origin.
Source: MCP specification 2025-11-25, "Elicitation, Phishing"; RFC 9700 §4.7; attack A24.
"""

import secrets
from html import escape
from typing import TYPE_CHECKING, Final

from agenthub.domain.errors import HubError
from agenthub.inbound.callback import COOKIE, answer, browser_of, said_in

if TYPE_CHECKING:
    from starlette.types import Receive, Send
    from starlette.types import Scope as AsgiScope

    from agenthub.hub import Hub

SIGN_IN: Final = "/oauth/sign-in"
AGREE: Final = (
    "<p>What you let the hub do at {server}, it then does for the caller "
    "<strong>{caller}</strong>, and for nobody else. Go on only if that is you, and you called "
    "{server} just now.<form method=post><button>Sign in to {server}</button></form>"
)
GO_ON: Final = (
    "<meta http-equiv=refresh content='0;url={url}'><p><a href='{url}'>Go on to sign in</a></p>"
)


class SignInDoor:
    """An ASGI application."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub

    async def __call__(self, scope: "AsgiScope", receive: "Receive", send: "Send") -> None:
        del receive
        ticket = said_in(scope["query_string"]).get("ticket", "")
        try:
            if scope["method"] == "GET":
                await self._ask(ticket, send)
            elif scope["method"] == "POST":
                await self._begin(ticket, browser_of(scope) or secrets.token_urlsafe(32), send)
            else:
                await answer(send, 405, "Not here", "A browser comes here to sign in.")
        except HubError as error:
            await answer(send, 400, "Not signed in", str(error))

    async def _ask(self, ticket: str, send: "Send") -> None:
        invited = self._hub.sign_ins.callers.invited(ticket)
        caller = _called(self._hub, invited.caller)
        more = AGREE.format(server=escape(invited.server), caller=escape(caller))
        await answer(send, 200, f"Sign in to {invited.server}", "", more)

    async def _begin(self, ticket: str, browser: str, send: "Send") -> None:
        callers = self._hub.sign_ins.callers
        url = await callers.accept(ticket, browser)
        secure = "; Secure" if callers.address.startswith("https:") else ""
        cookie = f"{COOKIE}={browser}; Path=/oauth; Max-Age=600; HttpOnly; SameSite=Lax{secure}"
        more = GO_ON.format(url=escape(url, quote=True))
        await answer(send, 200, "Signing in", "", more, cookie)


def _called(hub: "Hub", caller: str) -> str:
    """As its owner knows it."""
    named = next((row.name for row in hub.keys.list() if row.id == caller), "")
    return f"{named} ({caller})" if named else caller
