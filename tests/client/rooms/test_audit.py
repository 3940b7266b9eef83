"""An audit holds for a room as it is stored, and names the check that damage of a copy breaks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from clave_client.formats.agreed_state import AGREED_STATE_EXTENSION, decode_state
from clave_client.rooms.audit import audit_room
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.state_change import StateChange
from clave_client.store.database import Store
from clave_client.store.database_copy import copy_database
from clave_client.values import AuditFinding
from clave_crypto.keys import Secret
from clave_crypto.mls import Extension
from clave_crypto.mls.stored import StoredWholeGroup
from clave_wire.header import Seen
from client.memory_relay import clock, confirm, deliver, in_one_room, rekey, say
from client.rooms.test_former_contents import KEYS as OF_VERSION_9
from client.store.test_migration import KEY as OF_VERSION_6

KEY = Secret(b"k" * 32)
ROOM = b"r" * 16


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red's profile: a room with a state, messages of red and blue, an edit, and two that wait."""
    folder = tmp_path_factory.mktemp("audit")
    log, (red, blue, green) = in_one_room(folder, "red", "blue", "green")
    log.append(red, red.room.prepare_commit(red.room.proposal_of(StateChange(topic="cake"))))
    deliver(log, red, blue, green)
    confirm(log, blue)
    deliver(log, red, blue, green)
    say(log, red, "the first of red")
    say(log, blue, "blue says **so**")
    deliver(log, red, blue, green)
    (said, _) = red.store.history(ROOM)
    red.room.enqueue(red.room.composer.text("the first of red, edited", replaces=said.id))
    (submit,) = red.room.prepare_messages()
    log.append(red, submit)
    say(log, blue, "a second of blue")
    deliver(log, red, blue, green)
    red.room.enqueue(red.room.composer.deletion(red.store.history(ROOM)[0].id))
    red.says("this waits")
    red.room.prepare_messages()
    return folder / "red.db"


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Iterator[Store]:
    """A copy of red's profile."""
    path = tmp_path / "copy.db"
    copy_database(made, KEY, path, KEY)
    copied = Store(path, KEY)
    yield copied
    copied.close()


STORED = Path(__file__).parents[1] / "stored"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("version-1-red", bytes(KEY).hex()),
        ("version-1-blue", bytes(KEY).hex()),
        ("version-6-blue", OF_VERSION_6),
        ("version-9-red", OF_VERSION_9["red"]),
        ("version-9-blue", OF_VERSION_9["blue"]),
    ],
)
def test_a_profile_of_an_earlier_version_holds_once_it_is_migrated(
    tmp_path: Path, name: str, key: str
) -> None:
    shutil.copyfile(STORED / f"{name}.db", tmp_path / "store.db")
    store = Store(tmp_path / "store.db", Secret(bytes.fromhex(key)))
    rooms = store.rooms()
    assert rooms
    for record in rooms:
        assert [finding.text for finding in audit_room(store, record) if not finding.ok] == []
    store.close()


def audited(store: Store) -> dict[str, AuditFinding]:
    record = store.room(ROOM)
    assert record is not None
    return {finding.check: finding for finding in audit_room(store, record)}


def failed(store: Store) -> dict[str, str]:
    return {name: finding.text for name, finding in audited(store).items() if not finding.ok}


def contents(store: Store) -> list[tuple[object, ...]]:
    tables = store.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT GLOB '*VIRTUAL*'")
    return [row for (name,) in tables for row in store.rows(f"SELECT * FROM {name}")]  # noqa: S608 (own names)


def flip(data: bytes, place: int = -1) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def test_all_holds_and_nothing_is_changed(store: Store) -> None:
    before = contents(store)
    findings = audited(store)
    assert [finding.text for finding in findings.values() if not finding.ok] == []
    assert list(findings) == [
        *("group", "tree", "keys", "state", "roster", "names", "pins", "commits", "log", "outbox", "history")
    ]
    assert findings["tree"].text.startswith("the ratchet tree: of 3 devices, all signatures, certificates")
    assert findings["history"].text == (
        "the history: 3 messages with ids, numbers and senders that fit; 3 of 3 texts exactly as received or"
        " sent"
    )
    assert findings["outbox"].text.endswith("2 contents, 2 of them encrypted")
    assert contents(store) == before


def test_a_check_cannot_write(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clave_client.rooms.audit.epoch_id", lambda _: store.put("x", b"y"))
    assert "cannot be written" in failed(store)["outbox"]
    assert store.get("x") is None
    store.put("x", b"y")
    assert store.get("x") == b"y", "and afterwards the profile can be written as before"


def part(name: str, change: Callable[[bytes], bytes]) -> Callable[[Store], None]:
    def damage(store: Store) -> None:
        stored = store.part(ROOM, name)
        assert stored is not None
        store.put_part(ROOM, name, change(stored))

    return damage


def sql(statement: str, *values: bytes | str | int) -> Callable[[Store], None]:
    def damage(store: Store) -> None:
        store.run(statement, *values)
        assert store.connection.changes()

    return damage


def with_state(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Return what changes the bytes of the agreed state inside the stored group."""

    def changed(data: bytes) -> bytes:
        group = StoredWholeGroup.decode(data)
        context = group.epoch.context
        extensions = tuple(
            Extension(each.extension_type, change(each.extension_data))
            if each.extension_type == AGREED_STATE_EXTENSION
            else each
            for each in context.extensions
        )
        return replace(
            group, epoch=replace(group.epoch, context=replace(context, extensions=extensions))
        ).encode()

    return changed


def other_owner(data: bytes) -> bytes:
    state = decode_state(AGREED_STATE_EXTENSION, data)
    return msgspec.structs.replace(state, owners=sorted(map(flip, state.owners))).extension()[1]


def other_title(data: bytes) -> bytes:
    state = decode_state(AGREED_STATE_EXTENSION, data)
    return msgspec.structs.replace(state, title="fiends").extension()[1]


def other_tag(data: bytes) -> bytes:
    group = StoredWholeGroup.decode(data)
    return replace(
        group, epoch=replace(group.epoch, confirmation_tag=flip(group.epoch.confirmation_tag))
    ).encode()


def flip_last_hash(store: Store) -> None:
    """Damage the hash that the message which waits was sent with."""
    ((seq, found),) = store.rows("SELECT seq, hash FROM chain ORDER BY seq DESC LIMIT 1")
    store.run("UPDATE chain SET hash = ? WHERE seq = ?", flip(msgspec.convert(found, bytes)), seq)


def forget_and_change(store: Store) -> None:
    """Change an old message, whose event is deleted."""
    store.run("DELETE FROM events")
    store.run("UPDATE messages SET text = 'a third of blue' WHERE text = 'a second of blue'")


DAMAGE: dict[str, tuple[Callable[[Store], None], str, str]] = {
    "a roster of another epoch": (part("roster", lambda data: flip(data, 5)), "roster", "another epoch"),
    "another name in the roster": (
        part("roster", lambda data: data.replace(b"\xa4blue", b"\xa4glue")),
        "roster",
        "not that of the group",
    ),
    "a roster that is none": (part("roster", lambda data: data[:-1]), "roster", "cannot be read"),
    "a group that is cut off": (part("epoch", lambda data: data[:-1]), "group", "cannot be restored"),
    "a byte of the tree": (part("epoch", lambda data: flip(data, len(data) // 3)), "group", "restored"),
    "another confirmation tag": (part("epoch", other_tag), "keys", "confirmation tag"),
    "another owner": (part("epoch", with_state(other_owner)), "state", "has a role"),
    "another title": (part("epoch", with_state(other_title)), "state", "the title in it"),
    "a state that is none": (part("epoch", with_state(lambda data: data[:-1])), "state", "cannot be read"),
    "message keys cut off": (
        part("ratchets", lambda data: data[:-1]),
        "group",
        "cannot be restored",
    ),
    "another title that is shown": (sql("UPDATE rooms SET title = 'fiends'"), "state", "the title in it"),
    "a hash that is missing": (sql("DELETE FROM chain WHERE seq = 3"), "log", "that of entry 3 is missing"),
    "a hash cut off": (
        sql("UPDATE chain SET hash = substr(hash, 2) WHERE seq = 2"),
        "log",
        "entry 2",
    ),
    "the start of the chain": (
        sql("UPDATE chain SET hash = ? WHERE seq = 0", b"x" * 32),
        "log",
        "does not start as",
    ),
    "a hash that others were sent": (flip_last_hash, "log", "not the one that was sent"),
    "a cursor beyond the chain": (sql("UPDATE rooms SET cursor = cursor + 1"), "log", "has read up to"),
    "another text of one's own": (
        sql("UPDATE messages SET text = 'the worst of red, edited' WHERE text GLOB 'the first*'"),
        "history",
        "another text than was sent",
    ),
    "another text of which nothing is kept": (
        forget_and_change,
        "history",
        "other words than the search knows",
    ),
    "the same words in another order": (
        sql("UPDATE messages SET text = 'edited, the first of red' WHERE text GLOB 'the first*'"),
        "history",
        "another text than was sent",
    ),
    "another former version": (
        sql("UPDATE versions SET text = 'the last of red'"),
        "history",
        "another text than was sent",
    ),
    "another text of somebody": (
        sql("UPDATE messages SET text = 'second a of blue' WHERE text = 'a second of blue'"),
        "history",
        "another text than it was shown with",
    ),
    "other Markdown of somebody": (
        sql("UPDATE messages SET markup = 'blue says **no**' WHERE markup != ''"),
        "history",
        "another text than its Markdown",
    ),
    "another id of what was sent": (
        sql("UPDATE sent SET data = (SELECT data FROM sent ORDER BY place LIMIT 1)"),
        "history",
        "has an id that is not that of what was sent",
    ),
    "a message beyond the log": (
        sql("UPDATE messages SET seq = seq + 1000 WHERE text = 'a second of blue'"),
        "history",
        "beyond what this device has read",
    ),
    "an id that is none": (
        sql("UPDATE messages SET id = substr(id, 2) WHERE text = 'a second of blue'"),
        "history",
        "has 31 octets",
    ),
    "another account": (
        sql("UPDATE senders SET account = ? WHERE name = 'blue'", b"b" * 32),
        "history",
        "of another account than its device",
    ),
    "an erased message that speaks": (
        sql("UPDATE messages SET kind = 3 WHERE text = 'a second of blue'"),
        "history",
        "was deleted, and still says something",
    ),
    "another text in the outbox": (
        sql("UPDATE outbox SET body = 'that waits' WHERE body != ''"),
        "outbox",
        "number 2 of them is shown with another text",
    ),
    "another id in the outbox": (
        sql(
            "UPDATE outbox SET id = ? WHERE position = (SELECT max(position) FROM outbox)", b"\1" + b"i" * 31
        ),
        "outbox",
        "number 2 of them is not the content with its id",
    ),
    "a ciphertext for another epoch": (
        sql("UPDATE outbox SET head = ?", b"h" * 32),
        "outbox",
        "encrypted for another epoch",
    ),
    "a count that was not used": (sql("UPDATE rooms SET count = 1"), "outbox", "a count that this device"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_by_the_check_that_is_about_it(store: Store, what: str) -> None:
    damage, check, words = DAMAGE[what]
    with store.transaction():
        damage(store)
    found = failed(store)
    assert words in found[check]
    if check != "group":
        assert list(found) == [check], "the other checks hold"


def test_a_member_with_another_key_than_the_known_one_is_named(store: Store) -> None:
    with store.transaction():
        store.add_pin("blue", b"b" * 32)
    assert list(failed(store)) == ["pins"]
    assert "blue has another key, " in failed(store)["pins"]


def test_an_entry_that_waits_is_compared_with_its_link(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    entry = rekey(log, blue, green)
    deliver(log, red)
    assert "agrees with 2 views" in audited(red.store)["log"].text
    red.store.run("UPDATE chain SET hash = ? WHERE seq = ?", b"x" * 32, entry.seq)
    assert "is not that of the entry which waits" in failed(red.store)["log"]


def test_what_an_insider_says_of_later_entries_is_held_against_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    say(log, red, "before")
    deliver(log, red, blue, green)
    cursor = blue.room.record.cursor
    with monkeypatch.context() as lie:
        lie.setattr(type(blue.room.chain), "seen", lambda _: Seen(cursor + 2, bytes(32)))
        entry = rekey(log, blue, green)
    say(log, red, "after")
    deliver(log, red, blue, green)
    assert entry.seq < cursor + 2 <= red.room.record.cursor
    assert failed(red.store) == {}


def test_an_own_change_that_waits_is_checked_too(tmp_path: Path) -> None:
    log, (red, _, green) = in_one_room(tmp_path, "red", "blue", "green")
    rekey(log, red, green)
    assert "1 change, whose trees" in audited(red.store)["commits"].text
    part("tip", other_tag)(red.store)
    assert "confirmation tag" in failed(red.store)["commits"]


def test_of_a_room_that_was_left_the_history_is_checked(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    say(log, blue, "hello")
    deliver(log, red)
    red.room.close(None)
    assert list(audited(red.store)) == ["history"]
    assert failed(red.store) == {}


def test_a_room_that_cannot_be_loaded_can_be_audited(store: Store) -> None:
    store.run("DELETE FROM group_parts WHERE part = 'epoch'")
    record = store.room(ROOM)
    assert record is not None
    with pytest.raises(Exception, match="missing"):
        LocalRoom.load(store, record, clock)
    assert "is missing" in failed(store)["group"]
    assert audited(store)["log"].ok


def test_a_limited_audit_looks_up_as_many_texts_as_it_may(store: Store) -> None:
    record = store.room(ROOM)
    assert record is not None
    forget_and_change(store)
    assert [each.check for each in audit_room(store, record, most_searched=9) if not each.ok] == ["history"]
    (*_, history) = audit_room(store, record, most_searched=1)
    assert history.ok
    assert "; 1 of 3 texts exactly as received or sent, 1 with the words that the search" in history.text
