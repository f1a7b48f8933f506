"""A tool's result as text for people: what is text is printed, the rest is named."""

import json
from collections.abc import Mapping
from typing import Any, cast

Json = Mapping[str, Any]


def text_of(result: Json) -> str:
    """Its content, an item a line; structured content only if there is no other."""
    content = result.get("content")
    items = cast("list[Any]", content) if isinstance(content, list) else []
    lines = [_item(cast("Json", item)) for item in items if isinstance(item, dict)]
    if not lines and result.get("structuredContent") is not None:
        return json.dumps(result["structuredContent"], indent=2, ensure_ascii=False)
    return "\n".join(lines)


def _item(item: Json) -> str:
    kind = item.get("type")
    match kind:
        case "text":
            return str(item.get("text", ""))
        case "image" | "audio":
            size = len(str(item.get("data", ""))) * 3 // 4
            return f"[{kind} {item.get('mimeType', '')}, {size} bytes; --raw shows it]"
        case "resource_link":
            return f"[{item.get('uri', '')}]"
        case "resource":
            return _resource(item.get("resource"))
        case _:
            return f"[{kind or 'something else'}; --raw shows it]"


def _resource(resource: Any) -> str:
    if not isinstance(resource, dict):
        return "[resource]"
    facts = cast("Json", resource)
    if isinstance(facts.get("text"), str):
        return facts["text"]
    return f"[resource {facts.get('uri', '')} {facts.get('mimeType', '')}; --raw shows it]"
