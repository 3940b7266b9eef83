"""What two devices say to each other to pair, sealed under the secret of a code. Does no I/O.

The code's secret gives the key by which the new device logs in, and one that seals what the two send. Who has
seen the code can come in the new device's place, so that alone certifies nothing. The first device commits to
a random value, the new one sends its key and another value, the first one reveals its own: then both show the
same words, of 44 bits, exactly if nobody stands between. Whoever does has one try.
"""

from __future__ import annotations

import hashlib
import os
from typing import Annotated, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clave_client.errors import PeerError
from clave_client.formats.room_words import room_words
from clave_crypto.identity import DeviceKey
from clave_crypto.keys import Secret
from clave_wire.framing import DECODE_ERRORS
from clave_wire.messages import Device, Digest, Identity, Nonce, Text

__all__ = [
    "Certificate",
    "Commitment",
    "Finished",
    "PairingMessage",
    "PairingSecret",
    "PairingTranscript",
    "Request",
    "Reveal",
    "Stopped",
    "commit_to",
]

CODE_WORDS: Final = 4
"""Words that both devices show, of 11 bits each."""

_BITS: Final = 11
_NONCE_BYTES: Final = 12
_LOGIN_LABEL: Final = b"clave 1 pairing login key\0"
_SEAL_LABEL: Final = b"clave 1 pairing seal key\0"
_COMMIT_LABEL: Final = b"clave 1 pairing commitment\0"
_WORDS_LABEL: Final = b"clave 1 pairing words\0"
_SENDERS: Final = {
    True: b"clave 1 pairing, first device",
    False: b"clave 1 pairing, new device",
}


class _PairingMessage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Commitment(_PairingMessage, frozen=True, tag=1):
    """First device: the digest of its random value (`commit_to`)."""

    commitment: Digest


class Request(_PairingMessage, frozen=True, tag=2):
    """New device: its public key, what it is to be called, and its random value."""

    device: Device
    device_name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    value: Nonce


class Reveal(_PairingMessage, frozen=True, tag=3):
    """First device: its random value. Both show the words now."""

    value: Nonce


class Certificate(_PairingMessage, frozen=True, tag=4):
    """First device, once its user said that the words are the same: the account's certificate."""

    identity: Identity


class Finished(_PairingMessage, frozen=True, tag=5):
    """New device: it is registered at the relay."""


class Stopped(_PairingMessage, frozen=True, tag=6):
    """Either device, last message: why nothing comes of it."""

    text: Text


PairingMessage = Commitment | Request | Reveal | Certificate | Finished | Stopped


class PairingSecret:
    """The secret of a code (16 bytes), and the keys that follow from it; left out of `repr`.

    `login` is the key by which the new device logs in.
    """

    __slots__ = ("_cipher", "login", "seed")

    def __init__(self, seed: Secret) -> None:
        self.seed = seed
        self.login = DeviceKey.from_secret(Secret(hashlib.sha256(_LOGIN_LABEL + seed).digest()))
        self._cipher = AESGCM(hashlib.sha256(_SEAL_LABEL + seed).digest())

    def __repr__(self) -> str:
        return f"<PairingSecret {self.login.public.hex()}>"

    def seal(self, message: PairingMessage, *, by_first: bool) -> bytes:
        """Return a message of the first device, or of the new one, as it is passed on."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, _encoder.encode(message), _SENDERS[by_first])

    def open(self, data: bytes, *, by_first: bool) -> PairingMessage:
        """Return a message that the first device, or the new one, sealed. Raises `PeerError`."""
        try:
            plain = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _SENDERS[by_first])
            return _decoder.decode(plain)
        except (InvalidTag, ValueError, *DECODE_ERRORS):
            raise PeerError("what came was not sealed by the device with this code") from None


def commit_to(account: bytes, host: bytes, value: bytes) -> bytes:
    """Return the commitment of the device `host` to its random value (32 bytes each).

    `account` is what the code says of the account (16 bytes).
    """
    return hashlib.sha256(_COMMIT_LABEL + account + host + value).digest()


class PairingTranscript(msgspec.Struct, frozen=True):
    """What both have to see alike: the account as in the code, the first device, its value, the request."""

    account: bytes
    host: bytes
    value: bytes
    request: Request

    def __repr__(self) -> str:
        return "<PairingTranscript>"

    def words(self) -> tuple[str, ...]:
        """Return the words that both devices show."""
        request = self.request
        hashed = hashlib.sha256(
            _WORDS_LABEL
            + self.account
            + self.host
            + self.value
            + request.device
            + request.value
            + request.device_name.encode()
        ).digest()
        bits = int.from_bytes(hashed, "big") >> (8 * len(hashed) - CODE_WORDS * _BITS)
        words = room_words()
        places = [bits >> (_BITS * (CODE_WORDS - 1 - place)) for place in range(CODE_WORDS)]
        return tuple(words[place % len(words)] for place in places)


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[PairingMessage] = msgspec.msgpack.Decoder(PairingMessage)
