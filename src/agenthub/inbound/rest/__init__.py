"""The REST door: `/api`, for the CLI, the dashboard and scripts.

FastAPI and pydantic are slow to import and large, so nothing of them is loaded before the first
request that needs them: `create_rest` is called then. `/healthz` and `/readyz` do without.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from agenthub.inbound.rest.needs import RestHub


def create_rest(hub: "RestHub") -> "ASGIApp":
    """The ASGI application of everything under `/api`, `/metrics` and `/openapi.json`."""
    from agenthub.inbound.rest.app import create  # noqa: PLC0415 - loads FastAPI

    return create(hub)
