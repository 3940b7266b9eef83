"""Entry payloads: a header in the clear and a body that authenticates it. Knows no room.

The body is an MLS message whose authenticated data is a hash of the header, or, in entries that members must
be able to check without following the group, a device's signature over the header.
"""

from __future__ import annotations

import hashlib

from clave_client.errors import PeerError
from clave_crypto.errors import CryptoError
from clave_crypto.identity import DeviceKey, verify_signature
from clave_crypto.mls import Group, GroupView, MLSError, authenticated_data, peek
from clave_wire.errors import RemoteError
from clave_wire.header import Header, pack_header, split_payload
from clave_wire.messages import Entry, Kind

__all__ = [
    "OTHER_HEADER",
    "RESTORED",
    "UnverifiedEntry",
    "check_label",
    "check_mls_body",
    "check_signature",
    "epoch_id",
    "header_digest",
    "parse_entry",
    "rekey_id",
    "sign_payload",
]

OTHER_HEADER = "its header is not the one its sender wrote"
"""Why a message is refused whose authenticated data is not that of its header."""

RESTORED = b"restored"
"""The `ref` of a rejoin request whose device was restored from a backup."""

_EPOCH_LABEL = b"clave epoch\0"
_HEADER_LABEL = b"clave header\0"
_REKEY_LABEL = b"clave rekey\0"
_SIGNED_LABEL = b"clave signed entry\0"

_CONTENT_TYPES = {
    Kind.APPLICATION: 1,
    Kind.PROPOSAL: 2,
    Kind.COMMIT: 3,
    Kind.REKEY: 3,
}


def epoch_id(group: GroupView) -> bytes:
    """Return the id of a group's epoch (SHA-256): equal for two members exactly if their keys are."""
    number = group.epoch.to_bytes(8, "big")
    return hashlib.sha256(_EPOCH_LABEL + group.group_id + number + group.epoch_authenticator).digest()


def rekey_id(payload: bytes) -> bytes:
    """Return the id (SHA-256) by which the rekey with this payload is confirmed."""
    return hashlib.sha256(_REKEY_LABEL + payload).digest()


def header_digest(header: bytes) -> bytes:
    """Return the authenticated data of the MLS message that follows a packed header."""
    return _HEADER_LABEL + hashlib.sha256(header).digest()


class UnverifiedEntry:
    """An entry whose payload parses and whose header is of its kind; nothing in it is verified yet."""

    __slots__ = ("body", "entry", "header", "raw_header")

    def __init__(self, entry: Entry, header: Header, raw_header: bytes, body: bytes) -> None:
        self.entry = entry
        self.header = header
        self.raw_header = raw_header
        self.body = body


def parse_entry(entry: Entry) -> UnverifiedEntry:
    """Parse the payload of an entry. Raises `PeerError` unless it has a header of the entry's kind."""
    try:
        header, raw_header, body = split_payload(entry.payload)
    except RemoteError as error:
        raise PeerError(str(error)) from None
    if header.kind is not entry.kind:
        raise PeerError("its label does not match its content")
    return UnverifiedEntry(entry, header, raw_header, body)


def check_mls_body(parsed: UnverifiedEntry, group: Group) -> None:
    """Check that a body is an MLS message of the group's epoch and the entry's kind, bound to its header.

    Its signature and content remain to be verified. Raises `PeerError`.
    """
    check_label(parsed, group)
    if authenticated_data(parsed.body) != header_digest(parsed.raw_header):
        raise PeerError(OTHER_HEADER)


def check_label(parsed: UnverifiedEntry, group: Group) -> None:
    """Check that a body is an MLS message of the group's epoch and the entry's kind. Raises `PeerError`."""
    try:
        label = peek(parsed.body)
    except MLSError as error:
        raise PeerError(str(error)) from None
    if label != (group.group_id, group.epoch, _CONTENT_TYPES[parsed.header.kind]):
        raise PeerError("its label does not match its content")


def sign_payload(room: bytes, header: Header, device: DeviceKey) -> bytes:
    """Build the payload of a signed entry."""
    packed = pack_header(header)
    return packed + device.sign(_signed(room, packed))


def check_signature(parsed: UnverifiedEntry) -> None:
    """Verify the signature of an entry by its sender. Raises `PeerError`."""
    try:
        verify_signature(parsed.entry.sender, _signed(parsed.entry.room, parsed.raw_header), parsed.body)
    except CryptoError as error:
        raise PeerError(f"its signature does not hold: {error}") from None


def _signed(room: bytes, raw_header: bytes) -> bytes:
    return _SIGNED_LABEL + room + hashlib.sha256(raw_header).digest()
