from pathlib import Path

import click
import pytest

from agenthub.cli.ending import run
from agenthub.cli.options import home_option, json_option


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
    assert run(command, ["--home", "~/h", "--json"]) == 0
    assert got == {"home": user_home / "h", "as_json": True}
    run(command, [])
    assert got == {"home": home, "as_json": False}
    monkeypatch.delenv("AGENTHUB_HOME")
    run(command, [])
    assert got["home"].is_relative_to(user_home)


def test_a_home_is_made_absolute_from_here(command, got, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(command, ["--home", "h"])
    assert got["home"] == Path.cwd() / "h"


def test_a_file_is_no_home(command, tmp_path, capsys):
    (tmp_path / "f").write_text("")
    assert run(command, ["--home", str(tmp_path / "f")]) == 2
    assert "is a file" in capsys.readouterr().err
