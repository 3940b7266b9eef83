"""What a payload begins with, in clear: what an entry is, and where its sender stood. Knows no keys.

A payload is u16 length, a header of that many bytes (one msgpack array), and a body, which only members can
read or check. What the body signs covers the header's bytes, so neither goes without the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Final

import msgspec

from clave_wire.errors import RemoteError
from clave_wire.messages import Code, Count, Devices, Digest, Kind

__all__ = ["MAX_HEADER_BYTES", "Header", "Seen", "digest_names", "pack_header", "split_payload"]

MAX_HEADER_BYTES: Final = 64 * 1024 - 1


class Seen(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The room's log as a sender saw it: its last entry, and the hash of the chain up to there."""

    seq: Count
    hash: Digest


class Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The clear part of a payload.

    `head` names the epoch an entry was made in. `count` numbers the messages of one sender, from 1, and is 0
    in everything else. `add` and `remove` are the devices that a commit or a leaving adds and removes, or the
    one that a group info is for. `ref` names the rekey that is confirmed, or says whose devices a commit adds
    (`digest_names`).
    """

    kind: Kind
    head: Digest
    seen: Seen
    count: Count = 0
    add: Devices = []
    remove: Devices = []
    ref: Annotated[bytes, msgspec.Meta(max_length=32)] = b""


def digest_names(added: Iterable[tuple[bytes, str]]) -> bytes:
    """Return the `ref` of a commit that adds devices: a digest of each, as in `add`, and its account's name.

    Members compare it with the leaves that are added, and the relay with who registered the devices: an
    account of the room is one of the relay's.
    """
    digest = hashlib.sha256(b"clave added\0")
    for device, name in added:
        encoded = name.encode()
        digest.update(device + len(encoded).to_bytes(2, "big") + encoded)
    return digest.digest()


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Header)


def pack_header(header: Header) -> bytes:
    """Return the bytes that a payload with this header begins with."""
    packed = _encoder.encode(header)
    return len(packed).to_bytes(2, "big") + packed


def split_payload(payload: bytes) -> tuple[Header, bytes, bytes]:
    """Return the header, its bytes (with their length), and the body. Raises `RemoteError`."""
    end = 2 + int.from_bytes(payload[:2], "big")
    if len(payload) < end or end == 2:
        raise RemoteError(Code.MALFORMED, "a payload does not begin with a header")
    try:
        header = _decoder.decode(payload[2:end])
    except msgspec.DecodeError as error:
        raise RemoteError(Code.MALFORMED, f"a payload's header cannot be read: {error}") from None
    if _encoder.encode(header) != payload[2:end]:
        raise RemoteError(Code.MALFORMED, "a payload's header is not in its one valid form")
    return header, payload[:end], payload[end:]
