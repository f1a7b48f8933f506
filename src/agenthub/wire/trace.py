"""A trace that a client began goes on: the server gets the client's trace, under a span of the hub.

    client's `traceparent`   00-<trace>-<client's span>-<flags>
    server's `traceparent`   00-<trace>-<the hub's span>-<flags>

What is no trace context is passed on as it is: it is the client's word, not the hub's.
Source: W3C Trace Context, "traceparent"; MCP specification 2026-07-28, "Base, _meta" (SEP-414).
"""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Raw

TRACE_PARENT: Final = "traceparent"
SPAN_HEX: Final = 16
_PARENT = re.compile(
    rb'"(?!ff)([0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-)(?!0{16})[0-9a-f]{16}(-[0-9a-f]{2}[^"\\]{0,64})"'
)


def continued(meta: Mapping[str, Raw], span: str) -> Mapping[str, Raw]:
    """The raw `_meta` with the hub's span (16 hexadecimal digits, not all zero) as the parent."""
    parent = _PARENT.fullmatch(bytes(meta[TRACE_PARENT]))
    if parent is None:
        return meta
    return {**meta, TRACE_PARENT: Raw(b'"%b%b%b"' % (parent[1], span.encode(), parent[2]))}
