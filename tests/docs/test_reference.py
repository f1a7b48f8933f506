"""The generated pages of docs/reference say what the code says."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_generated_pages_are_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "reference.py", "--check"],
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_page_that_says_something_else_is_noticed(tmp_path):
    script = (ROOT / "tools" / "reference.py").read_text()
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "reference.py").write_text(script)
    done = subprocess.run(
        [sys.executable, tmp_path / "tools" / "reference.py", "--check"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1
    assert "make reference" in done.stdout
