"""What a key that may touch a part of the hub hears of the rest: not even names (A18)."""

from msgspec import structs

from agenthub.domain import target
from agenthub.domain.caller import Caller
from agenthub.domain.events import (
    BreakerChanged,
    BudgetReached,
    CallEnded,
    Event,
    ServerChanged,
    ViewChanged,
)
from agenthub.domain.view import View
from agenthub.inbound.rest.needs import RestHub

TOOL_CALL = "tools/call"


def hears_of(hub: RestHub, caller: Caller, endpoint: str, method: str, name: str) -> bool:
    """Whether it may know that this is called."""
    if caller.reach is None or not caller.sees(endpoint):
        return caller.sees(endpoint)
    by_uri = method.startswith("resources/")
    full = target.join_uri(endpoint, name) if by_uri else target.join(endpoint, name)
    server = hub.catalog.find(endpoint, caller)
    reads = method != TOOL_CALL or (server is not None and server.changes_nothing(name))
    return caller.admits(full, reads=reads)


def heard(hub: RestHub, caller: Caller, event: Event) -> Event | None:
    """The event as it is told to this key, if it is."""
    if isinstance(event, CallEnded):
        known = hears_of(hub, caller, event.endpoint, event.method, event.name)
    elif isinstance(event, BreakerChanged) and event.tool:
        known = hears_of(hub, caller, event.endpoint, TOOL_CALL, event.tool)
    elif isinstance(event, ViewChanged):
        known = caller.sees_view(event.view)
    elif isinstance(event, BudgetReached):
        known = not caller.is_limited
    else:
        known = not isinstance(event, ServerChanged | BreakerChanged) or caller.sees(event.endpoint)
    if known and isinstance(event, ServerChanged) and caller.reach is not None:
        return structs.replace(event, detail="")  # names tools that wait for approval
    return event if known else None


def seen(hub: RestHub, caller: Caller, view: View) -> View:
    """A view without the names of what is not there for this key."""
    if not caller.is_limited:
        return view
    places = {own: target.split(renamed.target) for own, renamed in view.names.items()}
    names = {
        own: view.names[own]
        for own, place in places.items()
        if place is not None and hears_of(hub, caller, place[0], TOOL_CALL, place[1])
    }
    return structs.replace(view, names=names, allow=(), deny=())
