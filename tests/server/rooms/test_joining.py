"""Who is joining by a link: what is on disk of it, and what a failed write undoes."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import apsw
import pytest

from clave_crypto.identity import DeviceKey
from clave_server.admin.integrity import check_rows
from clave_server.errors import DamageError
from clave_server.rooms.entry_store import load_room
from clave_server.rooms.joining import add_joining, drop_confirmed, drop_joining, ordinary_accounts
from clave_server.rooms.rekeys import reference
from clave_server.rooms.retention import RetentionPolicy
from clave_server.rooms.room_state import RoomState
from clave_server.storage import schema
from clave_wire import messages as m
from clave_wire.header import Header, Seen, pack_header
from clave_wire.messages import Code, Kind, Submit
from diskkit import limit_pages
from linkkit import is_ordinary, joining, refused, room_with_link, routed
from relaykit import ROOM, RawClient, RelayUnderTest, entries

RED, BLUE, GREEN, GREY = (bytes([number]) * 32 for number in range(1, 5))
MEMBERS = {RED: "red", BLUE: "blue", GREEN: "green", GREY: "red"}


@pytest.fixture
def link() -> DeviceKey:
    return DeviceKey.generate()


# --- the set of them -----------------------------------------------------------------------------------


def test_the_mapping_is_replaced_and_not_changed() -> None:
    empty: dict[bytes, int] = {}
    one = add_joining(empty, MEMBERS, GREEN, 5)
    two = add_joining(one, MEMBERS, BLUE, 6)
    assert (empty, one, two) == ({}, {GREEN: 5}, {GREEN: 5, BLUE: 6})
    assert add_joining(two, MEMBERS, GREEN, 7) == {GREEN: 7, BLUE: 6}
    assert drop_confirmed(two, 5) == drop_joining(two, {GREEN, RED}) == {BLUE: 6}
    assert drop_confirmed(two, 7) is two
    assert ordinary_accounts(MEMBERS, two) == {"red"}
    assert two == {GREEN: 5, BLUE: 6}


def test_who_nobody_can_confirm_is_not_joining() -> None:
    two = {GREEN: 5, BLUE: 6}
    assert add_joining(two, MEMBERS, GREY, 7) is two
    assert add_joining({**two, RED: 7, GREY: 8}, MEMBERS, GREEN, 9) == {BLUE: 6, RED: 7, GREY: 8}


# --- staged --------------------------------------------------------------------------------------------


def handshake(kind: Kind, room: RoomState, device: bytes, **fields: Any) -> tuple[Submit, Header]:
    header = Header(kind, bytes(32), Seen(0, bytes(32)), **fields)
    payload = pack_header(header) + device
    return Submit(room.id, room.highest_submission(device) + 1, room.handshake, kind, payload), header


def stage(kind: Kind, room: RoomState, device: bytes, **fields: Any) -> bytes:
    """Stage a handshake; return what would be its reference as a rekey."""
    submit, header = handshake(kind, room, device, **fields)
    room.stage_handshake(device, submit, header, MEMBERS)
    return reference(submit.payload)


def stage_join(room: RoomState, device: bytes) -> bytes:
    submit, header = handshake(Kind.REKEY, room, device)
    proof = Submit(room.id, submit.submission, submit.read, submit.kind, submit.payload, GREEN * 3)
    room.stage_join(device, MEMBERS[device], proof, header)
    return reference(submit.payload)


def room_of(link: bytes, *devices: bytes) -> RoomState:
    room = RoomState(ROOM)
    room.stage_creation(devices[0], MEMBERS[devices[0]])
    room.stage_links([m.OfferedLink(link, 0, 9, b"")], settles=False)
    stage(Kind.COMMIT, room, devices[0], add=list(devices[1:]))
    room.keep_staged(saved=True)
    return room


def state(room: RoomState) -> dict[str, object]:
    return deepcopy({name: getattr(room, name) for name in RoomState.__slots__})


def test_what_a_failed_write_changed_of_who_is_joining_is_undone() -> None:
    room = room_of(GREEN, RED, BLUE)
    before, former = state(room), room.joining
    stage_join(room, GREEN)
    assert room.staged_joining == ({GREEN: 2}, set())
    room.roll_back()
    assert state(room) == before
    assert room.joining is former
    ref = stage_join(room, GREEN)
    room.keep_staged(saved=True)
    before = state(room)
    for change in (
        lambda: stage(Kind.CONFIRM, room, RED, ref=ref),
        lambda: stage(Kind.COMMIT, room, RED, add=[GREEN]),
        lambda: stage(Kind.PROPOSAL, room, GREEN, remove=[GREEN]),
        lambda: room.stage_mend(RED, [], [GREEN], MEMBERS),
        lambda: room.stage_mend(RED, [GREEN], [], MEMBERS),
    ):
        change()
        assert room.staged_joining == ({}, {GREEN})
        room.roll_back()
        assert state(room) == before
    for again in (stage_join, lambda room, device: stage(Kind.REKEY, room, device)):
        again(room, GREEN)
        assert room.staged_joining == ({GREEN: 3}, set())
        room.roll_back()
        assert state(room) == before


def test_a_message_stages_nothing_of_it() -> None:
    room = room_of(GREEN, RED, BLUE)
    stage_join(room, GREEN)
    room.keep_staged(saved=True)
    room.stage_message(GREEN, Submit(ROOM, 2, 2, Kind.APPLICATION, b"hello"))
    assert not room.has_staged_changes
    assert room.staged_joining == ({}, ())


# --- on disk -------------------------------------------------------------------------------------------


def rows(relay: RelayUnderTest) -> list[tuple[bytes, int]]:
    connection = schema.connect_reader(relay.database)
    try:
        found: list[Any] = connection.execute("SELECT device, seq FROM joining").fetchall()
        return found
    finally:
        connection.close()


async def back(relay: RelayUnderTest, *clients: RawClient, after: int) -> list[RawClient]:
    """Restart the relay; return the clients that have come back to the room."""
    await relay.restart()
    returned = [await relay.join(each.participant) for each in clients]
    for client in returned:
        await client.resume(after)
    return returned


async def test_who_is_joining_is_so_after_a_restart_and_until_it_is_confirmed(
    relay: RelayUnderTest, link: DeviceKey
) -> None:
    red, green = await room_with_link(relay, link, "red")
    rekey = joining(green, link, read=1)
    await green.submit(rekey)
    await red.expect(m.Entry)
    red, green = await back(relay, red, green, after=2)
    assert rows(relay) == [(green.participant.device, 2)]
    assert not await is_ordinary(green)
    rekey = joining(green, link)
    await green.submit(rekey)
    await red.expect(m.Entry)
    red, green = await back(relay, red, green, after=3)
    assert rows(relay) == [(green.participant.device, 3)]
    await red.submit(red.confirm(rekey))
    await green.expect(m.Entry)
    assert await is_ordinary(green)
    red, green = await back(relay, red, green, after=4)
    assert await is_ordinary(green)
    assert rows(relay) == []


async def test_who_left_is_not_joining_on_disk(relay: RelayUnderTest, link: DeviceKey) -> None:
    red, green = await room_with_link(relay, link, "red")
    await green.submit(joining(green, link, read=1))
    leaving = green.entry(b"bye", kind=Kind.PROPOSAL, remove=(green.participant.device,))
    await green.submit(leaving)
    await entries(red, 2)
    assert rows(relay) == []
    assert await routed(red) == ["red"]


async def test_a_failed_write_leaves_who_is_joining_as_it_was(relay: RelayUnderTest, link: DeviceKey) -> None:
    red, green = await room_with_link(relay, link, "red")
    rekey = joining(green, link, read=1)
    await green.submit(rekey)
    await red.expect(m.Entry)
    await green.resume(2)
    confirm = red.confirm(rekey)
    big = m.Submit(ROOM, confirm.submission, confirm.read, confirm.kind, confirm.payload + bytes(100_000))
    await limit_pages(relay, spare=0)
    assert await refused(red, big) is Code.STORAGE
    await limit_pages(relay, spare=None)
    assert not await is_ordinary(green)
    await red.submit(red.confirm(rekey))
    await green.expect(m.Entry)
    assert await is_ordinary(green)


async def test_a_room_that_is_deleted_takes_who_is_joining_along(
    relay: RelayUnderTest, link: DeviceKey
) -> None:
    red, green = await room_with_link(relay, link, "red")
    await green.submit(joining(green, link, read=1))
    await red.expect(m.Entry)
    await relay.stop()
    connection = schema.connect_writer(relay.database)
    assert connection.execute("SELECT count(*) FROM joining").get == 1
    connection.execute("UPDATE stays SET left = 2, seal = seal('stay', room, device, joined, 2)")
    connection.close()
    await relay.start()
    await relay.relay.retention_task.prune(RetentionPolicy(room_bytes=1))
    await relay.stop()
    connection = schema.connect_reader(relay.database)
    check_rows(connection)
    for table in ("rooms", "joining"):
        assert connection.execute(f"SELECT count(*) FROM {table}").get == 0  # noqa: S608  (constants)
    connection.close()
    await relay.start()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE joining SET seq = 1", "who is joining room"),
        ("UPDATE joining SET seal = x''", "who is joining room"),
        ("DELETE FROM joining", "the state of room"),
    ],
)
async def test_damage_is_noticed(relay: RelayUnderTest, link: DeviceKey, damage: str, words: str) -> None:
    red, green = await room_with_link(relay, link, "red")
    await green.submit(joining(green, link, read=1))
    await red.expect(m.Entry)
    await relay.stop()
    connection = schema.connect_writer(relay.database)
    check_rows(connection)
    assert load_room(connection, ROOM) is not None
    connection.execute(damage)
    with pytest.raises(DamageError):
        load_room(connection, ROOM)
    with pytest.raises(DamageError, match=words):
        check_rows(connection)
    connection.close()
    await relay.start()


def test_rooms_of_before_links_are_sealed_anew_and_damaged_ones_stay_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "before.db"
    with monkeypatch.context() as former_version:
        former_version.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:8])
        former: apsw.Connection = schema.connect_writer(path)
    whole, damaged = bytes(16), bytes([1]) * 16
    for room in (whole, damaged):
        former.execute("INSERT INTO rooms(room, seq) VALUES (?, 0)", (room,))
    former.execute("UPDATE rooms SET seal = seal('room', room, 0, 0, 0, x'', 1, 0, 0, 0)")
    former.execute("UPDATE rooms SET handshake = 1 WHERE room = ?", (damaged,))
    former.close()
    connection = schema.connect_writer(path)
    assert load_room(connection, whole) is not None
    with pytest.raises(DamageError):
        load_room(connection, damaged)
    connection.close()
