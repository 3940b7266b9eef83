"""The header of a payload, in clear: the entry's kind, and how much of the log its sender had seen.

A payload is a u16 length, a header of that many bytes (one msgpack array), and a body that only members can
decrypt or verify. The body's signature covers the header's bytes. Knows no keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Final

import msgspec

from clave_wire.errors import RemoteError
from clave_wire.framing import DECODE_ERRORS
from clave_wire.message_types import Code, Count, Devices, Digest, Kind

__all__ = ["MAX_HEADER_BYTES", "Header", "Seen", "digest_names", "pack_header", "split_payload"]

MAX_HEADER_BYTES: Final = 64 * 1024 - 1


class Seen(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The last entry of the room's log that a sender had seen, and the log's hash chain up to it."""

    seq: Count
    hash: Digest


class Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The clear part of a payload.

    `head` identifies the epoch that the entry was made in. `count` numbers the application messages of one
    sender from 1, and is 0 in other entries. `add` and `remove` are the devices that a commit or a leaving
    adds and removes; for a group info, `add` is the device it is for. `ref` identifies the rekey that is
    confirmed, or is the `digest_names` of the devices that a commit adds.
    """

    kind: Kind
    head: Digest
    seen: Seen
    count: Count = 0
    add: Devices = []
    remove: Devices = []
    ref: Annotated[bytes, msgspec.Meta(max_length=32)] = b""


def digest_names(added: Iterable[tuple[bytes, str]]) -> bytes:
    """Return the `ref` of a commit that adds devices: a SHA-256 over (device, account name) as in `add`.

    Members compare it with the added leaves, and the relay with the accounts that registered the devices; so
    members and relay mean the same accounts.
    """
    digest = hashlib.sha256(b"clave added\0")
    for device, name in added:
        encoded = name.encode()
        digest.update(device + len(encoded).to_bytes(2, "big") + encoded)
    return digest.digest()


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Header)


def pack_header(header: Header) -> bytes:
    """Encode a header, with its length."""
    packed = _encoder.encode(header)
    return len(packed).to_bytes(2, "big") + packed


def split_payload(payload: bytes) -> tuple[Header, bytes, bytes]:
    """Return the header, its bytes (with their length), and the body. Raises `RemoteError`."""
    end = 2 + int.from_bytes(payload[:2], "big")
    if len(payload) < end or end == 2:
        raise RemoteError(Code.MALFORMED, "a payload does not begin with a header")
    try:
        header = _decoder.decode(payload[2:end])
    except DECODE_ERRORS as error:
        raise RemoteError(Code.MALFORMED, f"a payload's header cannot be read: {error}") from None
    if _encoder.encode(header) != payload[2:end]:
        raise RemoteError(Code.MALFORMED, "a payload's header is not in its one valid form")
    return header, payload[:end], payload[end:]
