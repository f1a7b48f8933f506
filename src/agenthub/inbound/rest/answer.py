"""How REST answers: JSON by msgspec, and every error as problem details (RFC 9457)."""

import logging
from typing import Any

import msgspec
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agenthub.domain.errors import HubError, InvalidParams, UnknownTarget

log = logging.getLogger(__name__)

JSON = "application/json"


def answer(shown: object, status: int = 200, **headers: str) -> Response:
    """A JSON answer; nothing of it may be kept by a cache."""
    return Response(
        msgspec.json.encode(shown), status, {"cache-control": "no-store"} | headers, JSON
    )


def refusal(error: HubError, request: Request) -> Response:
    wait = error.retry_after_ms
    shown = {
        "type": f"urn:agenthub:error:{error.slug}",
        "title": (error.__doc__ or "").partition("\n")[0],
        "status": error.status,
        "detail": str(error),
        "instance": request.url.path[:256],
        **error.data(),
    }
    headers = {} if wait is None else {"retry-after": str(-(-wait // 1000))}
    response = answer(shown, error.status, **headers)
    response.headers["content-type"] = "application/problem+json"
    return response


async def on_hub_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HubError)
    return refusal(_identified(error, request), request)


async def on_validation_error(request: Request, error: Exception) -> Response:
    """A parameter that is not what was expected: 400, and which one (never its value)."""
    assert isinstance(error, RequestValidationError)
    told: list[Any] = list(error.errors())
    words = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in told[:10])
    return refusal(_identified(InvalidParams(words), request), request)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """An unknown address, or a method that this address does not know."""
    assert isinstance(error, HTTPException)
    shown = NotAllowed() if error.status_code == 405 else UnknownTarget("There is no such address")
    response = refusal(_identified(shown, request), request)
    response.headers.update(error.headers or {})
    return response


class NotAllowed(HubError):
    """No such method at this address."""

    slug, code, status = "method_not_allowed", -32601, 405


def _identified(error: HubError, request: Request) -> HubError:
    if not error.request_id:
        error.request_id = request_id(request)
    return error


def request_id(request: Request) -> str:
    """The gate's, or a new one; the same for the whole request."""
    state = request.scope.setdefault("state", {})
    return state.setdefault("request_id", request.app.state.hub.ids())


class Unexpected:
    """ASGI middleware: a bug becomes a plain 500 with a request id, and a line in the log (A49)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            if scope["type"] != "http":
                raise
            request = Request(scope, receive)
            log.exception("A request failed", extra={"request_id": request_id(request)})
            if not started:
                error = HubError("Something went wrong in the hub", request_id=request_id(request))
                await refusal(error, request)(scope, receive, send)
