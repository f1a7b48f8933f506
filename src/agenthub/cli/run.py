"""`serve` and `stdio`: run the hub in this process."""

from pathlib import Path

import click

from agenthub.cli.composition import app
from agenthub.cli.options import new_home_option

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Settings as YAML; else agenthub.yaml in the home, if there is one.",
)
demo_option = click.option(
    "--no-demo", is_flag=True, help="Do not register the demo servers when nothing is configured."
)


@click.command()
@new_home_option
@click.option("--host", metavar="H", help="Where to listen (127.0.0.1).")
@click.option(
    "--port", type=click.IntRange(0, 65_535), metavar="N", help="Where to listen (8787); 0: any."
)
@config_option
@demo_option
def serve(
    home: Path, host: str | None, port: int | None, config: Path | None, *, no_demo: bool
) -> int:
    """Start the hub, and run it until Ctrl-C."""
    from agenthub.settings import Options  # noqa: PLC0415

    demo = False if no_demo else None
    return app().serve(Options(home, _absolute(config), host, port, demo)) or 0


@click.command()
@new_home_option
@config_option
@demo_option
@click.option("--view", metavar="NAME", help="Show this view only.")
def stdio(home: Path, config: Path | None, view: str | None, *, no_demo: bool) -> int:
    """Be an MCP server on stdin and stdout, with all servers of the hub behind it."""
    from agenthub.settings import Options  # noqa: PLC0415

    options = Options(home, _absolute(config), demo=False if no_demo else None)
    return app().stdio(options, view) or 0


def _absolute(file: Path | None) -> Path | None:
    return None if file is None else file.expanduser().absolute()
