"""Rekeys (commits with a path) that wait for another account to confirm one. Knows one epoch, sends nothing.

Of each account the newest rekey waits. Messages that the account sends in the epoch of its rekey are
buffered, to be read if that epoch begins. All of it is dropped when any epoch begins.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from clave_client.errors import PeerError
from clave_client.formats.payload import UnverifiedEntry, check_mls_body, parse_entry, rekey_id
from clave_client.rooms.policy import member_identity
from clave_client.rooms.roster import Roster
from clave_client.store.database import Store
from clave_crypto.identity import VerifiedIdentity
from clave_crypto.mls import CommitFate, CommitPreview, Group, MLSError
from clave_wire.messages import Entry, Kind

__all__ = ["MOST_BUFFERED", "MOST_BUFFERED_BYTES", "PendingRekeys", "Rekey", "RekeyEffect", "check_rekey"]

MOST_BUFFERED, MOST_BUFFERED_BYTES = 256, 4 * 1024 * 1024
"""Most entries, and bytes, buffered of one device; every member drops further ones alike.

The bound is per device, not per account: a device does not buffer its own entries, so members would disagree.
`outbox.Outbox` sends no more than this.
"""

MOST_JOINING = 64
"""Most accounts whose joins by links wait; every member refuses further ones alike."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


class RekeyEffect(enum.Enum):
    """What a rekey does to this device when it is confirmed."""

    OWN = "own"
    OPENS = "opens"
    REMOVES = "removes"
    FAILS = "fails"


_EFFECTS = {
    CommitFate.OPENS: RekeyEffect.OPENS,
    CommitFate.REMOVES: RekeyEffect.REMOVES,
    CommitFate.SEALED: RekeyEffect.FAILS,
    CommitFate.WRONG_TAG: RekeyEffect.FAILS,
}


@dataclass(frozen=True)
class Rekey:
    """A rekey that passed every check that does not need its path secret.

    `ref` is the id by which it is confirmed, `account` its author's, `removes` the devices it removes.
    `external` says that by it a device rejoins, or joins by a link: `joiner` is who does. `changes_state`
    says that it changes the agreed state.
    """

    ref: bytes
    parsed: UnverifiedEntry
    account: bytes
    removes: frozenset[bytes]
    effect: RekeyEffect
    external: bool = False
    joiner: VerifiedIdentity | None = None
    changes_state: bool = False

    @property
    def seq(self) -> int:
        """The seq of its entry."""
        return self.parsed.entry.seq


class _BufferedEntry(NamedTuple):
    """An entry that is buffered on disk with its account's rekey."""

    seq: int
    sender: bytes
    size: int

    @classmethod
    def of(cls, entry: Entry) -> _BufferedEntry:
        return cls(entry.seq, entry.sender, len(entry.payload))


class PendingRekeys:
    """The rekeys of one room that wait in its present epoch. The caller opens transactions.

    `superseded` are the devices whose joins waited when this epoch began; they join again.
    """

    def __init__(self, store: Store, room: bytes) -> None:
        self._store = store
        self._room = room
        self._waiting: dict[bytes, Rekey] = {}
        self._buffered: dict[bytes, list[_BufferedEntry]] = {}
        self.superseded: frozenset[bytes] = frozenset()

    def load(self, waiting: Iterable[int], group: Group, roster: Roster, own: Collection[bytes]) -> None:
        """Load the rekeys among the `waiting` entries; `own` are the payloads of this device's."""
        for seq in waiting:
            parsed = self._read(seq)
            try:
                if parsed.entry.kind is Kind.REKEY:
                    rekey = check_rekey(parsed, group, roster, own)
                    self._waiting[rekey.account] = rekey
                    self._buffered[rekey.account] = []
                    continue
            except (MLSError, PeerError):
                continue
            person = roster.find(parsed.entry.sender) or self.joiner(parsed.entry.sender)
            if person is not None and person.account in self._buffered:
                self._buffered[person.account].append(_BufferedEntry.of(parsed.entry))

    def _read(self, seq: int) -> UnverifiedEntry:
        return parse_entry(_decoder.decode(self._store.waiting_entry(self._room, seq)))

    def __iter__(self) -> Iterator[Rekey]:
        return iter(self._waiting.values())

    def find(self, ref: bytes) -> Rekey | None:
        """Return the waiting rekey with the id `ref`."""
        return next((rekey for rekey in self if rekey.ref == ref), None)

    def of(self, account: bytes) -> Rekey | None:
        """Return the waiting rekey of an account."""
        return self._waiting.get(account)

    def joiner(self, device: bytes) -> VerifiedIdentity | None:
        """Return who joins with this device by a waiting rekey."""
        joiners = (rekey.joiner for rekey in self if rekey.joiner is not None)
        return next((joiner for joiner in joiners if joiner.device == device), None)

    def has_place_for(self, rekey: Rekey) -> bool:
        """Return whether a rekey may wait: of those by which others join, only so many do."""
        joining = [each.account for each in self if each.joiner is not None and each.account != rekey.account]
        return rekey.joiner is None or len(joining) < MOST_JOINING

    def drop_joiner(self, device: bytes) -> None:
        """Drop the rekey by which a device joins, as it leaves again."""
        joiner = self.joiner(device)
        if joiner is not None:
            self._drop(joiner.account)

    def add(self, rekey: Rekey) -> None:
        """Add a rekey in place of its account's earlier one."""
        self._drop(rekey.account)
        self._waiting[rekey.account] = rekey
        self._buffered[rekey.account] = []
        self._store_entry(rekey.parsed)

    def buffer(self, parsed: UnverifiedEntry, account: bytes) -> bool:
        """Buffer a message of an account whose rekey waits; return False if none does."""
        buffered = self._buffered.get(account)
        if buffered is None:
            return False
        new = _BufferedEntry.of(parsed.entry)
        sizes = [one.size for one in buffered if one.sender == new.sender]
        if len(sizes) < MOST_BUFFERED and sum(sizes) + new.size <= MOST_BUFFERED_BYTES:
            buffered.append(new)
            self._store_entry(parsed)
        return True

    def clear(self, confirmed: Rekey | None) -> list[UnverifiedEntry]:
        """Drop all, as an epoch begins; return the messages buffered for the one `confirmed`."""
        buffered = [] if confirmed is None else self._buffered.get(confirmed.account, [])
        messages = [self._read(one.seq) for one in buffered]
        self.superseded = frozenset(rekey.joiner.device for rekey in self if rekey.joiner is not None)
        for account in list(self._waiting):
            self._drop(account)
        return messages

    def copy(self) -> tuple[dict[bytes, Rekey], dict[bytes, list[_BufferedEntry]]]:
        """Return a copy of the state, for `restore`."""
        return dict(self._waiting), {account: list(buffered) for account, buffered in self._buffered.items()}

    def restore(self, before: tuple[dict[bytes, Rekey], dict[bytes, list[_BufferedEntry]]]) -> None:
        """Restore the state that `copy` returned."""
        self._waiting, self._buffered = before

    def _store_entry(self, parsed: UnverifiedEntry) -> None:
        self._store.add_waiting(self._room, parsed.entry.seq, _encoder.encode(parsed.entry))

    def _drop(self, account: bytes) -> None:
        rekey = self._waiting.pop(account, None)
        if rekey is not None:
            seqs = [one.seq for one in self._buffered.pop(account, [])]
            self._store.drop_waiting(self._room, [rekey.seq, *seqs])


def check_rekey(parsed: UnverifiedEntry, group: Group, roster: Roster, own: Collection[bytes]) -> Rekey:
    """Check a rekey as every member of the epoch can, and find out its effect on this device.

    `own` are the payloads of this device's rekeys. Raises `PeerError` or `MLSError` if every member refuses.
    """
    header, entry = parsed.header, parsed.entry
    author = roster.find(entry.sender)
    removes = frozenset(header.remove)
    if entry.payload in own and author is not None:
        return Rekey(rekey_id(entry.payload), parsed, author.account, removes, RekeyEffect.OWN)
    check_mls_body(parsed, group)
    preview = group.preview(parsed.body)
    if author is None:
        return _check_join(parsed, preview)
    added = {member.signature_key for member in preview.added}
    removed = {member.signature_key for member in preview.removed}
    if preview.external:
        if added != {entry.sender} or removed != {entry.sender}:
            raise PeerError("a device came back as another one")
        added, removed = set(), set()
    elif group.member(preview.committer).signature_key != entry.sender:
        raise PeerError("the relay put another's name on it")
    if not preview.path or added or header.add or removed != removes or len(removes) != len(header.remove):
        raise PeerError("its header is not what it does")
    ref, effect = rekey_id(entry.payload), _EFFECTS[preview.fate]
    changed = preview.extensions_changed
    return Rekey(ref, parsed, author.account, removes, effect, preview.external, changes_state=changed)


def _check_join(parsed: UnverifiedEntry, preview: CommitPreview) -> Rekey:
    """Check the external commit of a device that is no member; the room's rules took its link.

    Raises `PeerError`.
    """
    header, entry = parsed.header, parsed.entry
    if not preview.external or [member.signature_key for member in preview.added] != [entry.sender]:
        raise PeerError("its sender is not a member")
    if preview.removed or header.add or header.remove:
        raise PeerError("its header is not what it does")
    joiner = member_identity(preview.added[0])
    ref, effect = rekey_id(entry.payload), _EFFECTS[preview.fate]
    return Rekey(ref, parsed, joiner.account, frozenset(), effect, external=True, joiner=joiner)
