"""The conversation with one relay: keeps the connection up, feeds the rooms, sends what they prepare.

Knows no verbs of people's (those are `client.Client`) and no rules of groups (those are `room.Room`).
Everything runs on one event loop; what happened comes out of `events`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from clave_client import events
from clave_client.account import Account
from clave_client.errors import (
    ClientError,
    RelayChanged,
    RelayError,
    RelayFault,
    RelayRefused,
    RelayUnreachable,
    StateTooOld,
)
from clave_client.events import Event
from clave_client.link import Address, RelayLink
from clave_client.log_reader import LogMessage, LogReader, Outcome, Settled
from clave_client.policy import RoomPolicy
from clave_client.room import Room
from clave_client.store import Phase, Store
from clave_crypto.mls import Group, KeyPackageBundle, MLSError, Proposal
from clave_wire.login import fingerprint_text
from clave_wire.messages import (
    Code,
    Done,
    Invitation,
    Mend,
    Presence,
    PublishKeyPackages,
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

COMMIT_TRIES = 8
RETRY_FIRST, RETRY_LONGEST = 0.25, 30.0
STORAGE_PAUSE = 2.0
STEP_UP_SECONDS = 0.5
"""How long each further member waits before it commits what another could have committed."""

_FINAL = {
    Code.BAD_LOGIN,
    Code.BAD_NAME,
    Code.NAME_TAKEN,
    Code.NAME_CONFUSABLE,
    Code.CLOSED,
    Code.TOKEN,
    Code.REPLACED,
}
"""Refusals that trying again does not change."""


T = TypeVar("T")


class Session:
    """A profile's session with its relay. Start it with `connect`, end it with `close`."""

    def __init__(
        self,
        store: Store,
        account: Account,
        address: Address,
        *,
        pin: bytes | None,
        token: str = "",
        software: str = "clave",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._address = address
        self._pin = pin
        self._token = token
        self._software = software
        self._link: RelayLink | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._resumes: dict[int, bytes] = {}
        self._rosters: dict[bytes, Resumed] = {}
        self._settling: dict[bytes, asyncio.Future[tuple[Settled, str]]] = {}
        self._delivering: dict[bytes, tuple[bytes, asyncio.Future[events.Sent | events.SendFailed]]] = {}
        self._deferred: dict[bytes, Invitation] = {}
        self._locks: dict[bytes, asyncio.Lock] = {}
        self._stepping_up: set[bytes] = set()
        self._readers: WeakKeyDictionary[Room, LogReader] = WeakKeyDictionary()
        self._failure: ClientError | None = None
        self.clock = clock
        self.account = account
        self.online: dict[bytes, set[bytes]] = {}
        self.rooms: dict[bytes, Room] = {
            record.id: Room.load(store, record, clock)
            for record in store.rooms()
            if record.phase is not Phase.CLOSED
        }
        self.events: asyncio.Queue[Event | ClientError] = asyncio.Queue()

    # --- connection ---

    async def connect(self) -> events.Connected:
        """Connect, log in and bring the rooms up to date; from then on reconnect by itself.

        Raises `RelayError` when this first connection fails.
        """
        connected = await self._connect_once()
        self._keeper = asyncio.create_task(self._keep_connected())
        return connected

    async def close(self) -> None:
        """Say goodbye and stop. What was not acknowledged stays in the outbox."""
        tasks = [*self._tasks, *([self._keeper] if self._keeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._link is not None:
            await self._link.close()

    async def _connect_once(self) -> events.Connected:
        # Messages can follow the login's answer at once, so the link is known before it.
        link = self._link = await RelayLink.connect(self._address, self._pin, self._on_messages)
        try:
            logged_in = await link.login(
                self.account.identity, self.account.device, self._software, self._token
            )
        except BaseException:
            link.abort()
            raise
        first_use, self._pin = self._pin is None, link.certificate
        with self._store.transaction():
            self._store.put("relay", str(self._address).encode())
            self._store.put("relay_pin", link.certificate)
        for room in self.rooms.values():
            if room.record.phase in (Phase.JOINED, Phase.LEAVING):
                self._resume(room)
        self._spawn(lambda: self._publish_key_packages(logged_in.key_packages))
        fingerprint = fingerprint_text(link.certificate)
        connected = events.Connected(str(self._address), fingerprint, logged_in.registered, first_use)
        self.emit(connected)
        return connected

    async def _keep_connected(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while self._link is not None:
            came_up = loop.time()
            reason = await asyncio.shield(self._link.closed)
            failures = 0 if loop.time() - came_up > RETRY_LONGEST else failures
            self._went_offline()
            while not self._link.is_up:
                if isinstance(reason, RelayChanged) or (
                    isinstance(reason, RelayRefused) and reason.code in _FINAL
                ):
                    self._fail(reason)
                    return
                # Full jitter: many clients that lost one relay must not come back in step.
                pause = _jitter(min(RETRY_LONGEST, RETRY_FIRST * 2**failures))
                failures += 1
                self.emit(events.Disconnected(str(reason), round(pause, 1)))
                await asyncio.sleep(pause)
                try:
                    await self._connect_once()
                except RelayError as error:
                    reason = error
                except ClientError as error:
                    self._fail(error)
                    return

    def _went_offline(self) -> None:
        self._resumes.clear()
        self._rosters.clear()
        self.online.clear()
        for room in self.rooms.values():
            room.disconnected()
        lost = RelayUnreachable(
            "the connection was lost; whether the change went through shows once it is back"
        )
        for future in self._settling.values():
            if not future.done():
                future.set_exception(lost)
        self._settling.clear()

    def _fail(self, error: ClientError) -> None:
        """Stop for good: everything that waits, and everything asked from now on, gets `error`."""
        self._failure = error
        waiting: list[asyncio.Future[Any]] = [future for _, future in self._waiting]
        for future in (*waiting, *self._settling.values(), *(f for _, f in self._delivering.values())):
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
        self._settling.clear()
        self.events.put_nowait(error)

    @property
    def link(self) -> RelayLink:
        """The connection that is up; raises `RelayUnreachable` while there is none."""
        self.check()
        if self._link is None or not self._link.is_up:
            raise RelayUnreachable("not connected to the relay; trying again")
        return self._link

    def check(self) -> None:
        """Raise what ended the session for good, if anything did."""
        if self._failure is not None:
            raise self._failure

    @property
    def has_met_relay(self) -> bool:
        """Whether any connection was made, so that the relay may know this account."""
        return self._link is not None

    @property
    def is_online(self) -> bool:
        """Whether there is a connection now."""
        return self._link is not None and self._link.is_up

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds, looking again after everything that happens."""
        self.check()
        if condition():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, future))
        await future

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

    def emit(self, event: Event) -> None:
        """Put an event out."""
        self.events.put_nowait(event)

    def _look_again(self) -> None:
        for condition, future in self._waiting:
            if not future.done() and condition():
                future.set_result(None)
        self._waiting = [(condition, future) for condition, future in self._waiting if not future.done()]

    def _spawn(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run `work` beside; what fails there is told, not lost."""

        async def run() -> None:
            try:
                await work()
            except ClientError as error:
                if not isinstance(error, RelayUnreachable):
                    self.emit(events.Notice(b"", str(error)))
            except MLSError as error:
                self.emit(events.Notice(b"", sanitize(str(error))))

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _publish_key_packages(self, held_by_relay: int) -> None:
        fresh = self.account.key_packages(held_by_relay, self.clock())
        if fresh is not None:
            packages, last_resort = fresh
            await self.link.request(lambda request: PublishKeyPackages(request, packages, last_resort))

    # --- what the relay says ---

    def _on_messages(self, messages: list[ToClient]) -> None:
        """Take what is not an answer, in order; a room's entries go to it in one batch."""
        batches: dict[bytes, list[LogMessage]] = {}
        try:
            for message in messages:
                if isinstance(message, LogMessage):
                    batches.setdefault(message.room, []).append(message)
                else:
                    self._feed(batches)
                    self._on_message(message)
            self._feed(batches)
        except RelayError as error:
            if self._link is not None:
                self._link.abort(error)
        except ClientError as error:
            self._fail(error)
            if self._link is not None:
                self._link.abort(error)
        self._look_again()

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
        for record in self._store.rooms():
            if record.id == room.id:
                self.rooms[room.id] = Room.load(self._store, record, self.clock)

    def _reader(self, room: Room) -> LogReader:
        return self._readers.setdefault(room, LogReader(room, self._store))

    def _settle(self, room: Room, outcome: Outcome) -> None:
        for event in outcome.events:
            if isinstance(event, events.Sent | events.SendFailed) and event.id in self._delivering:
                _resolve(self._delivering.pop(event.id)[1], event)
            self.emit(event)
        if outcome.settled is not None and (future := self._settling.pop(room.id, None)) is not None:
            _resolve(future, (outcome.settled, outcome.reason))
        for epoch, seq in outcome.invalid:
            self.link.send(Report(self.link.next_id(), room.id, epoch, seq))
        if room.record.phase is Phase.CLOSED:
            self._closed(room)

    def _closed(self, room: Room) -> None:
        """Let go of a room this device is no longer in, and of whoever waits for something in it."""
        self.rooms.pop(room.id, None)
        for message_id in room.unsent:
            self.emit(events.SendFailed(room.id, message_id, "you are no longer in the room"))
        self._disappoint(room.id, ClientError(f"you are no longer in {room.record.title}"))
        deferred = self._deferred.pop(room.id, None)
        if deferred is not None:
            self._invited(deferred)

    def _disappoint(self, room_id: bytes, error: ClientError) -> None:
        """Fail whatever waits for an answer in a room."""
        waiting: list[asyncio.Future[Any]] = [f for room, f in self._delivering.values() if room == room_id]
        settling = self._settling.pop(room_id, None)
        for future in (*waiting, *([settling] if settling else [])):
            if not future.done():
                future.set_exception(error)

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
        if room.commit_due and room.id not in self._stepping_up:
            self._stepping_up.add(room.id)
            self._spawn(lambda: self._step_up(room))
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
        if room.record.phase is Phase.LEAVING and refused.code in (Code.NOT_MEMBER, Code.NO_SUCH_ROOM):
            self.emit(room.close(None))
            self._closed(room)
            return
        self._disappoint(room_id, ClientError(f"{room.record.title}: {sanitize(refused.text)}"))
        self.emit(events.Notice(room_id, f"{room.record.title}: {sanitize(refused.text)}"))

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

    def _invited(self, invitation: Invitation) -> None:
        """Open a welcome and keep it; whether the person wants it is asked afterwards."""
        known = self.rooms.get(invitation.room)
        if known is not None and known.record.phase in (Phase.JOINED, Phase.LEAVING):
            # Only the log ends a membership: a welcome to the same room counts once that has happened.
            self._deferred[invitation.room] = invitation
            return
        used: list[bytes] = []

        def find(reference: bytes) -> KeyPackageBundle | None:
            bundle = self.account.bundle(reference)
            if bundle is not None:
                used.append(reference)
            return bundle

        try:
            group = Group.join(invitation.welcome, find, policy=RoomPolicy())
            if group.group_id != invitation.room:
                self.emit(events.Notice(b"", "an invitation was refused: it came under another room's id"))
            elif known is None or known.group.epoch < group.epoch:
                with self._store.transaction():
                    room = Room.join(self._store, group, invitation.seq, self.clock)
                    for reference in used:
                        self._store.drop_bundle(reference)
                self.rooms[room.id] = room
                self.emit(room.invitation())
        except MLSError as error:
            self.emit(events.Notice(b"", f"an invitation could not be used: {sanitize(str(error))}"))
        self.link.send(TakeInvitation(self.link.next_id(), invitation.id))

    # --- commits ---

    async def commit(self, room_id: bytes, propose: Callable[[Room], Sequence[Proposal]]) -> None:
        """Carry a change of the room through, whoever else commits meanwhile.

        `propose` is asked anew in each epoch tried. Raises what it raises, `MLSError` when the rules do not
        allow the change, or `RelayRefused`.
        """
        async with self._locks.setdefault(room_id, asyncio.Lock()):
            for _ in range(COMMIT_TRIES):
                await self.wait_for(lambda: not self.is_online or self._is_settled(room_id))
                link, room = self.link, self.rooms.get(room_id)
                if room is None:
                    raise ClientError("this device is no longer a member of the room")
                epoch = room.group.epoch
                submit = room.prepare_commit(propose(room))
                settling: asyncio.Future[tuple[Settled, str]] = asyncio.get_running_loop().create_future()
                self._settling[room_id] = settling
                link.send(submit)
                try:
                    settled, reason = await settling
                finally:
                    self._settling.pop(room_id, None)
                self.go_on(room)
                if settled is Settled.WON:
                    return
                if settled is Settled.REFUSED:
                    raise ClientError(f"the relay refused the change: {reason}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STORAGE_PAUSE):
                        await self.wait_for(lambda: room.group.epoch != epoch)  # noqa: B023 (awaited at once)
        raise ClientError("others keep changing the room at the same time; try again")

    def _is_settled(self, room_id: bytes) -> bool:
        return room_id not in self.rooms or self.rooms[room_id].may_commit

    async def _step_up(self, room: Room) -> None:
        """Commit what was proposed, unless a member before this one in the order does it first."""
        try:
            while room.commit_due and self.rooms.get(room.id) is room:
                epoch = room.group.epoch
                patience = room.roster.own_rank(self.online.get(room.id, ())) * STEP_UP_SECONDS + _jitter(0.1)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await self.wait_for(lambda: room.group.epoch != epoch)  # noqa: B023 (awaited at once)
                if room.group.epoch == epoch and room.commit_due:
                    await self.commit(room.id, lambda _: ())
        finally:
            self._stepping_up.discard(room.id)


def _resolve(future: asyncio.Future[T], result: T) -> None:
    """Give a future its result, unless whoever waited has gone."""
    if not future.done():
        future.set_result(result)


def _jitter(longest: float) -> float:
    """Return a random pause, in seconds, of at most `longest`."""
    return random.uniform(0.0, longest)  # noqa: S311 (nothing secret hangs on it)
