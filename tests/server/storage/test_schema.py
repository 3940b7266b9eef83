"""How the database is opened: durable, private, and only if it is a relay's."""

from __future__ import annotations

import gc
import shutil
import stat
from pathlib import Path

import apsw
import pytest

from clave_server.accounts import directory
from clave_server.accounts.device_counts import DeviceCount, check_count
from clave_server.accounts.directory import Applicant, Enrolment
from clave_server.errors import DamageError, Refusal, StartError
from clave_server.rooms.entry_store import RowChanges, load_room, read_entries
from clave_server.rooms.invitations import highest_ids, read_invitations
from clave_server.rooms.recent import pack_recent
from clave_server.rooms.room_state import RoomState
from clave_server.rooms.segment import Segment
from clave_server.storage import schema, seals
from clave_wire.framing import pack
from clave_wire.header import Header, Seen, pack_header
from clave_wire.messages import Entry, Kind, Submit


def test_a_commit_is_on_disk_when_it_returns(tmp_path: Path) -> None:
    connection = schema.connect_writer(tmp_path / "relay.db")
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2  # FULL
    assert connection.pragma("foreign_keys") == 1
    connection.close()


@pytest.mark.parametrize(
    ("error", "free", "reason"),
    [
        (apsw.FullError("database or disk is full"), 1, "its disk is full; free space"),
        (apsw.IOError("disk I/O error"), 0, "its disk is full; free space"),
        (apsw.IOError("disk I/O error"), 1, "disk I/O error"),
    ],
)
def test_a_full_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: apsw.Error, free: int, reason: str
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StartError) as raised, schema.start_errors(tmp_path / "relay.db"):
        raise error
    assert str(raised.value) == f"cannot open the database {tmp_path / 'relay.db'}: {reason}"


def test_every_database_file_is_private(tmp_path: Path) -> None:
    connection = schema.connect_writer(tmp_path / "relay.db")
    files = list(tmp_path.iterdir())
    assert {file.suffix for file in files} == {".db", ".db-wal", ".db-shm"}
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    connection.close()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    writer = schema.connect_writer(tmp_path / "relay.db")
    reader = schema.connect_reader(tmp_path / "relay.db")
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("DELETE FROM rooms")
    reader.close()
    writer.close()


def test_a_migrated_database_is_opened_without_a_migration(tmp_path: Path) -> None:
    for _ in range(2):
        connection = schema.connect_writer(tmp_path / "relay.db")
        assert connection.execute("SELECT count(*) FROM accounts").get == 0
        connection.close()


def test_a_database_behind_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "relay.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(StartError):
        schema.connect_writer(tmp_path / "relay.db")


def test_key_packages_of_an_older_relay_count_as_suite_1(tmp_path: Path) -> None:
    older = apsw.Connection(str(tmp_path / "relay.db"))
    older.execute(schema.MIGRATIONS[0])
    older.pragma("application_id", schema.APPLICATION_ID)
    older.pragma("user_version", 1)
    older.execute("INSERT INTO accounts VALUES (1, x'aa', 'red', 'red', 'red')")
    older.execute("INSERT INTO devices VALUES (x'dd', 1, x'11')")
    older.execute("INSERT INTO key_packages(device, package) VALUES (x'dd', x'01'), (x'dd', x'02')")
    older.execute("INSERT INTO last_resorts VALUES (x'dd', x'99')")
    older.close()
    (tmp_path / "relay.db").chmod(0o600)
    connection = schema.connect_writer(tmp_path / "relay.db")
    found = directory.find_device(connection, Applicant(b"\xdd", b"\x11", b"\xaa", "red", "red", "red"), 0)
    assert found == Enrolment(registered=False, key_packages=[(1, 2)], rooms=0, stored=0, published=0)
    claimed = [directory.claim_key_packages(connection, "red", 1, 0)[0] for _ in range(3)]
    assert claimed == [b"\x01", b"\x02", b"\x99"]
    with pytest.raises(Refusal):
        directory.claim_key_packages(connection, "red", 2, 0)
    directory.publish_key_packages(connection, b"\xdd", 1, [], b"\x98", now=0)
    directory.publish_key_packages(connection, b"\xdd", 2, [], b"\x97", now=0)
    assert directory.claim_key_packages(connection, "red", 1, 0) == [b"\x98"]
    assert connection.pragma("foreign_key_check") is None
    connection.close()
    schema.connect_writer(tmp_path / "relay.db").close()


def test_a_database_of_version_2_is_migrated_completely(tmp_path: Path) -> None:
    older = apsw.Connection(str(tmp_path / "relay.db"))
    for migration in schema.MIGRATIONS[:2]:
        older.execute(migration)
    older.pragma("application_id", schema.APPLICATION_ID)
    older.pragma("user_version", 2)
    device, room = b"d" * 32, b"r" * 16
    entries = [Entry(room, seq, device, seq, Kind.APPLICATION, 4, b"old") for seq in (1, 2)]
    part = Segment(room, 1, 2, b"".join(map(pack, entries)))
    older.execute("INSERT INTO accounts VALUES (1, x'aa', 'red', 'red', 'red')")
    older.execute("INSERT INTO devices VALUES (?, 1, x'11')", (device,))
    older.execute("INSERT INTO rooms VALUES (?, 2, 4, 0, 0)", (room,))
    older.execute("INSERT INTO stays VALUES (?, ?, 0, NULL)", (room, device))
    older.execute("INSERT INTO submissions VALUES (?, ?, ?)", (room, device, pack_recent([(1, 1), (2, 2)])))
    older.execute("INSERT INTO segments VALUES (1, ?, 1, 2, 5, ?, ?)", (room, part.digest(), part.frames))
    older.close()
    (tmp_path / "relay.db").chmod(0o600)
    assert schema.versions_behind(tmp_path / "relay.db") == len(schema.MIGRATIONS) - 2
    connection = schema.connect_writer(tmp_path / "relay.db")
    assert schema.versions_behind(tmp_path / "relay.db") == 0
    loaded = load_room(connection, room)
    assert loaded is not None
    assert (loaded.seq, loaded.members, loaded.kept_from) == (2, {device: "red"}, 1)
    assert (loaded.handshake, loaded.legacy, loaded.restores) == (2, 2, [])
    assert loaded.recent == {device: [(1, 1), (2, 2)]}
    assert read_entries(connection, room, 0, 2).frames == part.frames
    assert directory.look_up(connection, "red") == [(device, b"\x11")]
    connection.close()


def test_a_database_of_a_newer_version_is_refused_unchanged(tmp_path: Path) -> None:
    connection = schema.connect_writer(tmp_path / "relay.db")
    connection.pragma("user_version", len(schema.MIGRATIONS) + 1)
    connection.close()
    before = (tmp_path / "relay.db").read_bytes()
    with pytest.raises(StartError, match="newer"):
        schema.connect_writer(tmp_path / "relay.db")
    assert (tmp_path / "relay.db").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("UPDATE rooms SET handshake = handshake + 1", "room"),
        ("UPDATE rooms SET legacy = 1", "room"),
        ("UPDATE rooms SET restores = zeroblob(24)", "room"),
        ("UPDATE rekeys SET removed = x''", "room"),
        ("DELETE FROM rekeys", "room"),
        ("UPDATE stays SET left = 1", "room"),
        ("UPDATE stays SET joined = 1", "room"),
        ("UPDATE submissions SET recent = x'00000000000000020000000000000001'", "room"),
        ("UPDATE accounts SET name = 'rad' WHERE id = 1", "room"),
        ("UPDATE accounts SET account = x'ab' WHERE id = 1", "name"),
        ("UPDATE devices SET identity = x'12'", "name"),
        ("UPDATE devices SET account = 2", "name"),
    ],
)
def test_a_changed_row_is_an_error(tmp_path: Path, change: str, read: str) -> None:
    connection = schema.connect_writer(tmp_path / "relay.db")
    device, room = b"d" * 32, RoomState(b"r" * 16)
    for name, key in (("red", b"\xaa"), ("blue", b"\xbb")):
        applicant = Applicant(device if name == "red" else b"e" * 32, b"\x11", key, name, name, name)
        directory.enrol(connection, applicant, lambda _: None, now=0)
    room.stage_creation(device, "red")
    header = Header(Kind.REKEY, bytes(32), Seen(0, bytes(32)), remove=[b"e" * 32])
    room.stage_handshake(device, Submit(room.id, 1, 0, Kind.REKEY, pack_header(header)), header, {})
    changes = RowChanges()
    changes.save_room(room)
    changes.apply(connection)

    def look() -> object:
        if read == "room":
            return load_room(connection, room.id)
        return [directory.look_up(connection, name) for name in ("red", "blue")]

    assert look() is not None
    connection.execute(change)
    with pytest.raises(DamageError):
        look()
    connection.close()


def test_loading_rooms_leaves_no_open_cursor(tmp_path: Path) -> None:
    connection = schema.connect_writer(tmp_path / "relay.db")
    room = RoomState(bytes(16))
    room.stage_creation(bytes(32), "red")
    changes = RowChanges()
    connection.execute(
        "INSERT INTO accounts(id, account, name, folded, skeleton) VALUES (1, x'a0', 'red', 'red', 'red')"
    )
    connection.execute("INSERT INTO devices(device, account, identity) VALUES (zeroblob(32), 1, x'')")
    changes.save_room(room)
    changes.apply(connection)
    connection.execute(f"UPDATE accounts SET seal = {seals.ACCOUNT}")  # noqa: S608  (a constant)
    connection.execute(f"UPDATE devices SET seal = {seals.DEVICE}")  # noqa: S608  (a constant)
    assert load_room(connection, bytes(16)) is not None
    gc.collect()
    before = sum(isinstance(each, apsw.Cursor) for each in gc.get_objects())
    for _ in range(10):
        load_room(connection, bytes(16))
    gc.collect()
    assert sum(isinstance(each, apsw.Cursor) for each in gc.get_objects()) <= before


def test_the_restore_of_an_older_schema_is_kept_with_an_unknown_incarnation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "relay.db"
    with monkeypatch.context() as former_version:
        former_version.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:5])
        former = schema.connect_writer(path)
    later = ", (SELECT count(*) FROM joining WHERE joining.room = rooms.room)"
    seal = seals.ROOM.replace("restores", "restored").replace(later, "")
    for number, restored in enumerate((0, 517, 517)):
        former.execute(
            "INSERT INTO rooms(room, seq, restored) VALUES (?, 600, ?)", (bytes([number]) * 16, restored)
        )
    former.execute(f"UPDATE rooms SET seal = {seal}")  # noqa: S608  (a constant)
    former.execute("UPDATE rooms SET seq = 601 WHERE room = ?", (bytes([2]) * 16,))
    former.close()
    connection = schema.connect_writer(path)
    loaded = [load_room(connection, bytes([number]) * 16) for number in (0, 1)]
    assert [room.restores for room in loaded if room] == [[], [(bytes(16), 517)]]
    with pytest.raises(DamageError):
        load_room(connection, bytes([2]) * 16)


def test_invitations_of_an_older_schema_are_kept_and_their_ids_not_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "relay.db"
    with monkeypatch.context() as former_version:
        former_version.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:6])
        former = schema.connect_writer(path)
    for number, name in enumerate(("red", "blue")):
        account = (number + 1, name.encode(), name, name, name)
        former.execute(
            "INSERT INTO accounts(id, account, name, folded, skeleton) VALUES (?, ?, ?, ?, ?)", account
        )
        device = (bytes([number]) * 32, number + 1, b"identity")
        former.execute("INSERT INTO devices(device, account, identity) VALUES (?, ?, ?)", device)
    for number in range(1, 5):
        room = bytes([number]) * 16
        former.execute("INSERT INTO rooms(room, seq) VALUES (?, 1)", (room,))
        former.execute(
            "INSERT INTO welcomes(id, room, seq, sender, welcome, at) VALUES (?, ?, 1, zeroblob(32), ?, 5)",
            (number, room, b"welcome %d" % number),
        )
        former.execute(
            "INSERT INTO invitations(id, device, room, welcome, account) VALUES (?, ?, ?, ?, 1)",
            (number, bytes([1]) * 32, room, number),
        )
    former.execute(f"UPDATE welcomes SET seal = {seals.WELCOME}")  # noqa: S608  (a constant)
    former.execute("UPDATE invitations SET seal = seal('invitation', id, device, room, welcome, account, 0)")
    former.execute(f"UPDATE devices SET invited = {seals.INVITED}")  # noqa: S608  (a constant)
    former.execute("UPDATE invitations SET account = 2 WHERE id = 2")  # which is damage
    former.execute("DELETE FROM invitations WHERE id = 4")
    former.close()
    connection = schema.connect_writer(path)
    found = read_invitations(connection, bytes([1]) * 32, 0)
    assert [(each.id, each.welcome) for each in found] == [(1, b"welcome 1"), (3, b"welcome 3")]
    assert connection.execute("SELECT group_concat(id) FROM welcomes").get == "1,3"
    assert highest_ids(connection) == (4, 3)
    assert connection.execute("SELECT stored FROM accounts WHERE id = 1").get == len(b"welcome 1welcome 3")
    assert not check_count(connection, bytes([1]) * 32, DeviceCount.INVITATIONS)
    connection.execute("DELETE FROM invitations WHERE id = 1")
    assert connection.execute("SELECT group_concat(id) FROM welcomes").get == "3"
    assert connection.pragma("foreign_key_check") is None
    connection.close()
