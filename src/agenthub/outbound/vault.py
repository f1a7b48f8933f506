"""Credentials of the hub's own for servers, encrypted where they are kept.

The key is a file of the home (0600) and never in the database, so that a copied database opens
nothing. Each value is bound to its name and to the place that it is for: under another one it
cannot be read.
"""

import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

import msgspec

NONCE_BYTES: Final = 12
PREFIX: Final = "oauth:"
"""Begins the name of each in the table of secrets."""


class SecretStore(Protocol):
    """The part of ports.Store that is needed here."""

    async def put_secret(self, name: str, data: bytes) -> None: ...
    def delete_secret(self, name: str) -> Coroutine[Any, Any, None]: ...


class Shelf(Protocol):
    """Where one keeps credentials: the vault, or a part of it."""

    def read(self, name: str, place: str) -> dict[str, Any] | None: ...
    async def write(self, name: str, place: str, value: Mapping[str, Any]) -> None: ...
    def forget(self, name: str) -> Coroutine[Any, Any, None]: ...


class Vault:
    """What is in it, and where it is kept. The key is asked for when it is first needed."""

    def __init__(
        self, kept: Mapping[str, bytes], store: SecretStore, key: Callable[[], bytes]
    ) -> None:
        self._kept = {name: data for name, data in kept.items() if name.startswith(PREFIX)}
        self._store = store
        self._key = key

    def read(self, name: str, place: str) -> dict[str, Any] | None:
        """What was written under the name, for this place; None: nothing was, or it is unreadable.

        Raises:
            StorageFailed: The key cannot be used.
        """
        data = self._kept.get(PREFIX + name)
        if data is None:
            return None
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - 50 ms; few hubs need it

        try:
            opened = self._cipher().decrypt(
                data[:NONCE_BYTES], data[NONCE_BYTES:], _bound(name, place)
            )
            return msgspec.json.decode(opened, type=dict[str, Any])
        except (InvalidTag, ValueError):
            return None

    def names(self) -> list[str]:
        return [name.removeprefix(PREFIX) for name in self._kept]

    async def write(self, name: str, place: str, value: Mapping[str, Any]) -> None:
        """Durable when it returns. Raises StorageFailed; then it is good until the hub stops."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher().encrypt(nonce, msgspec.json.encode(value), _bound(name, place))
        self._kept[PREFIX + name] = nonce + sealed
        await self._store.put_secret(PREFIX + name, nonce + sealed)

    def forget(self, name: str) -> Coroutine[Any, Any, None]:
        """Gone at once; durably so when what is returned was awaited. Raises StorageFailed."""
        self._kept.pop(PREFIX + name, None)
        return self._store.delete_secret(PREFIX + name)

    def _cipher(self) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        return AESGCM(self._key())


def _bound(name: str, place: str) -> bytes:
    return f"{name}\0{place}".encode()
