"""The ids by which messages refer to each other, and the URIs of accounts and rooms. Knows no content.

draft-ietf-mimi-content-08, section 3.3. The ids of the format before are mapped to the same size.
"""

from __future__ import annotations

import hashlib

from clave_client.formats.mimi.rules import Rule

__all__ = ["account_of", "account_uri", "check_message_id", "legacy_message_id", "message_id", "room_uri"]

_ID_BYTES = 32
_SHA256 = 1
"""Its number in IANA's registry of named information hash algorithms."""

_LEGACY_LABEL = b"clave message id\0"
_ACCOUNT = "clave:account/"
_ROOM = "clave:room/"


def account_uri(account: bytes) -> str:
    """Return the URI of an account's key, 32 bytes."""
    return _ACCOUNT + account.hex()


def room_uri(room: bytes) -> str:
    """Return the URI of a room's id, 16 bytes."""
    return _ROOM + room.hex()


def account_of(uri: str) -> bytes | None:
    """Return the account's key of which `account_uri` made `uri`; None if it made none."""
    try:
        account = bytes.fromhex(uri.removeprefix(_ACCOUNT))
    except ValueError:
        return None
    return account if len(account) == 32 and account_uri(account) == uri else None


def message_id(data: bytes, salt: bytes, *, sender: str, room: str) -> bytes:
    """Return the id, 32 bytes, of a message with the encoded content `data`; `sender` and `room` are URIs."""
    hashed = hashlib.sha256()
    for uri in (sender.encode(), room.encode()):
        hashed.update(len(uri).to_bytes(2) + uri)
    hashed.update(data + salt)
    return _with_algorithm(hashed.digest())


def legacy_message_id(room: bytes, account: bytes, id: bytes) -> bytes:  # noqa: A002 - what it is called there
    """Return the id, 32 bytes, of a message of the format before, by the `id` in it."""
    return _with_algorithm(hashlib.sha256(_LEGACY_LABEL + room + account + id).digest())


def check_message_id(id: bytes) -> None:  # noqa: A002 - it is an id
    """Check an id by which a message refers to another. Raises `PeerError`."""
    if len(id) != _ID_BYTES:
        Rule.ID_SIZE.broken(f"the id of a message has {len(id)} octets")
    if id[0] != _SHA256:
        Rule.ID_HASH.broken(f"the id of a message is by the hash algorithm {id[0]}")


def _with_algorithm(digest: bytes) -> bytes:
    return bytes((_SHA256,)) + digest[: _ID_BYTES - 1]
