"""JSON for programs: what `--json` prints."""

import json
from typing import Any


def show_json(value: Any) -> None:
    """Indented, keys in the order they came, text as it is."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
