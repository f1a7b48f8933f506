"""Aliases: names of tools that every client can live with, and that lead back to one tool.

    git__status                     fits                        git__status
    git__log.oneline                a dot, which LLM APIs       git__log_oneline--own5bxg7e24i
    <a name of 90 characters>       too long for them           <its first 50>--4mz6p2vyc7dq

An alias is made of the full name alone: it depends on no other tool, no order and no time. What
looks like an alias is always one, for a tool that is really called so gets an alias, too. Twelve
characters of SHA-256 in base 32 are 60 bits: nobody makes a tool that takes another's alias, and
among ten thousand tools two are alike by chance once in 20 billion hubs.
Source: rule T2; names as LLM APIs take them, `[A-Za-z0-9_-]{1,64}`.
"""

import base64
import hashlib
import re
from typing import Final

SAFE: Final = "safe"
"""Up to 64 of A-Z a-z 0-9 _ -, as LLM APIs want them."""
SPEC: Final = "spec"
"""Up to 128 of A-Z a-z 0-9 _ . -, as the specification allows."""
STYLES: Final = (SAFE, SPEC)
MARK: Final = "--"
DIGEST: Final = 12
TAIL: Final = len(MARK) + DIGEST

_FITS: Final = {
    SAFE: re.compile(r"[A-Za-z0-9_-]{1,64}"),
    SPEC: re.compile(r"[A-Za-z0-9_.-]{1,128}"),
}
_OTHER: Final = {SAFE: re.compile(r"[^A-Za-z0-9_-]"), SPEC: re.compile(r"[^A-Za-z0-9_.-]")}
CUT: Final = {SAFE: 64 - TAIL, SPEC: 128 - TAIL}
"""Characters of the full name that are kept in an alias."""
_ALIAS = re.compile(r".*--[a-z2-7]{12}", re.DOTALL)


def alias(full: str, style: str) -> str:
    """The name to show: the full one if it fits this style."""
    if _FITS[style].fullmatch(full) and not is_alias(full):
        return full
    return _OTHER[style].sub("_", full[: CUT[style]]) + MARK + digest(full)


def is_alias(name: str) -> bool:
    return name[-TAIL:-DIGEST] == MARK and _ALIAS.fullmatch(name) is not None


def digest(full: str) -> str:
    """What ends the alias, in either style."""
    hashed = hashlib.sha256(full.encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(hashed)[:DIGEST].decode().lower()
