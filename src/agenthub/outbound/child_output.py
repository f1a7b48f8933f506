"""What a child process says: lines of bounded length from stdout, the last lines of stderr."""

import re
from collections import deque
from collections.abc import Iterable

from msgspec import Struct


class Overlong(Struct, frozen=True):
    """Stands for a line over the cap; the rest of it is skipped."""

    head: bytes
    """Its first `HEAD_BYTES`."""


HEAD_BYTES = 4_096


class LineSplitter:
    """Cuts a byte stream into lines, and never holds more than one cap and one chunk."""

    def __init__(self, cap_bytes: int) -> None:
        self._cap = cap_bytes
        self._parts: list[bytes] = []
        self._held = 0
        self.skipped = 0
        """Bytes of the line that is being skipped; 0 when none is."""

    def feed(self, data: bytes) -> list[bytes | Overlong]:
        """Whole lines without their newline; empty ones are left out."""
        first, *rest = data.split(b"\n")
        if not rest:
            return self._hold(first)
        lines: list[bytes | Overlong] = []
        if self.skipped:
            self.skipped = 0
        else:
            lines += self._hold(first)
            if self.skipped:
                self.skipped = 0
            elif self._held:
                lines.append(self.rest())
        tail = rest.pop()
        lines += [
            line if len(line) <= self._cap else Overlong(line[:HEAD_BYTES]) for line in rest if line
        ]
        return lines + self._hold(tail)

    def _hold(self, part: bytes) -> list[bytes | Overlong]:
        if self.skipped:
            self.skipped += len(part)
        elif part:
            self._parts.append(part)
            self._held += len(part)
            if self._held > self._cap:
                self.skipped = self._held
                return [Overlong(self.rest()[:HEAD_BYTES])]
        return []

    def rest(self) -> bytes:
        """What came without a newline yet; it is forgotten here."""
        line = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts, self._held = [], 0
        return line


LINES = 50
LINE_BYTES = 1_300
"""50 such lines are 64 KiB."""

# ANSI sequences whole, then every other control, and what reorders or hides text (A47).
_UNSAFE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-Z\\-_]"
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)


class StderrRing:
    """The last lines, at most 50 and 64 KiB. Keeps them raw: a flood costs a split per chunk."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lines: deque[bytes] = deque(maxlen=LINES)
        self._rest = b""
        lines = {line for secret in secrets for line in secret.splitlines()}
        self._secrets = sorted((line for line in lines if len(line) >= 8), key=len, reverse=True)
        """What is blotted out; shorter ones would blot out words."""

    def feed(self, data: bytes) -> None:
        *whole, rest = (self._rest + data).rsplit(b"\n", LINES)
        self._lines.extend(line[-LINE_BYTES:] for line in whole if line)
        self._rest = rest[:LINE_BYTES]

    def lines(self) -> tuple[str, ...]:
        """For people: no controls, no secrets."""
        raw = [*self._lines, self._rest] if self._rest else list(self._lines)
        return tuple(line for line in map(self._clean, raw[-LINES:]) if line)

    def _clean(self, raw: bytes) -> str:
        text = raw.decode(errors="replace")
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _UNSAFE.sub("", text).replace("\t", " ").strip()
