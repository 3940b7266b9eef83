"""Profiles of the version before, which had another content format, go on where they were left."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clave_client import events
from clave_client.formats.agreed_state import AGREED_STATE_EXTENSION
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.log_reader import LogReader
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_crypto.keys import Secret
from clave_wire.messages import Entry, Kind, Resumed, Submit
from client.memory_relay import clock

STORED = Path(__file__).parents[1] / "stored"
KEYS = {
    "red": "5dca0b7f222cab4bfe5c175ffa14e6b5c7d29a04dc1feb6838c406e667b7dae5",
    "blue": "3a60cab03d0af5fdfdf2373a2709e925c671436cd089406aed2d2e9773f6848a",
}
END = 4
"""The last entry that both have read."""


class Former:
    """A person whose profile the version before has stored."""

    def __init__(self, folder: Path, name: str) -> None:
        path = folder / f"{name}.db"
        shutil.copyfile(STORED / f"version-9-{name}.db", path)
        self.store = Store(path, Secret(bytes.fromhex(KEYS[name])))
        self.account = Account.load_or_create(self.store, name)
        (record,) = self.store.rooms()
        self.room = LocalRoom.load(self.store, record, clock)
        self.reader = LogReader(self.room, self.store)

    def resumes(self, submission: int) -> None:
        answer = Resumed(1, self.room.id, END, 2, submission, 0, [], [])
        self.room.start(answer, self.room.record.incarnation)

    def reads(self, *entries: Entry) -> list[events.Event]:
        return self.reader.read(entries).events

    def texts(self) -> list[str]:
        return [line.text for line in self.store.history(self.room.id)]


def logged(person: Former, seq: int, submit: Submit) -> Entry:
    sender = person.account.device.public
    return Entry(submit.room, seq, sender, submit.submission, submit.kind, 0, submit.payload)


@pytest.fixture
def people(tmp_path: Path) -> tuple[Former, Former]:
    return Former(tmp_path, "red"), Former(tmp_path, "blue")


def test_messages_have_the_same_ids_at_all(people: tuple[Former, Former]) -> None:
    red, blue = people
    assert red.texts() == blue.texts() == ["hello blue", "hello red"]
    ids = [line.id for line in red.store.history(red.room.id)]
    assert [line.id for line in blue.store.history(blue.room.id)] == ids
    assert {(len(each), each[0]) for each in ids} == {(32, 1)}


def test_what_waits_encrypted_goes_out_unchanged(people: tuple[Former, Former]) -> None:
    red, blue = people
    first, second = blue.store.outbox(blue.room.id, 9)
    assert (first.body, second.body) == ("encrypted offline", "written offline")
    assert first.payload is not None
    for person, submission in ((red, 1), (blue, 2)):
        person.resumes(submission)
    submits = blue.room.prepare_messages()
    assert submits[0].payload == first.payload, "it may have been sent already"
    entries = [logged(blue, END + number, submit) for number, submit in enumerate(submits, start=1)]
    received = [event for event in red.reads(*entries) if isinstance(event, events.Message)]
    assert [event.text for event in received] == ["encrypted offline", "written offline"]
    assert [event.id for event in received] == [first.id, second.id]
    sent = [event for event in blue.reads(*entries) if isinstance(event, events.Sent)]
    assert [event.id for event in sent] == [first.id, second.id]
    assert red.texts() == blue.texts()


def test_what_this_device_sent_can_be_sent_again(people: tuple[Former, Former]) -> None:
    red, blue = people
    for person, text in ((red, "hello blue"), (blue, "hello red")):
        (kept,) = person.store.sent_after(person.room.id, 0)
        assert kept.text == text
        (own,) = [line for line in person.store.history(person.room.id) if line.text == text]
        assert (kept.id, kept.place) == (own.id, own.seq)
        assert kept.data[0] == 0x95


def test_until_all_were_updated_texts_are_of_the_former_format(people: tuple[Former, Former]) -> None:
    """A leaf says that a device was updated; each device's own says so after its next rekey."""
    red, blue = people
    for person, submission in ((red, 1), (blue, 2)):
        person.resumes(submission)
        assert person.room.roster.outdated == ("blue", "red")
        assert person.room.advertise_due
    for item in blue.store.outbox(blue.room.id, 9):
        blue.store.drop_outbox(item.position)
    seq = END
    for one, other in ((red, blue), (blue, red)):
        rekey = logged(one, seq + 1, one.room.prepare_commit(()))
        for person in (one, other):
            person.reads(rekey)
        assert other.room.confirmable is not None
        confirm = logged(other, seq + 2, other.room.prepare_confirm(other.room.confirmable))
        for person in (one, other):
            person.reads(confirm)
        seq += 2
        leaf = other.room.group.member(one.room.group.own_leaf).leaf
        assert AGREED_STATE_EXTENSION in leaf.capabilities.extensions
        assert not one.room.advertise_due
    for person in (red, blue):
        assert person.room.roster.outdated == ()
    message = red.room.enqueue_text("in the new one")
    (submit,) = red.room.prepare_messages()
    assert submit.kind is Kind.APPLICATION
    entry = logged(red, seq + 1, submit)
    (received,) = [event for event in blue.reads(entry) if isinstance(event, events.Message)]
    assert (received.id, received.text) == (message, "in the new one")
    (item,) = red.store.outbox(red.room.id, 9)
    assert item.data[0] == 0x87


def test_events_of_earlier_versions_are_erased_with_their_messages(people: tuple[Former, Former]) -> None:
    _, blue = people
    first, second = blue.store.history(blue.room.id)
    for line in (first, second):
        before = blue.store.rows("SELECT event FROM events WHERE instr(event, ?)", line.text.encode())
        assert before
        with blue.store.transaction():
            blue.store.erase_message(blue.room.id, line.id, events.MessageKind.EXPIRED)
        assert blue.store.rows("SELECT 1 FROM events WHERE instr(event, ?)", line.text.encode()) == []
