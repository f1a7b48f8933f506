"""Pictures in a request: how many tokens of input they may be billed as, whatever model reads them.

A picture that comes as base64 is millions of bytes and thousands of tokens: counted by its bytes it
would hold a hundred times what it costs. Its size in pixels stands in its first bytes, and is all
that any provider counts by. The bound is the dearest way of all that are known:

| who | tokens of a picture | known from |
|---|---|---|
| OpenAI, by patches | 1.2 for each 32 x 32 pixels, after shrinking | measured, see below |
| OpenAI, by tiles | a base, at most 8 tiles: 1,445; `4o-mini` 48,169 | guide "Images and vision" |
| Anthropic | 1 for each 28 x 28 pixels, after shrinking | guide "Vision" |
| Gemini 2 | 258 a tile, of which the shorter side takes 1.5 | guide "Image understanding" (*) |
| Gemini 3 | at most 2,240 | guide "Media resolution" |
| Llama 3.2 at Groq | 6,400 | guide "Images and vision" (*) |

Measured, for ten sizes up to 12 megapixels: huggingface.co/datasets/JOHNISKING/image-token-cost
(2026); the test has its figures. (*): as remembered, not compared with the page.

Shrinking is not counted on: only some tell how far they shrink. One whose size is not to be read,
or that the provider fetches itself, counts as one of 12 megapixels.
"""

import binascii
from collections.abc import Iterator, Mapping
from struct import unpack_from
from typing import Any, Final

from msgspec import Struct

from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.seen import objects

LEAST: Final = 6_400
"""Tokens of any picture, however small."""
UNSEEN: Final = 16_384
"""Of one whose size is not known: one of 12 megapixels is 14,364 for GPT-6, 15,552 by 28 pixels."""
MINI: Final = 2_833 + 8 * 5_667
"""Of any picture for `gpt-4o-mini`, whose tokens are cheap and many."""
BYTES_PER_TOKEN: Final = 3
HEAD_CHARACTERS: Final = 256 * 1024
"""Of base64, in which the size is looked for; profiles and previews may stand before it."""
DEPTH: Final = 4
"""Lists inside one another in which messages have their parts."""
SIDE_MAX: Final = 1 << 20
_ROOTS: Final[Mapping[Dialect, tuple[str, ...]]] = {
    Dialect.CHAT: ("messages",),
    Dialect.RESPONSES: ("input",),
    Dialect.MESSAGES: ("system", "messages"),
    Dialect.GEMINI: ("contents",),
    Dialect.EMBEDDINGS: (),
}
_PNG, _JPEG, _GIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", (b"GIF87a", b"GIF89a")
_NO_FRAME: Final = frozenset({0xC4, 0xC8, 0xCC})
"""Of JPEG's markers from C0 to CF, those that begin no frame."""


class Pictures(Struct, frozen=True):
    """Those of one request."""

    count: int = 0
    tokens: int = 0
    """That they may be billed as, together."""
    size: int = 0
    """Bytes of the body that are theirs."""

    def tokens_for(self, model: str) -> int:
        return self.count * MINI if "4o-mini" in model else self.tokens


NO_PICTURES: Final = Pictures()


def pictures_of(dialect: Dialect, fields: Mapping[str, Any]) -> Pictures:
    """Only where providers look for pictures: elsewhere the same words are text, and billed so."""
    count = tokens = size = 0
    for root in _ROOTS[dialect]:
        for part in _parts(fields.get(root), DEPTH):
            found = _picture(part)
            if found is not None:
                count, tokens, size = count + 1, tokens + _tokens(found), size + len(found)
    return Pictures(count, tokens, size)


def _parts(value: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    """The objects in a list, and those in the lists that they have; one alone is a list of it."""
    for part in objects([value] if type(value) is dict else value) if depth else ():
        yield part
        for name in ("content", "output", "parts"):
            yield from _parts(part.get(name), depth - 1)


def _picture(part: Mapping[str, Any]) -> str | None:
    """Its base64; empty if it is elsewhere. None: this is no picture."""
    match part:
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)} | {
            "type": "input_image" | "computer_screenshot", "image_url": str(url)
        }:  # fmt: skip
            return _inline(url)
        case {"type": "image", "source": {"data": str(data)}}:
            return data
        case {"inlineData": {"mimeType": str(kind), "data": str(data)}} | {
            "inline_data": {"mime_type": str(kind), "data": str(data)}
        } if kind.startswith("image/"):
            return data
        case {"type": "input_image" | "computer_screenshot"} | {
            "type": "image", "source": {"type": str()}
        }:  # fmt: skip
            return ""
        case {"fileData": {"mimeType": str(kind)}} | {"file_data": {"mime_type": str(kind)}} if (
            kind.startswith("image/")
        ):
            return ""
        case _:
            return None


def _inline(url: str) -> str:
    return url.partition(",")[2] if url[:5].lower() == "data:" else ""


def _tokens(data: str) -> int:
    """What a picture may be billed as; `data`: its base64, or nothing."""
    size = size_of(data)
    if size is None:
        return max(UNSEEN, -(-len(data) // BYTES_PER_TOKEN))
    return tokens_of(*size)


def tokens_of(width: int, height: int) -> int:
    """By the table above, for a picture of so many pixels.

    OpenAI's patches of 32, times 1.2, are fewer than squares of 28 for every picture.
    """
    unit = max(1, min(width, height) * 2 // 3)
    return max(
        LEAST,
        _squares(width, height, 28),
        258 * _squares(width, height, unit),
    )


def _squares(width: int, height: int, side: int) -> int:
    return -(-width // side) * -(-height // side)


def size_of(data: str) -> tuple[int, int] | None:
    """Width and height in pixels of a PNG, JPEG, GIF or WebP in base64; None: not to be read."""
    try:
        head = binascii.a2b_base64(data[:HEAD_CHARACTERS].encode("ascii"))
        size = _size(head)
    except ValueError:
        return None
    return size if size and all(0 < side <= SIDE_MAX for side in size) else None


def _size(head: bytes) -> tuple[int, int] | None:
    if len(head) < 32:
        return None
    if head.startswith(_PNG):
        width, height = unpack_from(">II", head, 16)
    elif head.startswith(_JPEG):
        return _jpeg(head)
    elif head.startswith(_GIF):
        width, height = unpack_from("<HH", head, 6)
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp(head)
    else:
        return None
    return width, height


def _jpeg(head: bytes) -> tuple[int, int] | None:
    """From its first frame, past what stands before it: profiles, previews, tables."""
    at = 2
    while at + 9 <= len(head):
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = unpack_from(">HH", head, at + 5)
            return width, height
        else:
            at += 2 + unpack_from(">H", head, at + 2)[0]
    return None


def _webp(head: bytes) -> tuple[int, int] | None:
    kind = head[12:16]
    if kind == b"VP8 ":
        width, height = unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = unpack_from("<I", head, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
        return width + 1, height + 1
    return None
