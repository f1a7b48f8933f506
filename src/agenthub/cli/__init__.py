"""The command line. Each command's module is imported when it runs, so that help is instant."""

import sys


def main() -> None:
    """The program `agenthub`."""
    from agenthub.cli.ending import run  # noqa: PLC0415
    from agenthub.cli.root import root  # noqa: PLC0415 - a failed import is told in words too

    sys.exit(run(root, sys.argv[1:]))
