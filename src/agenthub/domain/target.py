"""Names: what a client calls a tool of many servers, and which servers stand in for which.

    server `files`, tool `read_file`        ◄──►  files__read_file
    server `files`, resource file:///a/b    ◄──►  agenthub://files/file:///a/b
    server `files`, template file:///{p}    ◄──►  agenthub://files/file:///{p}

A server's name has no `__` and does not end with `_` (`endpoint_check`), so the first `__` parts
it from the tool's name, whatever that is. Resources get a prefix and nothing else: a client may
expand a template before or after, and the server's own URI comes out.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Final

from msgspec import structs

from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import BadSetting

SEPARATOR: Final = "__"
SCHEME: Final = "agenthub://"
DEPTH_MAX: Final = 3
"""How many servers may stand behind one another (R39)."""
TWIN: Final = ".fallback"
"""Ends the hidden name of a fallback that is known by its address only."""

_TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
"""Source: MCP specification 2026-07-28, Tool Names."""


def is_tool_name(name: str) -> bool:
    """Whether a tool may be called that (A18)."""
    return _TOOL_NAME.fullmatch(name) is not None


def join(endpoint: str, name: str) -> str:
    """The name of a tool or prompt where names of many servers meet."""
    return endpoint + SEPARATOR + name


def split(name: str) -> tuple[str, str] | None:
    """Server, and what it calls the thing itself; None if `join` made no such name."""
    endpoint, found, own = name.partition(SEPARATOR)
    return (endpoint, own) if endpoint and found and own else None


def join_uri(endpoint: str, uri: str) -> str:
    """The URI, or URI template, of a resource where many servers meet."""
    return f"{SCHEME}{endpoint}/{uri}"


def split_uri(uri: str) -> tuple[str, str] | None:
    """Server, and its own URI; None if `join_uri` made no such URI."""
    if not uri.startswith(SCHEME):
        return None
    endpoint, found, own = uri[len(SCHEME) :].partition("/")
    return (endpoint, own) if endpoint and found and own else None


def owner(name: str) -> str:
    """The server whose record a server of this name belongs to: its own, or its primary's."""
    return name.removesuffix(TWIN)


def twin_of(endpoint: Endpoint) -> Endpoint:
    """The record of a fallback that is known by its address only."""
    return structs.replace(
        endpoint, name=endpoint.name + TWIN, url=endpoint.fallback_url, command=(), cwd=None,
        fallback_url=None, fallbacks=(), env={},
    )  # fmt: skip


# ---------------------------------------------------------------- names that look alike


def check_unlike(name: str, others: Iterable[str]) -> None:
    """Raises BadSetting if a reader may take the name for one of the others (A31).

    Source: the skeletons of Unicode TS 39, as far as a server's name has such characters.
    """
    skeleton = _skeleton(name)
    for other in others:
        if other != name and _skeleton(other) == skeleton:
            raise BadSetting(f"name: {name!r} looks like {other!r}; choose one that does not")


def _skeleton(name: str) -> str:
    return name.translate(_ALIKE).replace("rn", "m").replace("vv", "w")


_ALIKE = str.maketrans({"0": "o", "1": "l", "_": "-"})


# ---------------------------------------------------------------- fallbacks


def check_fallbacks(endpoints: Mapping[str, Endpoint]) -> None:
    """Raises BadSetting for a fallback that is not there, a circle, or too long a chain (R39)."""
    for name in endpoints:
        _check_chain(endpoints, (name,))


def _check_chain(endpoints: Mapping[str, Endpoint], chain: tuple[str, ...]) -> None:
    for name in endpoints[chain[-1]].fallbacks:
        if name not in endpoints:
            raise BadSetting(f"fallbacks: {chain[-1]!r} names {name!r}, which is not there")
        way = " → ".join((*chain, name))
        if name in chain:
            raise BadSetting(f"fallbacks: expected no circle, got {way}")
        if len(chain) > DEPTH_MAX:
            raise BadSetting(f"fallbacks: expected at most {DEPTH_MAX} in a row, got {way}")
        _check_chain(endpoints, (*chain, name))


def without_gone(endpoint: Endpoint, names: Container[str]) -> Endpoint:
    """The endpoint, with those of its fallbacks that are there."""
    there = tuple(name for name in endpoint.fallbacks if name in names)
    return endpoint if there == endpoint.fallbacks else structs.replace(endpoint, fallbacks=there)


def fallback_order(endpoints: Mapping[str, Endpoint], name: str) -> tuple[str, ...]:
    """Who stands in for a server, the nearest first; never itself, and nobody twice.

    At each step the twin that is known by its address comes first, then the names in their order.
    """
    order = {name: None}
    step = [name]
    for _ in range(DEPTH_MAX):
        step = [f for n in step for f in _own(endpoints, n) if f not in order]
        order |= dict.fromkeys(step)
    return tuple(order)[1:]


def _own(endpoints: Mapping[str, Endpoint], name: str) -> Iterator[str]:
    if name + TWIN in endpoints:
        yield name + TWIN
    yield from (fallback for fallback in endpoints[name].fallbacks if fallback in endpoints)
