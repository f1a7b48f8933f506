"""What the settings of an issuer mean, and what they may not be (A24)."""

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from agenthub.domain.bearer import Terms
from agenthub.domain.caller import KeyTerms, Scope, check_terms, reach_of
from agenthub.domain.endpoint_check import is_safe
from agenthub.domain.errors import BadSetting

ASYMMETRIC: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519",
)  # fmt: skip
"""Signatures that are checked with a public key; with another one anybody could make tokens."""


class IssuerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """An authorization server (OAuth 2.1, OpenID Connect) whose access tokens open the hub."""

    issuer: str
    """Exactly as the server calls itself: tokens say it in `iss`."""
    jwks_url: str = ""
    """Where its public keys are; empty: found by its metadata."""
    audiences: tuple[str, ...] = ()
    """Further values of a token's `aud` that mean this hub, beside its public address."""
    scopes: dict[str, tuple[str, ...]] = {}
    """For `tools`, `read` and `admin`: which scopes of a token give them; else `agenthub:tools` and
    so on."""
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA")
    """How its tokens may be signed."""
    limits: KeyTerms = KeyTerms()
    """What its callers get of what their scopes open, as `agenthub key create` limits a key:
    `tools` (allow, deny, read_only), `views`, `search`, `names`, `models`, `team`, and for each of
    them a `rate_limit` of its own."""


def scope_names(one: IssuerSettings) -> Mapping[Scope, frozenset[str]]:
    """Which scopes of its tokens give which of the hub's."""
    own = {scope: (f"agenthub:{scope.value}",) for scope in Scope}
    return {scope: frozenset(one.scopes.get(scope.value, own[scope])) for scope in Scope}


def terms_of(name: str, one: IssuerSettings, public_url: str) -> Terms:
    hub = public_url.rstrip("/")
    return Terms(name, one.issuer, hub, frozenset(one.audiences), scope_names(one), one.limits)


def wrong_with(one: IssuerSettings, public_url: str) -> Iterator[tuple[str, str]]:
    """The keys that cannot be as they are, and what was expected."""
    if not public_url:
        yield "issuer", "server.public_url beside it, to which its tokens are made out"
    for key, url in (("issuer", one.issuer), ("jwks_url", one.jwks_url)):
        if (url or key == "issuer") and not is_safe(url):
            yield key, f"an https address (http on this machine only), got {url[:100]!r}"
    known = {scope.value for scope in Scope}
    for scope in sorted(one.scopes.keys() - known):
        yield "scopes", f"only {', '.join(sorted(known))}, got {scope[:64]!r}"
    for name in one.algorithms:
        if name not in ASYMMETRIC:
            yield "algorithms", f"some of {', '.join(ASYMMETRIC)}, got {name[:32]!r}"
    if not one.algorithms:
        yield "algorithms", "at least one"
    try:
        check_terms(one.limits)
    except BadSetting as error:
        yield "limits", str(error)
    if one.scopes.get("admin") != () and reach_of(one.limits, {}) is not None:
        yield "limits", "`scopes: {admin: []}` beside it: who may change the hub could lift them"
