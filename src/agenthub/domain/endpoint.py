"""An endpoint: the hub's record of one upstream, as the operator wrote it. It is data."""

from msgspec import Struct, field

from agenthub.domain.circuit_breaker import BreakerConfig
from agenthub.domain.errors import BadSetting, InvalidParams
from agenthub.domain.money import parse
from agenthub.domain.price import CallPrice
from agenthub.domain.provider import Llm


class RateLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """Calls per second and how many may come at once; lists and pings are not counted."""

    rps: float = 5.0
    """Greater than 0; at most 1,000,000."""
    burst: int = 10
    """From 1 to 1,000,000."""


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of one attempt, in milliseconds (R40)."""

    connect_ms: int = 5_000
    idle_ms: int = 60_000
    """Between two bytes of an answer; progress resets this one only."""
    call_ms: int = 60_000
    """Of the whole call, all attempts together; never more than 300,000."""


class ToolPrice(Struct, frozen=True, forbid_unknown_fields=True):
    """What each call of a tool costs, in US dollars as decimal texts."""

    each: str
    """As "0.01": held before a call is sent, and what it costs unless its result says otherwise."""
    pointer: str = ""
    """A JSON pointer (RFC 6901) into the result, to what the call really cost in dollars, as
    `/structuredContent/cost_usd`; empty: it does not say."""

    @property
    def exact(self) -> CallPrice:
        """Raises BadSetting."""
        try:
            return CallPrice(parse(self.each), self.pointer)
        except InvalidParams as error:
            raise BadSetting(f"each: {error}") from None


class ToolPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """What the operator says of one tool; it outweighs what the server says of it."""

    replay: str | None = None
    """`safe`: may be run twice. `never`: may not. None: by the pinned annotations, if trusted."""
    timeout_ms: int | None = None
    fallback_name: str | None = None
    """The equivalent tool's name on the fallback servers: an explicit mapping (R39)."""
    read_only: bool | None = None
    """Whether it changes nothing, for keys and views that are `read_only`. None: by the pinned
    annotations, if trusted."""
    price: ToolPrice | None = None
    """What a call costs: it counts to budgets, and is refused where they are used up. None: it is
    free."""
    polls: bool = False
    """Whether equal answers to equal calls are what it is for, as with one that tells whether
    something is done: an agent's loop breaker leaves it alone."""


class OAuth(Struct, frozen=True, forbid_unknown_fields=True):
    """How the hub gets access tokens of its own for a server (OAuth 2.1)."""

    grant: str = "authorization_code"
    """`authorization_code`: a person signs in once, by `agenthub login NAME`.
    `client_credentials`: the hub signs in by itself. `token_exchange`: a token of each caller's
    own, for the access token that it came in with (RFC 8693); lists by `client_credentials`."""
    client_id: str = ""
    """Empty: the hub is known by its metadata document, or else registers itself, where the
    authorization server lets it."""
    client_secret: str = ""
    """`${NAME}` is filled in at start, never kept."""
    scopes: tuple[str, ...] = ()
    """Empty: those that the server asks for, and more when it wants more."""
    issuer: str = ""
    """The authorization server; empty: the one that the server names. A secret is for one only."""
    metadata_document: bool = True
    """Whether the hub may be known by the address of its metadata document, where it has an https
    `server.public_url`; false where the authorization server cannot reach that."""
    per: str = "hub"
    """`hub`: one token for all callers. `caller`: each signs in for itself when it first calls, and
    the hub's own sign-in serves for the lists alone; with `authorization_code`."""
    audience: str = ""
    """Of `token_exchange`: the server's name there; empty: none is said."""
    resource: str = ""
    """Of `token_exchange`: the server's address there; empty: what the server calls itself."""

    @property
    def is_per_caller(self) -> bool:
        """Whether each caller's calls go with a token of its own."""
        return self.grant == "token_exchange" or self.per == "caller"


class Endpoint(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One MCP server or LLM provider: where it is, how far it is trusted, and its limits.

    Exactly one of `url` and `command` is given; none for the model that ships with the hub.
    """

    name: str
    """`[a-z0-9][a-z0-9_-]{0,62}`, without `__`, which parts it from the tool's name."""
    url: str | None = None
    """`http://` or `https://`, of a Streamable HTTP endpoint or one of HTTP+SSE."""
    transport: str = "auto"
    """What is spoken at `url`: `streamable-http`; `sse`, the HTTP+SSE of 2024-11-05; or `auto`: the
    first, and if the server refuses that, the second."""
    command: tuple[str, ...] = ()
    """Program and arguments, run without a shell."""
    env: dict[str, str] = field(default_factory=dict[str, str])
    """Added to the few variables that a child gets. `${NAME}` is filled in at start, never kept."""
    cwd: str | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    """Sent with each request; `${NAME}` as above."""
    llm: Llm | None = None
    """That it is a provider of language models, and how it is spoken to; null: an MCP server."""
    oauth: OAuth | None = None
    """How the hub gets tokens for it; null: what is needed stands in `headers`."""
    fallbacks: tuple[str, ...] = ()
    """Names of other endpoints, in order; at most 3, and no circles."""
    fallback_url: str | None = None
    """Short for one more fallback that is known by its address only; it comes first."""
    trust: bool = False
    """Whether the server's own annotations may unlock a replay."""
    pinning: str = "quarantine"
    """What becomes of a tool whose definition changed since it was approved, or that came later.
    `quarantine`: it is not offered, and a call to it is refused. `flag`: it is used, and told.
    `allow`: it is used. A trusted server's new tools are approved when they come."""
    same_backend: bool = False
    """Whether the fallbacks act on the same data, so that idempotent holds across them (R28)."""
    enabled: bool = True
    rate_limit: RateLimit | None = field(default_factory=RateLimit)
    """None: no limit."""
    breaker: BreakerConfig = field(default_factory=BreakerConfig)
    concurrency: int | None = None
    """Calls in flight; None: 32, or 8 over stdio (R43). As many more may wait."""
    private_sessions: int | None = None
    """Sessions with an older server that belong to one caller each, for calls whose client can be
    asked (elicitation, sampling, roots); None: 64, or 8 over stdio, where each is a process of its
    own. 0: none, and such a server cannot ask anybody."""
    questions: str = "all"
    """What it may ask the client in the middle of a call, as far as the client can be asked at all.
    `all`; `no-pages`: not to open an address (elicitation by URL); `none`."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    attempts: int = 3
    """Of one call on one server, the first included (R36)."""
    validate_arguments: bool = True
    """Whether arguments are checked against the pinned schema before they are sent (A33)."""
    grace_s: int = 86_400
    """How long a dead server's tools stay listed."""
    tools: dict[str, ToolPolicy] = field(default_factory=dict[str, ToolPolicy])

    @property
    def reached_by(self) -> str:
        """`stdio`, `http`, or `models` for a provider of language models."""
        if self.llm is not None:
            return "models"
        return "stdio" if self.command else "http"

    @property
    def is_per_caller(self) -> bool:
        """Whether each caller's calls go with a token of its own, so that no answer is shared."""
        return self.oauth is not None and self.oauth.is_per_caller

    @property
    def sessions_max(self) -> int:
        """`private_sessions`, as a number: each is a process, or two connections."""
        if self.private_sessions is None:
            return 8 if self.command else 64
        return self.private_sessions
