"""Contents of an `Invitation`: welcomes for new members, GroupInfos for members to rejoin. No I/O.

A welcome also holds the log chain's latest hash before it, signed by the device that adds the member.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from clave_client.errors import PeerError
from clave_client.formats.payload import epoch_id
from clave_crypto.errors import CryptoError
from clave_crypto.identity import DeviceKey, verify_signature
from clave_crypto.keys import Secret
from clave_crypto.mls import Group, MLSError
from clave_wire.framing import DECODE_ERRORS
from clave_wire.header import Seen
from clave_wire.messages import Digest

__all__ = ["JoinPoint", "RejoinInfo", "Welcome", "parse_invitation"]

_LABEL = b"clave welcome\0"
_REJOIN_LABEL = "clave GroupInfo"


@dataclass(frozen=True)
class JoinPoint:
    """Where a new member starts to read: after `seq`, the commit that adds it, with the chain hash `seen`.

    `seen` is None in a welcome of protocol 3. `incarnation` is that of the relay which delivered it.
    """

    seen: Seen | None
    seq: int
    incarnation: bytes = b""


class Welcome(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """An MLS welcome, and what its author had seen of the log."""

    message: bytes
    seen: Seen
    signature: bytes

    @classmethod
    def seal(cls, message: bytes, head: bytes, seen: Seen, device: DeviceKey) -> bytes:
        """Encode a welcome into the epoch `head`, signed by the device that made it."""
        return _encoder.encode(cls(message, seen, device.sign(_signed(head, seen))))

    def check(self, head: bytes, signer: bytes) -> None:
        """Verify the signature over `seen` by the device `signer`. Raises `PeerError`."""
        try:
            verify_signature(signer, _signed(head, self.seen), self.signature)
        except CryptoError:
            raise PeerError("its signature does not hold") from None


class RejoinInfo(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """A GroupInfo sealed to one member's leaf key, and the id of its epoch."""

    sealed: bytes
    head: Digest

    @classmethod
    def seal(cls, group: Group, leaf: int) -> bytes:
        """Seal the GroupInfo of the group's present epoch for the member at `leaf`; return it encoded."""
        sealed = group.seal_to_member(leaf, _REJOIN_LABEL, group.group_info())
        return cls(sealed, epoch_id(group)).encode()

    def encode(self) -> bytes:
        """Return the bytes to send."""
        return _encoder.encode(self)

    def open(self, group: Group, former_keys: Sequence[Secret]) -> bytes:
        """Open the GroupInfo with one of `former_keys` or the present leaf key. Raises `MLSError`."""
        for key in former_keys:
            with contextlib.suppress(MLSError):
                return group.open_from_member(_REJOIN_LABEL, self.sealed, key)
        return group.open_from_member(_REJOIN_LABEL, self.sealed)


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Welcome | RejoinInfo] = msgspec.msgpack.Decoder(Welcome | RejoinInfo)


def parse_invitation(data: bytes) -> Welcome | RejoinInfo | bytes:
    """Parse what an `Invitation` carries; a welcome of protocol 3 is returned as it is.

    Raises `PeerError`.
    """
    if data[:4] == b"\0\1\0\3":  # mls10, mls_welcome
        return data
    try:
        return _decoder.decode(data)
    except DECODE_ERRORS as error:
        raise PeerError(f"it cannot be read ({error})") from None


def _signed(head: bytes, seen: Seen) -> bytes:
    return _LABEL + head + seen.seq.to_bytes(8, "big") + seen.hash
