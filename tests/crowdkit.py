"""People who talk, invite and remove each other in a few rooms of a relay that may end at any moment.

`Ledger` holds all that anybody was ever told; being told otherwise later is an error. A `Talker` is one
person, who comes back with whatever was not answered.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import ssl
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from clave_server.rooms.rekeys import reference
from clave_wire import messages as m
from clave_wire.connection import State
from clave_wire.errors import MisuseError
from clave_wire.header import split_payload
from relaykit import ConnectionClosed, Participant, RawClient

_UNANSWERED = 6
"""Submissions and requests one person has under way."""


class Standing(NamedTuple):
    """Where a room stands after entry `seq`, the last of so many changes; `rekeys` are those to be confirmed.

    They are by sender: everybody has one device, and all is said in one epoch.
    """

    seq: int
    changes: int
    members: frozenset[bytes]
    rekeys: dict[bytes, tuple[bytes, frozenset[bytes]]]

    def after(self, entry: m.Entry) -> Standing:
        """Return where the room stands after another entry, which is no message."""
        header, _, _ = split_payload(entry.payload)
        members, rekeys = self.members, self.rekeys
        match entry.kind:
            case m.Kind.PROPOSAL:
                members -= frozenset(header.remove)
            case m.Kind.COMMIT:
                members, rekeys = members | frozenset(header.add), {}
            case m.Kind.REKEY:
                rekeys = {**rekeys, entry.sender: (reference(entry.payload), frozenset(header.remove))}
            case m.Kind.CONFIRM:
                for author, (ref, gone) in rekeys.items():
                    if ref == header.ref and author != entry.sender and entry.sender not in gone:
                        members, rekeys = members - gone, {}
                        break
        return Standing(entry.seq, self.changes + 1, members, rekeys)


class RoomLedger:
    """One room's log as far as anybody was told of it."""

    def __init__(self, founder: bytes) -> None:
        self.log: dict[int, m.Entry] = {}
        self.states = [Standing(0, 0, frozenset([founder]), {})]
        self.whole = 0
        self._counts: dict[bytes, int] = defaultdict(int)
        self._submissions: dict[tuple[bytes, int], int] = {}
        self._payloads: dict[bytes, int] = {}
        self._claims: list[m.Resumed] = []

    def note(self, entry: m.Entry) -> None:
        """Take an entry; it must be the same as ever, and in no second place."""
        assert self.log.setdefault(entry.seq, entry) == entry
        assert self._submissions.setdefault((entry.sender, entry.submission), entry.seq) == entry.seq
        assert self._payloads.setdefault(entry.payload, entry.seq) == entry.seq, "one message came twice"
        while (following := self.log.get(self.whole + 1)) is not None:
            self.whole += 1
            assert following.sender in self.states[-1].members
            self._counts[following.sender] += 1
            assert following.submission == self._counts[following.sender], "a number was left out"
            if following.kind is not m.Kind.APPLICATION:
                self.states.append(self.states[-1].after(following))

    def seq_of(self, sender: bytes, submission: int) -> int:
        """Return the entry that was submitted so."""
        return self._submissions[sender, submission]

    def takes_out(self, entry: m.Entry, device: bytes) -> bool:
        """Whether an entry ended a device's being a member, as far as the log is known without a gap."""
        place = bisect.bisect_left(self.states, entry.seq, key=lambda each: each.seq)
        there = self.states[place : place + 1]
        return bool(there) and device in self.states[place - 1].members - there[0].members

    @property
    def is_whole(self) -> bool:
        """Whether every entry up to the last that anybody was told of is known."""
        return self.whole == max(self.log, default=0)

    def claim(self, resumed: m.Resumed) -> None:
        """Take what the relay says of the room at `resumed.seq`, to be held against the log."""
        self._claims.append(resumed)

    def settle(self) -> None:
        """Compare what the relay said with the log, as far as that is known without a gap."""
        for claim in [one for one in self._claims if one.seq <= self.whole]:
            self._claims.remove(claim)
            state = self.states[bisect.bisect_right(self.states, claim.seq, key=lambda each: each.seq) - 1]
            assert {device for device, _ in claim.members} == state.members


class Ledger:
    """What all were told, and how much of it were acknowledgements."""

    def __init__(self) -> None:
        self.rooms: dict[bytes, RoomLedger] = {}
        self.floor: dict[bytes, int] = {}
        self.claimed: set[bytes] = set()
        self.claims_sent: dict[str, int] = defaultdict(int)
        self.claims_heard: dict[str, int] = defaultdict(int)
        self.invitations: dict[int, m.Invitation] = {}
        self.accepted = 0
        self._awaited: list[tuple[int, asyncio.Event]] = []

    def note(self, entry: m.Entry) -> None:
        """Take an entry that somebody was sent, or whose acceptance its sender was told."""
        self.rooms[entry.room].note(entry)

    def count_acceptance(self) -> None:
        """Count an acknowledgement."""
        self.accepted += 1
        for count, event in self._awaited:
            if self.accepted >= count:
                event.set()

    async def more(self, count: int) -> None:
        """Wait until so many more acknowledgements came."""
        event = asyncio.Event()
        self._awaited = [(self.accepted + count, event)]
        if count:
            await event.wait()

    def settle(self) -> None:
        """Check what can be checked now; from here on the relay may know no less."""
        for key, room in self.rooms.items():
            room.settle()
            self.floor[key] = max(room.log, default=0)


@dataclass
class Seat:
    """What one person knows of one room: since entry `joined` up to `cursor`; `read` was the last change.

    When something was refused, nothing is said until the answers to all that followed it are there.
    """

    joined: int
    cursor: int
    read: int
    until: int = 0
    refused: bool = False
    unclear: bool = False
    resumed: bool = False
    opened: bool = False
    member: bool = True
    waiting: dict[int, m.Submit] = field(default_factory=dict)
    again: list[bytes] = field(default_factory=list)
    latest: m.Submit | None = None

    @property
    def may_speak(self) -> bool:
        """Whether a new submission has its number."""
        if not self.waiting:
            self.refused = False
        return self.opened and self.member and not self.refused and not self.unclear


class Talker:
    """One person with one device. A visit lasts until the connection ends."""

    def __init__(self, name: str, ledger: Ledger, dice: Random) -> None:
        self.participant = Participant(name)
        self.device = self.participant.device
        self.seats: dict[bytes, Seat] = {}
        self.settled = asyncio.Event()
        self._others: Sequence[Talker] = ()
        self._founding: set[bytes] = set()
        self._ledger = ledger
        self._dice = dice
        self._client: RawClient
        self._requests: dict[int, m.ToRelay] = {}
        self._known = self._quiet = False
        self._words = 0
        self._taken: set[int] = set()
        self._packages_asked = self._packages_kept = 0

    def meet(self, others: Sequence[Talker]) -> None:
        """Get to know whom there is to invite."""
        self._others = [other for other in others if other is not self]

    def found(self, room: bytes) -> None:
        """Make this room at the next visit."""
        self._founding.add(room)
        self._ledger.rooms[room] = RoomLedger(self.device)

    async def visit(self, port: int, *, reread: bool = False, quiet: bool = False) -> None:
        """Connect, catch up, resubmit and talk until the connection ends.

        With `reread` from the first entry on. When `quiet` nothing new is said, but the latest of what was
        acknowledged is submitted again; `settled` is set once all is answered.
        """
        self._quiet = quiet
        self.settled.clear()
        self._requests.clear()
        claimed = self._ledger.claims_heard[self.participant.name]
        for seat in self.seats.values():
            seat.resumed = seat.opened = seat.refused = seat.unclear = False
            if reread:
                seat.cursor = seat.read = seat.joined
        try:
            self._client = await RawClient.connect(port)
        except (OSError, ssl.SSLError):
            return
        try:
            await self._client.log_in(self.participant)
            self._check_login(self._client.logged_in, claimed)
            for room in self._founding:
                await self._ask(m.CreateRoom(self._client.next_id(), room))
            for room, seat in self.seats.items():
                if seat.member:
                    await self._ask(m.Resume(self._client.next_id(), room, seat.cursor))
            while True:
                while not quiet and self._unanswered() < _UNANSWERED:
                    await self._act()
                if quiet and not self._unanswered() and all(map(_is_up_to_date, self.seats.values())):
                    self.settled.set()
                await self._hear(await self._client.receive())
        except TimeoutError:  # an OSError too, but this one is no connection's end
            raise AssertionError(f"no answer to {self._requests}, {self.seats}") from None
        except (ConnectionClosed, MisuseError, OSError, ssl.SSLError):
            return  # a `MisuseError` where the relay closed in the middle of the login
        finally:
            await self._client.close()

    def _unanswered(self) -> int:
        return len(self._requests) + sum(len(seat.waiting) for seat in self.seats.values())

    def _check_login(self, answer: m.LoggedIn, claimed: int) -> None:
        """Check what the relay knows; `claimed` packages of this device had been handed out before."""
        assert not (self._known and answer.registered), "an account was forgotten"
        self._known = True
        name, ledger = self.participant.name, self._ledger
        kept = sum(count for _, count in answer.key_packages)
        assert self._packages_kept - ledger.claims_sent[name] <= kept <= self._packages_asked - claimed

    # --- saying --------------------------------------------------------------------------------------------

    async def _send(self, message: m.ToRelay) -> None:
        """Send, or else leave it for the next visit: what the relay said before its end is yet to be read."""
        if self._client.connection.state is State.OPEN:
            with contextlib.suppress(OSError):
                await self._client.send(message)

    async def _ask(
        self, message: m.CreateRoom | m.Resume | m.PublishKeyPackages | m.ClaimKeyPackages | m.TakeInvitation
    ) -> None:
        self._requests[message.id] = message
        await self._send(message)

    async def _act(self) -> None:
        opened = [room for room, seat in self.seats.items() if seat.may_speak]
        chance = self._dice.random()
        if not opened or chance < 0.1:
            await self._use_directory()
            return
        room = self._dice.choice(opened)
        seat = self.seats[room]
        if chance < 0.3 and not seat.again:
            await self._change(room, seat)
        else:
            await self._say(room, seat, seat.again.pop(0) if seat.again else self._new_words())

    def _new_words(self) -> bytes:
        self._words += 1
        size = self._dice.choice([0, 10, 300, 300, 2000, 50_000])
        return b"%s says %d " % (self.participant.name.encode(), self._words) + self._dice.randbytes(size)

    async def _say(self, room: bytes, seat: Seat, words: bytes) -> None:
        await self._submit(seat, self._client.entry(words, room=room, read=seat.read))

    async def _change(self, room: bytes, seat: Seat) -> None:
        """Bring somebody in who is not there, confirm what somebody wants, take somebody out, or leave."""
        state = self._ledger.rooms[room].states[-1]
        other = self._dice.choice(self._others).device
        many, waiting = len(state.members) >= 4, [ref for ref, _ in state.rekeys.values()]
        kind, add, remove, ref = m.Kind.APPLICATION, tuple[bytes, ...](), tuple[bytes, ...](), b""
        if state.seq == seat.read and other not in state.members:
            kind, add = m.Kind.COMMIT, (other,)
        elif state.seq == seat.read and waiting:
            kind, ref = m.Kind.CONFIRM, self._dice.choice(waiting)
        elif state.seq == seat.read and many:
            kind = self._dice.choice([m.Kind.REKEY, m.Kind.REKEY, m.Kind.PROPOSAL])
            remove = (other if kind is m.Kind.REKEY else self.device,)
        change = self._client.entry(
            self._new_words(),
            room=room,
            read=seat.read,
            kind=kind,
            add=add,
            remove=remove,
            ref=ref,
            welcome=b"welcome" if add else b"",
        )
        await self._submit(seat, change)

    async def _submit(self, seat: Seat, submit: m.Submit) -> None:
        seat.waiting[submit.submission] = submit
        await self._send(submit)

    async def _use_directory(self) -> None:
        ledger = self._ledger
        if self._packages_asked - ledger.claims_heard[self.participant.name] < 20:
            packages = [self._dice.randbytes(100) for _ in range(5)]
            self._packages_asked += len(packages)
            await self._ask(m.PublishKeyPackages(self._client.next_id(), 1, packages, b""))
        else:
            other = self._dice.choice(self._others).participant.name
            ledger.claims_sent[other] += 1
            await self._ask(m.ClaimKeyPackages(self._client.next_id(), other, 1))

    # --- hearing -------------------------------------------------------------------------------------------

    async def _hear(self, message: m.ToClient) -> None:
        match message:
            case m.Entry():
                self._hear_entry(message)
            case m.Accepted():
                self._hear_acceptance(message)
            case m.Rejected():
                self._hear_rejection(message)
            case m.Invitation():
                await self._hear_invitation(message)
            case m.Resumed():
                await self._hear_resumed(message)
            case m.Done() | m.Refused() | m.KeyPackages():
                if (request := self._requests.pop(message.id, None)) is not None:
                    await self._hear_answer(message, request)
                else:  # a stream that was begun cannot be read on
                    assert isinstance(message, m.Refused)
                    assert message.code is m.Code.STORAGE
            case _:
                raise AssertionError(message)

    def _hear_entry(self, entry: m.Entry) -> None:
        seat = self.seats[entry.room]
        if entry.sender == self.device and (submit := seat.waiting.pop(entry.submission, None)):
            assert entry.payload == submit.payload
            seat.latest = submit
        self._ledger.note(entry)
        self._follow(seat, entry)

    def _hear_acceptance(self, accepted: m.Accepted) -> None:
        seat = self.seats[accepted.room]
        submit = seat.waiting.pop(accepted.submission, None)
        if submit is None:  # the entry itself came before
            told = self._ledger.rooms[accepted.room].seq_of(self.device, accepted.submission)
            assert accepted.seq == told
            return
        seat.latest = submit
        entry = m.Entry(
            submit.room,
            accepted.seq,
            self.device,
            submit.submission,
            submit.kind,
            0,
            submit.payload,
        )
        self._ledger.note(entry)
        self._ledger.count_acceptance()
        if accepted.seq > seat.cursor:
            self._follow(seat, entry)

    def _follow(self, seat: Seat, entry: m.Entry) -> None:
        if not seat.resumed:
            return  # of the stay before this one, on its way when the invitation came
        assert entry.seq == seat.cursor + 1, f"the stream has a gap: {seat} {entry}"
        seat.cursor = entry.seq
        if entry.kind is not m.Kind.APPLICATION:
            seat.read = entry.seq
            if self._ledger.rooms[entry.room].takes_out(entry, self.device):
                seat.member = False
                seat.waiting.clear()
                seat.again.clear()

    def _hear_rejection(self, rejected: m.Rejected) -> None:
        seat = self.seats[rejected.room]
        seat.refused = True
        if rejected.code is m.Code.STORAGE:
            seat.unclear = True  # whether it is there or not shows at the next visit
            return
        submit = seat.waiting.pop(rejected.submission, None)
        if submit is None:  # it was given up, its sender having been taken out of the room
            assert rejected.code in (m.Code.NOT_MEMBER, *_LATER)
        elif rejected.code in _LATER:
            assert submit is not seat.latest, "an acknowledged entry is refused when it comes again"
            if submit.kind is m.Kind.APPLICATION:
                seat.again.append(submit.payload)
        else:
            assert rejected.code is m.Code.NOT_MEMBER, rejected

    async def _hear_invitation(self, invitation: m.Invitation) -> None:
        assert invitation.id not in self._taken, "a taken invitation came again"
        known = self._ledger.invitations.setdefault(invitation.id, invitation)
        assert known == invitation, "two invitations have one number"
        seat = self.seats.get(invitation.room)
        if seat is None or invitation.seq > seat.cursor:
            self.seats[invitation.room] = Seat(invitation.seq, invitation.seq, invitation.seq)
            await self._ask(m.Resume(self._client.next_id(), invitation.room, invitation.seq))
        await self._ask(m.TakeInvitation(self._client.next_id(), invitation.id))

    async def _hear_resumed(self, resumed: m.Resumed) -> None:
        del self._requests[resumed.id]
        seat = self.seats[resumed.room]
        seat.resumed, seat.until = True, resumed.seq
        assert resumed.submission >= (seat.latest.submission if seat.latest else 0)
        numbers = self.participant.submissions
        numbers[resumed.room] = max(resumed.submission, *seat.waiting, 0)
        if not resumed.members:
            return  # taken out while it was away: the entries up to that follow
        assert resumed.seq >= self._ledger.floor.get(resumed.room, 0), "entries were lost"
        self._ledger.rooms[resumed.room].claim(resumed)
        seat.opened = True
        if self._quiet and seat.latest:
            seat.waiting = {seat.latest.submission: seat.latest, **seat.waiting}
        for submit in list(seat.waiting.values()):
            await self._send(submit)

    async def _hear_answer(self, answer: m.Done | m.Refused | m.KeyPackages, request: m.ToRelay) -> None:
        match request, answer:
            case _, m.Refused(code=m.Code.STORAGE):
                pass
            case m.CreateRoom(), m.Done():
                self._founding.discard(request.room)
                self.seats[request.room] = Seat(0, 0, 0)
                await self._ask(m.Resume(self._client.next_id(), request.room, 0))
            case m.CreateRoom(), m.Refused():
                raise AssertionError(answer)
            case m.Resume(), m.Refused():
                assert answer.code is m.Code.NOT_MEMBER, answer
                self.seats[request.room].member = False
            case m.PublishKeyPackages(), m.Done():
                self._packages_kept += len(request.packages)
            case m.ClaimKeyPackages(), m.KeyPackages():
                self._ledger.claims_heard[request.name] += 1
                assert not self._ledger.claimed & set(answer.packages), "a key package was handed out twice"
                self._ledger.claimed.update(answer.packages)
            case m.ClaimKeyPackages(), m.Refused():
                assert answer.code in (m.Code.NO_KEY_PACKAGE, m.Code.NO_SUCH_NAME), answer
                self._ledger.claims_sent[request.name] -= 1
            case m.TakeInvitation(), m.Done():
                self._taken.add(request.invitation)
            case _:
                raise AssertionError((request, answer))


_LATER = (m.Code.STALE, m.Code.OUT_OF_ORDER, m.Code.RENUMBER, m.Code.PACE)
"""Why something is refused that may be said again under another number."""


def _is_up_to_date(seat: Seat) -> bool:
    return not seat.member or (seat.opened and seat.cursor >= seat.until)
