"""Profiles of the version before, which knew no links, go on, and have links once all are updated."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from clave_client.formats.agreed_state import Role
from clave_client.formats.link_secret import LinkSecret
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.log_reader import LogReader
from clave_client.rooms.state_change import StateChange
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.store.schema import MIGRATIONS
from clave_crypto.keys import Secret
from clave_crypto.mls import Remove, ValidationError
from clave_wire.messages import Entry
from client.linked_room import joins, link_of, makes_link
from client.memory_relay import Log, Member, agree, clock, deliver, rekey, resume, settle
from client.rooms.test_roles import account, changes, role

STORED = Path(__file__).parents[1] / "stored"


class Former(Member):
    """Somebody whose profile the version before has stored."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.folder = name, folder
        path = folder / f"{name}.db"
        shutil.copyfile(STORED / f"version-10-{name}.db", path)
        self.store = Store(path, Secret(b"k" * 32))
        self.account = Account.load_or_create(self.store, name)
        (record,) = self.store.rooms()
        self.room = LocalRoom.load(self.store, record, clock)
        self.reader = LogReader(self.room, self.store)


@pytest.fixture
def people(tmp_path: Path) -> tuple[Log, Former, Former]:
    log = Log()
    log.entries = msgspec.msgpack.decode((STORED / "version-10.log").read_bytes(), type=list[Entry])
    red, blue = Former(tmp_path, "red"), Former(tmp_path, "blue")
    for each in (red, blue):
        resume(each, log)
    return log, red, blue


def test_a_room_goes_on_with_its_roles_and_what_waited(people: tuple[Log, Former, Former]) -> None:
    log, red, blue = people
    assert red.store.connection.pragma("user_version") == len(MIGRATIONS)
    assert (red.room.state.topic, role(red, blue)) == ("where to meet", Role.ADMIN)
    settle(log, red, blue)
    assert red.texts() == ["hello blue", "hello red", "written offline"]
    agree(red, blue)


def test_ones_own_devices_need_no_role_as_in_the_version_before(
    people: tuple[Log, Former, Former], tmp_path: Path
) -> None:
    log, red, blue = people
    settle(log, red, blue)
    changes(log, red, StateChange(policies={"add": Role.OWNER}))
    settle(log, red, blue)
    twin = Member(tmp_path, "desk", twin=blue)
    log.append(blue, blue.room.prepare_commit([twin.add()]))
    settle(log, red, blue)
    log.append(blue, blue.room.prepare_commit([Remove(blue.leaf_of(twin))]))
    settle(log, red, blue)
    agree(red, blue)
    assert not red.room.roster.has(twin.device)


def test_links_have_to_wait_until_all_devices_say_that_they_know_them(
    people: tuple[Log, Former, Former], tmp_path: Path
) -> None:
    log, red, blue = people
    settle(log, red, blue)
    change = StateChange(links=[link_of(red, LinkSecret.generate())])
    with pytest.raises(ValidationError, match="does not support an extension the group uses"):
        changes(log, red, change)
    red.room.cancel_commit()
    for each in (red, blue):
        assert each.room.advertise_due
        rekey(log, each)
        settle(log, red, blue)
        assert not each.room.advertise_due
    secret = makes_link(log, red, blue)
    green = Member(tmp_path, "green")
    joins(log, green, red, secret)
    settle(log, red, blue, green)
    agree(red, blue, green)
    assert role(green, blue) is Role.ADMIN
    assert account(green) in red.room.roster.accounts
    assert deliver(log, green)[0].events == []
