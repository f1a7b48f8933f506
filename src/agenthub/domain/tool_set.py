"""Tool sets: which tools, prompts and resources a key or a view may touch.

A set goes by the names that `/mcp` shows, so that a tool has one name in every rule:

    files__read_*                 tools and prompts of the server `files`
    agenthub://files/file:///a*   resources and templates of it
    *__search                     a tool or prompt of that name, of any server
"""

import re
from collections.abc import Callable
from fnmatch import translate
from functools import lru_cache

from msgspec import Struct

from agenthub.domain.errors import BadSetting
from agenthub.domain.target import SCHEME, SEPARATOR

GLOBS_MAX = 1_000
_GLOB = re.compile(r"[!-Z\\^-~]{1,512}")
"""Visible ASCII but `[` and `]`, which mean something else in other globs."""


class ToolSet(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    allow: tuple[str, ...] = ("*",)
    """Globs (`*`, `?`) of what may be touched."""
    deny: tuple[str, ...] = ()
    """Globs of what may not; outweighs `allow`."""
    read_only: bool = False
    """Of the tools, only those that change nothing: the operator says so, or a trusted server did
    in the pinned definition."""

    def admits(self, name: str, *, reads: bool) -> bool:
        """Whether this may be touched. `reads`: it changes nothing."""
        if self.read_only and not reads:
            return False
        return bool(_any(self.allow)(name)) and not _any(self.deny)(name)

    def touches(self, endpoint: str) -> bool:
        """Whether there can be anything of this server in it."""
        starts = (endpoint + SEPARATOR, f"{SCHEME}{endpoint}/")
        return any(_can_begin(glob, start) for glob in self.allow for start in starts)


EVERYTHING = ToolSet()


def check_globs(key: str, globs: tuple[str, ...]) -> None:
    """Raises BadSetting."""
    if len(globs) > GLOBS_MAX:
        raise BadSetting(f"{key}: expected at most {GLOBS_MAX} globs, got {len(globs)}")
    for glob in globs:
        if not _GLOB.fullmatch(glob):
            raise BadSetting(
                f"{key}: expected names as `server__tool` or `agenthub://server/uri`, with `*` and"
                f" `?` for what may differ; got {glob[:64]!r}"
            )


@lru_cache(maxsize=1_024)
def _any(globs: tuple[str, ...]) -> Callable[[str], object]:
    """Matches what one of them does. `translate` makes patterns that never look back (A32)."""
    return re.compile("|".join(map(translate, globs)) or r"(?!)").match


def _can_begin(glob: str, start: str) -> bool:
    """Whether some name that begins so fits the glob."""
    head = re.split(r"[*?]", glob, maxsplit=1)[0]
    return head.startswith(start) or (head != glob and start.startswith(head))
