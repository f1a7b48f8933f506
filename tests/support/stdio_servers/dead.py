"""Ends at once, with the words and the code that it is given."""

# ruff: noqa: PTH123 - starts faster without pathlib

import os
import sys

if path := os.environ.get("STARTS"):
    with open(path, "a") as file:
        file.write("start\n")
sys.stderr.write(os.environ.get("WORDS", ""))
sys.exit(int(os.environ.get("CODE", "1")))
