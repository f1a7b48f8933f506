"""`login`, `logout`: let the hub in to a server behind OAuth, and out again."""

import json
import time
import webbrowser
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from agenthub.cli.access import HubRefused, hub_at
from agenthub.cli.ending import FAILED, Failed
from agenthub.cli.finding import signed_in
from agenthub.cli.options import home_option, json_option
from agenthub.cli.output import show_json
from agenthub.cli.terminal import progress

LOOK_S = 1.0


@click.command()
@click.argument("name")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@json_option
@home_option
def login(home: Path, name: str, *, no_browser: bool, as_json: bool) -> int:
    """Sign in to a server whose record has `oauth` in it, in a browser.

    The hub must be running. The token stays in its home, encrypted, and is renewed by itself.

    --json: two lines. {"name", "url"} at once; in the end {"name", "signed_in", "problem",
    "renews", "ends_s", "issuer", "scopes", "wanted"}, as GET /api/endpoints/{name}/login gives it.
    """
    with hub_at(home) as hub:
        if hub.url is None:
            raise Failed(
                "No hub runs with this home: start it with `agenthub serve`, then sign in."
            )
        with _as_it_is():
            url = hub.begin_sign_in(name)
        if as_json:
            _line({"name": name, "url": url})
        else:
            print(f"Sign in at:\n  {url}", flush=True)
        if not no_browser:
            webbrowser.open(url)
        with progress("Waiting for the sign-in"):
            while (state := hub.sign_in_state(name))["waits"]:
                time.sleep(LOOK_S)
    if as_json:
        _line({"name": name, **state})
        return FAILED if state["problem"] else 0
    if state["problem"]:
        raise Failed(f"Not signed in to {name}: {state['problem']}.")
    print(f"Signed in to {name}{signed_in(state)}.")
    return 0


@contextmanager
def _as_it_is() -> Generator[None]:
    """What is wrong is the server's record here, and no tool's arguments."""
    try:
        yield
    except HubRefused as refused:
        if refused.code == "invalid_params":
            raise Failed(f"{refused.detail.rstrip('.')}.") from None
        raise


def _line(facts: dict[str, Any]) -> None:
    print(json.dumps(facts, ensure_ascii=False), flush=True)


@click.command()
@click.argument("name")
@json_option
@home_option
def logout(home: Path, name: str, *, as_json: bool) -> None:
    """Sign out of a server: its tokens are removed, and revoked where that is offered.

    --json: {"name", "was_signed_in", "revoked", "problem"}.
    """
    with hub_at(home, connect=[name]) as hub, _as_it_is():
        done = hub.end_sign_in(name)
    if as_json:
        show_json({"name": name, **done})
    elif not done["was_signed_in"]:
        print(f"Nobody was signed in to {name}.")
    elif done["revoked"]:
        print(f"Signed out of {name}; its tokens are revoked.")
    else:
        why = str(done["problem"]).rstrip(".")
        print(f"Signed out of {name}. Its tokens are removed, but not revoked: {why}.")
