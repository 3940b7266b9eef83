"""In which epochs the others of one room are, as far as this device heard, and what leads it back to them.

Keeps that on disk and judges by it. Knows neither who is in the room nor whether this device can follow.
"""

from __future__ import annotations

import msgspec

from clave_client.errors import StoreDamaged
from clave_client.formats.payload import epoch_id
from clave_client.rooms.commit_records import decode_keys, encode_keys
from clave_client.store.database import Store
from clave_crypto.keys import Secret
from clave_crypto.mls import Group

__all__ = ["EpochTracker", "FormerRoster"]

_HEADS_KEPT = 64
_MOST_FORMER_ROSTERS = 8
_MOST_KEYS = 32


class FormerRoster(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What others know this device by in an epoch that it came back from: its leaf and the members there.

    `members` has each device's encoded identity. Keys of that epoch are not kept.
    """

    own_leaf: int
    members: dict[bytes, bytes]

    @classmethod
    def of(cls, group: Group) -> FormerRoster:
        """Return what is kept of a group that this device leaves."""
        return cls(group.own_leaf, {member.signature_key: member.identity for member in group.members()})


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[FormerRoster])


class EpochTracker:
    """Where the others of one room are. Values are replaced, never changed; transactions are the caller's.

    `heads` are the epochs that this device was in before. `here`, `ahead` and `behind` are the accounts that
    spoke in the present epoch, in one that is unknown here, and in a former one; `parted` is the entry from
    which on somebody has been elsewhere, and `unread` the first message said there that its person was not
    told of, 0 for none. `fork` is the entry after which members may be in different epochs, as the relay was
    restored. `let_in` is the account that alone brought this device into its epoch, after entry `let_in_at`.
    By its `homes`, the epochs it came back from, and its former `leaf_keys` those know it who have not
    followed. `cries` counts how often it has asked for help since.
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

    def load(self) -> None:
        """Read back what is stored; what is not stays as it is. Raises `StoreDamaged`."""
        fork, heads, let_in = self._part("fork"), self._part("heads") or b"", self._part("let in") or b""
        self.former_heads = [heads[i : i + 32] for i in range(0, len(heads), 32)]
        self.fork = None if fork is None else int.from_bytes(fork, "big")
        self.diverged_at = int.from_bytes(self._part("parted") or b"", "big")
        self.first_unread = int.from_bytes(self._part("unread") or b"", "big")
        self.admitted_at, self.admitted_by = int.from_bytes(let_in[:8], "big"), let_in[8:]
        former_rosters = self._part("former rosters")
        try:
            self.former_rosters = [] if former_rosters is None else _decoder.decode(former_rosters)
        except msgspec.DecodeError as error:
            raise StoreDamaged(
                f"where a device came back from cannot be read ({error}); restore a backup"
            ) from None
        self.leaf_keys = decode_keys(self._part("leaf keys") or encode_keys([]))

    def _part(self, name: str) -> bytes | None:
        return self._store.part(self._room, name)

    def _put(self, name: str, data: bytes | None) -> None:
        self._store.put_part(self._room, name, data)

    # --- where this device goes ---

    def begin(self, account: bytes, seq: int) -> None:
        """Note that `account`, empty for nobody, let this device into the room after entry `seq`."""
        self.admitted_by, self.admitted_at = account, seq
        self._store_former_rosters()

    def leave_epoch(self, left: Group, seq: int, *, switched: bool) -> None:
        """Note that this device goes from the epoch of a group to another, by entry `seq`.

        `led_away` says that it comes back elsewhere though it could follow the epoch it was in.
        """
        if self.fork is not None or not switched:
            # One that was left without being lost may be the others' still, who after a restore follow too.
            self.former_heads = [*self.former_heads, epoch_id(left)][-_HEADS_KEPT:]
        self._put("heads", b"".join(self.former_heads))
        if self.fork is not None and seq > self.fork:
            self.set_fork(None)
        self.here = self.ahead = self.behind = frozenset()
        self.rejoin_requests = 0
        self.keep_leaf_key(left)
        self._set_diverged_at(0)

    def add_former_roster(self, home: FormerRoster, account: bytes, seq: int) -> None:
        """Keep what others know this device by: `account` alone says that it comes back to where they are."""
        self.admitted_by, self.admitted_at = account, seq
        self.former_rosters = [home, *self.former_rosters][:_MOST_FORMER_ROSTERS]
        self._store_former_rosters()

    def set_fork(self, seq: int | None) -> None:
        """Note after which entry members may be in different epochs, as the relay was restored, or none."""
        self.fork = seq
        self.here = self.ahead = self.behind = frozenset()
        self._put("fork", None if seq is None else seq.to_bytes(8, "big"))

    def keep_leaf_key(self, group: Group) -> None:
        """Keep the key by which those know this device who are in an epoch that it leaves or never enters."""
        key = group.leaf_key()
        if key not in self.leaf_keys:
            self.leaf_keys = [key, *self.leaf_keys][:_MOST_KEYS]
            self._put("leaf keys", encode_keys(self.leaf_keys))

    def _store_former_rosters(self) -> None:
        self._put("former rosters", _encoder.encode(self.former_rosters) if self.former_rosters else None)
        self._put(
            "let in", self.admitted_at.to_bytes(8, "big") + self.admitted_by if self.admitted_by else None
        )

    # --- where others speak ---

    def note_present(self, account: bytes, own: bytes, seq: int) -> int | None:
        """Note that an account speaks in this device's epoch, which a second other one does not make up.

        `own` is this device's account, and `seq` the last entry read. Returns after which entry what this
        device said is to be said again, as whoever came since could not read it, or None.
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
        """Note that an account speaks in another epoch, a former one or one that is unknown here."""
        if former:
            self.behind |= {account}
        else:
            self.ahead |= {account}
        self.here -= {account}
        if not self.diverged_at:
            self._set_diverged_at(seq)

    def _set_diverged_at(self, seq: int) -> None:
        """Note from which entry on others may have left the present epoch; 0 for none."""
        if seq != self.diverged_at:
            self.diverged_at = seq
            self._put("parted", seq.to_bytes(8, "big") if seq else None)

    def note_unread(self, seq: int) -> None:
        """Note that entry `seq` is a message which this device cannot read, or with 0 that it was told."""
        if not seq or not self.first_unread:
            self.first_unread = seq
            self._put("unread", seq.to_bytes(8, "big") if seq else None)

    @property
    def unheard_since(self) -> int:
        """The first entry that others may not have read with this device, being elsewhere; 0 for none."""
        if self.fork is not None:
            return self.fork + 1
        return self.admitted_at + 1 if self.admitted_by else self.diverged_at

    # --- whether to go there ---

    def should_leave(self, account: bytes, quorum: int) -> bool:
        """Whether the device, one of `account`, is to go elsewhere though it can follow its epoch.

        `enough` is how many other accounts it takes.
        """
        diverged_at = self.fork is not None and bool(self.ahead)
        return (
            self._is_misled
            or diverged_at
            or self._overtaken(account, quorum)
            or self._left_behind(account, quorum)
        )

    def should_enter(self, head: bytes, account: bytes, quorum: int) -> bool:
        """Whether the device, one of `account`, is to go to the epoch `head` though it can follow its own.

        No account alone makes it leave that, unless one alone brought it there, or the relay was restored
        since and nobody else has spoken for a while. `enough` is how many other accounts it takes.
        """
        if head in self.former_heads:
            return self._is_misled or self._left_behind(account, quorum)
        unanswered = self.fork is not None and bool(self.ahead) and self.rejoin_requests > 1
        return unanswered or self._is_misled or self._overtaken(account, quorum)

    @property
    def _is_misled(self) -> bool:
        """Whether another account speaks elsewhere than the only one that brought this device here."""
        return bool(self.admitted_by) and bool(self.ahead - {self.admitted_by})

    def _overtaken(self, account: bytes, quorum: int) -> bool:
        """Whether enough other accounts are in an epoch unknown here, and no fewer than in this one."""
        return quorum <= len(self.ahead) >= len(self.here | {account})

    def _left_behind(self, account: bytes, quorum: int) -> bool:
        """Whether enough other accounts are in a former epoch, and more than in this one.

        That happens when a relay restored from a backup has lost the commit between.
        """
        return quorum <= len(self.behind) > len(self.here | {account})
