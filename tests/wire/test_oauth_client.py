from agenthub.wire.oauth_client import document, document_of, registration

HUB, HERE = "https://hub.example.com", "http://127.0.0.1:8787"


def test_the_document_says_what_a_registration_says_and_its_own_address():
    assert document(HUB) == {
        "client_id": "https://hub.example.com/client-metadata.json",
        "client_uri": HUB,
        "client_name": "AgentHub",
        "redirect_uris": ["https://hub.example.com/oauth/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "web",
    }


def test_a_hub_that_nobody_elsewhere_reaches_has_no_document():
    assert document_of(HERE) == ""


def test_a_hub_on_this_machine_is_a_native_client():
    """A web client may not come back to a loopback address: OpenID Registration 1.0 §2."""
    made = registration(HERE, "client_secret_basic")
    assert made["application_type"] == "native"
    assert made["redirect_uris"] == ["http://127.0.0.1:8787/oauth/callback"]
    assert made["token_endpoint_auth_method"] == "client_secret_basic"
