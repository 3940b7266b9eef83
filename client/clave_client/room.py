"""One room as this device holds it: the group, the cursor in the log, and what is on its way.

The `prepare_*` methods return what to submit; `log_reader` takes in what the relay streams. Each call is one
transaction, so whatever it returns is on disk already. Knows no network and no clock but the one it is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from clave_client import events, legacy
from clave_client.chain import LogChain
from clave_client.content import Content, ContentKind, encode_content
from clave_client.errors import PeerError, RoomBehind, RoomUnreadable, StateTooOld, StoreDamaged, UsageError
from clave_client.events import Event, Person
from clave_client.outbox import Outbox
from clave_client.pending import Pending, Wish
from clave_client.policy import ROOM_LIMITS, RoomPolicy, room_state
from clave_client.rekeys import Fate, Rekey, Rekeys
from clave_client.room_state import ROOM_STATE_EXTENSION, RoomState
from clave_client.roster import Roster
from clave_client.sealing import Opened, header_digest, name_epoch, sign_payload
from clave_client.store import OutboxItem, Phase, RoomRecord, Store
from clave_client.welcome import Help, Welcome, Welcomed
from clave_crypto.identity import DeviceKey
from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    Extension,
    Group,
    GroupContextExtensions,
    GroupState,
    Member,
    MemberSender,
    MLSError,
    PendingCommit,
    Proposal,
    Remove,
)
from clave_wire.header import Header, pack_header, split_payload
from clave_wire.messages import Entry, Kind, Resumed, Submit
from clave_wire.text import sanitize

__all__ = ["Flight", "Room"]

_HEADS_KEPT = 64
_HELP_LABEL = "clave GroupInfo"
_ERA_BITS = 40
"""Entries of an era; what the relay lost keeps its place before what came afterwards."""


_CHANGES = ("record", "pending", "tip", "group", "head", "roster", "heads", "wish", "fork", "_saved_epoch")
"""What one operation can change, and is put back when it fails."""


@dataclass(frozen=True)
class Flight:
    """A submission without an answer yet."""

    kind: Kind
    payload: bytes


class Room:
    """One room. Make it with `create`, `join` or `load`."""

    group: Group
    head: bytes
    roster: Roster
    chain: LogChain

    def __init__(self, store: Store, record: RoomRecord, clock: Callable[[], float]) -> None:
        self._store = store
        self._saved_epoch: bytes | None = None
        self._end = 0
        self.clock = clock
        self.record = record
        self.outbox = Outbox(store, record.id)
        self.rekeys = Rekeys(store, record.id)
        self.pending: Pending | None = None
        self.tip: Group | None = None
        self.wish = Wish()
        self.fork: int | None = None
        self.heads: list[bytes] = []
        self.flights: dict[int, Flight] = {}
        self.refused: set[bytes] = set()
        self.helped: Counter[bytes] = Counter()
        self.accepted = 0
        self.going_back = False
        self.resumed = False
        self.stay_over = False
        self.too_old = False
        self.unsent: list[bytes] = []

    # --- making one ---

    @classmethod
    def create(cls, store: Store, group: Group, clock: Callable[[], float]) -> Room:
        """Store a group this device just created as a room."""
        return cls._store_new(store, group, Phase.JOINED, None, clock)

    @classmethod
    def join(cls, store: Store, group: Group, welcomed: Welcomed, clock: Callable[[], float]) -> Room:
        """Store a group this device was welcomed to, as an invitation to answer."""
        return cls._store_new(store, group, Phase.INVITED, welcomed, clock)

    @classmethod
    def _store_new(
        cls, store: Store, group: Group, phase: Phase, welcomed: Welcomed | None, clock: Callable[[], float]
    ) -> Room:
        title = sanitize(room_state(group.extensions).title)
        # The relay counts on where an earlier membership of this device ended.
        known = store.room(group.group_id)
        used, count, era = (0, 0, 0) if known is None else (known.submission, known.count, known.era)
        seen, began = (None, 0) if welcomed is None else (welcomed.seen, welcomed.seq)
        cursor = began if seen is None else seen.seq
        record = RoomRecord(
            group.group_id,
            phase,
            title,
            cursor,
            used,
            era << _ERA_BITS | cursor,
            count=count,
            began=began,
            legacy=-1 if welcomed is not None and seen is None else 0,
            era=era,
        )
        with store.transaction():
            store.forget_group(record.id)
            room = cls(store, record, clock)
            room.chain = LogChain(store, record.id, cursor)
            if seen is None:
                room.chain.begin_at(cursor)
            else:
                room.chain.begin(seen)
            room._hold(group)
            room.roster.meet(group.members())
            room._save()
        return room

    @classmethod
    def load(cls, store: Store, record: RoomRecord, clock: Callable[[], float]) -> Room:
        """Read a room back from the store.

        Raises `RoomUnreadable` when it is of a cipher suite or a stored form that this program does not know.
        """
        room = cls(store, record, clock)
        room._read_back()
        return room

    def reload(self) -> None:
        """Go back to what is on disk, after a batch that was rolled back there."""
        record = self._store.room(self.id)
        if record is not None:
            self.record = record
            self._read_back()

    def _read_back(self) -> None:
        part = self.part
        epoch, ratchets = part("epoch"), part("ratchets")
        if epoch is None or ratchets is None:
            raise StoreDamaged(f"the keys of room {self.record.title} are missing; restore a backup")
        try:
            group = Group.restore(GroupState(epoch, ratchets), policy=RoomPolicy(), limits=ROOM_LIMITS)
            self._hold(group)
            commit, tip, tip_ratchets = part("commit"), part("tip"), part("tip ratchets")
            self.pending, self.tip = None, None
            if commit is not None and tip is not None and tip_ratchets is not None:
                self.pending = Pending.decode(commit)
                state = GroupState(tip, tip_ratchets)
                self.tip = Group.restore(state, policy=RoomPolicy(), limits=ROOM_LIMITS)
        except MLSError as error:
            raise RoomUnreadable(self.record.title, sanitize(str(error))) from None
        wish, fork, heads = part("wish"), part("fork"), part("heads") or b""
        self.fork = None if fork is None else int.from_bytes(fork, "big")
        self.wish = Wish() if wish is None else Wish.decode(wish)
        self.heads = [heads[i : i + 32] for i in range(0, len(heads), 32)]
        self._saved_epoch = epoch
        self.chain = LogChain(self._store, self.id, self.record.cursor)
        self.rekeys = Rekeys(self._store, self.id)
        self.rekeys.load(self.group, self.roster, None if self.pending is None else self.pending.payload)

    def _hold(self, group: Group) -> None:
        self.group, self.head, self.roster = group, name_epoch(group), Roster(group, self._store)

    def part(self, name: str) -> bytes | None:
        """Return a stored part of this room."""
        return self._store.part(self.id, name)

    def put_part(self, name: str, data: bytes | None) -> None:
        """Store a part of this room, or with None delete it; a transaction is the caller's."""
        self._store.put_part(self.id, name, data)

    # --- where it stands ---

    @property
    def id(self) -> bytes:
        """The room's id, which is the MLS group's too."""
        return self.record.id

    @property
    def state(self) -> RoomState:
        """What the members agree on."""
        return room_state(self.group.extensions)

    @property
    def synced(self) -> bool:
        """Whether this device has seen all the relay had when it resumed."""
        return self.resumed and self.record.cursor >= self._end

    @property
    def lost(self) -> bool:
        """Whether the others went on to an epoch that this device cannot open."""
        return self.record.lost > 0

    @property
    def is_open(self) -> bool:
        """Whether anything can be submitted now: nothing that was refused waits for what followed it."""
        return self.record.phase is Phase.JOINED and self.synced and not self.going_back and not self.too_old

    @property
    def unconfirmed(self) -> bool:
        """Whether a rekey of this device is in the log and waits for another account."""
        return self.pending is not None and self.pending.placed

    @property
    def may_commit(self) -> bool:
        """Whether this device can try to change the room now."""
        return self.is_open and not self.lost and (self.pending is None or self.unconfirmed)

    @property
    def commit_due(self) -> bool:
        """Whether somebody has to commit what was proposed before anyone can send."""
        own = self.rekeys.of(self.account)
        return (
            bool(self.group.pending_proposals)
            and self.may_commit
            and self.confirmable is None
            and (own is None or not self.covers(own))
        )

    def covers(self, rekey: Rekey) -> bool:
        """Whether a rekey takes out everybody who has said so; it cannot be confirmed before it does."""
        return self._covers_leavers(rekey.removes)

    @property
    def confirmable(self) -> Rekey | None:
        """The rekey that this device is to confirm: one that it can open, rather one that removes somebody."""
        account = self.account
        able = [
            rekey
            for rekey in self.rekeys
            if rekey.fate is Fate.OPENS and rekey.account != account and self.covers(rekey)
        ]
        return min(able, key=lambda rekey: (not rekey.removes, rekey.seq), default=None)

    def _covers_leavers(self, removes: Collection[bytes]) -> bool:
        members = self.roster.members()
        return all(members[leaf].signature_key in removes for leaf in self.roster.leavers())

    @property
    def account(self) -> bytes:
        """The account of this device."""
        return self.roster.person(self.group.member(self.group.own_leaf)).account

    @property
    def may_send(self) -> bool:
        """Whether messages can be encrypted now."""
        if not self.is_open or self.lost or self.confirmable is not None or self._changes_fly():
            return False
        if self.unconfirmed:
            return not self.returning
        return self.pending is None and not self.group.pending_proposals

    def _changes_fly(self) -> bool:
        """Whether something is on its way after which a message would have to have read it."""
        return any(flight.kind is not Kind.APPLICATION for flight in self.flights.values())

    @property
    def leave_due(self) -> bool:
        """Whether this device's own removal waits to be proposed in the current epoch."""
        return (
            self.record.phase is Phase.LEAVING
            and self.synced
            and not self.going_back
            and not self.lost
            and not any(flight.kind is Kind.PROPOSAL for flight in self.flights.values())
        )

    def place(self, seq: int) -> int:
        """Return where entry `seq` stands in the history, after all that the relay may have lost before."""
        return self.record.era << _ERA_BITS | seq

    def extensions_with(self, *, title: str) -> tuple[Extension, ...]:
        """Return the group's extensions with another title agreed."""
        state = msgspec.structs.replace(self.state, title=title).encode()
        others = [e for e in self.group.extensions if e.extension_type != ROOM_STATE_EXTENSION]
        return (*others, Extension(ROOM_STATE_EXTENSION, state))

    def invitation(self) -> events.Invited:
        """Return what to ask the person, just after `join`: whoever signed the welcome is the inviter."""
        people = self.roster.people()
        inviter = people[self.group.own_leaf if self.group.welcomed_by is None else self.group.welcomed_by]
        others = (person.name for leaf, person in people.items() if leaf != self.group.own_leaf)
        return events.Invited(self.id, self.record.title, inviter, tuple(others))

    # --- connection ---

    def disconnected(self) -> None:
        """Forget what the relay told; nothing is being streamed any more."""
        self.resumed = self.going_back = False
        self.flights.clear()

    def start(self, resumed: Resumed, incarnation: bytes = b"") -> tuple[list[Event], bool]:
        """Take the relay's answer to a resume; entries up to its end follow.

        Returns what to tell, and whether to resume once more, from where the relay's log still is the one
        that this device has read.
        """
        told: list[Event] = []
        record, lost_after = self.record, min(self.record.cursor, resumed.seq)
        if record.incarnation not in (b"", incarnation):
            lost_after = min(lost_after, resumed.restored)
        with self.changing():
            if record.legacy < 0:
                self.set(legacy=resumed.legacy)
                self._leave_legacy(record.cursor)
            if record.incarnation not in (b"", incarnation):
                self._fork_at(lost_after)
            if record.incarnation != incarnation:
                self.set(incarnation=incarnation)
            if lost_after < record.cursor:
                told.append(self._go_back(lost_after, resumed.handshake))
        self._end = resumed.seq
        self.accepted = resumed.submission
        self.resumed = True
        if resumed.submission > self.record.submission and not self.too_old:
            self.too_old = True
            text = f"state too old: this profile comes from a backup; leave {self.record.title} and rejoin"
            told.append(events.Notice(self.id, text))
        again = bool(lost_after < record.cursor and resumed.seq > lost_after)
        if again:
            self.resumed = False
        return told, again

    def _fork_at(self, seq: int | None) -> None:
        """Note after which entry members may be in different epochs, since the relay was restored; or no more."""
        self.fork = seq
        self.put_part("fork", None if seq is None else seq.to_bytes(8, "big"))

    def say_again(self, seq: int) -> None:
        """Queue anew what this device said after entry `seq`, under the same ids; a transaction is the caller's."""
        own, waiting = self.roster.own_device, set(self.outbox.ids())
        for line in self._store.history(self.id, after=self.place(seq)):
            if line.sender == own and line.id not in waiting:
                self.outbox.append(ContentKind.TEXT, line.text, line.sent_at, line.id)

    def _go_back(self, seq: int, read: int) -> Event:
        """Follow a relay that has lost all entries after `seq`; what this device said there is said again."""
        count = self.record.cursor - seq
        self._drop_pending()
        self.rekeys.clear(None)
        self.say_again(seq)
        self.chain.go_back(seq)
        shown = max(self.record.shown, self.record.era + 1 << _ERA_BITS | seq)
        began, legacy = min(self.record.began, seq), min(self.record.legacy, seq)
        self.set(
            cursor=seq, read=min(read, seq), began=began, legacy=legacy, era=self.record.era + 1, shown=shown
        )
        return events.RelayLost(self.id, self.record.title, count)

    def _leave_legacy(self, seq: int) -> None:
        """Begin anew where the entries of protocol 3 end, once they are read: after entry `seq`."""
        if self.record.legacy == seq:
            self.chain.begin_at(seq)
            self.set(read=seq)
            legacy.finish(self)

    # --- what is sent ---

    def enqueue(self, kind: ContentKind, body: str) -> bytes:
        """Put a message into the outbox and return its id; it survives a crash from here on."""
        self.check_age()
        with self.changing():
            return self.outbox.append(kind, body, round(self.clock() * 1000))

    def prepare_messages(self) -> list[Submit]:
        """Encrypt what waits in the outbox, as far as the window allows, and return what to submit.

        What was encrypted in the present epoch already is submitted as it is, until something before it
        was not.
        """
        if not self.may_send:
            return []
        flying = {flight.payload for flight in self.flights.values()}
        items = [item for item in self.outbox.waiting() if item.payload is None or item.payload not in flying]
        if not items:
            return []
        group, head = self._speaker()
        submits, anew = [], False
        with self.changing():
            for item in items:
                if anew or item.payload is None or item.head != head:
                    anew = True
                    payload = self._seal_message(group, head, item)
                    self.outbox.seal(item, payload, head)
                else:
                    payload = item.payload
                submits.append(self._submit(Kind.APPLICATION, payload))
        return submits

    def _seal_message(self, group: Group, head: bytes, item: OutboxItem) -> bytes:
        count = self.record.count + 1
        self.set(count=count)
        header = pack_header(Header(Kind.APPLICATION, head, self.chain.seen(), count))
        content = encode_content(Content(item.id, item.kind, item.body, b"", item.sent_at))
        return header + group.encrypt(content, authenticated_data=header_digest(header))

    def _speaker(self) -> tuple[Group, bytes]:
        """Return the group to speak in and its epoch: that of one's own rekey, if that is in the log."""
        if self.tip is not None and self.unconfirmed:
            return self.tip, name_epoch(self.tip)
        return self.group, self.head

    def prepare_commit(self, proposals: Sequence[Proposal]) -> Submit:
        """Make a commit of `proposals` and of what lies pending, and keep it until the log decides.

        What a rekey of this device that waits already would do, the new one does too. Raises `MLSError` when
        the room's rules or the protocol do not allow it, and `UsageError` if it has to wait.
        """
        self.check_age()
        if self.pending is not None and not self.unconfirmed:
            raise UsageError("another change of this room is on its way; try again in a moment")
        proposals = [*self._wished(proposals), *proposals]
        adds = any(isinstance(proposal, Add) for proposal in proposals)
        path = (
            bool(self.group.pending_proposals)
            or not all(isinstance(p, Add) for p in proposals)
            or not proposals
        )
        if adds and path:
            raise UsageError(
                "nobody can be added before another member has confirmed who goes; try again once somebody is here"
            )
        with self.changing():
            self._make(proposals, Kind.REKEY if path else Kind.COMMIT)
        return self.submit_commit()

    def _wished(self, proposals: Sequence[Proposal]) -> list[Proposal]:
        """Return what this device's rekeys were to do and have not yet, as far as `proposals` do not."""
        named = {p.removed for p in proposals if isinstance(p, Remove)}
        wished: list[Proposal] = [
            Remove(leaf)
            for leaf, member in self.roster.members().items()
            if member.signature_key in self.wish.removes and leaf not in named
        ]
        if self.wish.title and not any(isinstance(p, GroupContextExtensions) for p in proposals):
            wished.append(GroupContextExtensions(self.extensions_with(title=self.wish.title)))
        return wished

    def _make(self, proposals: Sequence[Proposal], kind: Kind) -> None:
        group, members = self.group, self.roster.members()
        if kind is Kind.REKEY:
            self._wish_for(Wish.of(proposals, members))
        gone = {p.removed for p in proposals if isinstance(p, Remove)} | self.roster.leavers()
        removes = sorted(members[leaf].signature_key for leaf in gone)
        adds = [p.key_package.leaf_node.signature_key for p in proposals if isinstance(p, Add)]
        seen = self.chain.seen()
        header = pack_header(Header(kind, self.head, seen, 0, adds, removes))
        commit = group.commit(
            proposals,
            now=int(self.clock()),
            path=kind is Kind.REKEY,
            authenticated_data=header_digest(header),
        )
        covered = sorted(members[leaf].signature_key for leaf in commit.removed)
        if covered != removes or commit.path is not (kind is Kind.REKEY):
            raise UsageError("what is proposed does not go together; try again")
        tip = self._restore(group.state())
        tip.merge(PendingCommit.decode(commit.encode(), policy=RoomPolicy(), limits=ROOM_LIMITS))
        welcome = b""
        if commit.welcome is not None:
            welcome = Welcome.seal(commit.welcome, name_epoch(tip), seen, self.device)
        self._keep_pending(Pending(kind, header + commit.message, welcome, self.head), tip)

    def prepare_return(self, group_info: bytes, head: bytes, identity: bytes) -> Submit:
        """Make the commit that brings this device back into the epoch `head`. Raises `MLSError`."""
        header = pack_header(Header(Kind.REKEY, head, self.chain.seen()))
        tip, message = Group.join_externally(
            group_info,
            identity,
            self.device.secret,
            policy=RoomPolicy(),
            removes=self.group.own_leaf,
            other_groups=(),
            authenticated_data=header_digest(header),
            extension_types=(ROOM_STATE_EXTENSION,),
            limits=ROOM_LIMITS,
        )
        if tip.group_id != self.id:
            raise PeerError("it is of another room")
        with self.changing():
            self._drop_pending()
            self._keep_pending(Pending(Kind.REKEY, header + message, b"", head, external=True), tip)
        return self.submit_commit()

    def _wish_for(self, wish: Wish) -> None:
        self.wish = wish
        self._store.put_part(self.id, "wish", wish.encode() if wish else None)

    @property
    def wish_due(self) -> bool:
        """Whether a rekey of this device has come to nothing and is to be made anew."""
        return bool(self.wish) and self.may_commit and self.pending is None

    def give_up_wish(self) -> None:
        """Forget what this device's rekey was to do: it may not be done."""
        with self.changing():
            self._wish_for(Wish())

    def _keep_pending(self, pending: Pending, tip: Group) -> None:
        self._drop_pending()
        self.pending, self.tip = pending, tip
        self._store.put_part(self.id, "commit", pending.encode())

    def place_pending(self) -> None:
        """Note that this device's rekey is in the log; a transaction is the caller's."""
        assert self.pending is not None  # noqa: S101 (the caller found it there)
        self.pending = msgspec.structs.replace(self.pending, placed=True)
        self._store.put_part(self.id, "commit", self.pending.encode())

    def submit_commit(self) -> Submit:
        """Return the submission of this device's commit, as it was made."""
        assert self.pending is not None  # noqa: S101 (the caller made one)
        with self.changing():
            return self._submit(self.pending.kind, self.pending.payload, self.pending.welcome)

    @property
    def returning(self) -> bool:
        """Whether this device is on its way back by an external commit."""
        return self.pending is not None and self.pending.external

    def stop_returning(self) -> None:
        """Give up an external commit that nobody confirmed."""
        with self.changing():
            self._drop_pending()

    @property
    def commit_stands(self) -> bool:
        """Whether this device's commit, which the relay did not take, can be submitted once more as it is."""
        pending = self.pending
        if pending is None or pending.placed or not self.is_open or self._flies(pending.payload):
            return False
        if pending.kind is Kind.REKEY and self.confirmable is not None:
            return False
        return pending.external or (
            pending.head == self.head and self._covers_leavers(split_payload(pending.payload)[0].remove)
        )

    @property
    def commit_failed(self) -> bool:
        """Whether this device's commit, which is in no log, can count no longer."""
        pending = self.pending
        waits = pending is not None and not pending.placed and not self._flies(pending.payload)
        return waits and self.is_open and not self.commit_stands

    def _flies(self, payload: bytes) -> bool:
        return any(flight.payload == payload for flight in self.flights.values())

    def prepare_confirm(self, rekey: Rekey) -> Submit:
        """Vouch for another account's rekey, which this device can open."""
        return self._prepare_signed(Header(Kind.CONFIRM, self.head, self.chain.seen(), ref=rekey.ref))

    def prepare_cry(self) -> Submit:
        """Say that this device cannot follow the others."""
        return self._prepare_signed(Header(Kind.LOST, self.head, self.chain.seen()))

    def prepare_help(self, device: bytes) -> Submit:
        """Give a member that cannot follow what it comes back with. Raises `MLSError`."""
        leaf = next(m.leaf_index for m in self.roster.members().values() if m.signature_key == device)
        sealed = self.group.seal_to_member(leaf, _HELP_LABEL, self.group.group_info())
        header = Header(Kind.GROUP_INFO, self.head, self.chain.seen(), add=[device])
        return self._prepare_signed(header, Help(sealed, self.head).encode())

    def open_help(self, help_: Help) -> bytes:
        """Return the group info that a member sealed to this device. Raises `MLSError`."""
        return self.group.open_from_member(_HELP_LABEL, help_.sealed)

    def _prepare_signed(self, header: Header, welcome: bytes = b"") -> Submit:
        payload = sign_payload(self.id, header, self.device)
        with self.changing():
            return self._submit(header.kind, payload, welcome)

    def prepare_leave(self) -> Submit:
        """Propose this device's own removal; the relay stops routing to it with that entry."""
        own = self.roster.own_device
        header = pack_header(Header(Kind.PROPOSAL, self.head, self.chain.seen(), remove=[own]))
        with self.changing():
            self._withdraw()
            # A state too old to send messages from still leaves, under a number that was not taken, and in
            # the clear, since its next key may have been used: all that shows is a leaf's index.
            message = self.group.propose(
                Remove(self.group.own_leaf),
                now=int(self.clock()),
                public=self.too_old,
                authenticated_data=header_digest(header),
            )
            return self._submit(Kind.PROPOSAL, header + message)

    def drop_commit(self) -> None:
        """Forget this device's commit, to be made anew."""
        with self.changing():
            self._drop_pending()

    def take_back_commit(self) -> None:
        """Forget this device's commit, which never left or is refused for good."""
        with self.changing():
            self._drop_pending()
            self._wish_for(Wish())

    def take_back_flights(self) -> None:
        """Forget what the relay has not answered, so that it is prepared anew."""
        self.flights.clear()
        self.going_back = False

    # --- what the person decides ---

    def answer(self, *, accept: bool) -> None:
        """Accept the invitation, or start to leave again."""
        if self.record.phase is not Phase.INVITED:
            raise UsageError(f"there is no open invitation to {self.record.title}")
        with self.changing():
            self.set(phase=Phase.JOINED if accept else Phase.LEAVING)

    def start_leaving(self) -> None:
        """Give up membership; `prepare_leave` follows as soon as it can be sent."""
        with self.changing():
            self.set(phase=Phase.LEAVING)

    def mark_shown(self, place: int) -> bool:
        """Note that the message at `place` goes onto a screen; False when it did before."""
        if place <= self.record.shown:
            return False
        with self.changing():
            self.set(shown=place)
        return True

    def close(self, by: Person | None) -> events.RoomClosed:
        """Delete the keys: this device is no longer a member."""
        with self.changing():
            self.unsent = self.outbox.ids()
            self.set(phase=Phase.CLOSED, submission=max(self.record.submission, self.accepted))
            self._store.forget_group(self.id)
        return events.RoomClosed(self.id, self.record.title, by)

    def fall_behind(self) -> RoomBehind:
        """Delete the keys: entries that they were to go on with are gone. Returns what to tell."""
        with self.changing():
            self.unsent = self.outbox.ids()
            self.set(phase=Phase.BEHIND)
            self._store.forget_group(self.id)
        return RoomBehind(self.record.title, self.record.cursor)

    # --- for this module and `log_reader` ---

    def set(self, **changes: int | str | bytes | Phase) -> None:
        """Change fields of the record; `changing` writes them."""
        self.record = msgspec.structs.replace(self.record, **changes)

    def advance(self, entry: Entry) -> None:
        """Take the next entry into the cursor and the chain; what it says is judged afterwards."""
        self.set(cursor=entry.seq)
        self.chain.extend(entry)
        if entry.kind is not Kind.APPLICATION:
            self.set(read=entry.seq)
        if entry.sender == self.roster.own_device:
            self.accepted = max(self.accepted, entry.submission)
            if self.flights.pop(entry.submission, None) is not None:
                self.refused.discard(entry.payload)
        if self.record.legacy:
            self._leave_legacy(entry.seq)

    def copy_group(self) -> Group:
        """Return the group once more, to see what becomes of it."""
        return self._restore(self.group.state())

    def hold(self, group: Group) -> None:
        """Take what `copy_group` has become, in the same epoch; a transaction is the caller's."""
        self._hold(group)

    def member(self, device: bytes) -> Member:
        """Return the member with this device."""
        return next(m for m in self.roster.members().values() if m.signature_key == device)

    def withdraw(self) -> None:
        """Forget this device's proposal to leave, which is not in the log; a transaction is the caller's."""
        self._withdraw()

    def forget_commit(self) -> None:
        """Forget this device's commit, which is refused for good; a transaction is the caller's."""
        self._drop_pending()
        self._wish_for(Wish())

    def unseal_all(self) -> None:
        """Have everything that waits encrypted anew; a transaction is the caller's."""
        for item in self.outbox.waiting():
            self._store.put_ciphertext(item.position, None, None)

    def enter(self, group: Group, confirmed: Rekey | None) -> list[Opened]:
        """Go on in the next epoch, `group`'s; return what was said there before it began.

        A transaction is the caller's.
        """
        self.heads = [*self.heads, self.head][-_HEADS_KEPT:]
        self._store.put_part(self.id, "heads", b"".join(self.heads))
        own = self.tip is group
        self._fork_at(None)
        self._hold(group)
        said = self.rekeys.clear(confirmed)
        self._drop_pending()
        here = [device for device in self.wish.removes if self.roster.has(device)]
        self._wish_for(Wish() if own else Wish(here, self.wish.title))
        return said

    def follow_own(self) -> Group:
        """Return the group that this device's own commit leads to."""
        assert self.tip is not None  # noqa: S101 (the caller found its commit in the log)
        self.outbox.confirm(name_epoch(self.tip))
        return self.tip

    def _drop_pending(self) -> None:
        """Forget this device's commit, and queue anew what was said in the epoch it would have begun."""
        if self.pending is not None:
            self.outbox.confirm(b"")
        self.pending = self.tip = None
        for part in ("commit", "tip", "tip ratchets"):
            self._store.put_part(self.id, part, None)

    def drop_pending(self) -> None:
        """Forget this device's commit, which does not count; a transaction is the caller's."""
        self._drop_pending()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Run one operation and write what it changed, all in one transaction.

        What fails leaves no trace but keys of the group that are used up for nothing, as nothing was sent.
        """
        before = {name: getattr(self, name) for name in _CHANGES}
        flights, waiting = dict(self.flights), self.rekeys.copy()
        try:
            with self._store.transaction():
                yield
                self._save()
        except BaseException:
            for name, value in before.items():
                setattr(self, name, value)
            self.flights = flights
            self.rekeys.restore(waiting)
            raise

    def _save(self) -> None:
        self._store.put_room(self.record)
        if self.record.phase in (Phase.CLOSED, Phase.BEHIND):
            return
        state = self.group.state()
        if state.epoch != self._saved_epoch:
            self._store.put_part(self.id, "epoch", state.epoch)
            self._saved_epoch = state.epoch
        self._store.put_part(self.id, "ratchets", state.ratchets)
        if self.tip is not None:
            state = self.tip.state()
            self._store.put_part(self.id, "tip", state.epoch)
            self._store.put_part(self.id, "tip ratchets", state.ratchets)

    def _withdraw(self) -> None:
        """Forget this device's own proposals, which are not in the log."""
        own = MemberSender(self.group.own_leaf)
        for reference, sender, _ in self.group.pending_proposals:
            if sender == own:
                self.group.withdraw(reference)

    def _submit(self, kind: Kind, payload: bytes, welcome: bytes = b"") -> Submit:
        """Give a payload the next number and note that it is on its way."""
        number = self.accepted + len(self.flights) + 1
        self.set(submission=max(self.record.submission, number))
        self.refused.discard(payload)
        self.flights[number] = Flight(kind, payload)
        return Submit(self.id, number, self.record.read, kind, payload, welcome)

    def check_age(self) -> None:
        """Raise `StateTooOld` if this device has sent what it does not remember."""
        if self.too_old:
            raise StateTooOld(
                f"this profile comes from a backup, too old to send to {self.record.title}; leave and rejoin"
            )

    @property
    def device(self) -> DeviceKey:
        """This device's key."""
        secret = self._store.get("device_secret")
        if secret is None:
            raise StoreDamaged("the profile's own key is missing; restore a backup")
        return DeviceKey.from_secret(Secret(secret))

    @staticmethod
    def _restore(state: GroupState) -> Group:
        return Group.restore(state, policy=RoomPolicy(), limits=ROOM_LIMITS)
