"""The stored form of this device's pending commits, and of what its rekeys are to do. Knows no group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

import msgspec

from clave_client.errors import StoreDamaged
from clave_client.rooms.policy import agreed_state
from clave_client.rooms.roster import RosterMember
from clave_client.rooms.state_change import StateChange
from clave_crypto.keys import Secret
from clave_crypto.mls import Extension, GroupContextExtensions, Proposal, Remove
from clave_wire.messages import Kind

__all__ = ["EarlierRekey", "OwnCommit", "RekeyIntent", "decode_keys", "encode_keys"]


class RekeyIntent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a rekey is to do, so that a later one can do it: devices to remove, a change of the agreed state.

    `shared` says that the other members have the same intent, and one of them is enough. Of `accounts` all
    devices are removed. Earlier versions stored another title as `title`.
    """

    removes: list[bytes] = []
    title: str = ""
    shared: bool = False
    change: StateChange = StateChange()
    accounts: list[bytes] = []

    @classmethod
    def of(
        cls,
        proposals: Sequence[Proposal],
        members: Mapping[int, RosterMember],
        extensions: Sequence[Extension],
    ) -> RekeyIntent:
        """Return the intent of own proposals in a group with these extensions: removals, and what changes."""
        leaves = {p.removed for p in proposals if isinstance(p, Remove)}
        accounts = {members[leaf].account for leaf in leaves}
        accounts -= {each.account for leaf, each in members.items() if leaf not in leaves}
        change = StateChange()
        for proposal in proposals:
            if isinstance(proposal, GroupContextExtensions):
                change = StateChange.between(agreed_state(extensions), agreed_state(proposal.extensions))
        removes = sorted(members[leaf].signature_key for leaf in leaves)
        return cls(removes, change=change, accounts=sorted(accounts))

    def __bool__(self) -> bool:
        return bool(self.removes or self.accounts or self.change)

    def undone(self, extensions: Sequence[Extension], *, has_removals: bool) -> RekeyIntent:
        """Return what is left of it in a group with these extensions, without the removals.

        With `has_removals` links are not made any more: whoever was removed may have seen them.
        """
        state = agreed_state(extensions)
        change = msgspec.structs.replace(self.change, links=[]) if has_removals else self.change
        return RekeyIntent(change=StateChange.between(state, change.apply(state)))

    def added_to(
        self, proposals: Sequence[Proposal], members: Mapping[int, RosterMember], change: Sequence[Proposal]
    ) -> list[Proposal]:
        """Return `proposals` with this intent added, whose change of the agreed state is `change`.

        If `proposals` change that too, they do so from what the intent leads to. Who was to be removed is so
        with the devices that came since.
        """
        named = {p.removed for p in proposals if isinstance(p, Remove)}
        accounts = {*self.accounts, *self.change.banned}
        removals = [
            Remove(leaf)
            for leaf, member in members.items()
            if leaf not in named and (member.account in accounts or member.signature_key in self.removes)
        ]
        has_change = any(isinstance(p, GroupContextExtensions) for p in proposals)
        return [*removals, *proposals, *(() if has_change else change)]

    def encode(self) -> bytes:
        """Return the bytes to store."""
        return _encoder.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> RekeyIntent:
        """Parse what `encode` returned. Raises `StoreDamaged`."""
        intent = _decode(_intent_decoder, data)
        if not intent.title:
            return intent
        return msgspec.structs.replace(intent, title="", change=StateChange(intent.title))


class OwnCommit(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A commit made in the epoch `head`; the group it leads to is stored beside it.

    `external` says that by it this device rejoins, `logged` that it is a rekey in the log.
    """

    kind: Kind
    payload: bytes
    welcome: bytes
    head: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    external: bool = False
    logged: bool = False

    def encode(self) -> bytes:
        """Return the bytes to store."""
        return _encoder.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> OwnCommit:
        """Parse what `encode` returned. Raises `StoreDamaged`."""
        return _decode(_pending_decoder, data)


class EarlierRekey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A rekey in the log that a newer one is to replace, and its group's state, which is secret."""

    commit: OwnCommit
    epoch: bytes
    ratchets: bytes

    def __repr__(self) -> str:
        return f"<EarlierRekey {self.commit!r}>"

    @staticmethod
    def encode(earlier: list[EarlierRekey]) -> bytes:
        """Return the bytes to store."""
        return _encoder.encode(earlier)

    @staticmethod
    def decode(data: bytes) -> list[EarlierRekey]:
        """Parse what `encode` returned. Raises `StoreDamaged`."""
        return _decode(_earlier_decoder, data)


def encode_keys(keys: Sequence[Secret]) -> bytes:
    """Return private keys as bytes to store; they are secret."""
    return _encoder.encode([bytes(key) for key in keys])


def decode_keys(data: bytes) -> list[Secret]:
    """Parse what `encode_keys` returned. Raises `StoreDamaged`."""
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
