"""A room's keys are restored when they are first used; what a quiet room is asked for takes none."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client.errors import RoomUnreadable
from clave_client.rooms import stored_group
from clave_client.rooms.policy import restore_group
from clave_client.rooms.roster import Roster
from clave_crypto.mls import Group, GroupState
from client.memory_relay import confirm, deliver, in_one_room, rekey, resume


class Restored:
    """Counts how often a room's keys were restored."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, state: GroupState) -> Group:
        self.count += 1
        return restore_group(state)


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Restored:
    counter = Restored()
    monkeypatch.setattr(stored_group, "restore_group", counter)
    return counter


def test_a_quiet_room_is_resumed_and_asked_what_is_due_without_its_keys(
    tmp_path: Path, restored: Restored
) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    red.restarts()
    room = red.room
    resume(red, log)
    assert room.synced
    assert room.roster.has(blue.device)
    assert room.roster.routing_differences([red.device, blue.device]) == ([], [])
    assert room.head == blue.room.head
    assert [room.commit_due, room.retry_due, room.leave_due] == [False] * 3
    assert room.confirmable is None
    assert room.prepare_messages() == []
    assert restored.count == 0
    red.says("hello")
    assert len(room.prepare_messages()) == 1
    assert restored.count == 1


def test_resuming_a_quiet_room_writes_nothing(tmp_path: Path) -> None:
    log, (red, _) = in_one_room(tmp_path, "red", "blue")
    red.restarts()
    resume(red, log)
    red.restarts()
    before = red.store.connection.total_changes()
    resume(red, log)
    assert red.store.connection.total_changes() == before


def test_an_unchanged_group_is_restored_again_after_a_failure(tmp_path: Path) -> None:
    """What a failed operation did to the keys is not kept: they are those on disk."""
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    red.restarts()
    state = red.room.copy_group().state()
    red.restarts()

    def fail() -> None:
        with red.room.changing():
            red.room.group.encrypt(b"never sent", authenticated_data=b"")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert red.room.group.state() == state


def test_a_room_without_a_stored_roster_gets_one(tmp_path: Path, restored: Restored) -> None:
    _, (red, blue) = in_one_room(tmp_path, "red", "blue")
    stored = red.room.part("roster")
    with red.store.transaction():
        red.room.put_part("roster", None)
    red.restarts()
    assert red.room.roster.has(blue.device)
    assert (red.room.part("roster"), restored.count) == (stored, 1)
    red.restarts()
    assert red.room.roster.has(blue.device)
    assert restored.count == 1


def test_a_damaged_roster_is_not_taken_for_another(tmp_path: Path) -> None:
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    with red.store.transaction():
        red.room.put_part("roster", b"\x94" + b"damaged")
    red.restarts()
    with pytest.raises(RoomUnreadable, match="cannot be opened"):
        _ = red.room.roster


def test_damaged_keys_are_reported_when_they_are_first_used(tmp_path: Path) -> None:
    _, (red, _) = in_one_room(tmp_path, "red", "blue")
    epoch = red.room.part("epoch")
    assert epoch is not None
    with red.store.transaction():
        red.room.put_part("epoch", epoch[:-1])
    red.restarts()
    assert red.room.head
    with pytest.raises(RoomUnreadable, match="cannot be opened"):
        _ = red.room.group


def test_the_stored_roster_follows_leaves_and_new_epochs(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")

    def stored() -> bytes | None:
        return red.room.part("roster")

    def present() -> bytes:
        return Roster.of(red.room.group, red.store).encode()

    assert stored() == present()
    log.append(green, green.room.prepare_leave())
    deliver(log, red, blue)
    red.restarts()
    assert red.room.roster.leavers() == {red.leaf_of(green)}
    assert stored() == present()
    rekey(log, blue, green)
    deliver(log, red, blue)
    confirm(log, red)
    deliver(log, red, blue)
    red.restarts()
    assert not red.room.roster.has(green.device)
    assert red.room.head == blue.room.head
    assert stored() == present()
