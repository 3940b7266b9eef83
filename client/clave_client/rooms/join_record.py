"""How this device joined a room by a link, kept until that is certain. Knows no group."""

from __future__ import annotations

from typing import Annotated

import msgspec

from clave_client.errors import StoreDamaged
from clave_client.formats.former_state import AccountKey
from clave_crypto.keys import Secret
from clave_wire.messages import Digest

__all__ = ["JoinRecord"]


class JoinRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A join by a link: the link's secret `seed`, and the account that made it.

    `ref` identifies the entry by which this device joins, made in the epoch `head`. `let_in` says that a
    member confirmed it. Until the inviter, or somebody verified, has spoken in an epoch of this device,
    an earlier member and the relay together may have led it into a copy of the room: `vouched`.
    `superseded` says that members began another epoch before they confirmed it; `rekeys` are those that
    can: the references and the accounts of rekeys that others have in the log, made in the epoch `head`.
    """

    seed: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    inviter: AccountKey
    ref: Digest
    head: Digest
    let_in: bool = False
    vouched: bool = False
    superseded: bool = False
    rekeys: list[tuple[Digest, AccountKey]] = []

    def __repr__(self) -> str:
        return f"<JoinRecord let_in={self.let_in} vouched={self.vouched}>"

    @property
    def secret(self) -> Secret:
        """The link's secret."""
        return Secret(self.seed)

    def encode(self) -> bytes:
        """Return the bytes to store; they are secret."""
        return _encoder.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> JoinRecord:
        """Parse what `encode` returned. Raises `StoreDamaged`."""
        try:
            return _decoder.decode(data)
        except msgspec.DecodeError as error:
            raise StoreDamaged(
                f"how this device joined a room cannot be read ({error}); restore a backup"
            ) from None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(JoinRecord)
