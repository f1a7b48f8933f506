"""The door of language models: `/v1/…` and `/v1beta/…`, on the wires that SDKs speak.

    door       which address is which wire; a request becomes a call
    replies    its answer: as it comes from the provider, or an error in the wire's own shape
    listing    `/v1/models`

Bytes pass as they are; nothing is translated between wires (domain/provider.py).
"""
