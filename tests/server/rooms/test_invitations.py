"""Stored invitations: which are kept when a device is invited often, and that none can be kept out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import pytest

from clave_server.accounts import directory
from clave_server.accounts.directory import Applicant
from clave_server.admin.integrity import check_seals
from clave_server.rooms.entry_store import RowChanges
from clave_server.rooms.invitations import (
    MAX_INVITATIONS,
    delete_invitations_before,
    read_invitations,
    take_invitation,
)
from clave_server.rooms.room_state import RoomState
from clave_server.storage import schema
from clave_server.storage.db_thread import in_transaction
from clave_wire import messages as m
from clave_wire.header import Header, Seen, pack_header
from relaykit import RelayUnderTest


def change(
    room: RoomState,
    device: bytes,
    kind: m.Kind,
    names: dict[bytes, str],
    *,
    add: Sequence[bytes] = (),
    remove: Sequence[bytes] = (),
) -> int:
    """Stage an entry that changes whom the relay routes to; return its seq."""
    header = Header(kind, bytes(32), Seen(0, bytes(32)), 0, list(add), list(remove))
    submit = m.Submit(
        room.id, room.highest_submission(device) + 1, room.handshake, kind, pack_header(header), b""
    )
    return room.stage_handshake(device, submit, header, names)[0]


class Database:
    """A database that creates accounts when first named; `device_of(name)` is an account's device."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self._devices: dict[tuple[str, str], bytes] = {}
        self._rooms: dict[bytes, RoomState] = {}
        self._welcomes = self._invitations = 0

    def device_of(self, name: str, device: str = "") -> bytes:
        if (name, device) not in self._devices:
            key, account = (hashlib.sha256(text.encode()).digest() for text in (name + device + "?", name))
            applicant = Applicant(key, b"identity", account, name, name, name)
            directory.enrol(self.connection, applicant, lambda _: None, now=0)
            self._devices[name, device] = key
        return self._devices[name, device]

    def room_of(self, *names: str, spoken: tuple[str, ...] = ()) -> RoomState:
        """Make a room of the first account, which adds the others; those in `spoken` have sent something."""
        maker, *others = map(self.device_of, names)
        room = RoomState(len(self._rooms).to_bytes(16))
        self._rooms[room.id] = room
        room.stage_creation(maker, names[0])
        change(room, maker, m.Kind.COMMIT, dict.fromkeys(others, ""), add=others)
        for name in spoken:
            device = self.device_of(name)
            number = room.highest_submission(device) + 1
            room.stage_message(device, m.Submit(room.id, number, room.handshake, m.Kind.APPLICATION, b""))
        self._apply(room)
        return room

    def leave(self, room: RoomState, name: str) -> None:
        device = self.device_of(name)
        change(room, device, m.Kind.PROPOSAL, {}, remove=[device])
        self._apply(room)

    def invite(self, name: str, guest: str = "victim", *, at: int = 1, device: str = "", by: str = "") -> int:
        """Have `name` invite the guest's device to a new room; return the number of the invitation."""
        sender, invited = self.device_of(name, by), self.device_of(guest, device)
        room = RoomState(len(self._rooms).to_bytes(16))
        self._rooms[room.id] = room
        room.stage_creation(sender, name)
        change(room, sender, m.Kind.COMMIT, {invited: guest}, add=[invited])
        return self._invite(room, 1, sender, invited, at)

    def invite_to(self, room: RoomState, name: str, guest: str = "victim", *, by: str = "") -> int:
        """Have `name` invite the guest to a room, where it may be already; return the invitation's number."""
        sender, invited = self.device_of(name, by), self.device_of(guest)
        seq = change(room, sender, m.Kind.COMMIT, {invited: guest}, add=[invited])
        return self._invite(room, seq, sender, invited, 1)

    def help(self, room: RoomState, name: str, guest: str = "victim") -> int:
        """Have `name` send the guest a group info to rejoin a room; return the number of the invitation."""
        sender, lost = self.device_of(name), self.device_of(guest)
        seq = change(room, sender, m.Kind.GROUP_INFO, {}, add=[lost])
        return self._invite(room, seq, sender, lost, 1, helps=True)

    def _invite(
        self, room: RoomState, seq: int, sender: bytes, invited: bytes, at: int, *, helps: bool = False
    ) -> int:
        changes = RowChanges()
        self._welcomes += 1
        self._invitations += 1
        changes.welcomes.append((self._welcomes, room.id, seq, sender, b"welcome", at))
        changes.invitations.append((self._invitations, invited, room.id, self._welcomes, helps))
        self._apply(room, changes)
        return self._invitations

    def _apply(self, room: RoomState, changes: RowChanges | None = None) -> None:
        changes = changes or RowChanges()
        changes.save_room(room)
        in_transaction(self.connection, changes.apply)
        room.keep_staged(saved=True)

    def waiting(self, guest: str = "victim", device: str = "") -> list[int]:
        """Return the numbers of the guest's waiting invitations."""
        found: list[int] = []
        while more := read_invitations(self.connection, self.device_of(guest, device), max(found, default=0)):
            found += [invitation.id for invitation in more]
        return found

    def waiting_of(self, guest: str = "victim") -> Counter[str]:
        """Count the guest's waiting invitations by who made them."""
        makers = self.connection.execute(
            "SELECT name FROM invitations AS i JOIN accounts AS a ON a.id = i.account WHERE device = ?",
            (self.device_of(guest),),
        )
        return Counter(str(name) for (name,) in makers)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    connection = schema.connect_writer(tmp_path / "relay.db")
    connection.pragma("synchronous", "off")
    yield Database(connection)
    check_seals(connection)
    assert connection.execute("SELECT count(*) FROM welcomes").get == len(
        connection.execute("SELECT DISTINCT welcome FROM invitations").fetchall()
    )
    stored = connection.execute("SELECT sum(stored) FROM accounts").get
    assert stored == connection.execute("SELECT coalesce(sum(length(welcome)), 0) FROM welcomes").get
    connection.close()


def test_eight_strangers_with_many_invitations_displace_nobody_elses(database: Database) -> None:
    database.room_of("friend", "victim", spoken=("victim",))
    strangers = [f"stranger{number}" for number in range(8)]
    for _ in range(40):
        for stranger in strangers:
            database.invite(stranger)
    assert database.waiting_of() == dict.fromkeys(strangers, MAX_INVITATIONS // 8)
    wanted = {database.invite("friend"), database.invite("newcomer")}
    for _ in range(40):
        for stranger in strangers:
            database.invite(stranger)
    assert wanted <= set(database.waiting())
    assert len(database.waiting()) == MAX_INVITATIONS + 1


def test_three_hundred_strangers_do_not_displace_an_acquaintance(database: Database) -> None:
    database.room_of("victim", "friend", spoken=("victim",))
    for number in range(300):
        database.invite(f"stranger{number}")
    assert set(database.waiting_of()) == {f"stranger{number}" for number in range(300 - MAX_INVITATIONS, 300)}
    wanted = {database.invite("friend"), database.invite("newcomer")}
    assert wanted <= set(database.waiting())
    for number in range(300):
        database.invite(f"another{number}")
    assert min(wanted) in database.waiting()  # places of its own
    assert len(database.waiting()) == MAX_INVITATIONS + 1


def test_one_account_may_use_all_places_until_others_invite(database: Database) -> None:
    mine = [database.invite("stranger") for _ in range(MAX_INVITATIONS + 10)]
    assert database.waiting() == mine[10:]
    others = [database.invite(f"other{number}") for number in range(MAX_INVITATIONS - 1)]
    assert database.waiting() == [mine[-1], *others]
    again = database.invite("other3")  # its own account is among those with most
    assert database.waiting() == [mine[-1], *others[:3], *others[4:], again]


def test_an_invitation_replaces_only_its_accounts_own_to_the_same_room(database: Database) -> None:
    phone = database.device_of("red", "phone")
    room = database.room_of("red", "blue", "green")
    change(room, database.device_of("red"), m.Kind.COMMIT, {phone: "red"}, add=[phone])
    other = database.invite("red")
    first, garbage = database.invite_to(room, "red"), database.invite_to(room, "blue")
    assert database.waiting() == [other, first, garbage]
    for _ in range(MAX_INVITATIONS):
        garbage = database.invite_to(room, "blue")
    assert database.waiting() == [other, first, garbage]
    again = database.invite_to(room, "red", by="phone")
    assert database.waiting() == [other, garbage, again]


def test_a_group_info_replaces_only_its_accounts_own_group_info(database: Database) -> None:
    room = database.room_of("red", "blue", "victim")
    welcome, mine, other = (
        database.invite_to(room, "red"),
        database.help(room, "red"),
        database.help(room, "blue"),
    )
    assert database.waiting() == [welcome, mine, other]
    other = database.help(room, "blue")
    assert database.waiting() == [welcome, mine, other]
    mine = database.help(room, "red")
    assert database.waiting() == [welcome, other, mine]
    welcome = database.invite_to(room, "red")
    assert database.waiting() == [other, mine, welcome]


def test_acquaintances_share_their_places_by_the_same_rule(database: Database) -> None:
    database.room_of("victim", "friend", "foe")
    for _ in range(MAX_INVITATIONS + 1):
        database.invite("foe")
    stranger, friend = database.invite("stranger"), database.invite("friend")
    assert database.waiting_of() == {"foe": MAX_INVITATIONS - 1, "friend": 1, "stranger": 1}
    assert {stranger, friend} <= set(database.waiting())


def is_acquainted(database: Database, name: str, device: str = "", by: str = "") -> bool:
    return is_of_acquaintance(database, database.invite(name, device=device, by=by))


def is_of_acquaintance(database: Database, number: int) -> bool:
    return bool(database.connection.execute("SELECT acquainted FROM invitations WHERE id = ?", (number,)).get)


def test_an_account_that_adds_a_device_stays_a_stranger_until_the_device_sends_there(
    database: Database,
) -> None:
    database.room_of("stranger", "victim")
    database.room_of("friend", "victim", spoken=("friend", "victim"))
    database.room_of("victim", "added by it")
    database.room_of("victim")
    assert not is_acquainted(database, "stranger")
    assert not is_acquainted(database, "stranger")  # by now in three rooms with it
    assert is_acquainted(database, "friend")
    assert is_acquainted(database, "added by it")


def test_a_room_that_either_has_left_makes_no_acquaintances(database: Database) -> None:
    for who in ("victim", "friend"):
        room = database.room_of("victim", "friend", spoken=("friend",))
        assert is_acquainted(database, "friend")
        database.leave(room, who)
        assert not is_acquainted(database, "friend")


def test_the_room_of_the_invitation_makes_no_acquaintances(database: Database) -> None:
    room = database.room_of("stranger", "victim", spoken=("victim",))
    database.leave(room, "victim")
    assert not is_of_acquaintance(database, database.invite_to(room, "stranger", "victim"))


def test_an_account_is_acquainted_with_its_own_devices_and_through_them(database: Database) -> None:
    database.room_of("friend", "victim", spoken=("victim",))
    assert is_acquainted(database, "victim", device="phone")
    assert is_acquainted(database, "friend", by="phone")
    assert not is_acquainted(database, "friend", device="phone")  # that one has said nothing yet


def test_displaced_taken_and_expired_invitations_are_no_longer_counted(database: Database) -> None:
    old, new = database.invite("red", at=10), database.invite("red", at=20)
    taken = database.invite("blue", at=30)
    take_invitation(database.connection, database.device_of("victim"), taken)
    take_invitation(database.connection, database.device_of("blue"), new)  # not blue's
    assert database.waiting() == [old, new]
    delete_invitations_before(database.connection, 20)
    assert database.waiting() == [new]


async def test_a_device_that_a_commit_adds_twice_is_invited_once(relay: RelayUnderTest) -> None:
    red, blue = await relay.join("red"), await relay.join("blue")
    await red.create()
    twice = (blue.participant.device, blue.participant.device)
    await red.submit(red.entry(b"add", kind=m.Kind.COMMIT, add=twice, welcome=b"welcome"))
    assert (await blue.expect(m.Invitation)).welcome == b"welcome"
    await blue.close()
    back = await relay.join(blue.participant)
    assert (await back.expect(m.Invitation)).welcome == b"welcome"
    assert isinstance(await back.ask(m.Lookup(1, "red")), m.Account)


async def test_strangers_displace_no_other_invitation_through_a_relay(relay: RelayUnderTest) -> None:
    blue, friend = await relay.room_of("blue", "friend")
    device = (blue.participant.device,)
    await blue.close()

    async def invite(name: str, count: int) -> None:
        client = await relay.join(name)
        for number in range(count):
            room = hashlib.sha256(f"{name} {number}".encode()).digest()[:16]
            await client.create(room)
            welcome = name.encode()
            await client.submit(
                client.entry(b"c", room=room, kind=m.Kind.COMMIT, add=device, welcome=welcome)
            )

    await invite("many", MAX_INVITATIONS + 5)
    await invite("newcomer", 1)
    await friend.create(bytes(16))
    commit = friend.entry(b"c", room=bytes(16), kind=m.Kind.COMMIT, add=device, welcome=b"friend")
    await friend.submit(commit)
    back = await relay.join(blue.participant)
    came = Counter([(await back.expect(m.Invitation)).welcome for _ in range(MAX_INVITATIONS + 1)])
    assert came == {b"many": MAX_INVITATIONS - 1, b"newcomer": 1, b"friend": 1}
