"""What the devices of an account tell each other through the relay, signed by the device that says it.

Does no I/O. The relay sees all of it; a key is encrypted for its receiver.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from clave_client.errors import PeerError
from clave_crypto.errors import CryptoError
from clave_crypto.identity import DeviceKey, verify_signature
from clave_wire.framing import DECODE_ERRORS
from clave_wire.messages import Device, Signature

__all__ = [
    "KeyOffer",
    "KeyRequest",
    "KeyStored",
    "SealedKey",
    "SiblingMessage",
    "Status",
    "open_message",
    "sign_message",
]

_LABEL: Final = b"clave 1 to a device of the same account\0"
_MOST_REVOCATIONS: Final = 40

Seconds = Annotated[int, msgspec.Meta(ge=0, lt=2**33)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, lt=1000 * 2**33)]
Handover = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


class _SiblingMessage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Status(_SiblingMessage, frozen=True, tag=1):
    """Who is there: whether the sender has the account's key, and since when (seconds since 1970) it is one.

    `revoked` are devices that the account has revoked, with its signatures. `asks` wants the same back.
    """

    is_primary: bool
    since: Seconds
    asks: bool
    revoked: Annotated[list[tuple[Device, Signature]], msgspec.Meta(max_length=_MOST_REVOCATIONS)]


class KeyOffer(_SiblingMessage, frozen=True, tag=2):
    """The primary device offers the account's key; `handover` is a random number of this offer."""

    handover: Handover


class KeyRequest(_SiblingMessage, frozen=True, tag=3):
    """Answer to `KeyOffer`: a fresh public key to which the account's key is to be encrypted."""

    handover: Handover
    suite: int
    public: bytes


class SealedKey(_SiblingMessage, frozen=True, tag=4):
    """The account's key, encrypted by EncryptWithLabel (RFC 9420, section 5.1.3)."""

    handover: Handover
    kem_output: bytes
    ciphertext: bytes


class KeyStored(_SiblingMessage, frozen=True, tag=5):
    """The sender has the account's key on its disk."""

    handover: Handover


SiblingMessage = Status | KeyOffer | KeyRequest | SealedKey | KeyStored


class _Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An encoded message with the time it was made (ms since 1970) and its sender's signature."""

    at: Milliseconds
    message: bytes
    signature: Signature


def sign_message(message: SiblingMessage, sender: DeviceKey, receiver: bytes, at: int) -> bytes:
    """Return a message of a device to another one, made at `at` (ms since 1970)."""
    encoded = _encoder.encode(message)
    signature = sender.sign(_transcript(sender.public, receiver, at, encoded))
    return _encoder.encode(_Signed(at, encoded, signature))


def open_message(data: bytes, sender: bytes, receiver: bytes) -> tuple[int, SiblingMessage]:
    """Return when a message of the device `sender` was made, and the message. Raises `PeerError`."""
    try:
        signed = _signed_decoder.decode(data)
        verify_signature(sender, _transcript(sender, receiver, signed.at, signed.message), signed.signature)
        return signed.at, _decoder.decode(signed.message)
    except (CryptoError, ValueError, OverflowError, *DECODE_ERRORS):
        raise PeerError("what came for this device was not signed by another one of the account") from None


def _transcript(sender: bytes, receiver: bytes, at: int, message: bytes) -> bytes:
    return _LABEL + sender + receiver + at.to_bytes(8, "big") + message


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[SiblingMessage] = msgspec.msgpack.Decoder(SiblingMessage)
_signed_decoder = msgspec.msgpack.Decoder(_Signed)
