"""The maps at the top of the doors lead a newcomer to every file."""

import re
from pathlib import Path

import pytest

import agenthub.inbound
import agenthub.inbound.mcp

ROOT = Path(agenthub.inbound.__file__).parent
MAPS = {
    "inbound": (agenthub.inbound.__doc__, [*ROOT.glob("*.py")]),
    "mcp": (agenthub.inbound.mcp.__doc__, [*ROOT.glob("mcp/**/*.py")]),
}


@pytest.mark.parametrize("name", MAPS)
def test_every_module_stands_in_its_map(name):
    said, files = MAPS[name]
    named = set(re.findall(r"[a-z_]+", said))
    assert sorted({path.stem for path in files} - named - {"__init__"}) == []


@pytest.mark.parametrize("name", MAPS)
def test_a_map_names_no_module_that_has_gone(name):
    said, _ = MAPS[name]
    there = {path.stem for path in ROOT.rglob("*.py")}
    compound = set(re.findall(r"\b[a-z]+_[a-z_]+\b", said)) - {"search_tools", "call_tool"}
    assert sorted(compound - there) == []
