"""The key that credentials for servers are encrypted with. Made when first needed, in the home."""

import base64
import secrets
from pathlib import Path

from agenthub.app.private_file import read_private, write_private
from agenthub.domain.errors import StorageFailed

FILE = "vault-key"
KEY_BYTES = 32


def vault_key(home: Path) -> bytes:
    """Raises StorageFailed, in words."""
    file = home / FILE
    text = read_private(file)
    if text is None:
        key = secrets.token_bytes(KEY_BYTES)
        write_private(file, base64.b64encode(key).decode() + "\n")
        return key
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise StorageFailed(
            f"{file} holds no key; remove it, and sign in again to the servers that need it."
        )
    return key
