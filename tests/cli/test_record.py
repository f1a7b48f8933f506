import os

import click
import pytest

from agenthub.cli.record import Wanted, record


def test_what_was_not_said_is_left_out():
    assert record(Wanted("a", url="http://x/")) == {"name": "a", "url": "http://x/"}
    assert record(Wanted("a", ["uvx", "s"])) == {"name": "a", "command": ["uvx", "s"]}


def test_everything_that_can_be_said():
    wanted = Wanted(
        "a", url="http://x/", headers=["X-A: b:c"], fallbacks=["b", "http://f/"], rps=2.5, burst=7,
        trust=True, concurrency=3, timeout_s=1.5,
    )  # fmt: skip
    assert record(wanted) == {
        "name": "a",
        "url": "http://x/",
        "headers": {"X-A": "b:c"},
        "fallbacks": ["b"],
        "fallback_url": "http://f/",
        "rate_limit": {"rps": 2.5, "burst": 7},
        "trust": True,
        "concurrency": 3,
        "timeouts": {"call_ms": 1500},
    }


def test_a_transport_is_of_an_address():
    assert record(Wanted("a", url="http://x/", transport="sse"))["transport"] == "sse"
    with pytest.raises(click.UsageError, match="--transport is of a server with --url"):
        record(Wanted("a", ["uvx"], transport="auto"))


@pytest.mark.parametrize(
    "wanted",
    [Wanted("a"), Wanted("a", ["uvx"], url="http://x/"), Wanted("a", ["uvx"], url="")],
)
def test_a_server_has_an_address_or_a_command(wanted):
    with pytest.raises(click.UsageError, match="either --url URL or a command"):
        record(wanted)


@pytest.mark.parametrize(
    ("said", "oauth"),
    [
        ({"oauth": True}, {}),
        ({"oauth": True, "client_id": "hub"}, {"client_id": "hub"}),
        ({"issuer": "https://i/"}, {"issuer": "https://i/"}),
        (
            {"client_id": "hub", "client_secret": "${S}", "issuer": "https://i/"},
            {
                "client_id": "hub",
                "client_secret": "${S}",
                "issuer": "https://i/",
                "grant": "client_credentials",
            },
        ),
        (
            {"oauth": True, "client_id": "hub", "client_secret": "${S}"},
            {"client_id": "hub", "client_secret": "${S}"},
        ),
        ({"per_caller": True}, {"per": "caller"}),
        (
            {"per_caller": True, "client_id": "hub", "client_secret": "${S}"},
            {"client_id": "hub", "client_secret": "${S}", "grant": "token_exchange"},
        ),
    ],
)
def test_with_a_secret_the_hub_signs_in_by_itself_unless_a_person_is_to(said, oauth):
    made = record(Wanted("a", url="http://x/", **said))
    assert made == {"name": "a", "url": "http://x/", "oauth": oauth}


def test_paths_are_meant_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    here = os.getcwd()  # noqa: PTH109 - as the shell sees it
    made = record(Wanted("a", ["./run", "./arg"], cwd="sub/.."))
    assert made["command"] == [f"{here}/run", "./arg"]
    assert made["cwd"] == here
    assert record(Wanted("a", ["~/run"]))["command"] == ["/home/me/run"]


def test_a_variable_by_its_name_alone_is_the_hubs_own():
    made = record(Wanted("a", ["x"], env=["A=b=c", "TOKEN", "E="]))
    assert made["env"] == {"A": "b=c", "TOKEN": "${TOKEN}", "E": ""}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"env": ["=canary"]}, "--env: expected NAME=VALUE"),
        ({"env": ["can-ary"]}, "--env: expected NAME=VALUE"),
        ({"env": ["A=canary", "A=canary"]}, "--env: A is given twice"),
        ({"headers": ["canary"]}, "--header: expected 'Name: value'"),
        ({"headers": [": canary"]}, "--header: expected 'Name: value'"),
    ],
)
def test_a_wrong_pair_is_refused_without_repeating_it(more, words):
    with pytest.raises(click.UsageError) as refused:
        record(Wanted("a", ["x"], **more))
    assert words in str(refused.value)
    assert "canary" not in str(refused.value)


def test_a_limit_is_set_in_part_or_taken_away():
    assert record(Wanted("a", ["x"], rps=2))["rate_limit"] == {"rps": 2}
    assert record(Wanted("a", ["x"], burst=3))["rate_limit"] == {"burst": 3}
    assert record(Wanted("a", ["x"], no_limit=True))["rate_limit"] is None
    with pytest.raises(click.UsageError, match="--no-limit leaves no room"):
        record(Wanted("a", ["x"], no_limit=True, rps=1))


def test_one_fallback_may_be_an_address():
    assert record(Wanted("a", ["x"], fallback_url="http://f/"))["fallback_url"] == "http://f/"
    with pytest.raises(click.UsageError, match="Only one fallback"):
        record(Wanted("a", ["x"], fallbacks=["http://f/"], fallback_url="http://g/"))


def test_a_provider_of_models_is_a_preset_or_an_address_and_what_it_speaks():
    assert record(Wanted("o", llm="openai")) == {"name": "o", "llm": {"preset": "openai"}}
    own = Wanted("mine", url="http://x/v1", wires=["chat", "chat"], models=["llama-*"], free=True)
    assert record(own) == {
        "name": "mine", "url": "http://x/v1",
        "llm": {"wires": ["chat"], "models": ["llama-*"], "is_free": True},
    }  # fmt: skip


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted("a", ["uvx"], llm="openai"),
        Wanted("a", url="http://x/", models=["m"]),
        Wanted("a", url="http://x/", free=True),
        Wanted("a", llm="openai", transport="sse"),
    ],
)
def test_what_is_of_a_provider_is_of_no_server(wanted):
    with pytest.raises(click.UsageError):
        record(wanted)
