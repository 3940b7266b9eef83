"""The rules of one room's state: staged changes are undone together, and state is loaded as saved."""

from __future__ import annotations

import contextlib
from copy import deepcopy
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clave_server.accounts.directory import Applicant, enrol
from clave_server.errors import DamageError, Refusal
from clave_server.rooms.entry_store import RowChanges, load_room
from clave_server.rooms.recent import MAX_RECENT, pack_recent, unpack_recent
from clave_server.rooms.rekeys import MAX_REKEYS, Rekey, Rekeys, add_rekey
from clave_server.rooms.room_state import (
    MAX_BACKLOG,
    MAX_MEMBERSHIPS,
    Membership,
    RoomState,
)
from clave_server.rooms.segment import split
from clave_server.storage import schema
from clave_server.storage.db_thread import in_transaction
from clave_wire.framing import pack
from clave_wire.header import Header, Seen, pack_header
from clave_wire.limits import MAX_PAYLOAD_BYTES, MAX_WELCOME_BYTES
from clave_wire.messages import Code, Entry, Kind, Submit

ROOM = bytes(16)
DEVICES = [bytes([number]) * 32 for number in range(4)]
NAMES = dict(zip(DEVICES, ("red", "blue", "green", "amber"), strict=True))

some_devices = st.lists(st.sampled_from(DEVICES), max_size=2)
heads = st.sampled_from([bytes([number]) * 32 for number in range(2)])
headers = st.builds(
    Header,
    kind=st.sampled_from([kind for kind in Kind if kind is not Kind.APPLICATION]),
    head=heads,
    seen=st.builds(Seen, seq=st.integers(0, 20), hash=st.just(bytes(32))),
    add=some_devices,
    remove=some_devices,
)
mends = st.tuples(some_devices, some_devices)
messages = st.just(None)
Step = tuple[bytes, Header | tuple[list[bytes], list[bytes]] | None]
steps = st.lists(st.tuples(st.sampled_from(DEVICES), st.one_of(messages, headers, mends)), max_size=20)


def following(room: RoomState, device: bytes, header: Header | None) -> Submit:
    """Return the device's next submission; a confirmation is of the latest rekey of another account."""
    kind = header.kind if header else Kind.APPLICATION
    payload = b"message" if header is None else pack_header(header)
    return Submit(ROOM, room.highest_submission(device) + 1, room.handshake, kind, payload)


def stage_one(room: RoomState, device: bytes, step: Header | tuple[list[bytes], list[bytes]] | None) -> None:
    """Stage a step. Raises `Refusal`."""
    if isinstance(step, tuple):
        room.check_mend(device, step[0], NAMES)
        room.stage_mend(device, *step, NAMES)
    elif step is None:
        room.stage_message(device, following(room, device, None))
    else:
        others = [one for one in room.rekeys.values() if one.author != NAMES[device]]
        if step.kind is Kind.CONFIRM and others:
            step = Header(step.kind, others[-1].head, step.seen, ref=others[-1].ref)
        submit = following(room, device, step)
        room.check_submission(device, submit)
        room.check_handshake(device, submit, step, NAMES)
        room.stage_handshake(device, submit, step, NAMES)


def stage(room: RoomState, staged: list[Step]) -> None:
    for device, step in staged:
        with contextlib.suppress(Refusal):
            stage_one(room, device, step)


def state(room: RoomState) -> dict[str, object]:
    """Return every field; of `recent` only what is kept."""
    recent = {device: pairs[-MAX_RECENT:] for device, pairs in room.recent.items()}
    return {**{name: getattr(room, name) for name in RoomState.__slots__}, "recent": recent}


def new_room() -> RoomState:
    room = RoomState(ROOM)
    room.stage_creation(DEVICES[0], "red")
    room.keep_staged(saved=True)
    return room


@given(steps, steps)
def test_roll_back_restores_the_confirmed_state(first: list[Step], second: list[Step]) -> None:
    room = new_room()
    stage(room, first)
    room.keep_staged(saved=False)
    before = deepcopy(state(room))
    stage(room, second)
    room.roll_back()
    assert state(room) == before


@given(steps)
def test_a_device_is_a_member_exactly_while_its_last_membership_is_open(staged: list[Step]) -> None:
    room = new_room()
    stage(room, staged)
    open_stays = {device for device, stays in room.memberships.items() if stays[-1].left is None}
    assert open_stays == set(room.members)
    for stays in room.memberships.values():
        ends = [seq for stay in stays for seq in (stay.joined, stay.left) if seq is not None]
        assert ends == sorted(ends)


@given(steps, steps)
def test_a_refused_step_changes_nothing(first: list[Step], second: list[Step]) -> None:
    room = new_room()
    stage(room, first)
    for device, step in second:
        before = deepcopy(state(room))
        try:
            stage_one(room, device, step)
        except Refusal:
            assert state(room) == before


@given(steps)
def test_a_device_stops_being_a_member_only_by_itself_or_by_two_other_accounts(staged: list[Step]) -> None:
    room = new_room()
    for device, step in staged:
        before = set(room.members)
        objections, rekeys = room.objections, room.rekeys
        with contextlib.suppress(Refusal):
            stage_one(room, device, step)
        for gone in before - set(room.members) - {device}:
            if isinstance(step, tuple):
                assert objections[gone] not in (NAMES[device], NAMES[gone])
            else:
                assert step is not None
                assert step.kind is Kind.CONFIRM
                assert any(gone in one.remove and one.author != NAMES[device] for one in rekeys.values())


@pytest.mark.parametrize("by_commit", [True, False])
def test_adding_a_device_drops_earlier_objections_to_it(by_commit: bool) -> None:
    red, blue, green, amber = DEVICES
    room = new_room()
    stage_one(room, red, Header(Kind.COMMIT, bytes(32), Seen(0, bytes(32)), add=[blue, green]))
    add = Header(Kind.COMMIT, bytes(32), Seen(room.seq, bytes(32)), add=[amber])
    stage_one(room, blue, add)  # of no group, as only clients can tell
    stage_one(room, green, ([], [amber, blue]))
    room.keep_staged(saved=True)
    stage_one(room, red, add if by_commit else ([amber], []))
    assert room.objections == {blue: "green"}
    stage_one(room, blue, ([], [amber]))
    assert amber in room.members
    room.roll_back()
    assert room.objections == {amber: "green", blue: "green"}


def test_a_room_is_loaded_from_disk_as_it_was_saved(tmp_path: Path) -> None:
    connection = schema.connect_writer(tmp_path / "relay.db")
    with connection:
        for device, name in NAMES.items():
            enrol(
                connection,
                Applicant(device, b"identity", device, name, name, name),
                permit=lambda _: None,
                now=0,
            )
    room = RoomState(ROOM)
    room.stage_creation(DEVICES[0], "red")

    def flush() -> None:
        changes = RowChanges()
        changes.save_room(room)
        in_transaction(connection, changes.apply)
        room.keep_staged(saved=True)

    flush()
    dice, gone, waiting = Random(1), 0, 0  # noqa: S311  (dice, not keys)
    for _ in range(400):
        device, other = dice.choice(DEVICES), dice.choice(DEVICES)
        kind = dice.choice([Kind.COMMIT, Kind.REKEY, Kind.REKEY, Kind.CONFIRM, Kind.PROPOSAL])
        header = Header(
            kind,
            bytes([dice.randrange(2)]) * 32,
            Seen(dice.randrange(room.seq + 1), bytes(32)),
            add=[other] if kind is Kind.COMMIT else [],
            remove=[other] if kind is Kind.REKEY else [device] if kind is Kind.PROPOSAL else [],
        )
        if kind is Kind.PROPOSAL and len(room.members) == 1:
            continue
        before = len(room.members)
        stage(room, [(device, header)])
        gone += len(room.members) < before
        waiting = max(waiting, len(room.rekeys))
        flush()
        loaded = load_room(connection, ROOM)
        assert loaded is not None
        assert sorted(loaded.members) == sorted(room.members)
        loaded.members = room.members
        assert state(loaded) == state(room)
        assert list(loaded.rekeys) == list(room.rekeys)
    assert gone > 10
    assert waiting > 2
    assert load_room(connection, bytes([9]) * 16) is None
    connection.close()


def test_the_number_of_waiting_rekeys_is_limited_and_the_oldest_is_dropped() -> None:
    rekeys: Rekeys = {}
    for seq in range(1, MAX_REKEYS + 11):
        rekeys = add_rekey(rekeys, Rekey(seq, f"account {seq}", bytes(32), bytes(32), ()))
    rekeys = add_rekey(rekeys, Rekey(1000, "account 11", bytes(32), bytes(32), ()))
    assert len(rekeys) == MAX_REKEYS
    assert [one.seq for one in rekeys.values()] == [*range(12, MAX_REKEYS + 11), 1000]


def test_a_new_member_is_sent_a_limited_number_of_earlier_entries() -> None:
    room = new_room()
    for _ in range(MAX_BACKLOG + 5):
        room.stage_message(DEVICES[0], following(room, DEVICES[0], None))
    add = Header(Kind.COMMIT, bytes(32), Seen(2, bytes(32)), add=[DEVICES[1]])
    stage_one(room, DEVICES[0], add)
    assert room.memberships[DEVICES[1]] == (Membership(6, None),)


def test_a_resume_beyond_the_end_starts_at_the_end() -> None:
    room = new_room()
    stage_one(room, DEVICES[0], None)
    assert room.membership_at(DEVICES[0], 9) == (Membership(0, None), 1)


def test_overlapping_memberships_are_joined() -> None:
    red, blue, green, _ = DEVICES
    room = new_room()
    for device in (blue, green):
        stage_one(room, red, Header(Kind.COMMIT, bytes(32), Seen(room.seq, bytes(32)), add=[device]))
    stage_one(room, blue, Header(Kind.PROPOSAL, bytes(32), Seen(0, bytes(32)), remove=[blue]))
    for _ in range(3):
        stage_one(room, red, None)
    stage_one(room, red, Header(Kind.COMMIT, bytes(32), Seen(4, bytes(32)), add=[blue]))
    assert room.memberships[blue] == (Membership(0, 3), Membership(4, None))
    assert room.membership_at(blue, 4) == (Membership(4, None), 4)
    stage_one(room, blue, Header(Kind.PROPOSAL, bytes(32), Seen(0, bytes(32)), remove=[blue]))
    stage_one(room, red, Header(Kind.COMMIT, bytes(32), Seen(2, bytes(32)), add=[blue]))
    assert room.memberships[blue] == (Membership(0, None),)
    assert room.membership_at(blue, 2) == (Membership(0, None), 2)


def test_only_the_latest_memberships_of_a_device_are_kept() -> None:
    red, blue, *_ = DEVICES
    room = new_room()
    add = Header(Kind.COMMIT, bytes(32), Seen(0, bytes(32)), add=[blue])
    for _ in range(MAX_MEMBERSHIPS + 5):
        stage_one(room, red, Header(add.kind, add.head, Seen(room.seq, bytes(32)), add=add.add))
        stage_one(room, blue, ([], [blue]))
        stage_one(room, red, None)
    assert [stay.joined for stay in room.memberships[blue]] == [2 * n for n in range(5, MAX_MEMBERSHIPS + 5)]
    room.keep_staged(saved=True)
    kept = room.memberships[blue]
    stage_one(room, red, Header(add.kind, add.head, Seen(room.seq, bytes(32)), add=add.add))
    assert len(room.memberships[blue]) == MAX_MEMBERSHIPS
    room.roll_back()
    assert room.memberships[blue] == kept
    with pytest.raises(Refusal):
        room.membership_at(blue, 0)


def test_entries_that_followed_the_saved_rows_are_counted_when_a_room_is_loaded(tmp_path: Path) -> None:
    connection = schema.connect_writer(tmp_path / "relay.db")
    with connection:
        for device, name in NAMES.items():
            enrol(
                connection,
                Applicant(device, b"identity", device, name, name, name),
                permit=lambda _: None,
                now=0,
            )
    room = RoomState(ROOM)
    room.stage_creation(DEVICES[0], "red")
    for flush in range(4):
        changes = RowChanges()
        first, frames = room.seq + 1, []
        for submission in range(5 * flush + 1, 5 * flush + 6):
            seq = room.stage_message(DEVICES[0], Submit(ROOM, submission, 0, Kind.APPLICATION, b""))
            frames.append(pack(Entry(ROOM, seq, DEVICES[0], submission, Kind.APPLICATION, 0, b"")))
        if flush == 0:
            changes.save_room(room)
        changes.segments += [(part, 0) for part in split(ROOM, first, frames)]
        in_transaction(connection, changes.apply)
        room.keep_staged(saved=flush == 0)
    loaded = load_room(connection, ROOM)
    assert loaded is not None
    assert (loaded.seq, loaded.saved, state(loaded)) == (20, 5, state(room))
    assert loaded.unsaved == {DEVICES[0]}
    connection.execute("DELETE FROM segments WHERE first_seq = 11")
    with pytest.raises(DamageError):
        load_room(connection, ROOM)
    connection.close()


@given(st.lists(st.tuples(st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1)), max_size=50))
def test_recent_submissions_survive_packing(recent: list[tuple[int, int]]) -> None:
    assert unpack_recent(pack_recent(recent)) == recent[-MAX_RECENT:]


def test_a_welcome_above_the_limit_is_refused() -> None:
    room = new_room()
    header = Header(Kind.COMMIT, bytes(32), Seen(0, bytes(32)), add=[DEVICES[1]])
    submit = Submit(ROOM, 1, 0, Kind.COMMIT, pack_header(header), bytes(MAX_WELCOME_BYTES + 1))
    with pytest.raises(Refusal) as caught:
        room.check_handshake(DEVICES[0], submit, header, NAMES)
    assert caught.value.code is Code.TOO_LARGE


def test_checks_of_a_submission_are_made_in_a_fixed_order() -> None:
    room = new_room()
    stage_one(room, DEVICES[0], None)
    large = bytes(MAX_PAYLOAD_BYTES + 1)
    for device, submission, read, payload, code in (
        (DEVICES[1], 7, 7, large, Code.NOT_MEMBER),
        (DEVICES[0], 7, 7, large, Code.OUT_OF_ORDER),
        (DEVICES[0], 2, 7, large, Code.STALE),
        (DEVICES[0], 2, 0, large, Code.TOO_LARGE),
    ):
        with pytest.raises(Refusal) as caught:
            room.check_submission(device, Submit(ROOM, submission, read, Kind.COMMIT, payload))
        assert caught.value.code is code
