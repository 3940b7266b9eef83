"""A room's rules by themselves: whatever is staged is undone as a whole, and survives the disk as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clave_server import schema
from clave_server.directory import Applicant, enrol
from clave_server.errors import DamageError, Refusal
from clave_server.log import Changes, load_room
from clave_server.room import RECENT, Repeated, Room, Stay, pack_recent, unpack_recent
from clave_server.segment import split
from clave_server.worker import in_transaction
from clave_wire.framing import pack
from clave_wire.limits import MAX_WELCOME_BYTES
from clave_wire.messages import Code, Entry, Kind, Report, Submit

ROOM = bytes(16)
DEVICES = [bytes([number]) * 32 for number in range(4)]
NAMES = dict(zip(DEVICES, ("red", "blue", "green", "amber"), strict=True))

some_devices = st.lists(st.sampled_from(DEVICES), max_size=2)
submits = st.builds(
    Submit,
    room=st.just(ROOM),
    submission=st.integers(1, 60),
    epoch=st.integers(0, 6),
    kind=st.sampled_from(Kind),
    payload=st.just(b"payload"),
    add=some_devices,
    remove=some_devices,
)
reports = st.builds(
    Report, id=st.just(1), room=st.just(ROOM), epoch=st.integers(0, 6), seq=st.integers(0, 20)
)
mends = st.tuples(some_devices, some_devices)
steps = st.lists(st.tuples(st.sampled_from(DEVICES), st.one_of(submits, reports, mends)), max_size=12)
Step = tuple[bytes, Submit | Report | tuple[list[bytes], list[bytes]]]


def stage(room: Room, staged: list[Step]) -> None:
    for device, step in staged:
        try:
            if isinstance(step, Submit):
                room.stage_submission(device, step, NAMES)
            elif isinstance(step, Report):
                room.stage_report(device, step, NAMES)
            else:
                room.stage_mend(device, *step, NAMES)
        except (Refusal, Repeated):
            pass


def state(room: Room) -> object:
    recent = {device: pairs[-RECENT:] for device, pairs in room.recent.items()}
    return (
        room.seq,
        room.durable,
        room.epoch,
        room.commit_seq,
        room.contested,
        room.members,
        room.stays,
        recent,
    )


def new_room() -> Room:
    room = Room(ROOM)
    room.stage_creation(DEVICES[0], "red")
    room.settle(saved=True)
    return room


def copy_of(value: object) -> str:
    return repr(value)


@given(steps, steps)
def test_rolling_back_restores_what_was_settled(first: list[Step], second: list[Step]) -> None:
    room = new_room()
    stage(room, first)
    room.settle(saved=False)
    before = copy_of(state(room))
    members = dict(room.members)
    stage(room, second)
    room.roll_back()
    assert room.members == members
    room.members = {device: members[device] for device in members}
    assert copy_of(state(room)) == before


@given(steps)
def test_a_device_is_a_member_exactly_while_its_last_stay_is_open(staged: list[Step]) -> None:
    room = new_room()
    stage(room, staged)
    open_stays = {device for device, stays in room.stays.items() if stays[-1].left is None}
    assert open_stays == set(room.members)
    for stays in room.stays.values():
        ends = [seq for stay in stays for seq in (stay.joined, stay.left) if seq is not None]
        assert ends == sorted(ends)


@given(steps, steps)
def test_a_refused_step_changes_nothing(first: list[Step], second: list[Step]) -> None:
    room = new_room()
    stage(room, first)
    for device, step in second:
        before = copy_of(state(room))
        try:
            if isinstance(step, Submit):
                room.stage_submission(device, step, {})
            elif isinstance(step, Report):
                room.stage_report(device, step, NAMES)
            else:
                room.stage_mend(device, *step, {})
        except (Refusal, Repeated):
            assert copy_of(state(room)) == before


def test_a_room_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    connection = schema.connect_writer(tmp_path / "relay.db")
    with connection:
        for device, name in NAMES.items():
            enrol(connection, Applicant(device, b"identity", device, name, name, name), permit=lambda _: None)
    room = Room(ROOM)
    room.stage_creation(DEVICES[0], "red")

    def flush() -> None:
        changes = Changes()
        changes.save_room(room)
        in_transaction(connection, changes.apply)
        room.settle(saved=True)

    flush()
    for epoch in range(50):
        device = DEVICES[1 + epoch % 3]
        add, remove = ([], [device]) if device in room.members else ([device], [])
        submit = Submit(ROOM, epoch + 1, epoch, Kind.COMMIT, b"", add, remove)
        room.stage_submission(DEVICES[0], submit, NAMES)
        if epoch % 3 == 0:
            room.stage_report(DEVICES[0], Report(1, ROOM, epoch, room.commit_seq), NAMES)
        flush()
        loaded = load_room(connection, ROOM)
        assert loaded is not None
        assert sorted(loaded.members) == sorted(room.members)
        loaded.members = room.members
        assert state(loaded) == state(room)
    assert load_room(connection, bytes([9]) * 16) is None
    connection.close()


def test_whom_a_contested_commit_took_out_comes_back_once() -> None:
    red, blue, green, _ = DEVICES
    room = new_room()
    room.stage_submission(red, Submit(ROOM, 1, 0, Kind.COMMIT, b"", [blue, green]), NAMES)
    room.stage_submission(red, Submit(ROOM, 2, 1, Kind.COMMIT, b"", [], [blue, green]), NAMES)
    room.settle(saved=True)
    assert (list(room.members), sorted(room.expelled)) == ([red], [blue, green])
    room.stage_report(blue, Report(1, ROOM, 1, 2), NAMES)
    assert sorted(room.members) == [red, blue, green]
    assert room.stay_at(green, 1) == Stay(1, None)
    room.stage_submission(blue, Submit(ROOM, 1, 1, Kind.COMMIT, b"", [], [red]), NAMES)
    room.roll_back()
    assert list(room.members) == [red]
    room.stage_report(blue, Report(1, ROOM, 1, 2), NAMES)
    room.stage_mend(red, [], [blue], NAMES)  # the group did take blue out
    with pytest.raises(Refusal):
        room.stage_submission(blue, Submit(ROOM, 2, 2, Kind.APPLICATION, b""), NAMES)
    with pytest.raises(Refusal):
        room.stage_report(blue, Report(1, ROOM, 1, 2), NAMES)
    assert sorted(room.members) == [red, green]


def test_a_commit_somebody_else_believes_cannot_be_contested_from_outside() -> None:
    red, blue, green, _ = DEVICES
    room = new_room()
    room.stage_submission(red, Submit(ROOM, 1, 0, Kind.COMMIT, b"", [blue, green]), NAMES)
    room.stage_submission(red, Submit(ROOM, 2, 1, Kind.COMMIT, b"", [], [blue]), NAMES)
    room.stage_submission(red, Submit(ROOM, 3, 2, Kind.APPLICATION, b""), NAMES)
    assert room.expelled == (blue,)  # red would say so of any commit of his
    room.stage_submission(green, Submit(ROOM, 1, 2, Kind.APPLICATION, b""), NAMES)
    with pytest.raises(Refusal) as caught:
        room.stage_report(blue, Report(1, ROOM, 1, 2), NAMES)
    assert caught.value.code is Code.NOT_MEMBER


def test_who_is_not_known_by_name_is_not_taken_back() -> None:
    red, blue, green, _ = DEVICES
    room = new_room()
    room.stage_submission(red, Submit(ROOM, 1, 0, Kind.COMMIT, b"", [blue, green]), NAMES)
    room.stage_submission(red, Submit(ROOM, 2, 1, Kind.COMMIT, b"", [], [blue, green]), NAMES)
    assert room.stage_report(blue, Report(1, ROOM, 1, 2), {blue: "blue"}) == [blue]
    assert sorted(room.members) == [red, blue]


def test_entries_that_followed_the_saved_rows_are_counted_when_a_room_is_loaded(tmp_path: Path) -> None:
    connection = schema.connect_writer(tmp_path / "relay.db")
    with connection:
        for device, name in NAMES.items():
            enrol(connection, Applicant(device, b"identity", device, name, name, name), permit=lambda _: None)
    room = Room(ROOM)
    room.stage_creation(DEVICES[0], "red")
    for flush in range(4):
        changes = Changes()
        first, frames = room.seq + 1, []
        for submission in range(5 * flush + 1, 5 * flush + 6):
            seq = room.stage_submission(DEVICES[0], Submit(ROOM, submission, 0, Kind.APPLICATION, b""), {})
            frames.append(pack(Entry(ROOM, seq, DEVICES[0], submission, Kind.APPLICATION, 0, b"")))
        if flush == 0:
            changes.save_room(room)
        changes.segments += [(part, 0) for part in split(ROOM, first, frames)]
        in_transaction(connection, changes.apply)
        room.settle(saved=flush == 0)
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
    assert unpack_recent(pack_recent(recent)) == recent[-RECENT:]


def test_a_welcome_that_no_invitation_could_carry_is_refused() -> None:
    room = new_room()
    submit = Submit(ROOM, 1, 0, Kind.COMMIT, b"", [DEVICES[1]], [], bytes(MAX_WELCOME_BYTES + 1))
    with pytest.raises(Refusal) as caught:
        room.stage_submission(DEVICES[0], submit, NAMES)
    assert caught.value.code is Code.TOO_LARGE
