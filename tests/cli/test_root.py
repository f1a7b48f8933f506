"""What is imported decides how fast help is; so that is tested, not the time."""

import subprocess
import sys

import click
import pytest

from agenthub.cli.root import COMMANDS, root

HEAVY = ["asyncio", "fastapi", "http", "httptools", "jsonschema_rs", "msgspec", "platformdirs"]
HEAVY += ["pydantic", "sqlite3", "starlette", "urllib.request", "uvicorn", "uvloop", "yaml"]


def imported(*arguments):
    code = (
        "import sys\nfrom agenthub.cli.ending import run\nfrom agenthub.cli.root import root\n"
        "code = run(root, sys.argv[1:])\n"
        "print(code, *sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    code, *names = ended.stderr.split()
    assert code == "0"
    return ended.stdout, set(names)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["-h"]])
def test_help_loads_nothing_heavy_and_no_command(arguments):
    _, names = imported(*arguments)
    assert [name for name in HEAVY if name in names] == []
    ours = {name for name in names if name.startswith("agenthub")}
    assert ours <= {"agenthub", "agenthub.cli", "agenthub.cli.ending", "agenthub.cli.root",
                    "agenthub.cli.terminal"}  # fmt: skip


@pytest.mark.parametrize("command", ["list", "add", "call"])
def test_a_commands_help_loads_no_hub_and_no_http(command):
    text, names = imported(command, "--help")
    assert text.startswith("Usage: agenthub " + command)
    assert [name for name in HEAVY if name in names and name != "http"] == []


def test_every_command_is_there_and_says_what_it_does(cli):
    shown = cli("--help")
    assert shown.code == 0
    context = click.Context(root)
    for name, (_, line) in COMMANDS.items():
        command = root.get_command(context, name)
        assert isinstance(command, click.Command)
        assert command.name == name
        assert f"  {name} " in shown.out
        assert line.endswith(".")
        assert cli(name, "--help").code == 0
    assert root.list_commands(context) == list(COMMANDS)
    assert root.get_command(context, "nothing") is None


def test_the_version_is_shown(cli):
    assert cli("--version").out.startswith("agenthub 0.")


@pytest.mark.parametrize(
    ("word", "hint"),
    [("lst", "Did you mean 'list'?"), ("docter", "Did you mean 'doctor'?"), ("zzz", "'zzz'.")],
)
def test_an_unknown_command_gets_a_hint(cli, word, hint):
    refused = cli(word)
    assert refused.code == 2
    assert f"There is no command {word!r}." in refused.err
    assert hint in refused.err


def test_an_option_that_is_nearly_right_gets_a_hint(cli):
    refused = cli("list", "--jsn")
    assert (refused.code, "--json" in refused.err) == (2, True)


def test_the_program_ends_with_the_commands_code(monkeypatch):
    from agenthub.cli import main

    monkeypatch.setattr(sys, "argv", ["agenthub", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


def test_it_runs_as_a_module():
    ended = subprocess.run(
        [sys.executable, "-m", "agenthub", "--version"], capture_output=True, text=True, check=True
    )
    assert ended.stdout.startswith("agenthub ")
