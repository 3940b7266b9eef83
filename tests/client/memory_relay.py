"""A relay in memory: gives a room's submissions their order. Can be told to lie, as a malicious one would."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clave_client.account import Account, leaf_lifetime
from clave_client.content import ContentKind
from clave_client.events import Event
from clave_client.log_reader import LogMessage, LogReader, Outcome
from clave_client.policy import RoomPolicy
from clave_client.room import Room
from clave_client.room_state import ROOM_STATE_EXTENSION, Role, RoomState
from clave_client.store import Store
from clave_client.suites import NEW_ROOMS
from clave_client.welcome import Welcome, Welcomed, read_invitation
from clave_crypto.keys import Secret
from clave_crypto.mls import Add, CipherSuite, Extension, Group, Policy, Proposal, decode_key_package
from clave_wire.messages import Accepted, Entry, Kind, Resumed, Submit

NOW = 1_800_000_000.0


def clock() -> float:
    return NOW


class Member:
    """Somebody with a store and an account, and one room."""

    room: Room
    reader: LogReader

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.store = Store(folder / f"{name}.db", Secret(b"k" * 32))
        self.account = Account.load_or_create(self.store, name)

    def key_package(self, suite: CipherSuite = NEW_ROOMS) -> bytes:
        fresh = self.account.key_packages(suite, 0, NOW)
        assert fresh is not None
        return fresh[0][0]

    def opens(self, room: Room) -> None:
        self.room = room
        self.reader = LogReader(room, self.store)

    def restarts(self) -> None:
        """Read everything back from the disk, as after a crash."""
        (record,) = [record for record in self.store.rooms() if record.id == self.room.id]
        self.opens(Room.load(self.store, record, clock))

    def says(self, text: str) -> None:
        self.room.enqueue(ContentKind.TEXT, text)

    def texts(self) -> list[str]:
        return [line.text for line in self.store.history(self.room.id)]


class Log:
    """The log of one room, and what each member was given of it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def entry(self, member: Member, submit: Submit) -> Entry:
        """Return the entry an honest relay makes of a submission."""
        return Entry(
            submit.room,
            len(self.entries) + 1,
            member.account.device.public,
            submit.submission,
            submit.kind,
            0,
            submit.payload,
        )

    def append(self, member: Member, submit: Submit) -> Entry:
        entry = self.entry(member, submit)
        self.entries.append(entry)
        return entry

    def since(self, member: Member) -> list[LogMessage]:
        """Return what an honest relay sends a member: its own as acknowledgements."""
        own = member.account.device.public
        return [
            Accepted(e.room, e.submission, e.seq) if e.sender == own else e
            for e in self.entries[member.room.record.cursor :]
        ]


def in_one_room(folder: Path, *names: str, policy: Policy | None = None) -> tuple[Log, list[Member]]:
    """Make a room in which all of `names` are, everyone caught up."""
    members = [Member(folder, name) for name in names]
    host, *guests = members
    admin = host.account.verified.account
    state = RoomState(1, "friends", [admin], Role.MEMBER, Role.ADMIN, Role.ADMIN)
    not_before, not_after = leaf_lifetime(NOW)
    group = Group.create(
        NEW_ROOMS,
        b"r" * 16,
        host.account.identity,
        host.account.device.secret,
        policy=policy or RoomPolicy(),
        extensions=(Extension(ROOM_STATE_EXTENSION, state.encode()),),
        not_before=not_before,
        not_after=not_after,
        extension_types=(ROOM_STATE_EXTENSION,),
    )
    log = Log()
    host.opens(Room.create(host.store, group, clock))
    resume(host, log)
    if guests:
        adds: list[Proposal] = [Add(decode_key_package(guest.key_package())) for guest in guests]
        submit = host.room.prepare_commit(adds)
        log.append(host, submit)
        deliver(log, host)
        for guest in guests:
            guest.opens(join(guest, submit.welcome, 1, policy=policy))
            guest.room.answer(accept=True)
            resume(guest, log)
            deliver(log, guest)
    return log, members


def join(member: Member, invitation: bytes, seq: int, *, policy: Policy | None = None) -> Room:
    """Take an invitation that came with entry `seq`."""
    welcome = read_invitation(invitation)
    assert isinstance(welcome, Welcome)
    group = Group.join(welcome.message, member.account.bundle, policy=policy or RoomPolicy(), other_groups=())
    return Room.join(member.store, group, Welcomed(welcome.seen, seq), clock)


def resume(member: Member, log: Log) -> list[Event]:
    """Have a member resume at an honest relay."""
    used = [entry.submission for entry in log.entries if entry.sender == member.account.device.public]
    handshakes = [entry.seq for entry in log.entries if entry.kind is not Kind.APPLICATION]
    answer = Resumed(
        1, member.room.id, len(log.entries), max(handshakes, default=0), max(used, default=0), 0, 0, []
    )
    return member.room.start(answer)[0]


def deliver(log: Log, *members: Member) -> list[Outcome]:
    """Give each member what it has not seen."""
    return [member.reader.read(log.since(member)) for member in members]


def say(log: Log, member: Member, text: str) -> Entry:
    """Have a member say something and the relay take it."""
    member.says(text)
    (submit,) = member.room.prepare_messages()
    return log.append(member, submit)


def kinds(outcome: Outcome) -> list[str]:
    return [type(event).__name__ for event in outcome.events]


def feed(member: Member, batch: Sequence[LogMessage]) -> Outcome:
    return member.reader.read(batch)
