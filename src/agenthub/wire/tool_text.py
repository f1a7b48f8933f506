"""What a tool said, as text for a model: its content in order, with a word for what is none."""

from typing import Any, Final, cast

import msgspec

RESULT_BYTES: Final = 64 * 1024
"""Of one result, as a model is given it."""
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def text_of(result: bytes, most: int = RESULT_BYTES) -> str:
    """`result`: as `tools/call` gives it, raw JSON. Never raises."""
    try:
        said = _decode(result)
    except (ValueError, RecursionError):
        return "(the tool's answer could not be read)"
    content = said.get("content")
    blocks = cast("list[Any]", content) if isinstance(content, list) else []
    texts = [_block(cast("dict[str, Any]", one)) for one in blocks if isinstance(one, dict)]
    text = "\n".join(one for one in texts if one)
    if not text and "structuredContent" in said:
        text = msgspec.json.encode(said["structuredContent"]).decode()
    return cut(text or "(no content)", most)


def cut(text: str, most: int) -> str:
    """At most so many bytes, with a word of what is missing."""
    data = text.encode(errors="replace")
    if len(data) <= most:
        return data.decode()
    kept = data[:most].decode(errors="ignore")
    return f"{kept}\n(cut here: {len(data):,} bytes in all, of which {most:,} are shown)"


def _block(block: dict[str, Any]) -> str:
    kind, text = block.get("type"), block.get("text")
    if kind == "text" and isinstance(text, str):
        return text
    if kind == "resource" and isinstance(block.get("resource"), dict):
        resource = cast("dict[str, Any]", block["resource"])
        text = resource.get("text")
        return text if isinstance(text, str) else f"(a resource: {str(resource.get('uri'))[:300]})"
    if kind == "resource_link":
        return f"(a link: {str(block.get('uri'))[:300]})"
    return f"({str(kind)[:32]}: {str(block.get('mimeType') or 'no text')[:64]})"
