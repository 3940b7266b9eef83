"""A profile's rooms at one relay: feeds them what it streams, sends what they prepare, opens invitations.

Knows no verbs of people's (those are `client.Client`), no rules of groups (those are `room.Room`), and leaves
the network to `connection.Connection`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from clave_client import events
from clave_client.errors import (
    ClientError,
    RelayFault,
    RelayRefused,
    RelayUnreachable,
    RoomBehind,
    RoomUnreadable,
    StateTooOld,
)
from clave_client.formats.welcome import RejoinInfo
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.reconnecting_transport import ReconnectingTransport
from clave_client.net.transport import RelayAddress
from clave_client.rooms.batch_report import BatchResult, CommitResult
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.log_reader import LogMessage, LogReader
from clave_client.store.account import Account
from clave_client.store.database import Phase, RoomRecord, Store
from clave_client.sync.committer import RELAY_PAUSE_SECONDS, Committer
from clave_client.sync.invitations import Invitations
from clave_client.sync.presence import handle_presence
from clave_client.sync.rejoin import RejoinCoordinator
from clave_crypto.mls import Proposal
from clave_wire.limits import MAX_BATCH_MEMBERS
from clave_wire.messages import (
    Code,
    CreateRoom,
    Done,
    Invitation,
    Mend,
    Presence,
    Refused,
    Rejected,
    Resume,
    Resumed,
    Submit,
    ToClient,
)
from clave_wire.text import sanitize

__all__ = ["RoomSync"]

_RESUME_RETRY_SECONDS = {Code.NOT_MEMBER: 10.0, Code.STORAGE: 60.0}
"""Seconds between two tries to open a room, which others may have the relay route here, or its disk bring."""

_NOT_ROUTED_TEXT = "this device is no longer a member of the room"

_RECHECK_SECONDS = 15.0
"""Between a correction that the relay refused and the next comparison."""

_STOP_ROUTING_SECONDS = 5.0
"""Between what the relay sends of a room that this device has left, and asking it to stop."""

_CHECK_SECONDS = 30.0
"""Between two comparisons of whom the relay routes to, after strangers spoke or came."""

_NOTHING_TO_LEAVE = {Code.NOT_MEMBER, Code.NO_SUCH_ROOM, Code.PRUNED}
"""Refusals to resume after which there is no way, or no need, to tell a room's others that one leaves."""


class RoomSync(ReconnectingTransport):
    """A profile's session with its relay. Start it with `connect`, end it with `close`.

    `rooms` are those this device can use, `unusable` those it cannot and why, by id.
    """

    def __init__(
        self,
        store: Store,
        account: Account,
        address: RelayAddress,
        *,
        trust: CertificateTrust,
        token: str = "",
        software: str = "clave",
        clock: Callable[[], float],
    ) -> None:
        super().__init__(store, account, address, trust=trust, token=token, software=software, clock=clock)
        self._resumes: dict[int, bytes] = {}
        self._streams: dict[int, bytes] = {}
        self._corrections: dict[int, bytes] = {}
        self._rosters: dict[bytes, Resumed] = {}
        self._compared_at: dict[bytes, float] = {}
        self._due: set[tuple[Callable[[LocalRoom], None], bytes]] = set()
        self._delivering: dict[bytes, tuple[bytes, asyncio.Future[events.Sent | events.SendFailed]]] = {}
        self._readers: WeakKeyDictionary[LocalRoom, LogReader] = WeakKeyDictionary()
        self._committer = Committer(self)
        self._rejoin = RejoinCoordinator(self)
        self.invitations = Invitations(self, store)
        self._resume_refused: dict[bytes, ClientError] = {}
        self._left: set[bytes] = set()
        self._names_reported: set[tuple[bytes, str]] = set()
        self.online: dict[bytes, set[bytes]] = {}
        self.rooms: dict[bytes, LocalRoom] = {}
        self.unusable: dict[bytes, RoomUnreadable | RoomBehind] = {}
        for record in store.rooms():
            if record.phase is not Phase.CLOSED:
                try:
                    self.rooms[record.id] = self._load(record)
                except (RoomUnreadable, RoomBehind) as error:
                    self.unusable[record.id] = error
                    self.emit(events.Notice(b"", str(error)))

    def _load(self, record: RoomRecord) -> LocalRoom:
        if record.phase is Phase.BEHIND:
            raise RoomBehind(record.title, record.cursor)
        return LocalRoom.load(self._store, record, self.clock)

    # --- connection ---

    def _connected_(self) -> None:
        for room in self.rooms.values():
            if room.record.phase in (Phase.JOINED, Phase.LEAVING):
                self._resume(room)

    def _disconnected_(self) -> None:
        self._resumes.clear()
        self._streams.clear()
        self._corrections.clear()
        self._rosters.clear()
        self._resume_refused.clear()
        self._left.clear()
        self.online.clear()
        for room in self.rooms.values():
            room.disconnected()
        lost = RelayUnreachable(
            "the connection was lost; whether the change went through shows once it is back"
        )
        self._committer.fail_waiters(None, lost)

    def _awaited(self) -> Iterator[asyncio.Future[Any]]:
        yield from super()._awaited()
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

    async def wait_until_sendable(self, room_id: bytes) -> None:
        """Wait until a room's log is read and messages can be sent there, or never will be.

        Raises `ClientError` when the relay does not let this device read it.
        """

        def decided() -> bool:
            room = self.rooms.get(room_id)
            waits = room is not None and room.record.phase is Phase.JOINED and not room.too_old
            return not waits or room_id in self._resume_refused or (room is not None and room.may_send)

        await self.wait_for(decided)
        if room_id in self._resume_refused:
            raise self._resume_refused[room_id]

    async def commit(self, room_id: bytes, propose: Callable[[LocalRoom], Sequence[Proposal]]) -> None:
        """Carry a change of the room through, as `changes.Changes.commit` does."""
        await self._committer.commit(room_id, propose)

    def _fail_waiters(self, room_id: bytes, error: ClientError) -> None:
        """Fail whatever waits for an answer in a room."""
        _fail((future for room, future in self._delivering.values() if room == room_id), error)
        self._committer.fail_waiters(room_id, error)

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
                self.invitations.handle(message)
            case Presence():
                handle_presence(self, message)
            case Refused() if message.id in self._corrections:
                self._correction_refused(self._corrections.pop(message.id))
            case Done() if message.id in self._corrections:
                del self._corrections[message.id]
            case Refused() if message.id in self._resumes:
                self._not_resumed(self._resumes.pop(message.id), message)
            case Refused() if message.id in self._streams:
                self._stream_ended(self._streams.pop(message.id), message)
            case Done() | Refused():
                pass  # the answer to something nobody waits for any more
            case _:
                raise RelayFault(f"the relay sent a {type(message).__name__} out of turn")

    def _feed(self, batches: dict[bytes, list[LogMessage]]) -> None:
        for room_id, batch in batches.items():
            room = self.rooms.get(room_id)
            if room is None and room_id in self._left:  # in a room of two, nobody but this device can say so
                self._left.discard(room_id)
                self.later(_STOP_ROUTING_SECONDS, partial(self._go, room_id))
            if room is not None and room.resumed:
                try:
                    result = self._reader(room).read(batch)
                except ClientError:
                    room.reload()
                    raise
                self._settle(room, result)
                if any(isinstance(m, Rejected) and m.code is Code.STORAGE for m in batch):
                    self.emit(events.Notice(room_id, "the relay cannot store messages now; trying again"))
                if result.pause:
                    self.later(RELAY_PAUSE_SECONDS, partial(self.submit_due, room))
                else:
                    self.submit_due(room)
        batches.clear()

    def _go(self, room_id: bytes) -> None:
        """Have the relay stop routing a room to this device, unless it was added once more."""
        if self.is_online and room_id not in self.rooms:
            request = self.link.next_id()
            self._corrections[request] = room_id
            self.link.send(Mend(request, room_id, [], [self.own_device]))

    def _reader(self, room: LocalRoom) -> LogReader:
        return self._readers.setdefault(room, LogReader(room, self._store))

    def _settle(self, room: LocalRoom, result: BatchResult) -> None:
        for event in result.events:
            if isinstance(event, events.Sent | events.SendFailed) and event.id in self._delivering:
                _, future = self._delivering.pop(event.id)
                if not future.done():
                    future.set_result(event)
            self.emit(event)
        if result.commit_result is not None:
            self._committer.note_result(room.id, result.commit_result, result.reason)
        for device in result.rejoin_requests:
            self._rejoin.answer_request(room, device)
        if result.needs_rejoin:
            self._rejoin.request_rejoin(room)
            self.invitations.retry_deferred(room.id)
        if result.routing_suspect:
            self.compare_routing(room)
        if any(isinstance(e, events.MemberAdded) and e.by.device == self.own_device for e in result.events):
            # Whoever was here before may have had the relay stop routing to it, not knowing that it is added.
            self.later(_RECHECK_SECONDS, partial(self._recheck, room))
        if room.record.phase is Phase.CLOSED:
            self.closed(room)

    def closed(self, room: LocalRoom) -> None:
        """Let go of a room this device is no longer in, and of whoever waits for something in it."""
        self._left.add(room.id)
        error = ClientError(f"you are no longer in {room.record.title}")
        self._drop_room(room, "you are no longer in the room", error)

    def _drop_room(self, room: LocalRoom, reason: str, error: ClientError) -> None:
        self.rooms.pop(room.id, None)
        for message_id in room.unsent:
            self.emit(events.SendFailed(room.id, message_id, reason))
        self._fail_waiters(room.id, error)
        self.invitations.retry_deferred()

    def submit_due(self, room: LocalRoom) -> None:
        """Do what a room's state asks for next: resubmit, leave, commit what lies pending, send."""
        if not self.is_online or not room.synced or self.rooms.get(room.id) is not room:
            return
        if room.draining or room.record.phase is Phase.INVITED:
            return
        self._resume_refused.pop(room.id, None)
        resumed = self._rosters.pop(room.id, None)
        if resumed is not None and not self._correct(room, resumed):
            return
        if room.can_resubmit_commit:
            self.submit(room, room.submit_commit())
        elif room.commit_is_stale:
            room.drop_commit()
            self._committer.note_result(room.id, CommitResult.SUPERSEDED, "")
        if room.cannot_follow:
            self._rejoin.request_rejoin(room)
        if room.commit_due or room.confirmable is not None or room.retry_due:
            self._committer.run_duties(room)
        if room.leave_due:
            self.submit(room, room.prepare_leave())
        self.submit(room, *room.prepare_messages())

    def submit(self, room: LocalRoom, *submits: Submit) -> None:
        """Send what a room has prepared; what cannot be sent it takes back. Raises `RelayError`."""
        sent = 0
        try:
            for submit in submits:
                self.link.send(submit)
                sent += 1
        except ClientError:
            room.cancel_submits(submits[sent:])
            raise

    def _correct(self, room: LocalRoom, resumed: Resumed) -> bool:
        """Compare whom the relay routes to with the group's own roster, and correct it.

        Returns False if this device is not among them, which is told, and asked again.

        It takes two accounts to take somebody out; whoever cannot follow has no say, nor has whoever was let
        in by one account and has heard no other: that one may have made up the whole epoch.
        """
        if room.record.cursor != resumed.seq or room.cannot_follow or room.record.phase is not Phase.JOINED:
            return True
        if room.not_routed:
            self._stream_ended(room.id, Refused(resumed.id, Code.NOT_MEMBER, _NOT_ROUTED_TEXT))
            return False
        missing, strange = room.roster.routing_differences([device for device, _ in resumed.members])
        if missing:
            title = room.record.title
            text = f"the relay had stopped delivering {title} to some of its members; it does again"
            self.emit(events.Notice(room.id, text))
        if room.epochs.admitted_by:
            strange = []
        for start in range(0, max(len(missing), len(strange)), MAX_BATCH_MEMBERS):
            some = slice(start, start + MAX_BATCH_MEMBERS)
            request = self.link.next_id()
            self._corrections[request] = room.id
            self.link.send(Mend(request, room.id, missing[some], strange[some]))
        return True

    def _correction_refused(self, room_id: bytes) -> None:
        """Compare again later: a relay that was restored may not know yet whom it is to route to."""
        if room_id not in self.rooms:  # it was to bring no more of a room that this device has left
            self._left.add(room_id)
        self._once(_RECHECK_SECONDS, self._recheck, room_id)

    def _once(self, seconds: float, work: Callable[[LocalRoom], None], room_id: bytes) -> None:
        """Have `work` done to a room in a while; asked again meanwhile, it is done once all the same."""
        if (work, room_id) not in self._due:
            self._due.add((work, room_id))
            self.later(seconds, partial(self._do, work, room_id))

    def _do(self, work: Callable[[LocalRoom], None], room_id: bytes) -> None:
        self._due.discard((work, room_id))
        room = self.rooms.get(room_id)
        if room is not None:
            work(room)

    def _recheck(self, room: LocalRoom) -> None:
        if self.is_online and self.rooms.get(room.id) is room:
            self._compared_at.pop(room.id, None)
            self.compare_routing(room)

    def compare_routing(self, room: LocalRoom) -> None:
        """Ask the relay, once in a while, whom it routes to: its answer is compared and corrected."""
        loop = asyncio.get_running_loop()
        due = self._compared_at.get(room.id, -_CHECK_SECONDS) + _CHECK_SECONDS
        if room.in_flight:
            due = max(due, loop.time() + 1.0)
        if loop.time() < due:
            self._once(due - loop.time(), self.compare_routing, room.id)
        elif room.resumed:
            self._compared_at[room.id] = loop.time()
            self.restart_resume(room)

    def restart_resume(self, room: LocalRoom) -> None:
        """Ask once more for a room's entries; nothing is submitted until the relay says where it goes on."""
        if not room.in_flight:
            room.disconnected()
            self.resume(room)

    def _resume(self, room: LocalRoom) -> None:
        request = self.link.next_id()
        self._resumes[request] = room.id
        self.link.send(Resume(request, room.id, room.record.cursor))

    def resume(self, room: LocalRoom) -> None:
        """Ask for a room's entries, if the relay is there to be asked."""
        if self._link is not None and self._link.is_up:
            self._resume(room)

    def _resumed(self, resumed: Resumed) -> None:
        self._resumes.pop(resumed.id, None)
        self._streams = {id_: room for id_, room in self._streams.items() if room != resumed.room}
        self._streams[resumed.id] = resumed.room
        room = self.rooms.get(resumed.room)
        if room is None:
            return
        room.disconnected()
        told, again = room.start(resumed, self.incarnation)
        for event in told:
            self.emit(event)
        if again:
            self._resume(room)
            return
        if room.too_old:
            text = f"this profile comes from a backup, too old to send to {room.record.title}"
            self._fail_waiters(room.id, StateTooOld(text))
        self._rosters[room.id] = resumed
        self._compare_names(room, resumed)
        room.not_routed = all(device != self.own_device for device, _ in resumed.members)
        if room.cannot_follow:
            self.invitations.retry_deferred(room.id)
        self.submit_due(room)

    def _compare_names(self, room: LocalRoom, resumed: Resumed) -> None:
        """Tell of members that are others at the relay: one account may pose as several in a room."""
        for name, other in room.roster.name_differences(resumed.members).items():
            if (room.id, name) not in self._names_reported:
                self._names_reported.add((room.id, name))
                text = (
                    f"the relay knows {name} in {room.record.title} as {other}: one of the two lies;"
                    f" compare keys (/fingerprint {name}) over another channel before you trust either"
                )
                self.emit(events.Notice(room.id, text))

    def _not_resumed(self, room_id: bytes, refused: Refused) -> None:
        room = self.rooms.get(room_id)
        if room is None:
            return
        if room.record.phase is Phase.LEAVING and refused.code in _NOTHING_TO_LEAVE:
            self.emit(room.close(None))
            self.closed(room)
            return
        if refused.code is Code.PRUNED:
            self._give_up_behind(room)
            return
        if refused.code is Code.NO_SUCH_ROOM and room.record.incarnation not in (b"", self.incarnation):
            self.spawn(lambda: self._recreate_room(room))
            return
        room.not_routed = refused.code in (Code.NOT_MEMBER, Code.BAD_REQUEST)
        if room.cannot_follow:
            self.invitations.retry_deferred(room.id)
        if refused.code in _RESUME_RETRY_SECONDS:
            self._once(_RESUME_RETRY_SECONDS[refused.code], self._retry_resume, room_id)
        if room_id not in self._resume_refused:
            text = f"{room.record.title}: {sanitize(refused.text)}"
            error = self._resume_refused[room_id] = ClientError(text)
            self._fail_waiters(room_id, error)
            self.emit(events.Notice(room_id, text))

    def _stream_ended(self, room_id: bytes, refused: Refused) -> None:
        """Take that the relay brings no more of a room: its disk fails, or others had it stop."""
        room = self.rooms.get(room_id)
        if room is not None and room.resumed:
            room.disconnected()
            self._not_resumed(room_id, refused)

    async def _recreate_room(self, room: LocalRoom) -> None:
        """Make a room anew that is younger than the backup its relay was restored from."""
        try:
            await self.link.request(lambda request: CreateRoom(request, room.id))
        except RelayRefused as error:
            if error.code is not Code.ROOM_EXISTS:  # somebody was quicker, and brings the others in
                raise
        self.resume(room)

    def _retry_resume(self, room: LocalRoom) -> None:
        if not room.resumed:
            self.resume(room)

    def _give_up_behind(self, room: LocalRoom) -> None:
        """Give a room up until this device is invited again."""
        error = self.unusable[room.id] = room.fall_behind()
        self.emit(events.Notice(room.id, str(error)))
        self._drop_room(room, f"this device fell behind in {room.record.title}", error)

    def handle_rejoin_info(self, room: LocalRoom, rejoin_info: RejoinInfo) -> None:
        """Take what a member sealed for this device because it could not follow."""
        self._rejoin.handle_info(room, rejoin_info)

    @property
    def own_device(self) -> bytes:
        """This device's key."""
        return self.account.device.public


def _fail(futures: Iterator[asyncio.Future[Any]], error: ClientError) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
