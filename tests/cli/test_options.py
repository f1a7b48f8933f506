from pathlib import Path

import click
import pytest

from agenthub.cli.ending import run
from agenthub.cli.options import home_option, json_option, new_home_option
from agenthub.cli.root import root


@pytest.fixture
def got():
    return {}


@pytest.fixture
def command(got):
    @click.command()
    @json_option
    @home_option
    def command(home, as_json):
        got.update(home=home, as_json=as_json)

    return command


def test_the_home_is_what_is_said_then_the_variable_then_the_platforms(
    command, got, home, user_home, monkeypatch
):
    for folder in (user_home / "h", user_home / ".local/share/agenthub"):
        folder.mkdir(parents=True)
        (folder / "agenthub.yaml").touch()
    assert run(command, ["--home", "~/h", "--json"]) == 0
    assert got == {"home": user_home / "h", "as_json": True}
    run(command, [])
    assert got == {"home": home, "as_json": False}
    monkeypatch.delenv("AGENTHUB_HOME")
    run(command, [])
    assert got["home"].is_relative_to(user_home)


def test_a_home_is_made_absolute_from_here(command, got, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "agenthub.yaml").touch()
    run(command, ["--home", "h"])
    assert got["home"] == Path.cwd() / "h"


@pytest.mark.parametrize("there", ["hub.lock", "agenthub.db", "agenthub.yaml"])
def test_a_home_is_where_a_hub_was_or_is_configured(command, got, tmp_path, there):
    (tmp_path / there).touch()
    assert run(command, ["--home", str(tmp_path)]) == 0
    assert got["home"] == tmp_path


def test_a_mistyped_home_is_told_and_not_made(command, got, tmp_path, monkeypatch, capsys):
    typo, words = tmp_path / "hbu", "`agenthub serve` or `agenthub add` makes one there."
    assert run(command, ["--home", str(typo)]) == 1
    assert capsys.readouterr().err == f"error: There is no hub in {typo} (--home); {words}\n"
    monkeypatch.setenv("AGENTHUB_HOME", str(tmp_path))
    assert run(command, []) == 1
    assert f"no hub in {tmp_path} ($AGENTHUB_HOME);" in capsys.readouterr().err
    monkeypatch.delenv("AGENTHUB_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert run(command, []) == 1
    assert f"no hub in {tmp_path / 'agenthub'} (the default);" in capsys.readouterr().err
    assert (got, list(tmp_path.iterdir())) == ({}, [])


def test_what_sets_up_a_hub_may_make_its_home(got, tmp_path):
    @click.command()
    @new_home_option
    def setting_up(home):
        got.update(home=home)

    assert run(setting_up, ["--home", str(tmp_path / "new")]) == 0
    assert got["home"] == tmp_path / "new"


NEW = {"serve", "stdio", "add", "import", "connect", "key create", "view add"}
"""The commands that may make a home."""


def test_only_commands_that_set_up_make_a_home(cli, module, monkeypatch, tmp_path):
    monkeypatch.setenv("AGENTHUB_HOME", str(tmp_path / "none"))
    leaves = dict(leaves_of(root, ()))
    assert leaves.keys() > NEW
    for name, command in leaves.items():
        words = [
            "x" for argument in command.params
            if isinstance(argument, click.Argument) and argument.required
        ]  # fmt: skip
        for option in command.params:
            if isinstance(option, click.Option) and option.required:
                words += [option.opts[0], "x"]
        if name not in NEW:
            refused = cli(*name.split(), *words)
            assert (refused.code, "There is no hub in" in refused.err) == (1, True), name
    assert module.opened == []
    assert not (tmp_path / "none").exists()


def leaves_of(group, path):
    """Each command that does something, by its whole name."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from leaves_of(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def test_a_file_is_no_home(command, tmp_path, capsys):
    (tmp_path / "f").write_text("")
    assert run(command, ["--home", str(tmp_path / "f")]) == 2
    assert "is a file" in capsys.readouterr().err
