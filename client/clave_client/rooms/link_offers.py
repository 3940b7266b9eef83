"""What lets holders of a room's links join by themselves: its GroupInfo, sealed, and the key sealed to each.

The key is exported from the epoch, so every member has it and nobody outside. Stores and sends nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Final

import msgspec

from clave_client.errors import PeerError
from clave_client.formats.link_secret import LinkSecret
from clave_client.formats.payload import epoch_id
from clave_client.formats.room_link import RoomLink
from clave_client.rooms.policy import MOST_LINK_DEVICES, agreed_state, uses_left
from clave_crypto.errors import KeyRejected
from clave_crypto.mls import Group, find_suite
from clave_wire.framing import DECODE_ERRORS
from clave_wire.header import Seen
from clave_wire.messages import Digest, LinkOffer, Offer, OfferedLink

__all__ = ["OpenedOffer", "make_offer", "open_offer"]

_EXPORT_LABEL: Final = "clave link offer"
_SEAL_LABEL: Final = b"clave link offer"


class OpenedOffer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An offer as who holds a link reads it: a GroupInfo, the id of its epoch, what its author had seen."""

    head: Digest
    seen: Seen
    group_info: bytes

    def __repr__(self) -> str:
        return "<OpenedOffer>"


class _SealedKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The key of an offer, encrypted to one link by EncryptWithLabel (RFC 9420, section 5.1.3)."""

    suite: int
    kem_output: bytes
    ciphertext: bytes


def make_offer(group: Group, seen: Seen, now: float, submission: int = 0) -> Offer:
    """Return the offer of a group's epoch, to be kept with a submission; `now` is in seconds since 1970.

    It lists the links that have not expired. Without any, or in a room too large for them, it has no
    GroupInfo, and tells the relay only which links are live.
    """
    suite, members, room = group.suite, group.members(), group.group_id
    links = [link for link in agreed_state(group.extensions).links if link.not_after > now]
    left = uses_left(members, {link.key: link.uses for link in links})
    if not any(uses > 0 for uses in left.values()) or len(members) >= MOST_LINK_DEVICES:
        return Offer(room, submission, _offered(links, left, {}), b"")
    key = group.export(_EXPORT_LABEL, b"", suite.key_size)
    sealed: dict[bytes, bytes] = {}
    for link in links:
        with contextlib.suppress(KeyRejected):  # no commit can bring one, but a group of another program can
            if left[link.key] > 0:
                parts = suite.encrypt_with_label(link.kem_key, _SEAL_LABEL, room + link.key, key)
                sealed[link.key] = _encoder.encode(_SealedKey(suite.id, *parts))
    opened = OpenedOffer(epoch_id(group), seen, group.group_info())
    nonce = os.urandom(suite.nonce_size)
    ciphertext = nonce + suite.seal(key, nonce, room, _encoder.encode(opened))
    return Offer(room, submission, _offered(links, left, sealed), ciphertext)


def _offered(
    links: Sequence[RoomLink], left: dict[bytes, int], sealed: dict[bytes, bytes]
) -> list[OfferedLink]:
    return [
        OfferedLink(link.key, link.not_after, max(0, left[link.key]), sealed.get(link.key, b""))
        for link in links
    ]


def open_offer(offer: LinkOffer, secret: LinkSecret) -> OpenedOffer:
    """Open an offer that the relay handed out. Nothing in it is verified. Raises `PeerError`, `MLSError`."""
    try:
        sealed = _key_decoder.decode(offer.sealed)
        suite = find_suite(sealed.suite)
        private, _ = secret.kem_keys(suite)
        context = offer.room + secret.key
        key = suite.decrypt_with_label(private, _SEAL_LABEL, context, sealed.kem_output, sealed.ciphertext)
        nonce, ciphertext = offer.group_info[: suite.nonce_size], offer.group_info[suite.nonce_size :]
        return _offer_decoder.decode(suite.open(key, nonce, offer.room, ciphertext))
    except (*DECODE_ERRORS, KeyRejected) as error:
        raise PeerError(f"what a member offers to join by cannot be read ({error})") from None


_encoder = msgspec.msgpack.Encoder()
_key_decoder = msgspec.msgpack.Decoder(_SealedKey)
_offer_decoder = msgspec.msgpack.Decoder(OpenedOffer)
