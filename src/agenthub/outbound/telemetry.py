"""The hub's log: one line for each thing that happens in its life, on stderr.

    2026-01-31T12:00:00.123Z WARNING Server lost endpoint=git detail="it ended with code 1"

Events come from the bus, everything else from `logging`. Calls are not in it; their log is the
database's. A line is a line whatever is in it: line breaks, control characters and what turns the
direction of text are escaped, and long values are cut (A47).
"""

import json
import logging
import re
import sys
import time
import traceback
from typing import Final, TextIO

from agenthub.domain.errors import BadSetting
from agenthub.domain.events import (
    BreakerChanged,
    BudgetReached,
    ClockEvent,
    Event,
    ServerChanged,
)

log = logging.getLogger("agenthub")

LOG_LEVEL: Final = "AGENTHUB_LOG"
"""The environment variable that says what is logged."""
LEVELS: Final = ("debug", "info", "warning", "error")
GRAVE: Final = frozenset({"lost", "unreachable", "pending"})
"""What somebody should look at, of what a server becomes."""
VALUE_MAX: Final = 500
TRACE_MAX: Final = 8_000

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PLAIN = re.compile(r"[A-Za-z0-9_./:@+-]+")
# Control characters, line separators, and what turns the direction of text. Source: UTR 36, 3.1.
_HARMFUL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def set_up_log(level: str, stream: TextIO | None = None) -> None:
    """Send the log to the stream (stderr). Raises BadSetting for a level that there is not."""
    if level.lower() not in LEVELS:
        raise BadSetting(f"{LOG_LEVEL}: expected {', '.join(LEVELS)}, got {level[:32]!r}")
    sink = logging.StreamHandler(sys.stderr if stream is None else stream)
    sink.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [sink]
    root.setLevel(logging.WARNING)
    log.setLevel(level.upper())


class LineFormatter(logging.Formatter):
    """A record as one line: time, level, message, and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        words = escaped(_cut(record.getMessage()))
        head = f"{at}.{int(record.msecs):03d}Z {record.levelname} {words}"
        fields = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        if record.exc_info:
            fields["trace"] = "".join(traceback.format_exception(*record.exc_info))[-TRACE_MAX:]
        return " ".join([head, *(f"{key}={_value(key, value)}" for key, value in fields.items())])


def _value(key: str, value: object) -> str:
    text = _cut(str(value), TRACE_MAX if key == "trace" else VALUE_MAX)
    if _PLAIN.fullmatch(text):
        return text
    return escaped(json.dumps(text, ensure_ascii=False))


def _cut(text: str, longest: int = VALUE_MAX) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def escaped(text: str) -> str:
    r"""The text with everything that is no visible character written as `\u000a`."""
    return _HARMFUL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


# ---------------------------------------------------------------- events


def log_event(event: Event) -> None:
    """A sink of the bus."""
    match event:
        case ServerChanged():
            level = logging.WARNING if event.state in GRAVE else logging.INFO
            tell(level, f"Server {event.state}", endpoint=event.endpoint, detail=event.detail)
        case BreakerChanged():
            level = logging.INFO if event.after == "closed" else logging.WARNING
            tell(
                level, "Breaker changed", endpoint=event.endpoint, tool=event.tool,
                before=event.before, after=event.after, cause=event.cause,
                retry_after_ms=event.retry_after_ms,
            )  # fmt: skip
        case BudgetReached():
            tell(
                logging.WARNING, f"A budget reached {event.level}", budget=event.budget,
                spent_usd=event.spent_usd, limit_usd=event.limit_usd,
            )  # fmt: skip
        case ClockEvent():
            tell(logging.WARNING, "Clock", kind=event.kind, detail=event.detail)
        case _:
            pass


def tell(level: int, message: str, **fields: object) -> None:
    """Log it, without the fields that are empty."""
    log.log(level, message, extra={k: v for k, v in fields.items() if v not in {"", None}})
