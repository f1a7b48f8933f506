"""An MCP server behind HTTP+SSE, the transport of 2024-11-05."""

from typing import Final

from agenthub.domain.endpoint import Endpoint
from agenthub.domain.span import MILLISECOND
from agenthub.outbound.asking import NOBODY
from agenthub.outbound.diagnosis import Diagnosis
from agenthub.outbound.http_connection import HttpLimits
from agenthub.outbound.mcp_http import CONNECTIONS, SPARE
from agenthub.outbound.mcp_pipe import PipeUpstream
from agenthub.outbound.oauth_tokens import TokenSource
from agenthub.outbound.pipe import PipeOwner
from agenthub.outbound.sse_pipe import SsePipe, Terms
from agenthub.ports import Clock, UpstreamWatcher
from agenthub.tasks import Tasks

NOISY: Final = Diagnosis("sends events that are no MCP messages ({} so far)", "See its own logs.")


class SseUpstream(PipeUpstream):
    """For an endpoint with a URL."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is a fact of its own
        self,
        endpoint: Endpoint,
        watcher: UpstreamWatcher,
        clock: Clock,
        tasks: Tasks,
        limits: HttpLimits,
        declared: bytes = NOBODY,
        tokens: TokenSource | None = None,
    ) -> None:
        """References are filled in already."""
        assert endpoint.url is not None, "it has a URL"
        terms = Terms(
            endpoint.url,
            endpoint.headers,
            limits,
            clock,
            tasks,
            endpoint.timeouts.connect_ms * MILLISECOND,
            endpoint.timeouts.idle_ms * MILLISECOND,
            max(CONNECTIONS, endpoint.concurrency or 0) + SPARE,
            tokens,
        )
        self._stream = Streaming(terms)
        super().__init__(endpoint, watcher, clock, self._stream, declared)
        self._tokens = tokens
        if tokens is not None:
            tokens.listeners.append(self._token_changed)

    async def close(self) -> None:
        if self._tokens is not None and self._token_changed in self._tokens.listeners:
            self._tokens.listeners.remove(self._token_changed)
        await super().close()

    def _token_changed(self) -> None:
        if self._tokens is not None and self._tokens.header():
            self.hurry()

    @property
    def is_refused(self) -> bool:
        """Whether the server said the last time that there is no such transport here."""
        return self._stream.pipe is not None and self._stream.pipe.is_refused


class Streaming:
    """Implements `mcp_pipe.Way`."""

    always_initializes = True
    noisy = NOISY

    def __init__(self, terms: Terms) -> None:
        self.line_bytes = terms.limits.response_bytes
        self.pipe: SsePipe | None = None
        """The last one."""
        self._terms = terms

    def open(self, owner: PipeOwner) -> SsePipe:
        self.pipe = SsePipe(self._terms, owner)
        return self.pipe

    @staticmethod
    def silent(seconds: int) -> Diagnosis:
        problem = f"did not answer within {seconds} s"
        return Diagnosis(problem, "It takes connections, but does not answer: see its logs.")
