"""An MCP server that is a child process and speaks on its stdin and stdout, in either era."""

import os
from typing import Final

from agenthub.domain.endpoint import Endpoint
from agenthub.outbound import diagnosis
from agenthub.outbound.asking import NOBODY
from agenthub.outbound.child import Child, Order
from agenthub.outbound.diagnosis import Diagnosis
from agenthub.outbound.mcp_pipe import PipeUpstream
from agenthub.outbound.nursery import Nursery, child_env
from agenthub.outbound.pipe import PipeOwner
from agenthub.ports import Clock, UpstreamWatcher
from agenthub.settings import LimitSettings
from agenthub.settings.redaction import secrets_of

NOISY: Final = Diagnosis(
    "prints lines to stdout that are no MCP messages ({} so far)",
    "Its logs belong on stderr; look for a flag or variable that sets the log level.",
)


class StdioUpstream(PipeUpstream):
    """For an endpoint with a command."""

    def __init__(
        self,
        endpoint: Endpoint,
        watcher: UpstreamWatcher,
        clock: Clock,
        limits: LimitSettings,
        nursery: Nursery,
        declared: bytes = NOBODY,
    ) -> None:
        order = Order(
            endpoint.command,
            child_env(os.environ, endpoint.env),
            endpoint.cwd,
            limits.response_bytes,
            secrets_of(endpoint),
        )
        super().__init__(endpoint, watcher, clock, Spawning(order, nursery), declared)


class Spawning:
    """Implements `mcp_pipe.Way`."""

    always_initializes = False
    noisy = NOISY

    def __init__(self, order: Order, nursery: Nursery) -> None:
        self.line_bytes = order.line_bytes
        self._order = order
        self._nursery = nursery

    def open(self, owner: PipeOwner) -> Child:
        return self._nursery.spawn(self._order, owner)

    def silent(self, seconds: int) -> Diagnosis:
        return diagnosis.silent(self._order.command, seconds)
