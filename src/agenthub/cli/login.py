"""`login`: let the hub in to a server behind OAuth."""

import time
import webbrowser
from pathlib import Path

import click

from agenthub.cli.access import hub_at
from agenthub.cli.ending import Failed
from agenthub.cli.options import home_option
from agenthub.cli.terminal import progress

LOOK_S = 1.0


@click.command()
@click.argument("name")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@home_option
def login(home: Path, name: str, *, no_browser: bool) -> None:
    """Sign in to a server whose record has `oauth` in it, in a browser.

    The hub must be running. The token stays in its home, encrypted, and is renewed by itself.
    """
    with hub_at(home) as hub:
        if hub.url is None:
            raise Failed(
                "No hub runs with this home: start it with `agenthub serve`, then sign in."
            )
        url = hub.begin_sign_in(name)
        print(f"Sign in at:\n  {url}")
        if not no_browser:
            webbrowser.open(url)
        with progress("Waiting for the sign-in"):
            while (state := hub.sign_in_state(name))["waits"]:
                time.sleep(LOOK_S)
        if state["problem"]:
            raise Failed(f"Not signed in to {name}: {state['problem']}.")
    print(f"Signed in to {name}.")
