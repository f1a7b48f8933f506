"""What each route takes from a request: the hub, the caller, the server, and a strict body."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar, cast

import msgspec
from fastapi import Depends, Query, Request

from agenthub.domain.caller import Caller, Scope
from agenthub.domain.errors import Forbidden, InvalidParams, UnknownTarget
from agenthub.inbound.rest.needs import RestHub, RestServer
from agenthub.wire import strict_json

T = TypeVar("T")
NUMBER_MAX = 2**53 - 1
"""What every JSON reader can hold. Source: RFC 8259, section 6."""
Before = Annotated[int | None, Query(ge=1, le=NUMBER_MAX)]
"""The number below which a page goes on."""
Limit = Annotated[int, Query(ge=1, le=500)]
"""Rows in a page."""


def hub_of(request: Request) -> RestHub:
    return request.app.state.hub


def caller_of(request: Request) -> Caller:
    """Who asks. The gate before this door has found out; without it, nobody comes in."""
    caller = request.scope.get("state", {}).get("caller")
    if not isinstance(caller, Caller):
        raise Forbidden("This address needs a key")
    return caller


def needs(scope: Scope) -> Callable[[Request], None]:
    """A dependency: the caller's key must open this."""

    def check(request: Request) -> None:
        if not caller_of(request).may(scope):
            raise Forbidden(f"The key lacks the scope {scope.value!r}")

    return check


def whole_hub(request: Request) -> None:
    """A dependency: what shows or changes more than single servers is not for a limited key."""
    if caller_of(request).is_limited:
        raise Forbidden("The key is limited to a part of the hub, and this concerns all of it")


def known_parameters(request: Request) -> None:
    """A dependency: refuse what the route does not read, for it would be silently ignored."""
    known = set(_parameters(request.scope["route"].dependant))
    for name in request.query_params:
        if name not in known:
            raise InvalidParams(f"{name[:64]!r}: unknown query parameter")


def _parameters(dependant: Any) -> Iterator[str]:
    """Those of a route, and of what it depends on."""
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _parameters(inner)


def find(hub: RestHub, caller: Caller, name: str) -> RestServer:
    """The server, if this caller may know of it."""
    server = hub.catalog.find(name, caller)
    if server is None:
        raise UnknownTarget(f"There is no server named {name[:64]!r}", server=name[:64])
    return server


def server_of(request: Request, name: str) -> RestServer:
    return find(hub_of(request), caller_of(request), name)


TheHub = Annotated[RestHub, Depends(hub_of)]
TheCaller = Annotated[Caller, Depends(caller_of)]
TheServer = Annotated[RestServer, Depends(server_of)]


async def read_object(request: Request) -> dict[str, Any]:
    """The body, an object of strict JSON (A14); without a body, an empty one.

    Raises:
        BadJson, InvalidParams: It is not.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind.lower() != "application/json":
        raise InvalidParams("content-type: expected application/json")
    body: object = strict_json.parse(await request.body() or b"{}")
    if not isinstance(body, dict):
        raise InvalidParams("The body is not a JSON object")
    return cast("dict[str, Any]", body)


def typed(body: dict[str, Any], kind: type[T]) -> T:
    """The body as this type. Raises InvalidParams naming the field."""
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise InvalidParams(_named(str(error))) from None


async def read_body(request: Request, kind: type[T]) -> T:
    return typed(await read_object(request), kind)


def _named(text: str) -> str:
    """The message of msgspec with the field in front: `breaker.min_calls: Expected `int` …`."""
    words, _, path = text.partition(" - at `")
    field = path.rstrip("`").removeprefix("$").lstrip(".")
    return f"{field}: {words}" if field else words
