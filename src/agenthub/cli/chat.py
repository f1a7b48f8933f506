"""`chat`: talk with the hub's agent, in the terminal or from a script."""

import json
import sys
from pathlib import Path
from typing import Any, Final

import click

from agenthub.cli.access import HubAccess, hub_at
from agenthub.cli.arguments import object_of
from agenthub.cli.ending import FAILED
from agenthub.cli.options import home_option, json_option
from agenthub.cli.requests import Json
from agenthub.cli.terminal import note, one_line, paint, plain

MARKS: Final = {"ok": ("✓", "green"), "tool_error": ("✗", "yellow")}
SHOWN: Final = 160
"""Characters of arguments and results on a line."""


@click.command(
    epilog="""\b
Examples:
  agenthub chat 'What is 17 times 3?'
  agenthub chat --json 'Add 2 and 3' | jq -r 'select(.type == "delta").text'"""
)
@click.argument("message", required=False)
@click.option("--model", metavar="M", help="As `/v1/models` names it; without: by the settings.")
@click.option("--conversation", metavar="ID", help="Go on with it.")
@click.option("--max-cost", metavar="USD", help="What this answer may cost, as 0.05.")
@click.option("--yes", is_flag=True, help="Allow every tool that waits for your word.")
@json_option
@home_option
def chat(  # noqa: PLR0913 - one for each option
    home: Path, message: str | None, model: str | None, conversation: str | None,
    max_cost: str | None, *, yes: bool, as_json: bool,
) -> int:  # fmt: skip
    """Talk with an agent that has the hub's tools; without MESSAGE line by line.

    Where nobody can be asked (a script), tools that wait for a word are not called, unless with
    --yes. --json: one event a line; {"type": "run" | "context" | "tool_start" | "tool_end" |
    "approval" | "elicitation" | "delta" | "usage" | "error" | "done", …}. Exit code 1 if the run
    failed.
    """
    asks = _is_terminal() and not as_json
    if message is None and not _is_terminal():
        message = sys.stdin.read().rstrip("\n")
    with hub_at(home, connect=None) as hub:
        talk = Talk(hub, yes=yes, asks=asks, as_json=as_json)
        wish = {"model": model, "conversation": conversation, "max_cost_usd": max_cost}
        if message is not None:
            return 0 if talk.say(message, wish) else FAILED
        _line_by_line(talk, wish)
        return 0


def _is_terminal() -> bool:
    """Whether somebody is there who can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _line_by_line(talk: "Talk", wish: Json) -> None:
    note("Say something; an empty line or Ctrl-D ends.")
    while True:
        try:
            text = input("> ")
        except EOFError:
            print()
            return
        if not text.strip():
            return
        talk.say(text, {**wish, "conversation": talk.conversation or wish["conversation"]})


class Talk:
    """One conversation with a user, or with a script."""

    def __init__(self, hub: HubAccess, *, yes: bool, asks: bool, as_json: bool) -> None:
        self._hub, self._yes, self._asks, self._as_json = hub, yes, asks, as_json
        self.conversation = ""
        self._run = ""
        self._in_text = False
        """Whether the line that is written is not ended."""
        self._cost = ""

    def say(self, text: str, wish: Json) -> bool:
        """Until the answer is over. Returns whether it went well."""
        given = {key: value for key, value in wish.items() if value is not None}
        run = self._hub.start_chat({**given, "message": text})
        self.conversation, self._run = run["conversation"], run["run"]
        state = "failed"
        try:
            for event in self._hub.follow_chat(self._run):
                if self._as_json:
                    print(json.dumps(event, ensure_ascii=False), flush=True)
                else:
                    self._show(event)
                self._word(event)
                if event["type"] == "done":
                    state = event["state"]
        except KeyboardInterrupt:
            self._hub.cancel_chat(self._run)
            self._end_line()
            note("Stopped.")
        return state == "done"

    # ------------------------------------------------------------ showing

    def _show(self, event: Json) -> None:
        kind = event["type"]
        if kind == "delta":
            print(plain(event["text"]), end="", flush=True)
            self._in_text = not event["text"].endswith("\n")
        elif kind == "tool_start":
            self._line(f"⚙ {_tool(event)} {_short(event['arguments'])}", "dim")
        elif kind == "tool_end":
            mark, colour = MARKS.get(event["outcome"], ("✗", "red"))
            facts = [f"{event['duration_ms']} ms"]
            facts += [f"${event['cost_usd']}"] if event["cost_usd"] else []
            self._line(f"{mark} {_short(event['text'])} ({', '.join(facts)})", colour)
        elif kind == "error":
            again = event["retry_in_ms"]
            later = f" Again in {again / 1000:.0f} s." if again else ""
            self._line(f"! {event['message']}{later}", "yellow" if again else "red")
        elif kind == "usage":
            self._cost = f"{event['input_tokens']:,} in / {event['output_tokens']:,} out"
        elif kind == "done":
            self._end_line()
            cost = f"${event['cost_usd']} · {self._cost}" if self._cost else f"${event['cost_usd']}"
            note(f"{cost} · {event['duration_ms']} ms · conversation {self.conversation}")

    def _line(self, text: str, colour: str) -> None:
        self._end_line()
        print(paint(one_line(text), colour), flush=True)

    def _end_line(self) -> None:
        if self._in_text:
            print(flush=True)
        self._in_text = False

    # ------------------------------------------------------------ the user's word

    def _word(self, event: Json) -> None:
        """What is asked is answered at once, by the user or for one who is not there."""
        if event.get("state") != "asked":
            return
        if event["type"] == "approval":
            self._hub.approve_tool(self._run, event["id"], allow=self._allows(event))
        elif event["type"] == "elicitation":
            self._hub.answer_elicitation(self._run, {"id": event["id"], **self._answer(event)})

    def _allows(self, event: Json) -> bool:
        if self._yes or not self._asks:
            return self._yes
        self._end_line()
        arguments = json.dumps(event["arguments"], indent=2, ensure_ascii=False)
        print(plain(f"{_tool(event)} wants to be called ({event['why']}):\n{arguments}"))
        return click.confirm("Allow it?", default=False)

    def _answer(self, event: Json) -> Json:
        params: Json = event["params"]
        if not self._asks:
            return {"action": "decline"}
        self._end_line()
        print(plain(f"{event['server']} asks: {params.get('message', '')}"))
        if params.get("mode") == "url":
            print(plain(f"Open this page: {params.get('url')}"))
            return {"action": "accept" if click.confirm("Done?") else "decline"}
        asked = object_of(object_of(params.get("requestedSchema")).get("properties"))
        if not click.confirm("Answer it?", default=True):
            return {"action": "decline"}
        return {"action": "accept", "content": {name: _field(name, asked[name]) for name in asked}}


def _field(name: str, schema: Any) -> Any:
    """A value of the kind that is asked for."""
    kinds = {"integer": int, "number": float, "boolean": bool}
    return click.prompt(plain(name), type=kinds.get(str(object_of(schema).get("type")), str))


def _tool(event: Json) -> str:
    return f"{event['server']} / {event['tool']}" if event["server"] else event["tool"]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = one_line(text)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
