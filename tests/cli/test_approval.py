import json

import pytest
from msgspec import Raw
from support.rest_hub import Part, RestServer

from agenthub.domain.endpoint import Endpoint
from agenthub.domain.pinning import Standing
from agenthub.listing import pin_of
from agenthub.offer import PendingTool


def definition(name, words):
    return pin_of(Raw(json.dumps({"name": name, "description": words}).encode()))


def changed(name, before="Adds.", now="Mails."):
    return PendingTool(
        name, Standing.CHANGED, True, definition(name, before), definition(name, now)
    )


@pytest.fixture
def waiting(hub):
    server = hub.catalog.all["calculator"]
    server.waiting = [
        changed("add"),
        PendingTool("sub", Standing.NEW, False, None, definition("sub", "a\u202e\x1b[31m")),
    ]
    return server


class TestPending:
    def test_what_waits_is_a_table(self, cli, waiting, module, home):
        shown = cli("tools", "--pending").out.splitlines()
        assert shown[0].split() == ["SERVER", "TOOL", "STATE"]
        assert shown[1].split(maxsplit=2) == ["calculator", "add", "changed, withheld"]
        assert shown[2].split(maxsplit=2) == [
            "calculator", "sub", "new, used, hidden characters, terminal escapes",
        ]  # fmt: skip
        assert "`agenthub approve SERVER`" in shown[3]
        assert module.opened == [(home, ())], "no server is started for it"

    def test_of_one_server_for_programs(self, cli, waiting):
        found = cli("tools", "calculator", "--pending", "--json").json["pending"]
        assert [one["name"] for one in found] == ["add", "sub"]
        assert cli("tools", "other", "--pending", "--json").json == {"pending": []}

    def test_nothing(self, cli):
        assert cli("tools", "--pending").out == "No tool waits for approval.\n"


class TestApprove:
    def test_without_names_it_shows_and_approves_nothing(self, cli, waiting):
        ended = cli("approve", "calculator")
        assert ended.code == 0
        assert "calculator add: changed, withheld\n--- approved\n+++ now\n" in ended.out
        assert "-description: Adds.\n+description: Mails.\n" in ended.out
        assert "+description: a\\u202e\\u001b[31m\n" in ended.out
        assert "`agenthub approve calculator --all`" in ended.out
        assert len(waiting.waiting) == 2

    def test_a_tool_by_its_name(self, cli, waiting):
        ended = cli("approve", "calculator", "add")
        assert ended.out.endswith("Approved: add.\n")
        assert "calculator sub" not in ended.out
        assert [tool.name for tool in waiting.waiting] == ["sub"]

    def test_all_those_of_the_fallback_too(self, cli, hub, waiting):
        twin = RestServer(Endpoint("calculator.fallback", url="http://x"))
        twin.waiting = [changed("add")]
        hub.catalog.all["calculator.fallback"] = twin
        assert cli("approve", "calculator", "--all").out.endswith("Approved: add, sub.\n")
        assert (waiting.waiting, twin.waiting) == ([], [])

    def test_a_name_that_does_not_wait(self, cli, waiting):
        ended = cli("approve", "calculator", "add", "mul")
        assert ended.code == 1
        assert "mul does not wait for approval" in ended.err
        assert len(waiting.waiting) == 2

    def test_nothing_waits(self, cli):
        assert cli("approve", "other", "--all").out == "Nothing of other waits for approval.\n"
        assert cli("approve", "nobody").code == 1

    def test_what_changes_between_the_look_and_the_approval_is_refused(self, cli, hub, waiting):
        approve = hub.catalog.approve

        async def late(name, digests):
            waiting.waiting[0] = changed("add", now="Mails it to others.")
            await approve(name, digests)

        hub.catalog.approve = late
        ended = cli("approve", "calculator", "--all")
        assert ended.code == 1
        assert "tool_changed" in ended.err
        assert len(waiting.waiting) == 2

    @pytest.mark.parametrize(("said", "left"), [("y\n", 1), ("n\n", 2)])
    def test_on_a_terminal_it_asks(self, cli, waiting, monkeypatch, said, left):
        monkeypatch.setattr("agenthub.cli.approval.is_terminal", lambda: True)
        ended = cli("approve", "calculator", "add", stdin=said)
        assert "Approve 1 of calculator?" in ended.out
        assert ended.code == (0 if left == 1 else 1)
        assert len(waiting.waiting) == left

    def test_unless_it_was_told_not_to(self, cli, waiting, monkeypatch):
        monkeypatch.setattr("agenthub.cli.approval.is_terminal", lambda: True)
        assert cli("approve", "calculator", "add", "--yes").code == 0
        assert len(waiting.waiting) == 1

    def test_programs_get_what_was_approved_and_what_still_waits(self, cli, waiting):
        shown = cli("approve", "calculator", "--json").json
        assert (shown["approved"], [one["name"] for one in shown["pending"]]) == (
            [],
            ["add", "sub"],
        )
        shown = cli("approve", "calculator", "add", "--json").json
        assert [[one["name"] for one in shown[part]] for part in ("approved", "pending")] == [
            ["add"], ["sub"],
        ]  # fmt: skip
        assert [tool.name for tool in waiting.waiting] == ["sub"]

    def test_on_a_terminal_the_question_is_no_part_of_the_json(self, cli, waiting, monkeypatch):
        monkeypatch.setattr("agenthub.cli.approval.is_terminal", lambda: True)
        ended = cli("approve", "calculator", "--all", "--json", stdin="y\n")
        assert len(ended.json["approved"]) == 2
        assert "Approve 2 of calculator?" in ended.err


def test_what_is_odd_stands_beside_the_tool(cli, hub):
    tool = {"name": "x", "description": "adds \u202e", "inputSchema": {"type": "object"}}
    hub.catalog.all["calculator"].listing = Part(
        tools=[Raw(json.dumps(tool).encode())], listed_at_s=7, excluded={}
    )
    assert "(hidden characters) adds" in cli("tools", "calculator").out
