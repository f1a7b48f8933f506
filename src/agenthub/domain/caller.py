"""Who asks: the principal behind a key, and what it may touch."""

import fnmatch
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from msgspec import Struct, structs

from agenthub.domain import alias
from agenthub.domain.content import Target
from agenthub.domain.endpoint import RateLimit
from agenthub.domain.endpoint_check import check_rate_limit
from agenthub.domain.errors import BadSetting
from agenthub.domain.subject import Subject
from agenthub.domain.tool_set import EVERYTHING, ToolSet, check_globs
from agenthub.domain.view import SEARCH, View, check_search

TEAM_MAX: Final = 64


class Scope(Enum):
    """What a key opens. `ADMIN` opens everything."""

    TOOLS = "tools"
    """List and call tools, resources and prompts."""
    LLM = "llm"
    """Ask language models, which costs money."""
    READ = "read"
    """See servers, breakers, calls and metrics."""
    INGEST = "ingest"
    """Report usage of calls that did not come through the hub. No key has it unasked."""
    ADMIN = "admin"
    """Change the hub. Adding a stdio server is running code, so it needs this."""


class KeyTerms(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a key is offered of what its scopes and servers open; can be changed."""

    tools: ToolSet = EVERYTHING
    views: tuple[str, ...] | None = None
    """The only views that exist for it, and with them all that it may touch; null: no limit."""
    search: str = "off"
    """`on`: `search_tools` and `call_tool` instead of the list of tools; `auto`: if it is long."""
    names: str = alias.SAFE
    """How long names are: `safe` (64 of A-Z a-z 0-9 _ -) or `spec` (128, and dots)."""
    models: tuple[str, ...] | None = None
    """Names, or patterns with `*`, of the models that it may ask, as it names them or as
    `endpoint/model`; null: all."""
    team: str = ""
    """Whose budget it shares with other keys of this team."""
    rate_limit: RateLimit | None = None
    """How many calls it may make by all doors together; null: as many as the servers take."""


class Reach(Struct, frozen=True):
    """The limits of a caller that may touch some things only."""

    tools: ToolSet
    views: Mapping[str, ToolSet] | None
    """What its views show, of which one is enough; None: no limit."""

    def admits(self, name: str, *, reads: bool) -> bool:
        """`name` is the full one, or the URI among all; `reads`: it changes nothing."""
        return self.tools.admits(name, reads=reads) and (
            self.views is None
            or any(view.admits(name, reads=reads) for view in self.views.values())
        )

    def touches(self, endpoint: str) -> bool:
        return self.tools.touches(endpoint) and (
            self.views is None or any(view.touches(endpoint) for view in self.views.values())
        )


class Caller(Struct, frozen=True):
    """A principal. Rate limits, idempotency keys and sessions are bound to its `id`."""

    id: str
    """The key's id (never the key), `admin` for the admin token, `anonymous` for loopback."""
    scopes: frozenset[Scope]
    endpoints: frozenset[str] | None = None
    """Names of the endpoints it may see and call; None means all."""
    reach: Reach | None = None
    """Of these, the tools, prompts and resources that it may touch; None means all."""
    search: str = "off"
    """As in `KeyTerms`."""
    names: str = alias.SAFE
    """As in `KeyTerms`."""
    models: tuple[str, ...] | None = None
    """As in `KeyTerms`."""
    team: str = ""
    """As in `KeyTerms`."""
    rate_limit: RateLimit | None = None
    """As in `KeyTerms`."""
    secret: int = 0
    """Which of its key's secrets it came with: how often that was rotated before."""
    subject: Subject | None = None
    """The access token that it came in with; None: it came with a key of the hub's, or without."""

    def may(self, scope: Scope) -> bool:
        """Whether this scope is held, by itself or through `ADMIN`."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def sees(self, endpoint: str) -> bool:
        """Whether this endpoint exists for the caller; what it may not see is unknown to it."""
        if self.endpoints is not None and endpoint not in self.endpoints:
            return False
        return self.reach is None or self.reach.touches(endpoint)

    def admits(self, name: str, *, reads: bool) -> bool:
        """Whether it may touch what `/mcp` calls so; see `Reach`."""
        return self.reach is None or self.reach.admits(name, reads=reads)

    def may_ask(self, model: str, targets: Sequence[Target]) -> bool:
        """Whether it may ask this model, as it named it or as each of the targets is named."""
        return self.models is None or any(
            _fits(model, glob) or all(_fits(f"{one.endpoint}/{one.model}", glob) for one in targets)
            for glob in self.models
        )

    def sees_view(self, name: str) -> bool:
        return self.reach is None or self.reach.views is None or name in self.reach.views

    @property
    def is_limited(self) -> bool:
        """Whether it may touch a part of the hub only."""
        return self.endpoints is not None or self.reach is not None

    def within(self, view: View) -> "Caller":
        """The same principal, as one that touches what this view shows, and no more."""
        tools = EVERYTHING if self.reach is None else self.reach.tools
        search = max(self.search, view.search, key=SEARCH.index)
        return structs.replace(self, reach=Reach(tools, {view.name: view.tools}), search=search)


def _fits(name: str, glob: str) -> bool:
    return fnmatch.fnmatchcase(name, glob)


def check_terms(terms: KeyTerms) -> None:
    """Raises BadSetting."""
    check_globs("tools.allow", terms.tools.allow)
    check_globs("tools.deny", terms.tools.deny)
    check_search(terms.search)
    if terms.rate_limit is not None:
        check_rate_limit(terms.rate_limit)
    if terms.models is not None:
        check_globs("models", terms.models)
    if len(terms.team) > TEAM_MAX or not terms.team.isprintable():
        raise BadSetting(f"team: expected at most {TEAM_MAX} characters, got {terms.team[:64]!r}")
    if terms.names not in alias.STYLES:
        raise BadSetting(f"names: expected `safe` or `spec`, got {terms.names[:64]!r}")


def reach_of(terms: KeyTerms, views: Mapping[str, View]) -> Reach | None:
    """The limits that these terms set; None if they set none. A view that is gone has no tools."""
    if terms.tools == EVERYTHING and terms.views is None:
        return None
    if terms.views is None:
        return Reach(terms.tools, None)
    return Reach(terms.tools, {name: views[name].tools for name in terms.views if name in views})
