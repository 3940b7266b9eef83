"""Tracks in which epochs the other members of one room are, and decides whether this device has to rejoin.

Keeps that on disk. Knows neither who is a member nor whether this device can follow the group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from clave_client.errors import StoreDamaged
from clave_client.formats.payload import epoch_id
from clave_client.rooms.commit_records import decode_keys, encode_keys
from clave_client.store.database import Store
from clave_crypto.keys import Secret
from clave_crypto.mls import Group

__all__ = ["RESTORED_PART", "EpochTracker", "FormerRoster"]

RESTORED_PART: Final = "restored"
"""The stored part of a room whose device comes from a backup and has not rejoined since."""

_HEADS_KEPT = 64
_MOST_FORMER_ROSTERS = 8
_MOST_KEYS = 32


class FormerRoster(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The roster of an epoch that this device left by a rejoin, in which others still address it.

    `own_leaf` is its leaf index there, `members` the encoded identity of each device. No keys are kept.
    """

    own_leaf: int
    members: dict[bytes, bytes]

    @classmethod
    def of(cls, group: Group) -> FormerRoster:
        """Return the roster of a group that this device leaves."""
        return cls(group.own_leaf, {member.signature_key: member.identity for member in group.members()})


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[FormerRoster])


class EpochTracker:
    """The epochs of the other members of one room. Values are replaced, never changed in place.

    `former_heads` are ids of epochs that this device was in before. `here`, `ahead` and `behind` are the
    accounts that sent something in the present epoch, in one unknown to this device, and in a former one.
    `diverged_at` is the first entry of somebody in another epoch, `first_unread` the first message there that
    the user was not told of; 0 for none. `fork` is the entry after which members may be in different epochs
    because the relay was restored. `admitted_by` is the account that alone vouches for the present epoch,
    entered after entry `admitted_at`; empty once another one does. `former_rosters` and `leaf_keys` let this
    device know members that stayed in epochs it left, and open their rejoin infos. `rejoin_requests` counts
    those sent in this epoch. `restored` says that this device comes from a backup: it sends nothing before it
    has rejoined with new keys. The caller opens transactions.
    """

    def __init__(self, store: Store, room: bytes) -> None:
        self._store = store
        self._room = room
        self.former_heads: list[bytes] = []
        self.fork: int | None = None
        self.diverged_at = 0
        self.first_unread = 0
        self.here: frozenset[bytes] = frozenset()
        self.ahead: frozenset[bytes] = frozenset()
        self.behind: frozenset[bytes] = frozenset()
        self.admitted_by = b""
        self.admitted_at = 0
        self.former_rosters: list[FormerRoster] = []
        self.leaf_keys: list[Secret] = []
        self.rejoin_requests = 0
        self.restored = False

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Load what is stored; `parts` are the room's. Raises `StoreDamaged`."""
        fork, heads, let_in = parts.get("fork"), parts.get("heads", b""), parts.get("let in", b"")
        self.former_heads = [heads[i : i + 32] for i in range(0, len(heads), 32)]
        self.fork = None if fork is None else int.from_bytes(fork, "big")
        self.diverged_at = int.from_bytes(parts.get("parted", b""), "big")
        self.first_unread = int.from_bytes(parts.get("unread", b""), "big")
        self.admitted_at, self.admitted_by = int.from_bytes(let_in[:8], "big"), let_in[8:]
        former_rosters = parts.get("former rosters")
        try:
            self.former_rosters = [] if former_rosters is None else _decoder.decode(former_rosters)
        except msgspec.DecodeError as error:
            raise StoreDamaged(
                f"where a device came back from cannot be read ({error}); restore a backup"
            ) from None
        self.leaf_keys = decode_keys(parts.get("leaf keys", encode_keys([])))
        self.restored = RESTORED_PART in parts

    def _put(self, name: str, data: bytes | None) -> None:
        self._store.put_part(self._room, name, data)

    # --- epochs of this device ---

    def begin(self, account: bytes, seq: int) -> None:
        """Note that `account`, empty for the creator, added this device after entry `seq`."""
        self.admitted_by, self.admitted_at = account, seq
        self._store_former_rosters()

    def leave_epoch(self, left: Group, seq: int, *, switched: bool) -> None:
        """Note that this device leaves the epoch of the group `left` for another, by entry `seq`.

        `switched` says that it rejoins elsewhere although it could follow the epoch it was in.
        """
        if self.fork is not None or not switched:
            # Not after a switch: the others may still be in the epoch left. After a restore they switch too.
            self.former_heads = [*self.former_heads, epoch_id(left)][-_HEADS_KEPT:]
        self._put("heads", b"".join(self.former_heads))
        if self.fork is not None and seq > self.fork:
            self.set_fork(None)
        self.here = self.ahead = self.behind = frozenset()
        self.rejoin_requests = 0
        self.keep_leaf_key(left)
        self._set_diverged_at(0)

    def add_former_roster(self, former: FormerRoster, account: bytes, seq: int) -> None:
        """Keep the roster left by a rejoin at entry `seq`; `account` alone vouches for the epoch entered."""
        self.admitted_by, self.admitted_at = account, seq
        self.former_rosters = [former, *self.former_rosters][:_MOST_FORMER_ROSTERS]
        self._store_former_rosters()

    def set_fork(self, seq: int | None) -> None:
        """Set the entry after which members may be in different epochs, or None."""
        self.fork = seq
        self.here = self.ahead = self.behind = frozenset()
        self._put("fork", None if seq is None else seq.to_bytes(8, "big"))

    def set_restored(self, *, restored: bool) -> None:
        """Note that this device comes from a backup, or that it has rejoined since."""
        self.restored = restored
        self._put(RESTORED_PART, b"1" if restored else None)

    def keep_leaf_key(self, group: Group) -> None:
        """Keep this device's leaf key of a group, to open rejoin infos of members that stay in it."""
        key = group.leaf_key()
        if key not in self.leaf_keys:
            self.leaf_keys = [key, *self.leaf_keys][:_MOST_KEYS]
            self._put("leaf keys", encode_keys(self.leaf_keys))

    def _store_former_rosters(self) -> None:
        self._put("former rosters", _encoder.encode(self.former_rosters) if self.former_rosters else None)
        self._put(
            "let in", self.admitted_at.to_bytes(8, "big") + self.admitted_by if self.admitted_by else None
        )

    # --- epochs of others ---

    def note_present(self, account: bytes, own: bytes, seq: int) -> int | None:
        """Note that an account is in this device's epoch; a second other one proves that it was not made up.

        `own` is this device's account, `seq` the last entry read. Returns the entry after which own messages
        have to be sent again, as members that rejoined since could not read them, or None.
        """
        unread = None
        if self.fork is None or seq > self.fork:
            self.here |= {account}
            self.ahead -= {account}
            self.behind -= {account}
        if self.admitted_by and account not in (self.admitted_by, own):
            unread = self.admitted_at if self.former_rosters else None
            self.former_rosters, self.admitted_by = [], b""
            self._store_former_rosters()
        return unread

    def note_elsewhere(self, account: bytes, seq: int, *, former: bool) -> None:
        """Note that an account is in another epoch: a `former` one of this device, or an unknown one.

        `seq` is the entry that shows it.
        """
        if former:
            self.behind |= {account}
        else:
            self.ahead |= {account}
        self.here -= {account}
        if not self.diverged_at:
            self._set_diverged_at(seq)

    def _set_diverged_at(self, seq: int) -> None:
        """Set the first entry of somebody in another epoch; 0 for none."""
        if seq != self.diverged_at:
            self.diverged_at = seq
            self._put("parted", seq.to_bytes(8, "big") if seq else None)

    def note_unread(self, seq: int) -> None:
        """Note that entry `seq` is a message this device cannot read; 0 once the user was told."""
        if not seq or not self.first_unread:
            self.first_unread = seq
            self._put("unread", seq.to_bytes(8, "big") if seq else None)

    @property
    def unheard_since(self) -> int:
        """The entry from which members in other epochs may be unable to read own messages; 0 for none."""
        if self.fork is not None:
            return self.fork + 1
        return self.admitted_at + 1 if self.admitted_by else self.diverged_at

    # --- whether to rejoin ---

    def should_leave(self, account: bytes, quorum: int) -> bool:
        """Return whether the device, of `account`, has to leave its epoch although it can follow it.

        `quorum` is how many other accounts it takes.
        """
        is_forked = self.fork is not None and bool(self.ahead)
        return (
            self.restored
            or self._is_misled
            or is_forked
            or self._overtaken(account, quorum)
            or self._left_behind(account, quorum)
        )

    def should_enter(self, head: bytes, account: bytes, quorum: int) -> bool:
        """Return whether the device, of `account`, has to enter epoch `head` although it can follow its own.

        `quorum` is how many other accounts it takes. One is enough if one alone vouches for the present
        epoch, or if the relay was restored and a rejoin request got no other answer.
        """
        if head in self.former_heads:
            return self._is_misled or self._left_behind(account, quorum)
        unanswered = self.fork is not None and bool(self.ahead) and self.rejoin_requests > 1
        return unanswered or self._is_misled or self._overtaken(account, quorum)

    @property
    def _is_misled(self) -> bool:
        """Whether another account is elsewhere than the only one that vouches for this epoch."""
        return bool(self.admitted_by) and bool(self.ahead - {self.admitted_by})

    def _overtaken(self, account: bytes, quorum: int) -> bool:
        """Return whether a quorum is in unknown epochs, and no fewer accounts than in this one."""
        return quorum <= len(self.ahead) >= len(self.here | {account})

    def _left_behind(self, account: bytes, quorum: int) -> bool:
        """Return whether a quorum is in a former epoch, and more accounts than in this one.

        That happens when a relay restored from a backup has lost the commit in between.
        """
        return quorum <= len(self.behind) > len(self.here | {account})
