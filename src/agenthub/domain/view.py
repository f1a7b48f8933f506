"""A view: a virtual server, made of chosen tools of several servers under names of its own.

    names: find ──► arxiv__search        shown and called as `find`, with its own description
    allow: web__*                        shown under the names that `/mcp` shows
    deny, read_only                      outweigh both

What a view shows is chosen, never more than the caller's key may touch.
"""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from agenthub.domain.alias import is_alias
from agenthub.domain.endpoint_check import check_name
from agenthub.domain.errors import BadSetting
from agenthub.domain.target import split
from agenthub.domain.tool_set import ToolSet, check_globs

FACE: Final = "v/"
"""Begins the face of a view; no server's name has a `/`."""
SEARCH: Final = ("off", "auto", "on")
"""The later outweighs the earlier."""
NAMES_MAX: Final = 1_000
TEXT_MAX: Final = 20_000
"""Characters of instructions, and of a description."""
_TARGET = re.compile(r"[!-)+->@-Z\\^-~]{1,512}")
"""A name that is a glob of itself alone."""
_OWN_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Renamed(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A tool or prompt under a name of the view's own."""

    target: str
    """`server__tool`, its full name."""
    description: str | None = None
    """Shown instead of the server's own; null: that one."""


class View(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A virtual server at `/mcp/v/NAME`."""

    name: str
    """As an endpoint's."""
    instructions: str = ""
    """Told to clients instead of those of the servers."""
    names: dict[str, Renamed] = {}
    """Own name → tool or prompt; up to 64 of A-Z a-z 0-9 _ -."""
    allow: tuple[str, ...] = ()
    """Globs of what is shown beside, as `web__*` or `agenthub://docs/*`."""
    deny: tuple[str, ...] = ()
    """Globs of what is not shown; outweighs `allow` and `names`."""
    read_only: bool = False
    """Whether only tools that are known to change nothing are shown."""
    search: str = "off"
    """`on`: offer `search_tools` and `call_tool` instead of the list; `auto`: if it is long."""

    @property
    def tools(self) -> ToolSet:
        """Everything that it shows."""
        targets = (renamed.target for renamed in self.names.values())
        return ToolSet((*self.allow, *targets), self.deny, self.read_only)

    def target_of(self, name: str) -> str:
        """The full name of what is called so here."""
        renamed = self.names.get(name)
        return name if renamed is None else renamed.target

    def own_names(self) -> Mapping[str, str]:
        """Full name → the name here."""
        return {renamed.target: own for own, renamed in self.names.items()}


def view_of(face: str | None) -> str | None:
    """The view's name, if the face is a view."""
    return face[len(FACE) :] if face is not None and face.startswith(FACE) else None


def server_of(face: str | None) -> str | None:
    """The server's name, if the face is one server; None where many meet."""
    return None if face is None or face.startswith(FACE) else face


def check_view(view: View) -> None:
    """Raises BadSetting, which names the key and says what was expected."""
    check_name(view.name)
    check_search(view.search)
    check_globs("allow", view.allow)
    check_globs("deny", view.deny)
    if len(view.instructions) > TEXT_MAX:
        raise BadSetting(f"instructions: expected at most {TEXT_MAX} characters")
    if len(view.names) > NAMES_MAX:
        raise BadSetting(f"names: expected at most {NAMES_MAX}, got {len(view.names)}")
    for own, renamed in view.names.items():
        _check_renamed(own, renamed)
    if len(view.own_names()) < len(view.names):
        raise BadSetting("names: expected each target once")
    if not view.names and not view.allow:
        raise BadSetting("allow: expected something to show, here or in `names`")


def check_search(search: str) -> None:
    """Raises BadSetting."""
    if search not in SEARCH:
        raise BadSetting(f"search: expected `on`, `off` or `auto`, got {search[:64]!r}")


def _check_renamed(own: str, renamed: Renamed) -> None:
    if not _OWN_NAME.fullmatch(own) or is_alias(own):
        raise BadSetting(f"names: expected names of 1 to 64 of A-Z a-z 0-9 _ -, got {own[:64]!r}")
    if split(own):
        raise BadSetting(f"names.{own}: expected a name without `__`, which parts full names")
    if split(renamed.target) is None or not _TARGET.fullmatch(renamed.target):
        raise BadSetting(
            f"names.{own}.target: expected `server__tool`, got {renamed.target[:64]!r}"
        )
    if renamed.description is not None and len(renamed.description) > TEXT_MAX:
        raise BadSetting(f"names.{own}.description: expected at most {TEXT_MAX} characters")
