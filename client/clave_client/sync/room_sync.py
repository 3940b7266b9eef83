"""Keeps one profile's rooms in step with the relay: resumes them, feeds them entries, submits what is due.

Knows nothing of what a person asks for (that is `client.Client`), no group rules (`rooms.local_room`), and
leaves the connection to `net.reconnecting_transport`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from functools import partial
from weakref import WeakKeyDictionary

from clave_client import events
from clave_client.errors import (
    ClientError,
    RelayFault,
    RelayUnreachable,
    RoomBehind,
    RoomUnreadable,
    StateTooOld,
)
from clave_client.formats.welcome import RejoinInfo
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.reconnecting_transport import ReconnectingTransport
from clave_client.net.transport import Connect, RelayTransport
from clave_client.rooms.batch_report import BatchResult, CommitResult
from clave_client.rooms.loading import load_rooms
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.log_reader import LogMessage, LogReader
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.store.journal import Journal
from clave_client.sync.advertising import Advertiser
from clave_client.sync.background import BackgroundTasks
from clave_client.sync.clock_check import ClockCheck
from clave_client.sync.committer import RELAY_PAUSE_SECONDS, Committer, Propose
from clave_client.sync.event_stream import EventSource
from clave_client.sync.expiry import ExpiryTimer
from clave_client.sync.inbox import Inbox
from clave_client.sync.invitations import Invitations
from clave_client.sync.key_packages import KeyPackageUpkeep
from clave_client.sync.link_joins import LinkJoins
from clave_client.sync.own_devices import DevicesInUse
from clave_client.sync.presence import handle_presence
from clave_client.sync.rejoin import RejoinCoordinator
from clave_client.sync.reporting import ReceiptReporter
from clave_client.sync.resumes import NOTHING_TO_LEAVE, RESUME_RETRY_SECONDS, Resumes
from clave_client.sync.routing import RoutingCheck
from clave_client.sync.timers import RoomTimers
from clave_client.sync.unsendable import fail_unsendable
from clave_client.sync.waiters import Waiters
from clave_client.sync.waiting import Waiting
from clave_client.values import Phase
from clave_wire.messages import (
    Code,
    Done,
    Invitation,
    LoggedIn,
    Passed,
    Presence,
    Refused,
    Rejected,
    Resumed,
    Submit,
    ToClient,
)
from clave_wire.text import sanitize

__all__ = ["RoomSync"]

_NOT_ROUTED_TEXT = "this device is no longer a member of the room"


class RoomSync(Waiting):
    """The rooms of one profile and their connection. Start it with `connect`, end it with `close`.

    `rooms` are those in use, `unusable` those that cannot be used and why, both by id. `online` are the
    devices that the relay says are connected, by room. `events` is what happened, `tasks` what runs beside
    the rooms, `resumes` are the resumes of this connection. It is its `connection`'s handler.
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
        connect: Connect = RelayTransport.connect,
    ) -> None:
        self.store = store
        self.readers: WeakKeyDictionary[LocalRoom, LogReader] = WeakKeyDictionary()
        self.tasks = BackgroundTasks(self.emit)
        self.account = account
        self.clock = clock
        self.incarnation = b""
        self.events = EventSource()
        self.journal = Journal(store)
        self.online: dict[bytes, set[bytes]] = {}
        self.rooms, self.unusable = load_rooms(store, clock)
        self.connection = ReconnectingTransport(
            self, account, address, trust=trust, token=token, software=software, connect=connect
        )
        self.resumes = Resumes(self.connection)
        self._inbox = Inbox(self.connection, read=self._read, handle=self._handle, turn_done=self.batch_done)
        self.invitations = Invitations(self, store, account)
        self.waiters = Waiters()
        self._committer = Committer(self)
        self._key_packages = KeyPackageUpkeep(self)
        self.clock_check = ClockCheck(clock, self.emit)
        self.rejoin = RejoinCoordinator(self, account)
        self.link_joins = LinkJoins(self, store, account)
        self.devices = DevicesInUse(self, store, account)
        self._timers = RoomTimers(self)
        self.routing = RoutingCheck(self, self._timers)
        self.receipts = ReceiptReporter(self, store, self._timers)
        self._advertiser = Advertiser(self, self._timers, self._committer.renew)
        self.expiry = ExpiryTimer(store, clock, self.emit)
        for error in self.unusable.values():
            self.emit(events.Notice(b"", str(error)))

    # --- connecting ---

    async def connect(self) -> events.Connected:
        """Connect, log in and resume the rooms; from then on reconnect in the background.

        Raises `RelayError` when this first connection fails.
        """
        return await self.connection.connect()

    def start(self) -> None:
        """Connect in the background, and reconnect; failures are reported as events."""
        self.connection.start()

    async def close(self, *, goodbye: bool = True) -> None:
        """Stop, send goodbye if wanted, and close. What was not acknowledged stays in the outbox."""
        self.devices.settings.finish()
        self.connection.stop()
        self.expiry.stop()
        self._key_packages.disconnected()
        await self.tasks.cancel()
        await self.connection.close(goodbye=goodbye)
        self._inbox.clear()
        self.events.end()

    def check(self) -> None:
        """Raise the error that ended the connection for good, if any."""
        self.connection.check()

    @property
    def own_device(self) -> bytes:
        """This device's public key."""
        return self.account.device.public

    # --- as handler of the connection ---

    def store_login(self, logged_in: LoggedIn, trust: CertificateTrust, former: CertificateTrust) -> None:
        """Store the relay's address and accepted certificates in one transaction."""
        with self.store.transaction():
            self.store.put("relay", str(self.connection.address).encode())
            self.store_trust(trust, former)
        self.incarnation = logged_in.incarnation

    def store_trust(self, trust: CertificateTrust, former: CertificateTrust) -> None:
        """Store the accepted certificates; report a pinned one that replaced another."""
        with self.store.transaction():
            trust.save(self.store)
        text = trust.change_text(former)
        if text is not None:
            self.emit(events.Notice(b"", text))

    def connected(self, logged_in: LoggedIn) -> None:
        """Resume the rooms and top up the key packages."""
        self.resumes.ask_all(list(self.rooms.values()))
        self._key_packages.connected(logged_in)
        self.clock_check.connected(logged_in)
        self.devices.connected()

    def disconnected(self) -> None:
        """Forget what only holds while connected, and fail whoever waits for a commit."""
        self._inbox.clear()
        self._key_packages.disconnected()
        self.resumes.clear()
        self.routing.disconnected()
        self.devices.disconnected()
        self.online.clear()
        for room in self.rooms.values():
            room.disconnected()
        lost = RelayUnreachable(
            "the connection was lost; whether the change went through shows once it is back"
        )
        self._committer.fail_waiters(None, lost)

    def received(self, messages: list[ToClient]) -> None:
        """Handle messages in order, in turns; consecutive entries of a room are read in batches."""
        self._inbox.put(messages)

    def batch_done(self) -> None:
        """Wake whoever waits for what has become true."""
        self.waiters.recheck()

    def failed(self, error: ClientError) -> None:
        """Fail whatever waits; the event streams end with `error`."""
        self._inbox.clear()
        self.waiters.fail_all(error)
        self.events.end(error)

    # --- changes ---

    async def commit(self, room_id: bytes, propose: Propose) -> bool:
        """Commit a change of a room, as `Committer.commit` does."""
        return await self._committer.commit(room_id, propose)

    def _fail_waiters(self, room_id: bytes, error: ClientError) -> None:
        """Fail whoever waits for an answer in a room."""
        self.waiters.fail_room(room_id, error)
        self._committer.fail_waiters(room_id, error)

    # --- tasks, timers and events ---

    def emit(self, event: events.Event) -> None:
        """Store an event, if its kind is stored, and pass it on to all streams; none of a refused room."""
        room = self.rooms.get(event.room)
        if room is not None and room.is_refused:
            return
        self.journal.append(event)
        self.events.put(event)
        if isinstance(event, events.Disconnected):
            self.waiters.recheck()  # some wait only while there is a relay

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Run `work` in `seconds`; its errors end what they would end if the relay had caused them."""
        asyncio.get_running_loop().call_later(seconds, self.connection.guard, work)

    def spawn(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run `work` as a task; its errors are reported as notices."""
        self.tasks.spawn(work)

    # --- messages from the relay ---

    def _handle(self, message: ToClient) -> None:
        match message:
            case Resumed():
                self._handle_resumed(message)
            case Invitation():
                self.invitations.handle(message)
            case Presence():
                handle_presence(self, message, check_routing=self.routing.check)
            case Passed():
                self.devices.handle(message)
            case Done() | Refused() if self.routing.handle_answer(message):
                pass
            case Refused() if (asked := self.resumes.take_refused(message.id)) is not None:
                self._handle_resume_refused(asked, message)
            case Refused() if (streamed := self.resumes.take_ended(message.id)) is not None:
                self._handle_stream_end(streamed, message)
            case Done() | Refused():
                pass  # nobody waits for this answer any more
            case _:
                raise RelayFault(f"the relay sent a {type(message).__name__} out of turn")

    def _read(self, room_id: bytes, batch: list[LogMessage]) -> None:
        """Read a batch of a room, report its result and submit what is due."""
        room = self.rooms.get(room_id)
        batch = self.link_joins.take_answer(room_id, batch)
        if not batch:
            return
        if room is None:
            self.routing.handle_entry_of_unknown_room(room_id)
        elif room.resumed:
            reader = self.readers.get(room)
            if reader is None:
                reader = self.readers[room] = LogReader(room, self.store)
            try:
                with self.store.unsynced() if self._inbox.is_behind else nullcontext():
                    result = reader.read(batch)
            except RoomUnreadable as error:
                self.handle_unusable(room, error)
                return
            except ClientError:
                room.reload()
                raise
            self._apply(room, result)
            if any(isinstance(m, Rejected) and m.code is Code.STORAGE for m in batch):
                self.emit(events.Notice(room_id, "the relay cannot store messages now; trying again"))
            if result.pause:
                self.later(RELAY_PAUSE_SECONDS, partial(self.submit_due, room))
            else:
                self.submit_due(room)

    def _apply(self, room: LocalRoom, result: BatchResult) -> None:
        """Emit a batch's events and pass on the rest of its result."""
        for event in result.events:
            if isinstance(event, events.Sent | events.SendFailed):
                self.waiters.deliver(event)
            self.events.put(event)  # the reader has stored it
        self.store.remove_traces()
        self.expiry.check()
        if result.commit_result is not None:
            self._committer.note_result(room.id, result.commit_result, result.reason)
        for device in result.rejoin_requests:
            self.rejoin.answer_request(room, device)
        if result.epoch_suspect:
            self._return_to(room)
            self.invitations.retry_deferred(room.id)
        if result.routing_suspect:
            self.routing.check(room)
        if any(isinstance(e, events.MemberAdded) and e.by.device == self.own_device for e in result.events):
            self.routing.recheck_later(room)
        self.devices.rooms.note(room, result.events)
        if room.record.phase is Phase.CLOSED:
            self.handle_closed(room, by=result.closed_by)

    def handle_rejoin_info(self, room: LocalRoom, rejoin_info: RejoinInfo) -> None:
        """Try to rejoin with what a member sealed for this device."""
        self.rejoin.handle_info(room, rejoin_info)

    def is_revoked(self, device: bytes) -> bool:
        """Return whether this account has revoked a device."""
        return device in self.devices.known.revoked()

    def note_brought(self, room: LocalRoom) -> None:
        """Answer the invitation by another device of this account as soon as it is known to be one."""
        self.devices.rooms.note_brought(room)
        self._key_packages.refill()

    def _return_to(self, room: LocalRoom) -> None:
        if not self.link_joins.repeats(room):
            self.rejoin.request_rejoin(room)

    # --- submitting ---

    def submit_due(self, room: LocalRoom) -> None:
        """Submit what a room's state asks for: correction, commit, rejoin request, leave, messages."""
        if not self.is_online or not room.synced or self.rooms.get(room.id) is not room:
            return
        if room.draining or room.record.phase is Phase.INVITED:
            return
        self.resumes.refused.pop(room.id, None)
        if not self.routing.correct(room, partial(self._handle_not_routed, room.id)):
            return
        if room.can_resubmit_commit:
            self.submit(room, room.submit_commit())
        elif room.commit_is_stale:
            room.drop_commit()
            self._committer.note_result(room.id, CommitResult.SUPERSEDED, "")
        if room.cannot_follow or room.epochs.restored:
            self._return_to(room)
        if room.commit_due or room.confirmable is not None or room.retry_due:
            self._committer.run_duties(room)
        if room.leave_due:
            self.submit(room, room.prepare_leave())
        self.link_joins.offer_again(room)
        self.receipts.check(room)
        self._advertiser.check(room)
        self.devices.rooms.check_room(room)
        for event in fail_unsendable(room, self.store, self.emit):
            self.waiters.deliver(event)
        self.submit(room, *room.prepare_messages())

    def submit(self, room: LocalRoom, *submits: Submit) -> None:
        """Send what a room has prepared; cancel what could not be sent. Raises `RelayError`."""
        sent = 0
        try:
            for submit in submits:
                self.link_joins.offer_with(room, submit)
                self.transport.send(submit)
                sent += 1
        except ClientError:
            room.cancel_submits(submits[sent:])
            raise

    # --- resuming ---

    def resume(self, room: LocalRoom) -> None:
        """Ask for a room's entries after its cursor, if there is a connection."""
        self.resumes.ask(room)

    def submit_noted(self, room: LocalRoom) -> None:
        """Submit what is due in a room, after resuming it if that was not asked for yet."""
        if room.resumed:
            self.submit_due(room)
        else:
            self.resumes.ask_once(room)

    def restart_resume(self, room: LocalRoom) -> None:
        """Resume a room again, unless submissions are in flight; nothing is submitted until the answer."""
        if not room.in_flight:
            room.disconnected()
            self.resume(room)

    def _handle_resumed(self, resumed: Resumed) -> None:
        self.resumes.start_stream(resumed.id, resumed.room)
        if (room := self.rooms.get(resumed.room)) is None:
            return
        try:
            self._start(room, resumed)
        except RoomUnreadable as error:
            self.handle_unusable(room, error)

    def _start(self, room: LocalRoom, resumed: Resumed) -> None:
        room.disconnected()
        if room in self.readers:
            self.readers[room].log.accepted_at = 0
        with self.store.transaction():
            reported, again = room.start(resumed, self.incarnation)
            for event in reported:
                self.emit(event)
        if again:
            self.resume(room)
            return
        if room.too_old:
            text = f"this profile comes from a backup, too old to send to {room.record.title}"
            self._fail_waiters(room.id, StateTooOld(text))
        self.routing.note_resumed(room, resumed)
        room.not_routed = all(device != self.own_device for device, _ in resumed.members)
        if room.cannot_follow:
            self.invitations.retry_deferred(room.id)
        self.submit_due(room)

    def _handle_resume_refused(self, room_id: bytes, refused: Refused) -> None:
        room = self.rooms.get(room_id)
        if room is None:
            return
        if room.record.phase is Phase.LEAVING and refused.code in NOTHING_TO_LEAVE:
            with self.store.transaction():
                self.emit(room.close(None))
            self.handle_closed(room)
            return
        if refused.code is Code.PRUNED:
            self.handle_unusable(room, room.fall_behind())
            return
        if refused.code is Code.NO_SUCH_ROOM and room.record.incarnation not in (b"", self.incarnation):
            self.spawn(lambda: self.routing.recreate(room))
            return
        room.not_routed = refused.code in (Code.NOT_MEMBER, Code.BAD_REQUEST)
        if room.not_routed and self.link_joins.repeats(room):
            return  # others had the relay stop routing to a device that is no member yet
        if room.cannot_follow:
            self.invitations.retry_deferred(room.id)
        if refused.code in RESUME_RETRY_SECONDS:
            self._timers.once(RESUME_RETRY_SECONDS[refused.code], self._retry_resume, room_id)
        if room_id not in self.resumes.refused:
            text = f"{room.record.title}: {sanitize(refused.text)}"
            error = self.resumes.refused[room_id] = ClientError(text)
            self._fail_waiters(room_id, error)
            self.emit(events.Notice(room_id, text))

    def _retry_resume(self, room: LocalRoom) -> None:
        if not room.resumed:
            self.resume(room)

    def _handle_stream_end(self, room_id: bytes, refused: Refused) -> None:
        """Handle that the relay sends no more of a room: its disk fails, or members had it stop."""
        room = self.rooms.get(room_id)
        if room is not None and room.resumed:
            room.disconnected()
            self._handle_resume_refused(room_id, refused)

    def _handle_not_routed(self, room_id: bytes, resumed: Resumed) -> None:
        self._handle_stream_end(room_id, Refused(resumed.id, Code.NOT_MEMBER, _NOT_ROUTED_TEXT))

    # --- rooms that end ---

    def handle_closed(self, room: LocalRoom, by: events.Person | None = None) -> None:
        """Drop a room this device is no longer in; `by` removed it: itself, if it was restored elsewhere."""
        if by is None or by.device != self.own_device:
            self.routing.note_left(room.id)  # else the relay routes to the restored copy, by the same key
        error = ClientError(f"you are no longer in {room.record.title}")
        self._drop(room, "you are no longer in the room", error)

    def handle_unusable(self, room: LocalRoom, error: RoomUnreadable | RoomBehind) -> None:
        """Drop a room that is of no use until this device is invited again, or the program updated."""
        self.unusable[room.id] = error
        self.emit(events.Notice(room.id, str(error)))
        reason = "this device fell behind in" if isinstance(error, RoomBehind) else "this device cannot open"
        self._drop(room, f"{reason} {room.record.title}", error)

    def _drop(self, room: LocalRoom, reason: str, error: ClientError) -> None:
        """Drop a room: its unsent messages and whoever waits in it fail."""
        self.rooms.pop(room.id, None)
        for message_id, text in room.unsent.items():
            self.emit(events.SendFailed(room.id, message_id, reason, text))
        self._fail_waiters(room.id, error)
        self.invitations.retry_deferred()
        self.waiters.recheck()
