"""Names of tests, looked up in the files that hold them; nothing is imported or run."""

import ast
import functools
from pathlib import Path

TESTS = Path(__file__).parents[1]


@functools.cache
def tests_in(file):
    """All `name` and `Class::name` of one file below `tests/`."""
    tree = ast.parse((TESTS / file).read_text())
    found = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{one.name}" for one in node.body if _is_test(one)}
        elif _is_test(node):
            found.add(node.name)
    return found


def _is_test(node):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, kinds) and node.name.startswith("test_")


def missing(table):
    """What a table of row → `file::test` names that is not there."""
    named = {one for tests in table.values() for one in tests}
    return {one for one in named if one.split("::", 1)[1] not in tests_in(one.split("::", 1)[0])}


def rows(file, *names):
    """`file::name` for each."""
    return tuple(f"{file}::{name}" for name in names)
