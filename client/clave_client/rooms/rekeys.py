"""Commits with a path, which wait until another account confirms one of them. Knows one epoch, sends nothing.

Of each account the newest one waits, and what that account says meanwhile in the epoch its rekey would
begin is kept, to be read if it does. All of it is gone once another epoch begins.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from clave_client.errors import PeerError
from clave_client.formats.payload import UnverifiedEntry, check_mls_body, parse_entry, rekey_id
from clave_client.rooms.roster import Roster
from clave_client.store.database import Store
from clave_crypto.mls import CommitFate, Group, MLSError
from clave_wire.messages import Entry, Kind

__all__ = ["PendingRekeys", "Rekey", "RekeyEffect", "check_rekey"]

_MOST_KEPT, _MOST_KEPT_BYTES = 256, 4 * 1024 * 1024
"""Entries kept of one device, on disk; what it says beyond them in an unconfirmed epoch counts for nobody.

Its own entries are not among those a device keeps, so that a bound for all of an account's would part them.
`outbox.Outbox` sends no more.
"""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


class RekeyEffect(enum.Enum):
    """What a rekey comes to at this device, if it is confirmed."""

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
    """A rekey that everybody in the epoch accepts as far as it can be checked."""

    ref: bytes
    opened: UnverifiedEntry
    account: bytes
    removes: frozenset[bytes]
    effect: RekeyEffect
    external: bool = False

    @property
    def seq(self) -> int:
        """The place of its entry."""
        return self.opened.entry.seq


class _BufferedEntry(NamedTuple):
    """An entry that waits on disk with its account's rekey."""

    seq: int
    sender: bytes
    size: int

    @classmethod
    def of(cls, entry: Entry) -> _BufferedEntry:
        return cls(entry.seq, entry.sender, len(entry.payload))


class PendingRekeys:
    """The rekeys of one room that wait in its present epoch. Transactions are the caller's."""

    def __init__(self, store: Store, room: bytes) -> None:
        self._store = store
        self._room = room
        self._waiting: dict[bytes, Rekey] = {}
        self._kept: dict[bytes, list[_BufferedEntry]] = {}

    def load(self, group: Group, roster: Roster, own: Collection[bytes]) -> None:
        """Read back what waits; `own` are the payloads of this device's rekeys."""
        for seq in self._store.waiting(self._room):
            opened = self._read(seq)
            try:
                if opened.entry.kind is Kind.REKEY:
                    rekey = check_rekey(opened, group, roster, own)
                    self._waiting[rekey.account] = rekey
                    self._kept[rekey.account] = []
                    continue
            except (MLSError, PeerError):
                continue
            person = roster.find(opened.entry.sender)
            if person is not None and person.account in self._kept:
                self._kept[person.account].append(_BufferedEntry.of(opened.entry))

    def _read(self, seq: int) -> UnverifiedEntry:
        return parse_entry(_decoder.decode(self._store.waiting_entry(self._room, seq)))

    def __iter__(self) -> Iterator[Rekey]:
        return iter(self._waiting.values())

    def find(self, ref: bytes) -> Rekey | None:
        """Return the rekey that waits under the name `ref`."""
        return next((rekey for rekey in self if rekey.ref == ref), None)

    def of(self, account: bytes) -> Rekey | None:
        """Return the rekey of an account that waits."""
        return self._waiting.get(account)

    def add(self, rekey: Rekey) -> None:
        """Have a rekey wait, in the place of its account's former one."""
        self._drop(rekey.account)
        self._waiting[rekey.account] = rekey
        self._kept[rekey.account] = []
        self._keep(rekey.opened)

    def keep(self, opened: UnverifiedEntry, account: bytes) -> bool:
        """Keep what an account says while a rekey of it waits; False if none does."""
        kept = self._kept.get(account)
        if kept is None:
            return False
        new = _BufferedEntry.of(opened.entry)
        sizes = [one.size for one in kept if one.sender == new.sender]
        if len(sizes) < _MOST_KEPT and sum(sizes) + new.size <= _MOST_KEPT_BYTES:
            kept.append(new)
            self._keep(opened)
        return True

    def clear(self, confirmed: Rekey | None) -> list[UnverifiedEntry]:
        """Forget all of them, as an epoch begins; return what was said in that of the one `confirmed`."""
        kept = [] if confirmed is None else self._kept.get(confirmed.account, [])
        said = [self._read(one.seq) for one in kept]
        for account in list(self._waiting):
            self._drop(account)
        return said

    def copy(self) -> tuple[dict[bytes, Rekey], dict[bytes, list[_BufferedEntry]]]:
        """Return what waits, for `restore`."""
        return dict(self._waiting), {account: list(kept) for account, kept in self._kept.items()}

    def restore(self, before: tuple[dict[bytes, Rekey], dict[bytes, list[_BufferedEntry]]]) -> None:
        """Go back to what `copy` returned."""
        self._waiting, self._kept = before

    def _keep(self, opened: UnverifiedEntry) -> None:
        self._store.add_waiting(self._room, opened.entry.seq, _encoder.encode(opened.entry))

    def _drop(self, account: bytes) -> None:
        rekey = self._waiting.pop(account, None)
        if rekey is not None:
            seqs = [one.seq for one in self._kept.pop(account, [])]
            self._store.drop_waiting(self._room, [rekey.seq, *seqs])


def check_rekey(opened: UnverifiedEntry, group: Group, roster: Roster, own: Collection[bytes]) -> Rekey:
    """Check a rekey as everybody in the epoch can, and find out what it comes to here.

    Raises `PeerError` or `MLSError` when it counts for nobody.
    """
    header, entry = opened.header, opened.entry
    author = roster.find(entry.sender)
    if author is None:
        raise PeerError("its sender is not a member")
    removes = frozenset(header.remove)
    if entry.payload in own:
        return Rekey(rekey_id(entry.payload), opened, author.account, removes, RekeyEffect.OWN)
    check_mls_body(opened, group)
    preview = group.preview(opened.body)
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
    return Rekey(ref, opened, author.account, removes, effect, preview.external)
