"""The demo servers, which ship with the package: what a hub shows when nothing is configured.

They are not kept: they come with each start, until a server is configured. What is changed at one
of them is kept as a server of that name, as with any other, and outweighs what stands here. Their
tools change with the package and need no approval.
"""

import sys
from collections.abc import Iterable

from agenthub.domain.endpoint import Endpoint
from agenthub.domain.endpoint_fill import completed
from agenthub.domain.pinning import ALLOW
from agenthub.domain.provider import DEMO, Llm

CALCULATOR, TWIN, FLAKY, MODEL = "calculator", "calculator-twin", "flaky", "demo"
NAMES = frozenset({CALCULATOR, TWIN, FLAKY, MODEL})


def demo_endpoints() -> tuple[Endpoint, ...]:
    """A calculator, another one that answers when it cannot, and one that fails when told to."""
    return (
        Endpoint(
            CALCULATOR, command=_module("calculator"), fallbacks=(TWIN,), trust=True, pinning=ALLOW
        ),
        Endpoint(TWIN, command=_module("calculator"), trust=True, pinning=ALLOW),
        Endpoint(FLAKY, command=_module("flaky"), pinning=ALLOW),
        completed(Endpoint(MODEL, llm=Llm(preset=DEMO))),
    )


def with_demo(kept: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """The demo servers, if nothing but changes to them is kept; else what is kept."""
    known = {endpoint.name: endpoint for endpoint in kept}
    if not NAMES.issuperset(known):
        return tuple(known.values())
    return tuple(known.get(demo.name, demo) for demo in demo_endpoints())


def is_demo(endpoint: Endpoint) -> bool:
    """Whether it is one of them, and runs what ships with the package."""
    return endpoint.name in NAMES and endpoint.command[1:] in {
        demo.command[1:] for demo in demo_endpoints()
    }


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"agenthub.demo.{name}")
