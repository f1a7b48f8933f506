"""The FastAPI application of the REST door; see the package for when it is loaded."""

from functools import partial

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from agenthub.domain.errors import HubError
from agenthub.inbound.rest import (
    answer,
    approval,
    breakers,
    budgets,
    calls,
    chat,
    endpoints,
    events,
    ingest,
    keys,
    overview,
    tools,
    usage,
    views,
)
from agenthub.inbound.rest.describe import describe
from agenthub.inbound.rest.needs import RestHub
from agenthub.inbound.rest.request import known_parameters

SUMMARY = "Servers, tools, circuit breakers, calls, usage, budgets and keys of one hub."


def create(hub: RestHub) -> FastAPI:
    app = FastAPI(
        title="AgentHub",
        summary=SUMMARY,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_id,
        dependencies=[Depends(known_parameters)],
        redirect_slashes=False,
    )
    app.state.hub = hub
    for part in (
        endpoints,
        views,
        tools,
        approval,
        breakers,
        calls,
        budgets,
        usage,
        chat,
        events,
        ingest,
        keys,
        overview,
    ):
        app.include_router(part.router)
    app.add_exception_handler(HubError, answer.on_hub_error)
    app.add_exception_handler(RequestValidationError, answer.on_validation_error)
    app.add_exception_handler(HTTPException, answer.on_http_exception)
    app.add_middleware(answer.Unexpected)
    app.openapi = partial(describe, app)
    return app


def _id(route: APIRoute) -> str:
    """The function's name: generated clients call their methods so."""
    return route.name
