"""The types of bodies and answers for `/openapi.json`: msgspec's schemas, FastAPI's routes."""

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import FastAPI
from msgspec import Struct

from agenthub import __version__
from agenthub.domain.events import (
    BreakerChanged,
    CallEnded,
    ClockEvent,
    ServerChanged,
    Traffic,
    ViewChanged,
)
from agenthub.inbound.rest.answer import JSON

REFERENCE = "#/components/schemas/{name}"
_shown: dict[str, Any] = {}
"""Types that routes name, by name."""


class Problem(Struct, frozen=True):
    """Problem details of RFC 9457, with the hub's own members."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    retryable: bool
    retry_after_ms: int | None
    request_id: str


PROBLEM = {
    "description": "Why not.",
    "content": {"application/problem+json": {"schema": {"$ref": REFERENCE.format(name="Problem")}}},
}


def described(
    shown: type | None = None, *, body: type | None = None, status: int = 200
) -> Mapping[str, Any]:
    """The arguments of a route that takes this body and answers with this type."""
    good: dict[str, Any] = {"description": "Done."}
    if shown is not None:
        good["content"] = {JSON: {"schema": _reference(shown)}}
    extra: dict[str, Any] = {}
    if body is not None:
        content = {JSON: {"schema": _reference(body)}}
        extra["requestBody"] = {"required": True, "content": content}
    return {
        "status_code": status,
        "response_model": None,
        "responses": {status: good, "4XX": PROBLEM, "5XX": PROBLEM},
        "openapi_extra": extra,
    }


def _reference(kind: type) -> dict[str, str]:
    _shown[kind.__name__] = kind
    return {"$ref": REFERENCE.format(name=kind.__name__)}


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole description; made once."""
    if app.openapi_schema is None:
        events = [BreakerChanged, CallEnded, ClockEvent, ServerChanged, Traffic, ViewChanged]
        _, components = msgspec.json.schema_components(
            [*_shown.values(), Problem, *events], ref_template=REFERENCE
        )
        made = FastAPI.openapi(app)
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        # FastAPI's own shape for invalid requests is never sent.
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for operations in made["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        schemas.update(components)
        made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"key": []}]
        made["info"]["version"] = __version__
        app.openapi_schema = made
    return app.openapi_schema
