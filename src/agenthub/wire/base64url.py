"""Base64url without padding, in one spelling only. Source: RFC 4648 §5."""

import base64


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Raises ValueError, also for another spelling of the same bytes."""
    data = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    if encode(data) != text:
        raise ValueError("not the one spelling of these bytes")
    return data
