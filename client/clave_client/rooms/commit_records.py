"""This device's own commit until the log decides: what was submitted, and what it was for. Knows no group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

import msgspec

from clave_client.errors import StoreDamaged
from clave_client.formats.agreed_state import AGREED_STATE_EXTENSION, decode_agreed_state
from clave_crypto.keys import Secret
from clave_crypto.mls import GroupContextExtensions, Member, Proposal, Remove
from clave_wire.messages import Kind

__all__ = ["EarlierRekey", "OwnCommit", "RekeyIntent", "decode_keys", "encode_keys"]


class RekeyIntent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a rekey is to do, so that another can do it too: devices to remove, a title unless empty.

    `anybodys` says that the others have the same wish, and only one has to see to it.
    """

    removes: list[bytes] = []
    title: str = ""
    shared: bool = False

    @classmethod
    def of(cls, proposals: Sequence[Proposal], members: Mapping[int, Member]) -> RekeyIntent:
        """Return what proposals of one's own ask for, as far as a rekey can do it."""
        removes = [members[p.removed].signature_key for p in proposals if isinstance(p, Remove)]
        title = ""
        for proposal in proposals:
            if isinstance(proposal, GroupContextExtensions):
                for extension in proposal.extensions:
                    if extension.extension_type == AGREED_STATE_EXTENSION:
                        title = decode_agreed_state(extension.extension_data).title
        return cls(sorted(set(removes)), title)

    def __bool__(self) -> bool:
        return bool(self.removes or self.title)

    def encode(self) -> bytes:
        """Return the bytes to keep."""
        return _encoder.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> RekeyIntent:
        """Read back what `encode` gave."""
        return _decode(_intent_decoder, data)


class OwnCommit(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A commit made in the epoch `head`; the epoch it leads to is stored beside it.

    `external` says that it brings this device back from outside, `placed` that it is a rekey in the log.
    """

    kind: Kind
    payload: bytes
    welcome: bytes
    head: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    external: bool = False
    placed: bool = False

    def encode(self) -> bytes:
        """Return the bytes to keep."""
        return _encoder.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> OwnCommit:
        """Read back what `encode` gave."""
        return _decode(_pending_decoder, data)


class EarlierRekey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A rekey in the log that a newer one is to replace, and the epoch it leads to, which is secret."""

    pending: OwnCommit
    epoch: bytes
    ratchets: bytes

    def __repr__(self) -> str:
        return f"<Former {self.pending!r}>"

    @staticmethod
    def encode(earlier: list[EarlierRekey]) -> bytes:
        """Return the bytes to keep."""
        return _encoder.encode(earlier)

    @staticmethod
    def decode(data: bytes) -> list[EarlierRekey]:
        """Read back what `encode` gave."""
        return _decode(_earlier_decoder, data)


def encode_keys(keys: Sequence[Secret]) -> bytes:
    """Return the bytes to keep of private keys; they are secret."""
    return _encoder.encode([bytes(key) for key in keys])


def decode_keys(data: bytes) -> list[Secret]:
    """Read back what `encode_keys` gave."""
    return [Secret(key) for key in _decode(_keys_decoder, data)]


_T = TypeVar("_T")
_encoder = msgspec.msgpack.Encoder()
_pending_decoder = msgspec.msgpack.Decoder(OwnCommit)
_earlier_decoder = msgspec.msgpack.Decoder(list[EarlierRekey])
_keys_decoder = msgspec.msgpack.Decoder(list[bytes])
_intent_decoder = msgspec.msgpack.Decoder(RekeyIntent)


def _decode(decoder: msgspec.msgpack.Decoder[_T], data: bytes) -> _T:
    try:
        return decoder.decode(data)
    except msgspec.DecodeError as error:
        raise StoreDamaged(f"a stored commit cannot be read ({error}); restore a backup") from None
