"""Write the generated pages of docs/reference from the code; `--check` only compares.

Each page says what the code itself says: settings from the structs and their docstrings, errors
from their tree, commands from click, routes from the OpenAPI description.
"""

import ast
import inspect
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

import click
import msgspec
from msgspec import NODEFAULT, Struct

from agenthub.cli.root import COMMANDS, root
from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.caller import KeyTerms
from agenthub.domain.endpoint import Endpoint, OAuth, RateLimit, Timeouts, ToolPolicy, ToolPrice
from agenthub.domain.errors import BY_SLUG
from agenthub.domain.provider import Llm
from agenthub.domain.tool_set import ToolSet
from agenthub.domain.view import Renamed, View
from agenthub.inbound.rest.app import create
from agenthub.settings import (
    RANGES,
    AlertSettings,
    AuthSettings,
    LedgerSettings,
    LimitSettings,
    ServerSettings,
    Settings,
)
from agenthub.settings.chat import ChatSettings
from agenthub.settings.issuers import IssuerSettings
from agenthub.settings.prices import Price

PAGES = Path(__file__).resolve().parent.parent / "docs" / "reference"
HEAD = "<!-- Written by tools/reference.py: change the code, then run `make reference`. -->\n"


def row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def table(heads: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join([row(heads), row(["---"] * len(heads)), *(row(cells) for cells in rows)])


# ---------------------------------------------------------------- settings


def field_docs(kind: type[Struct]) -> dict[str, str]:
    """The strings that stand under the fields."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    docs: dict[str, str] = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            docs[before.target.id] = " ".join(str(after.value.value).split())
    return docs


def shape(kind: Any) -> str:
    """A type, in words of YAML."""
    simple = {str: "text", int: "integer", float: "number", bool: "true or false", NoneType: "null"}
    if kind in simple:
        return simple[kind]
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple:
        return f"list of {shape(inner[0])}"
    if origin is dict:
        return f"table of {shape(inner[1])}"
    if inner:
        return " or ".join(shape(one) for one in inner)
    return f"[{kind.__name__}](#{kind.__name__.lower()})"


def default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is NODEFAULT and field.default_factory is NODEFAULT:
        return "required"
    value = field.default if field.default is not NODEFAULT else field.default_factory()
    if isinstance(value, Struct):
        return "its defaults"
    return f"`{json.dumps(value)}`" if value not in ((), {}) else "empty"


def settings_table(kind: type[Struct]) -> str:
    docs = field_docs(kind)
    rows = []
    for field in msgspec.structs.fields(kind):
        bounds = RANGES.get((kind, field.name))
        said = docs.get(field.name, "")
        limits = f"{str(bounds)[:1].upper()}{str(bounds)[1:]}." if bounds else ""
        rows.append(
            [f"`{field.name}`", shape(field.type), default(field), f"{said} {limits}".strip()]
        )
    return table(["key", "value", "default", "meaning"], rows)


def configuration() -> str:
    parts = [
        "# Configuration\n",
        "The hub reads `agenthub.yaml` in its home, or the file of `--config`.",
        "Each key can also be set by a variable: `AGENTHUB__SECTION__KEY=value`, which wins.",
        "An unknown key is refused with its file and line.",
        "A change of the file takes effect without a restart, as a whole or not at all.\n",
    ]
    kinds: list[tuple[str, type[Struct]]] = [
        ("The file", Settings), ("server", ServerSettings), ("auth", AuthSettings),
        ("ledger", LedgerSettings), ("alerts", AlertSettings), ("chat", ChatSettings),
        ("prices[]", Price),
        ("endpoints.NAME.llm", Llm),
        ("auth.issuers.NAME", IssuerSettings),
        ("auth.issuers.NAME.limits", KeyTerms), ("auth.issuers.NAME.limits.tools", ToolSet),
        ("limits", LimitSettings), ("endpoints.NAME", Endpoint),
        ("endpoints.NAME.oauth", OAuth), ("endpoints.NAME.rate_limit", RateLimit),
        ("endpoints.NAME.timeouts", Timeouts),
        ("endpoints.NAME.breaker", BreakerConfig), ("endpoints.NAME.tools.TOOL", ToolPolicy),
        ("endpoints.NAME.tools.TOOL.price", ToolPrice),
        ("views.NAME", View), ("views.NAME.names.OWN", Renamed),
    ]  # fmt: skip
    for key, kind in kinds:
        said = " ".join((kind.__dict__.get("__doc__") or "").split())
        parts.append(f"\n## {kind.__name__}\n\n`{key}`. {said}\n\n{settings_table(kind)}\n")
    return "\n".join(parts)


# ---------------------------------------------------------------- errors, commands, routes


def errors() -> str:
    rows = []
    for slug, kind in sorted(BY_SLUG.items(), key=lambda item: (-item[1].code, item[0])):
        said = (inspect.getdoc(kind) or "").partition("\n")[0]
        retry = "yes" if kind.retryable else "no"
        rows.append([f"`{slug}`", str(kind.code), str(kind.status), retry, said])
    return "\n".join(
        [
            "# Errors\n",
            "MCP clients get the code with `data` that always has the keys `code` (the name),",
            "`retryable`, `retry_after_ms`, `executed` (`no`, `yes`, `unknown`: whether the server",
            "may have run the call), `server`, `tool`, `attempt_count` and `request_id`.",
            "REST answers with the HTTP status and a problem document (RFC 9457).",
            "A server's own errors are passed on as they are.\n",
            table(["name", "code", "HTTP", "try again", "meaning"], rows),
            "",
        ]
    )


def commands() -> str:
    parts = [
        "# Commands\n",
        "`--home DIR` (or `AGENTHUB_HOME`) says whose hub is meant.",
        "Commands act on the hub that runs with that home, or on its files when none runs.",
        "Exit codes: 0 done, 1 it could not be done, 2 wrong usage.\n",
    ]
    context = click.Context(root, info_name="agenthub")
    for name in COMMANDS:
        command = root.get_command(context, name)
        assert command is not None
        parts += command_help(command, click.Context(command, context, info_name=name))
    return "\n".join(parts)


def command_help(command: click.Command, context: click.Context) -> list[str]:
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    parts = [f"## {context.command_path}\n", f"```text\n{text}\n```\n"]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            parts += command_help(below, click.Context(below, context, info_name=name))
    return parts


def routes() -> str:
    described = create(None).openapi()  # type: ignore[arg-type]
    rows = []
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            text = operation.get("description") or operation.get("summary") or ""
            rows.append([f"`{method.upper()} {path}`", text.partition("\n")[0]])
    return "\n".join(
        [
            "# REST\n",
            "Every address needs a key, but `/healthz`, and `/readyz` for its bare word.",
            "The whole description, with types, is at `/openapi.json` of a running hub.\n",
            table(["address", "what it does"], rows),
            "",
        ]
    )


GENERATED: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "errors.md": errors,
    "commands.md": commands,
    "rest.md": routes,
}


def main() -> int:
    stale = 0
    for name, make in GENERATED.items():
        page = PAGES / name
        text = HEAD + make()
        if "--check" in sys.argv[1:]:
            if not page.exists() or page.read_text() != text:
                print(f"docs/reference/{name} is not what the code says; run `make reference`.")
                stale = 1
        else:
            page.write_text(text)
            print(f"wrote docs/reference/{name}")
    return stale


if __name__ == "__main__":
    sys.exit(main())
