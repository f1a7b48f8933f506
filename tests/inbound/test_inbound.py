"""The map at the top of the doors leads a newcomer to every file."""

import re
from pathlib import Path

import agenthub.inbound


def test_every_module_stands_in_the_map():
    said = agenthub.inbound.__doc__
    named = set(re.findall(r"[a-z_]+", said))
    there = {path.stem for path in Path(agenthub.inbound.__file__).parent.glob("*.py")}
    assert sorted(there - named - {"__init__"}) == []


def test_the_map_names_no_module_that_has_gone():
    said = agenthub.inbound.__doc__
    named = set(re.findall(r"\b(?:mcp_[a-z_]+|[a-z]+_exchange|tool_index)\b", said))
    there = {path.stem for path in Path(agenthub.inbound.__file__).parent.glob("*.py")}
    assert sorted(named - there) == []
