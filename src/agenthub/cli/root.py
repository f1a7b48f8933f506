"""The list of commands. Help needs this file alone; a command's module comes when it runs."""

from importlib import import_module
from typing import Any, Final

import click

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "serve": ("run:serve", "Start the hub."),
    "stdio": ("run:stdio", "Be an MCP server on stdin and stdout, for clients that start one."),
    "add": ("servers:add", "Add a server by its address or its command."),
    "import": ("imports:import_", "Add the servers of a client's configuration file."),
    "remove": ("servers:remove", "Remove a server."),
    "list": ("servers:list_", "Show the servers and how they are."),
    "enable": ("servers:enable", "Switch a server on again."),
    "disable": ("servers:disable", "Switch a server off, and keep its settings."),
    "login": ("login:login", "Sign in to a server behind OAuth, in a browser."),
    "logout": ("login:logout", "Sign out of a server behind OAuth."),
    "tools": ("tools:tools", "Show the tools of all servers, or of one."),
    "call": ("tools:call", "Call a tool."),
    "chat": ("chat:chat", "Talk with an agent that has the hub's tools."),
    "approve": ("approval:approve", "Approve tools whose definition changed, or that are new."),
    "check": ("check:check", "Show each server's era, limits, breaker and state."),
    "doctor": ("check:doctor", "Find out why a server is sick, and what to do."),
    "connect": ("connect:connect", "Print or write the entry that connects a client."),
    "key": ("keys:key", "Make, show, limit and revoke client keys."),
    "usage": ("usage:usage", "Show what language models and priced tools cost."),
    "budget": ("budgets:budget", "Show and set how much may be spent."),
    "backup": ("backup:backup", "Copy the hub's database to a file, while the hub runs or not."),
    "view": ("views:view", "Make, show and remove views: virtual servers of chosen tools."),
    "breaker": ("breakers:breaker", "Show circuit breakers; open, close or reset one."),
}
"""Name → (module below agenthub.cli, and what it is there; the line in the help)."""

EPILOG = """\b
Exit codes: 0 done, 1 it could not be done, 2 wrong usage.
Every command acts on the hub that runs with the same home, or on its files when none runs."""


class Commands(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        return getattr(import_module(f"agenthub.cli.{module}"), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(_no_such_command(args[0]), ctx)
        return super().resolve_command(ctx, args)


def _no_such_command(word: str) -> str:
    from agenthub.cli.hint import did_you_mean  # noqa: PLC0415 - only for this message

    return f"There is no command {word!r}. {did_you_mean(word, COMMANDS)}".rstrip()


def _show_version(ctx: click.Context, _: click.Parameter, value: Any) -> None:
    if value and not ctx.resilient_parsing:
        from agenthub import __version__  # noqa: PLC0415

        click.echo(f"agenthub {__version__}")
        ctx.exit()


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
    help="Show the version.",
)  # fmt: skip
@click.option("--debug", is_flag=True, help="Show where a bug is, before you report it.")
def root(*, debug: bool) -> None:
    """One address for AI agents, that keeps tools answering when servers fail."""
    del debug
