"""What the hub says of itself as an OAuth client: to register, or by a document that is its id.

    https://hub.example.com/client-metadata.json     the document; its address is the client id
    https://hub.example.com/oauth/callback           where people come back to

Source: RFC 7591 §2; OpenID Registration 1.0 (`application_type`); MCP specification 2026-07-28,
"Authorization, Client ID Metadata Documents" (draft-ietf-oauth-client-id-metadata-document).
"""

from typing import Any, Final

CALLBACK: Final = "/oauth/callback"
DOCUMENT: Final = "/client-metadata.json"


def redirect_of(hub: str) -> str:
    """Where people come back to; `hub`: its address, as a browser knows it."""
    return hub + CALLBACK


def document_of(hub: str) -> str:
    """Where its document is; empty: nobody elsewhere could read one, so there is none."""
    return hub + DOCUMENT if hub.startswith("https://") else ""


def registration(hub: str, method: str) -> dict[str, Any]:
    """Its metadata, to register by. `method`: how it shows who it is (RFC 7591)."""
    return {
        "client_name": "AgentHub",
        "redirect_uris": [redirect_of(hub)],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        "application_type": "web" if hub.startswith("https://") else "native",
    }


def document(hub: str) -> dict[str, Any]:
    """Its metadata, as a document that everybody may read: there is no secret to it."""
    return {"client_id": document_of(hub), "client_uri": hub, **registration(hub, "none")}
