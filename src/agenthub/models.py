"""Which provider serves a model's name on a wire: aliases first, then what providers call it.

fast              an alias of the settings: one or more `provider/model`, asked in this order
groq/llama-3.3    the endpoint `groq`, its model `llama-3.3`
gpt-5.5           the endpoint that claims it (`llm.models`), or the only one on the wire
"""

from collections.abc import Mapping, Sequence

from agenthub.domain.caller import Caller
from agenthub.domain.content import NAME_MAX, Target, targets_of
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import UnknownTarget
from agenthub.server import Server


class Models:
    """All models that callers can name."""

    def __init__(self, servers: Mapping[str, Server]) -> None:
        self._servers = servers
        self.aliases: Mapping[str, tuple[Target, ...]] = {}

    def reload(self, aliases: Mapping[str, Sequence[str]]) -> None:
        """Take the aliases as the settings have them now; they were checked."""
        self.aliases = {name: targets_of(name, written) for name, written in aliases.items()}

    def resolve(self, wire: str, model: str, caller: Caller) -> tuple[Target, ...]:
        """Whom to ask, in this order; never empty. Raises UnknownTarget."""
        if not 0 < len(model) <= NAME_MAX or not model.isprintable():
            raise UnknownTarget(f"Unknown model: {model[:64]!r}")
        providers = self.providers(wire, caller)
        alias = self.aliases.get(model)
        if alias is not None:
            found = tuple(target for target in alias if target.endpoint in providers)
            if found:
                return found
            raise UnknownTarget(f"No provider of the model {model!r} speaks {wire}", tool=model)
        endpoint, slash, bare = model.partition("/")
        if slash and bare and endpoint in providers:
            return (Target(endpoint, bare),)
        return (Target(self._claimant(wire, model, providers), model),)

    def providers(self, wire: str, caller: Caller) -> dict[str, Endpoint]:
        """Those that speak the wire, as far as the caller may know them."""
        return {
            name: server.endpoint
            for name, server in self._servers.items()
            if server.endpoint.llm is not None
            and wire in server.endpoint.llm.wires
            and server.endpoint.enabled
            and caller.sees(name)
        }

    def _claimant(self, wire: str, model: str, providers: Mapping[str, Endpoint]) -> str:
        claims = [
            name for name, one in providers.items() if one.llm and one.llm.serves(wire, model)
        ]
        candidates = claims or [name for name, one in providers.items() if not _is_demo(one)]
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            ways = ", ".join(f"{name}/{model}" for name in candidates[:5])
            raise UnknownTarget(f"Which {model}? Name the provider: {ways}", tool=model)
        there = ", ".join(sorted(providers)) or "none"
        raise UnknownTarget(
            f"No provider that speaks {wire} serves the model {model!r} (there: {there})",
            tool=model,
        )


def _is_demo(endpoint: Endpoint) -> bool:
    """The demo model is asked only by its own names: never instead of a real one."""
    return endpoint.url is None
