"""YAML as a tree of text that remembers its lines. Nothing is constructed, nothing is guessed.

    file ──► bytes ──► events ──► Scalar | Items | Table, each with its origin (`file:line`)

What YAML can do beyond lists, tables and text is refused by line: tags, anchors and aliases
(a few lines of them unfold into gigabytes), duplicate keys, a second document (A28).
Whether `yes` is a word or a truth is decided later, by what is expected there.
"""

import stat
from pathlib import Path
from typing import Any, Final, TypeAlias

from msgspec import Struct

from agenthub.domain.errors import BadSetting
from agenthub.settings.regular_file import read_regular

SIZE_MAX: Final = 1024 * 1024
DEPTH_MAX: Final = 32


class Scalar(Struct, frozen=True):
    """A word, number or line of text, as it was written."""

    text: str
    origin: str
    plain: bool = True
    """Whether it stands without quotes: only then may it be a number, a truth or nothing."""
    variable: bool = False
    """Whether it is an environment variable's value; such a one may hold a list or table."""

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in {"", "~", "null", "Null", "NULL"}


class Items(Struct, frozen=True):
    """A list."""

    items: list["Node"]
    origin: str


class Table(Struct, frozen=True):
    """Keys and values; each key with the origin of its own."""

    entries: dict[str, tuple[str, "Node"]]
    origin: str


Node: TypeAlias = Scalar | Items | Table


def read(file: Path) -> Node:
    """The tree of a file.

    Raises:
        BadSetting: It cannot be read, is not YAML, or is more than the hub wants to read.
    """
    return parse(_text(file), str(file))


def parse(text: str, source: str) -> Node:
    """The tree of a text; an empty one is an empty table. `source` begins every origin."""
    import yaml  # noqa: PLC0415 - 20 ms, which most commands need not pay

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(source)
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise BadSetting(f"{source}:{line}: expected text without control characters") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # libyaml counts a line after the last one.
        line = min(mark.line, max(0, len(text.splitlines()) - 1)) + 1 if mark else 1
        raise BadSetting(f"{source}:{line}: not YAML: {error.problem or error.context}") from None
    return builder.root or Table({}, f"{source}:1")


class _Builder:
    """Takes the parser's events and builds the tree on a stack of its own."""

    def __init__(self, source: str) -> None:
        self.root: Node | None = None
        self._source = source
        self._open: list[Items | Table] = []
        self._keys: list[Scalar | None] = []
        """For each open list or table: the key that waits for its value."""
        self._documents = 0

    def take(self, event: Any) -> None:
        kind = type(event).__name__
        origin = f"{self._source}:{event.start_mark.line + 1}"
        if kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                raise BadSetting(f"{origin}: expected one document, found a second")
        elif kind == "AliasEvent" or getattr(event, "anchor", None) is not None:
            raise BadSetting(f"{origin}: anchors (&) and aliases (*) are not supported")
        elif kind == "ScalarEvent":
            self._refuse_tag(event, origin)
            self._add(Scalar(event.value, origin, plain=not event.style))
        elif kind in {"SequenceStartEvent", "MappingStartEvent"}:
            self._refuse_tag(event, origin)
            self._begin(Items([], origin) if kind == "SequenceStartEvent" else Table({}, origin))
        elif kind in {"SequenceEndEvent", "MappingEndEvent"}:
            self._open.pop()
            self._keys.pop()

    def _begin(self, node: Items | Table) -> None:
        if len(self._open) >= DEPTH_MAX:
            raise BadSetting(f"{node.origin}: nested deeper than {DEPTH_MAX} levels")
        self._add(node)
        self._open.append(node)
        self._keys.append(None)

    def _add(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if isinstance(parent, Items):
            parent.items.append(node)
            return
        key = self._keys[-1]
        if key is None:
            self._keys[-1] = self._key(parent, node)
        else:
            parent.entries[key.text] = (key.origin, node)
            self._keys[-1] = None

    def _key(self, table: Table, node: Node) -> Scalar:
        if not isinstance(node, Scalar):
            raise BadSetting(f"{node.origin}: expected a word as key")
        if earlier := table.entries.get(node.text):
            line = earlier[0].rpartition(":")[2]
            raise BadSetting(
                f"{node.origin}: {node.text[:64]}: this key stands already in line {line}"
            )
        return node

    def _refuse_tag(self, event: Any, origin: str) -> None:
        if event.tag is not None:
            raise BadSetting(f"{origin}: tags ({event.tag[:64]}) are not supported")


def _text(file: Path) -> str:
    """What the file holds, if nobody else could have written it (A28)."""
    try:
        data, mode = read_regular(file, SIZE_MAX, follow=False)
    except OSError as error:
        if file.is_symlink():
            raise BadSetting(
                f"{file}: is a symbolic link; give the file that it points to"
            ) from None
        raise BadSetting(f"{file}: cannot be read: {error.strerror}") from None
    if mode & stat.S_IWOTH:
        raise BadSetting(
            f"{file}: everybody may write it; look through it, then run `chmod o-w {file}`"
        )
    if len(data) > SIZE_MAX:
        raise BadSetting(f"{file}: expected at most {SIZE_MAX} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadSetting(f"{file}:{line}: expected UTF-8") from None
