"""`60/m`, `10m`: rates and spans as people write them, for options."""

import re
from typing import Any, Final

import click

SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(?:/([smhd]))?")
_SPAN = re.compile(r"(\d{1,9})([smhd])")


class Rate(click.ParamType[Any]):
    """Into calls per second; `none` into 0."""

    name = "rate"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Raises UsageError."""
        if value == "none":
            return 0.0
        found = _RATE.fullmatch(str(value))
        if found is None or not float(found[1]):
            self.fail(f"{value!r}: expected a rate as 60/m, 5/s, 1000/d, or none", param, ctx)
        return float(found[1]) / SECONDS[found[2] or "s"]


class Span(click.ParamType[Any]):
    """Into seconds."""

    name = "span"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Raises UsageError."""
        found = _SPAN.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r}: expected a span as 90s, 10m or 24h", param, ctx)
        return int(found[1]) * SECONDS[found[2]]
