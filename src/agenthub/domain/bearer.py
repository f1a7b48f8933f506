"""What an access token of an authorization server opens: its claims, and the caller that they make.

    claims ─► issuer ─► time ─► audience ─► subject ─► scopes ─► Caller, until `exp`
                 └───────┴─────────┴───────────┴── not for this hub: BadToken

The signature was checked before. An audience is an address of this hub: the hub's own, or that of
one server (`…/mcp/NAME`), and then the token opens no other one.
Source: RFC 9068 (JWT access tokens), RFC 8707 (audience), RFC 9728; attack A24.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from msgspec import Struct, structs

from agenthub.domain.caller import Caller, KeyTerms, Scope
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.domain.subject import Subject, rights_of

LEEWAY: Final[Nanoseconds] = 60 * SECOND
"""By how much two clocks may differ."""
OAUTH: Final = "oauth:"
"""Begins the name of every principal that an issuer vouches for."""
SUBJECT_MAX: Final = 200
SCOPES_MAX: Final = 1_000
FARTHEST: Final = 1 << 33
"""Seconds since 1970; a time beyond is no time."""


class BadToken(Exception):
    """The token opens nothing here. The words are for the log, not for the caller."""


class Terms(Struct, frozen=True):
    """On what terms tokens of one issuer are taken."""

    name: str
    """In the settings; principals are called `oauth:<name>:<subject>`."""
    issuer: str
    hub: str
    """The hub's public address, without a slash at its end."""
    audiences: frozenset[str]
    """Further names of the hub as a whole."""
    scopes: Mapping[Scope, frozenset[str]]
    """Which of a token's scopes give which of the hub's."""
    limits: KeyTerms = KeyTerms()
    """What its callers are offered, as a key of the hub's own is."""


class Lent(Struct, frozen=True):
    """A caller for as long as the token is good."""

    caller: Caller
    ends: Nanoseconds
    """Wall time."""
    limits: KeyTerms = KeyTerms()
    """To be put on the caller by the key ring, which knows the views."""


def lend(claims: Mapping[str, Any], terms: Terms, wall: Nanoseconds) -> Lent:
    """The caller behind a token whose signature is the issuer's. Raises BadToken."""
    if claims.get("iss") != terms.issuer:
        raise BadToken("iss: another issuer")
    ends = _time(claims, "exp") + LEEWAY
    if wall >= ends:
        raise BadToken("exp: it is over")
    for name in ("nbf", "iat"):
        if name in claims and wall < _time(claims, name) - LEEWAY:
            raise BadToken(f"{name}: not yet")
    endpoints = _endpoints(claims.get("aud"), terms)
    subject = claims.get("sub") or claims.get("client_id")
    if not isinstance(subject, str) or not subject.isprintable() or len(subject) > SUBJECT_MAX:
        raise BadToken("sub: expected a name")
    said = _scopes(claims)
    scopes = frozenset(scope for scope, names in terms.scopes.items() if names & said)
    return Lent(Caller(f"{OAUTH}{terms.name}:{subject}", scopes, endpoints), ends, terms.limits)


def with_subject(lent: Lent, claims: Mapping[str, Any], token: bytes) -> Lent:
    """The same caller, with the token that these claims are of."""
    subject = Subject(token.decode("ascii"), rights_of(claims), lent.ends)
    return structs.replace(lent, caller=structs.replace(lent.caller, subject=subject))


def _time(claims: Mapping[str, Any], name: str) -> Nanoseconds:
    seconds = claims.get(name)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise BadToken(f"{name}: expected seconds since 1970")
    if not 0 <= seconds <= FARTHEST:
        raise BadToken(f"{name}: out of range")
    return int(seconds) * SECOND


def _endpoints(audience: Any, terms: Terms) -> frozenset[str] | None:
    """The servers that the audience names; None: all of them."""
    named = cast("list[Any]", audience) if isinstance(audience, list) else [audience]
    whole = {terms.hub, f"{terms.hub}/", f"{terms.hub}/mcp"} | terms.audiences
    one = f"{terms.hub}/mcp/"
    servers: set[str] = set()
    for name in named:
        if not isinstance(name, str):
            continue
        if name in whole:
            return None
        rest = name.removeprefix(one)
        if rest != name and rest and "/" not in rest:
            servers.add(rest)
    if not servers:
        raise BadToken("aud: for somebody else")
    return frozenset(servers)


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """`scope` as RFC 9068 has it, or `scp` as Microsoft's servers do."""
    said = claims.get("scope", claims.get("scp", ""))
    words = said.split() if isinstance(said, str) else said
    if not isinstance(words, list) or len(words) > SCOPES_MAX:  # pyright: ignore[reportUnknownArgumentType]
        raise BadToken("scope: expected words")
    return frozenset(word for word in words if isinstance(word, str))  # pyright: ignore[reportUnknownVariableType]
