"""The admin token: opens everything. Made at the first start, kept in the home."""

import re
import secrets
from pathlib import Path

from agenthub.app.private_file import read_private, write_private
from agenthub.domain.errors import StorageFailed

FILE = "admin-token"
_TOKEN = re.compile(r"[!-~]{32,256}")


def admin_token(home: Path) -> str:
    """The token of this home, made if there is none. Raises StorageFailed, in words."""
    file = home / FILE
    text = read_private(file)
    if text is None:
        token = secrets.token_urlsafe(32)
        write_private(file, token + "\n")
        return token
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise StorageFailed(
            f"{file} holds no token (32 or more visible characters); remove it, and the next start"
            " makes a new one."
        )
    return token
