"""`/healthz` and `/readyz`: whether the hub lives, and whether it can do its work.

Raw ASGI, so that a probe costs nothing and needs nothing. Who has no key hears the word only: the
reasons name servers (A50). Only an admin hears what a server said on its stderr (A48).
"""

from typing import TYPE_CHECKING

import msgspec

from agenthub.domain.caller import Caller, Scope
from agenthub.inbound.rest.needs import Health

if TYPE_CHECKING:
    from starlette.types import Receive, Send
    from starlette.types import Scope as AsgiScope


class HealthDoor:
    """An ASGI application for both addresses."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def __call__(self, scope: "AsgiScope", receive: "Receive", send: "Send") -> None:
        del receive
        if scope["method"] not in {"GET", "HEAD"}:
            await _answer(send, 405, b"", b"GET, HEAD")
            return
        status, shown = 200, {"status": "ok"}
        if scope["path"] == "/readyz":
            status, shown = self._readiness(scope.get("state", {}).get("caller"))
        body = msgspec.json.encode(shown)
        await _answer(send, status, b"" if scope["method"] == "HEAD" else body)

    def _readiness(self, caller: Caller | None) -> tuple[int, dict[str, object]]:
        """200 while degraded: some servers are sick, and the hub is there for the others."""
        report = self._health.report()
        shown: dict[str, object] = {"status": report.status}
        if caller is not None and caller.may(Scope.READ) and not caller.is_limited:
            shown["reasons"] = report.reasons(in_full=caller.may(Scope.ADMIN))
        return (503 if report.status == "down" else 200), shown


async def _answer(send: "Send", status: int, body: bytes, allow: bytes = b"") -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if allow:
        headers.append((b"allow", allow))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
