"""npm's `@copilotkit/aimock`: a provider that nobody here wrote, with a journal of its own."""

import json
import subprocess
import time
from contextlib import contextmanager

from support.interop_clients import INSTALLED, PACKAGES, environment, free_port, listens

PATIENCE_S = 20


@contextmanager
def aimock(home, fixtures, *options):
    """Its address. `fixtures`: what it says to what."""
    file = home / "fixtures.json"
    file.write_text(json.dumps({"fixtures": fixtures}))
    port = free_port()
    program = [INSTALLED / "bin" / "node", PACKAGES / "@copilotkit" / "aimock" / "dist" / "cli.js"]
    with subprocess.Popen(
        [*program, "-p", str(port), "-f", file, *options],
        env=environment(),
        stdout=subprocess.DEVNULL,
    ) as mock:
        try:
            patience = time.monotonic() + PATIENCE_S
            while not listens(port):
                assert time.monotonic() < patience
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            mock.kill()
