"""A profile's rooms at one relay: feeds them what it streams, sends what they prepare, opens invitations.

Knows no verbs of people's (those are `client.Client`), no rules of groups (those are `room.Room`), and leaves
the network to `connection.Connection`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from clave_client import events
from clave_client.account import Account
from clave_client.changes import STORAGE_PAUSE, Changes
from clave_client.connection import Connection
from clave_client.errors import (
    ClientError,
    RelayFault,
    RelayUnreachable,
    RoomBehind,
    RoomUnreadable,
    StateTooOld,
)
from clave_client.link import Address
from clave_client.log_reader import LogMessage, LogReader, Outcome
from clave_client.policy import RoomPolicy, room_state
from clave_client.room import Room
from clave_client.store import Phase, RoomRecord, Store
from clave_client.trust import Trust
from clave_crypto.mls import Group, KeyPackageBundle, MLSError, Proposal
from clave_wire.messages import (
    Code,
    Done,
    Invitation,
    Mend,
    Presence,
    Refused,
    Rejected,
    Report,
    Resume,
    Resumed,
    TakeInvitation,
    ToClient,
)
from clave_wire.text import sanitize

__all__ = ["Session"]


_MOST_COMMITS = 1 << 52
"""An epoch that no room comes to by commits; frames count further."""


_NOTHING_TO_LEAVE = {Code.NOT_MEMBER, Code.NO_SUCH_ROOM, Code.PRUNED}
"""Refusals to resume after which there is no way, or no need, to tell a room's others that one leaves."""


class Session(Connection):
    """A profile's session with its relay. Start it with `connect`, end it with `close`.

    `rooms` are those this device can use, `unusable` those it cannot and why, by id.
    """

    def __init__(
        self,
        store: Store,
        account: Account,
        address: Address,
        *,
        trust: Trust,
        token: str = "",
        software: str = "clave",
        clock: Callable[[], float],
    ) -> None:
        super().__init__(store, account, address, trust=trust, token=token, software=software, clock=clock)
        self._resumes: dict[int, bytes] = {}
        self._rosters: dict[bytes, Resumed] = {}
        self._strange: set[tuple[bytes, bytes]] = set()
        self._delivering: dict[bytes, tuple[bytes, asyncio.Future[events.Sent | events.SendFailed]]] = {}
        self._deferred: dict[bytes, Invitation] = {}
        self._readers: WeakKeyDictionary[Room, LogReader] = WeakKeyDictionary()
        self._changes = Changes(self)
        self.online: dict[bytes, set[bytes]] = {}
        self.rooms: dict[bytes, Room] = {}
        self.unusable: dict[bytes, RoomUnreadable | RoomBehind] = {}
        for record in store.rooms():
            if record.phase is not Phase.CLOSED:
                try:
                    self.rooms[record.id] = self._load(record)
                except (RoomUnreadable, RoomBehind) as error:
                    self.unusable[record.id] = error
                    self.emit(events.Notice(b"", str(error)))

    def _load(self, record: RoomRecord) -> Room:
        if record.phase is Phase.BEHIND:
            raise RoomBehind(record.title, record.cursor)
        return Room.load(self._store, record, self.clock)

    # --- connection ---

    def _came_up(self) -> None:
        for room in self.rooms.values():
            if room.record.phase in (Phase.JOINED, Phase.LEAVING):
                self._resume(room)

    def _went_down(self) -> None:
        self._resumes.clear()
        self._rosters.clear()
        self._strange.clear()
        self.online.clear()
        for room in self.rooms.values():
            room.disconnected()
        lost = RelayUnreachable(
            "the connection was lost; whether the change went through shows once it is back"
        )
        _fail(self._changes.awaited(), lost)

    def _awaited(self) -> Iterator[asyncio.Future[Any]]:
        yield from super()._awaited()
        yield from self._changes.awaited()
        yield from (future for _, future in self._delivering.values())

    # --- what others wait for ---

    async def delivered(self, room_id: bytes, message_id: bytes) -> int:
        """Wait until a message just posted is in the log; return its seq, or raise `ClientError`."""
        future: asyncio.Future[events.Sent | events.SendFailed] = asyncio.get_running_loop().create_future()
        self._delivering[message_id] = (room_id, future)
        try:
            event = await future
        finally:
            self._delivering.pop(message_id, None)
        if isinstance(event, events.SendFailed):
            raise ClientError(f"not sent: {event.reason}")
        return event.seq

    async def commit(self, room_id: bytes, propose: Callable[[Room], Sequence[Proposal]]) -> None:
        """Carry a change of the room through, as `changes.Changes.commit` does."""
        await self._changes.commit(room_id, propose)

    def _disappoint(self, room_id: bytes, error: ClientError) -> None:
        """Fail whatever waits for an answer in a room."""
        _fail((future for room, future in self._delivering.values() if room == room_id), error)
        _fail(self._changes.awaited(room_id), error)

    # --- what the relay says ---

    def _take(self, messages: list[ToClient]) -> None:
        """Take what is not an answer, in order; a room's entries go to it in one batch."""
        batches: dict[bytes, list[LogMessage]] = {}
        for message in messages:
            if isinstance(message, LogMessage):
                batches.setdefault(message.room, []).append(message)
            else:
                self._feed(batches)
                self._on_message(message)
        self._feed(batches)

    def _on_message(self, message: ToClient) -> None:
        match message:
            case Resumed():
                self._resumed(message)
            case Invitation():
                self._invited(message)
            case Presence():
                self._presence(message)
            case Refused() if message.id in self._resumes:
                self._not_resumed(self._resumes.pop(message.id), message)
            case Done() | Refused():
                pass  # the answer to something nobody waits for any more
            case _:
                raise RelayFault(f"the relay sent a {type(message).__name__} out of turn")

    def _feed(self, batches: dict[bytes, list[LogMessage]]) -> None:
        for room_id, batch in batches.items():
            room = self.rooms.get(room_id)
            if room is not None and room.resumed:
                try:
                    outcome = self._reader(room).read(batch)
                except ClientError:
                    self._reload(room)
                    raise
                self._settle(room, outcome)
                if any(isinstance(m, Rejected) and m.code is Code.STORAGE for m in batch):
                    self.emit(events.Notice(room_id, "the relay cannot store messages now; trying again"))
                    asyncio.get_running_loop().call_later(STORAGE_PAUSE, self.go_on, room)
                else:
                    self.go_on(room)
        batches.clear()

    def _reload(self, room: Room) -> None:
        """Go back to what is on disk, after a batch that was rolled back there."""
        record = self._store.room(room.id)
        if record is not None:
            self.rooms[room.id] = Room.load(self._store, record, self.clock)

    def _reader(self, room: Room) -> LogReader:
        return self._readers.setdefault(room, LogReader(room, self._store))

    def _settle(self, room: Room, outcome: Outcome) -> None:
        for event in outcome.events:
            if isinstance(event, events.Sent | events.SendFailed) and event.id in self._delivering:
                _, future = self._delivering.pop(event.id)
                if not future.done():
                    future.set_result(event)
            self.emit(event)
        if outcome.settled is not None:
            self._changes.settled(room.id, outcome.settled, outcome.reason)
        for epoch, seq in outcome.invalid:
            self.link.send(Report(self.link.next_id(), room.id, epoch, seq))
        if room.record.phase is Phase.CLOSED:
            self._closed(room)

    def _closed(self, room: Room) -> None:
        """Let go of a room this device is no longer in, and of whoever waits for something in it."""
        error = ClientError(f"you are no longer in {room.record.title}")
        self._let_go(room, "you are no longer in the room", error)

    def _let_go(self, room: Room, reason: str, error: ClientError) -> None:
        self.rooms.pop(room.id, None)
        for message_id in room.unsent:
            self.emit(events.SendFailed(room.id, message_id, reason))
        self._disappoint(room.id, error)
        deferred = self._deferred.pop(room.id, None)
        if deferred is not None:
            self._invited(deferred)

    def go_on(self, room: Room) -> None:
        """Do what a room's state asks for next: resubmit, leave, commit what lies pending, send."""
        if not self.is_online or not room.synced or self.rooms.get(room.id) is not room:
            return
        link = self.link
        resumed = self._rosters.pop(room.id, None)
        if resumed is not None:
            for submit in room.prepare_resubmission():
                link.send(submit)
            self._mend(room, resumed)
        if room.commit_due:
            self._changes.step_up(room)
        if room.leave_due:
            link.send(room.prepare_leave())
        for submit in room.prepare_messages():
            link.send(submit)

    def _mend(self, room: Room, resumed: Resumed) -> None:
        """Compare whom the relay routes to with the group's own roster, and correct it."""
        missing, strange = room.roster.compare_routing([device for device, _ in resumed.members])
        if room.record.cursor != resumed.seq or not (missing or strange):
            return
        text = f"the relay's member list of {room.record.title} differs from the group's; corrected"
        self.emit(events.Notice(room.id, text))
        self.link.send(Mend(self.link.next_id(), room.id, missing, strange))

    def _resume(self, room: Room) -> None:
        request = self.link.next_id()
        self._resumes[request] = room.id
        self.link.send(Resume(request, room.id, room.record.cursor))

    def resume(self, room: Room) -> None:
        """Ask for a room's entries, if the relay is there to be asked."""
        if self._link is not None and self._link.is_up:
            self._resume(room)

    def _resumed(self, resumed: Resumed) -> None:
        self._resumes.pop(resumed.id, None)
        room = self.rooms.get(resumed.room)
        if room is not None:
            for event in room.start(resumed):
                self.emit(event)
            if room.too_old:
                text = f"this profile comes from a backup, too old to send to {room.record.title}"
                self._disappoint(room.id, StateTooOld(text))
            self._rosters[room.id] = resumed
            self.go_on(room)

    def _not_resumed(self, room_id: bytes, refused: Refused) -> None:
        room = self.rooms.get(room_id)
        if room is None:
            return
        if room.record.phase is Phase.LEAVING and refused.code in _NOTHING_TO_LEAVE:
            self.emit(room.close(None))
            self._closed(room)
            return
        if refused.code is Code.PRUNED:
            self._fell_behind(room)
            return
        self._disappoint(room_id, ClientError(f"{room.record.title}: {sanitize(refused.text)}"))
        self.emit(events.Notice(room_id, f"{room.record.title}: {sanitize(refused.text)}"))

    def _fell_behind(self, room: Room) -> None:
        """Give a room up until this device is invited again."""
        error = self.unusable[room.id] = room.fall_behind()
        self.emit(events.Notice(room.id, str(error)))
        self._let_go(room, f"this device fell behind in {room.record.title}", error)

    def _presence(self, presence: Presence) -> None:
        room = self.rooms.get(presence.room)
        if room is None or presence.device == self.account.device.public:
            return
        online = self.online.setdefault(presence.room, set())
        if presence.online == (presence.device in online):
            return
        online.symmetric_difference_update({presence.device})
        self.emit(
            events.PresenceChanged(room.id, sanitize(presence.name), presence.online, sanitize(presence.text))
        )
        known = (room.id, presence.device) in self._strange or room.roster.has(presence.device)
        if presence.online and room.synced and not known:
            self._strange.add((room.id, presence.device))  # asked about once: a relay could go on for ever
            self.resume(room)  # its answer says whom the relay routes to, and that is corrected

    def _invited(self, invitation: Invitation) -> None:
        """Open a welcome and keep it; whether the person wants it is asked afterwards."""
        known = self.rooms.get(invitation.room)
        if known is not None and known.record.phase in (Phase.JOINED, Phase.LEAVING):
            # Only the log ends a membership: a welcome to the same room counts once that has happened.
            self._deferred[invitation.room] = invitation
            return
        used: list[bytes] = []
        # A welcome can name very many key packages, and to look each of them up would take long.
        held = self._store.bundle_references()

        def find(reference: bytes) -> KeyPackageBundle | None:
            if reference not in held:
                return None
            used.append(reference)
            return self.account.bundle(reference)

        others = self.rooms.keys() - {invitation.room}
        try:
            group = Group.join(invitation.welcome, find, policy=RoomPolicy(), other_groups=others)
            if group.group_id != invitation.room:
                self.emit(events.Notice(b"", "an invitation was refused: it came under another room's id"))
            elif group.epoch >= _MOST_COMMITS:
                self.emit(events.Notice(b"", "an invitation was refused: its room's epoch cannot be"))
            elif self._store.has_entered(group.epoch_authenticator):
                # A relay can bring a welcome again, and the private half of a last resort is kept: to enter
                # an epoch a second time would be to use its keys a second time.
                if known is None:
                    text = f"an invitation to {sanitize(room_state(group.extensions).title)} was refused"
                    self.emit(events.Notice(b"", f"{text}: it is an old one"))
            else:
                with self._store.transaction():
                    room = Room.join(self._store, group, invitation.seq, self.clock)
                    self._store.note_entered(group.epoch_authenticator)
                    for reference in used:
                        self._store.drop_bundle(reference)
                self.rooms[room.id] = room
                self.unusable.pop(room.id, None)
                self.emit(room.invitation())
        except MLSError as error:
            self.emit(events.Notice(b"", f"an invitation could not be used: {sanitize(str(error))}"))
        self.link.send(TakeInvitation(self.link.next_id(), invitation.id))


def _fail(futures: Iterator[asyncio.Future[Any]], error: ClientError) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
