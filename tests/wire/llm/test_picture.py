"""Pictures of a request: where they are looked for, how large they are, what they may cost."""

import json
import struct
import zlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.picture import LEAST, MINI, SIDE_MAX, UNSEEN, Pictures, size_of, tokens_of
from agenthub.wire.llm.request import read_request

CHAT, RESPONSES, MESSAGES, GEMINI = (
    Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES, Dialect.GEMINI,
)  # fmt: skip
TEXT = "x" * 3_000


def base64(data):
    return b64encode(data).decode()


def png(width, height):
    def chunk(name, data):
        whole = name + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def jpeg(width, height, *before, frame=0xC0):
    parts = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in before
    )
    start = struct.pack(">BBHBHHB", 0xFF, frame, 17, 8, height, width, 3)
    return b"\xff\xd8" + parts + start + b"\x01\x11\x00" * 3 + b"\xff\xda" + bytes(20)


def gif(width, height):
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(40)


def webp(kind, data):
    return b"RIFF" + struct.pack("<I", 100) + b"WEBP" + kind + struct.pack("<I", 90) + data


def lossy(width, height):
    return webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(40))


def lossless(width, height):
    bits = (width - 1) | (height - 1) << 14
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", bits) + bytes(40))


def extended(width, height):
    sides = b"".join((one - 1).to_bytes(3, "little") for one in (width, height))
    return webp(b"VP8X", bytes(4) + sides + bytes(40))


EXIF = (0xE1, b"Exif\0\0" + jpeg(160, 120))
"""With a preview of its own."""
SIDES = st.integers(1, 16_383)


@given(SIDES, SIDES)
def test_the_size_of_each_kind_is_read(width, height):
    for make in (png, jpeg, gif, lossy, lossless, extended):
        assert size_of(base64(make(width, height))) == (width, height), make.__name__


def test_a_photo_is_as_large_as_its_frame_and_not_as_its_preview():
    profile = (0xE2, bytes(60_000))
    for frame in (0xC0, 0xC1, 0xC2):
        before = (EXIF, profile, profile, (0xC4, bytes(30)), (0xDB, bytes(65)))
        photo = jpeg(4_032, 3_024, *before, frame=frame)
        assert size_of(base64(photo)) == (4_032, 3_024)
    padded = jpeg(640, 480).replace(b"\xff\xc0", b"\xff\xff\xff\xc0")
    assert size_of(base64(padded)) == (640, 480)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x89PNG\r\n\x1a\n", b"BM" + bytes(60), b"%PDF-1.7" + bytes(60),
        b"RIFF" + bytes(60), webp(b"ICCP", bytes(60)), png(0, 5), png(5, SIDE_MAX + 1), gif(0, 0),
        jpeg(5, 5, (0xDB, bytes(90)))[:90] + bytes(20), b"\xff\xd8\xff\xe1\xff\xff" + bytes(40),
        b"\xff\xd8" + b"\xff\xe1\x00\x02" * 10, b"\xff\xd8\xff\xe1\x00\x05abcd" + bytes(40),
    ],
)  # fmt: skip
def test_what_is_no_picture_has_no_size(data):
    assert size_of(base64(data)) is None


@pytest.mark.parametrize("text", ["é", "A", "A===", "=", "%%%%", "-_-_" * 20])
def test_what_is_no_base64_has_no_size(text):
    assert size_of(text) is None


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WEBP"])
)
def test_no_bytes_make_a_bug(data, start):
    size = size_of(base64(start + data))
    assert size is None or tokens_of(*size) >= LEAST


@pytest.mark.parametrize(
    ("size", "billed"),
    [
        # As they were billed: GPT-6 and GPT-5.5 by default, Claude 5.5, Gemini 3.
        ((256, 256), (77, 177, 1_090)), ((1_920, 1_080), (2_448, 2_768, 1_101)),
        ((3_840, 2_160), (9_792, 3_069, 1_101)), ((4_032, 3_024), (14_364, 11_868, 4_005)),
        # As they are published: tiles of GPT-4o, of Gemini 2 for a strip, Llama 3.2 at Groq.
        ((2_048, 768), (85 + 8 * 170,)), ((10_000, 500), (258 * 2 * 31,)), ((9, 9), (6_400, 2_240)),
    ],
)  # fmt: skip
def test_no_model_that_is_known_bills_more(size, billed):
    assert tokens_of(*size) >= max(billed)
    assert tokens_of(*reversed(size)) >= max(billed)


@given(SIDES, SIDES)
def test_more_pixels_are_never_cheaper_by_patches(width, height):
    assert tokens_of(width, height) * 784 >= width * height
    assert tokens_of(width, height) == tokens_of(height, width)


PHOTO = base64(png(4_032, 3_024) + bytes(900_000))
URL = f"data:image/png;base64,{PHOTO}"
PARTS = [
    (CHAT, {"type": "image_url", "image_url": {"url": URL, "detail": "high"}}),
    (CHAT, {"type": "image_url", "image_url": URL}),
    (RESPONSES, {"type": "input_image", "image_url": URL}),
    (RESPONSES, {"type": "function_call_output", "output": [
        {"type": "input_image", "image_url": URL}]}),
    (RESPONSES, {"type": "computer_call_output", "output": {
        "type": "computer_screenshot", "image_url": URL}}),
    (MESSAGES, {"type": "image", "source": {
        "type": "base64", "media_type": "image/png", "data": PHOTO}}),
    (MESSAGES, {"type": "tool_result", "content": [
        {"type": "image", "source": {"type": "base64", "data": PHOTO}}]}),
    (GEMINI, {"inlineData": {"mimeType": "image/png", "data": PHOTO}}),
    (GEMINI, {"inline_data": {"mime_type": "image/png", "data": PHOTO}}),
]  # fmt: skip
ELSEWHERE = [
    (CHAT, {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}),
    (RESPONSES, {"type": "input_image", "file_id": "file-1"}),
    (RESPONSES, {"type": "input_image", "image_url": "https://x.test/a.png"}),
    (MESSAGES, {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}}),
    (GEMINI, {"fileData": {"mimeType": "image/png", "fileUri": "https://x.test/a"}}),
    (GEMINI, {"file_data": {"mime_type": "image/png", "file_uri": "https://x.test/a"}}),
]
TEXTS = [
    (CHAT, {"type": "text", "text": URL}),
    (CHAT, {"type": "image_url", "image_url": 7}),
    (CHAT, {"type": "input_audio", "input_audio": {"data": PHOTO}}),
    (RESPONSES, {"type": "input_text", "text": URL}),
    (MESSAGES, {"type": "document", "source": {"type": "base64", "data": PHOTO}}),
    (MESSAGES, {"type": "image", "source": 7}),
    (GEMINI, {"text": PHOTO}),
    (GEMINI, {"inlineData": {"mimeType": "audio/wav", "data": PHOTO}}),
    (GEMINI, {"fileData": {"mimeType": "video/mp4", "fileUri": "x"}}),
    (GEMINI, {"functionCall": {"args": {"parts": [{"inlineData": {"data": PHOTO}}]}}}),
]  # fmt: skip


def asked(dialect, *parts, **more):
    said = [{"type": "text", "text": TEXT}, *parts]
    fields = {
        CHAT: {"messages": [{"role": "user", "content": said}]},
        RESPONSES: {"input": [{"role": "user", "content": said}, *parts[:0]]},
        MESSAGES: {"messages": [{"role": "user", "content": said}]},
        GEMINI: {"contents": [{"role": "user", "parts": said}]},
    }[dialect]
    body = json.dumps({**fields, **more, **({} if dialect is GEMINI else {"model": "m"})})
    return read_request(dialect, body.encode(), "m" if dialect is GEMINI else "").pictures


@pytest.mark.parametrize(("dialect", "part"), PARTS)
def test_a_picture_is_found_where_its_provider_looks_for_it(dialect, part):
    once = Pictures(1, tokens_of(4_032, 3_024), len(PHOTO))
    assert asked(dialect, part) == once
    assert asked(dialect, part, part) == Pictures(2, 2 * once.tokens, 2 * once.size)


@pytest.mark.parametrize(("dialect", "part"), ELSEWHERE)
def test_one_that_the_provider_fetches_counts_as_a_large_one(dialect, part):
    assert asked(dialect, part) == Pictures(1, UNSEEN, 0)


@pytest.mark.parametrize(("dialect", "part"), TEXTS)
def test_the_same_words_elsewhere_are_text_and_count_by_their_bytes(dialect, part):
    assert asked(dialect, part) == Pictures()


def test_what_is_in_the_place_of_a_picture_and_is_none_counts_by_its_bytes():
    for text in ("x" * 900_000, base64(b"BM" + bytes(675_000))):
        part = {"type": "image_url", "image_url": {"url": f"data:image/bmp;base64,{text}"}}
        found = asked(CHAT, part)
        assert found.tokens >= found.size / 3 > 100_000
    small = {"type": "image_url", "image_url": {"url": "data:image/bmp;base64,Qk0="}}
    assert asked(CHAT, small) == Pictures(1, UNSEEN, 4)


def test_definitions_of_tools_and_other_fields_have_no_pictures():
    [(_, part), *_] = PARTS
    tool = {"type": "function", "function": {"name": "f", "parameters": {"content": [part]}}}
    assert asked(CHAT, tools=[tool], metadata={"content": [part]}) == Pictures()
    assert read_request(Dialect.EMBEDDINGS, b'{"model":"m","input":["x"]}').pictures == Pictures()


def test_a_request_of_plain_text_has_none():
    for dialect, said in ((CHAT, "messages"), (RESPONSES, "input"), (MESSAGES, "system")):
        for value in ("words", None, 7, [], ["x"], [{"content": "x"}], [{"content": {"x": 1}}]):
            body = json.dumps({"model": "m", said: value}).encode()
            assert read_request(dialect, body).pictures == Pictures()


def test_parts_are_looked_for_to_a_depth():
    part = {"type": "image_url", "image_url": URL}
    for _ in range(20):
        part = {"content": [part]}
    assert asked(CHAT, part) == Pictures()


def test_a_model_whose_tokens_are_cheap_counts_more_of_them():
    pictures = Pictures(2, 5_000, 9)
    assert pictures.tokens_for("gpt-6") == 5_000
    assert pictures.tokens_for("openai/gpt-4o-mini-2024-07-18") == 2 * MINI
