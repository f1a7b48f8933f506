"""OpenTelemetry's address for exports: `/v1/logs`, `/v1/metrics`, `/v1/traces` (OTLP/HTTP).

    body ─► unpacked (gzip, bounded) ─► JSON or protobuf ─► reports of usage ─► the ledger
                                                        └─ all else is dropped unread

What comes may hold what people wrote to models, so nothing of it is kept but counts and names. A
sender repeats what was not taken (429, 503) and nothing else; what comes twice counts once.
Source: OTLP specification 1.9, "OTLP/HTTP"; attacks A19, A52.
"""

import asyncio
import zlib
from collections.abc import Sequence
from functools import partial
from typing import Final

from msgspec import Struct

from agenthub.domain.errors import HubError, InvalidParams, StorageFailed
from agenthub.hub import Hub
from agenthub.inbound.exchange import Exchange, Headers, HotDoor
from agenthub.wire import strict_json
from agenthub.wire.ingest import otlp
from agenthub.wire.ingest.logs import read_logs
from agenthub.wire.ingest.metrics import CUMULATIVE, read_metrics
from agenthub.wire.ingest.report import Report
from agenthub.wire.ingest.spans import read_spans

KINDS: Final = {"/v1/logs": "Logs", "/v1/metrics": "Metrics", "/v1/traces": "Spans"}
AT_ONCE: Final = 16
"""Exports that are read at a time; senders come again a second later."""
BESIDE_BYTES: Final = 32 * 1024
"""What is larger is read beside the event loop: 4 MB take a second."""
_GZIP: Final = 31
"""zlib's `wbits` of gzip alone."""
_JSON_TYPE: Final = (b"content-type", b"application/json")
_PROTOBUF_TYPE: Final = (b"content-type", b"application/x-protobuf")
INVALID, EXHAUSTED, UNAVAILABLE, INTERNAL = 3, 8, 14, 13
"""Of gRPC."""
RETRY_S: Final = {429: b"1", 503: b"10"}
"""After which a sender comes again."""


class TooLarge(InvalidParams):
    """What was packed is more than the hub takes."""


class Read(Struct, frozen=True):
    """An export."""

    reports: Sequence[Report]
    rejected: int = 0
    why: str = ""


class TelemetryHttp:
    """The three addresses."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._most = hub.settings.limits.body_bytes
        self._at_once = 0

    def hot(self, path: str) -> HotDoor | None:
        kind = KINDS.get(path)
        return None if kind is None else partial(self._take, kind)

    def _take(self, kind: str, exchange: Exchange) -> None:
        sender = Sender(exchange)
        if exchange.request.method != "POST":
            exchange.answer(405, b"", ((b"allow", b"POST"),))
        elif self._at_once >= AT_ONCE:
            sender.refuse(429, EXHAUSTED, f"{AT_ONCE} exports are read at present")
        else:
            self._at_once += 1
            self._hub.tasks.start(self._answer(kind, sender, exchange), "telemetry")

    async def _answer(self, kind: str, sender: "Sender", exchange: Exchange) -> None:
        body, as_json = exchange.request.body, sender.as_json
        is_packed = (exchange.request.header(b"content-encoding") or b"").lower() == b"gzip"
        read = partial(_read, kind, body, self._most, as_json=as_json, is_packed=is_packed)
        try:
            is_small = len(body) <= BESIDE_BYTES and not is_packed
            found = read() if is_small else await asyncio.to_thread(read)
            await self._hub.intake.take(exchange.caller, found.reports, "otlp")
        except TooLarge as error:
            sender.refuse(413, INVALID, str(error))
        except StorageFailed as error:
            sender.refuse(503, UNAVAILABLE, str(error))
        except (HubError, ValueError) as error:
            sender.refuse(400, INVALID, str(error))
        except Exception:
            sender.refuse(500, INTERNAL, "The hub failed; its log says more")
            raise
        else:
            taken = otlp.taken(kind, as_json=as_json, rejected=found.rejected, why=found.why)
            sender.answer(200, taken)
        finally:
            self._at_once -= 1


class Sender:
    """The other end, as long as it is there; it is answered as it writes."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._is_gone = False
        exchange.closed = self._left
        kind = exchange.request.header(b"content-type") or b"application/json"
        self.as_json = kind.lower().startswith(b"application/json")

    def _left(self) -> None:
        self._is_gone = True

    def answer(self, status: int, body: bytes, headers: Headers = ()) -> None:
        if not self._is_gone:
            kind = _JSON_TYPE if self.as_json else _PROTOBUF_TYPE
            self._exchange.answer(status, body, (kind, *headers))

    def refuse(self, status: int, code: int, why: str) -> None:
        again = RETRY_S.get(status)
        headers = () if again is None else ((b"retry-after", again),)
        self.answer(status, otlp.refused(code, why, as_json=self.as_json), headers)


def _read(kind: str, body: bytes, most: int, *, as_json: bool, is_packed: bool) -> Read:
    """Raises TooLarge, BadJson or ValueError, in words."""
    data = _unpacked(body, most) if is_packed else body
    if as_json:
        message: object = strict_json.parse(data)
    else:
        from agenthub.wire.ingest.protobuf import tree  # noqa: PLC0415 - 6.5 MB

        message = tree(kind, data)
    if kind == "Metrics":
        reports, rejected = read_metrics(message)
        return Read(reports, rejected, CUMULATIVE if rejected else "")
    return Read(list((read_logs if kind == "Logs" else read_spans)(message)))


def _unpacked(body: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        data = unpacker.decompress(body, most + 1)
    except zlib.error:
        raise ValueError("The body is no gzip") from None
    if len(data) > most:
        raise TooLarge(f"The body is over {most:,} bytes when it is unpacked")
    if not unpacker.eof:
        raise ValueError("The body ends in the middle of its gzip")
    return data
