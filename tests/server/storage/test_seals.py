"""Damaged and missing rows are refused or left out, and logged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from structlog.testing import capture_logs

from clave_server.accounts import directory
from clave_server.accounts.device_counts import DeviceCount, check_count
from clave_server.accounts.directory import Applicant
from clave_server.accounts.tokens import make_token, read_tokens, spend_token
from clave_server.admin.integrity import check_rows
from clave_server.errors import DamageError, Refusal, StorageError
from clave_server.limits.bans import Ban, BanKind, add_ban, read_bans
from clave_server.rooms import catchup
from clave_server.rooms.entry_store import RowChanges
from clave_server.rooms.invitations import read_invitations, take_invitation
from clave_server.rooms.room_state import RoomState
from clave_server.storage import schema
from clave_wire import messages as m
from relaykit import ROOM, RelayUnderTest

RED, BLUE = (
    Applicant(name * 32, b"identity", name, name.decode(), name.decode(), name.decode())
    for name in (b"r", b"b")
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    """Yield a database in which red has key packages and has invited blue to two rooms."""
    connection = schema.connect_writer(tmp_path / "relay.db")
    for applicant in (RED, BLUE):
        directory.enrol(connection, applicant, lambda _: None, now=0)
        directory.publish_key_packages(
            connection, applicant.device, 1, [b"one", b"two", b"three"], b"last", now=0
        )
    for number in (1, 2):
        room, changes = RoomState(bytes([number]) * 16), RowChanges()
        room.stage_creation(RED.device, RED.name)
        changes.save_room(room)
        changes.welcomes.append((number, room.id, 0, RED.device, b"welcome", 5))
        changes.invitations.append((number, BLUE.device, room.id, number, False))
        changes.apply(connection)
    add_ban(connection, Ban(BanKind.NAME, "pest"))
    make_token(connection, b"digest", note="", made_at=1, expires_at=None, uses=1)
    check_rows(connection)
    yield connection
    connection.close()


def claim(connection: apsw.Connection) -> list[bytes]:
    return directory.claim_key_packages(connection, RED.name, 1, 0)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE accounts SET folded = 'x' WHERE id = 1", "what the name compares as, .* of account 1 is"),
        ("UPDATE accounts SET skeleton = 'x' WHERE id = 2", "what the name compares as, .* of account 2 is"),
        ("UPDATE accounts SET person = x'' WHERE id = 2", "what the name compares as, .* of account 2 is"),
        ("UPDATE key_packages SET package = x'00' WHERE id = 1", "a key package of device (72){32} is"),
        ("UPDATE key_packages SET suite = 2 WHERE id = 4", "a key package of device (62){32} is"),
        ("UPDATE key_packages SET seal = x'' WHERE id = 4", "a key package of device (62){32} is"),
        ("UPDATE last_resorts SET package = x'00'", "a last-resort key package of device (62){32} is"),
        ("UPDATE last_resorts SET seal = x''", "a last-resort key package of device (62){32} is"),
        ("UPDATE welcomes SET welcome = x'00' WHERE id = 2", "a welcome to room (02){16} is"),
        ("UPDATE welcomes SET seq = 7 WHERE id = 2", "a welcome to room (02){16} is"),
        ("UPDATE welcomes SET sender = CAST(hex(zeroblob(16)) AS BLOB)", "a welcome to room (01){16} is"),
        ("UPDATE welcomes SET at = 7", "a welcome to room (01){16} is"),
        ("UPDATE welcomes SET seal = x''", "a welcome to room (01){16} is"),
        ("UPDATE invitations SET welcome = 1 WHERE id = 2", "an invitation of device (62){32} is"),
        ("UPDATE invitations SET acquainted = 1", "an invitation of device (62){32} is"),
        ("UPDATE invitations SET account = 2", "an invitation of device (62){32} is"),
        ("UPDATE invitations SET seal = x''", "an invitation of device (62){32} is"),
        ("UPDATE devices SET packages = x''", "count of key packages of device (62){32} is"),
        ("UPDATE devices SET invited = x''", "count of invitations of device (62){32} is"),
        ("DELETE FROM key_packages WHERE id = 1", "count of key packages of device (72){32} is"),
        ("DELETE FROM last_resorts", "count of key packages of device (62){32} is"),
        (
            "DELETE FROM invitations WHERE id = 1",
            "count of invitations of device (62){32} is",
        ),
        (
            "DELETE FROM welcomes WHERE id = 1",
            "a row of welcomes that one of invitations refers to is missing",
        ),
        ("UPDATE tokens SET uses_left = 5", "registration token 1 is"),
        ("UPDATE tokens SET note = CAST(x'ff' AS TEXT)", "registration token 1 is"),
        ("UPDATE accounts SET name = CAST(x'ff' AS TEXT) WHERE id = 1", "a text in the table accounts is"),
        ("UPDATE bans SET subject = 'past'", "the ban of 'past' is damaged"),
        ("DELETE FROM bans", "a ban is missing on disk"),
    ],
)
def test_check_rows_names_the_damaged_row(connection: apsw.Connection, damage: str, words: str) -> None:
    connection.pragma("foreign_keys", False)
    connection.execute(damage)
    with pytest.raises(DamageError, match=words):
        check_rows(connection)


# --- key packages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["package = x'00'", "seal = x''"])
def test_a_damaged_key_package_is_skipped_deleted_and_logged(
    connection: apsw.Connection, change: str
) -> None:
    connection.execute(f"UPDATE key_packages SET {change} WHERE id IN (1, 2)")  # noqa: S608  (a test's words)
    with capture_logs() as logs:
        assert claim(connection) == [b"three"]
    assert [entry["id"] for entry in logs if entry["log_level"] == "error"] == [1, 2]
    assert connection.execute("SELECT group_concat(id) FROM key_packages").get == "4,5,6"
    with capture_logs() as logs:
        assert claim(connection) == [b"last"]
    assert not logs
    check_rows(connection)


def test_a_damaged_last_resort_is_refused_as_damage(connection: apsw.Connection) -> None:
    connection.execute("UPDATE last_resorts SET package = x'00'")
    assert [claim(connection) for _ in range(3)] == [[b"one"], [b"two"], [b"three"]]
    with capture_logs() as logs, pytest.raises(DamageError, match="0x0001 of this name are damaged"):
        claim(connection)
    assert logs
    directory.publish_key_packages(connection, RED.device, 1, [], b"new", now=0)
    assert claim(connection) == [b"new"]


def test_a_damaged_time_makes_no_key_package_expire(connection: apsw.Connection) -> None:
    connection.execute("UPDATE key_packages SET not_after = 5 WHERE id = 1")
    assert directory.claim_key_packages(connection, RED.name, 1, 100) == [b"two"]
    connection.execute("UPDATE key_packages SET not_after = 5 WHERE id = 3")
    with pytest.raises(DamageError, match="a key package of device"):
        check_rows(connection)


def test_expired_key_packages_leave_the_count_right(connection: apsw.Connection) -> None:
    directory.publish_key_packages(connection, RED.device, 1, [b"four"] * 5, b"", now=0, not_after=50)
    assert directory.claim_key_packages(connection, RED.name, 1, 100) == [b"one"]
    check_rows(connection)
    found = directory.find_device(connection, RED, 100)
    assert found is not None
    assert found.key_packages == [(1, 2)]
    connection.execute("DELETE FROM key_packages WHERE id = 2")
    found = directory.find_device(connection, RED, 100)
    assert found is not None
    assert found.key_packages == [(1, 1)], "after a loss, too"


@pytest.mark.parametrize("lost", ["key_packages", "last_resorts", "invitations"])
def test_missing_rows_of_a_device_are_logged_once_and_then_recounted(
    connection: apsw.Connection, lost: str
) -> None:
    connection.execute(f"DELETE FROM {lost}")  # noqa: S608  (a test's own words)
    found = directory.find_device(connection, BLUE, 0)
    assert found is not None
    assert found.key_packages == ([] if lost == "key_packages" else [(1, 3)])
    what = DeviceCount.INVITATIONS if lost == "invitations" else DeviceCount.KEY_PACKAGES
    assert [check_count(connection, BLUE.device, each) for each in DeviceCount] == [
        each != what for each in DeviceCount
    ]
    for times in (1, 0):
        with capture_logs() as logs:
            directory.publish_key_packages(connection, BLUE.device, 2, [b"x"], b"x", now=0)
            take_invitation(connection, BLUE.device, 7)
        assert [entry["log_level"] for entry in logs] == ["error"] * times


def test_an_empty_pool_is_damage_only_if_it_had_key_packages(connection: apsw.Connection) -> None:
    with pytest.raises(Refusal):
        directory.claim_key_packages(connection, RED.name, 7, 0)
    connection.execute("DELETE FROM key_packages")
    connection.execute("DELETE FROM last_resorts")
    with pytest.raises(DamageError):
        claim(connection)


def change_behind_the_index(connection: apsw.Connection, index: str, change: str) -> None:
    """Change a row but not its index, as a bit flip on disk does."""
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    row = connection.execute("SELECT * FROM sqlite_schema WHERE name = ?", (index,)).get
    connection.pragma("writable_schema", True)
    connection.execute("DELETE FROM sqlite_schema WHERE name = ?", (index,))
    connection.pragma("writable_schema", "reset")
    connection.execute(change)
    connection.pragma("writable_schema", True)
    connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row)
    connection.pragma("writable_schema", "reset")


@pytest.mark.parametrize("change", ["suite = 2", "device = zeroblob(32)", "device = CAST('b' AS BLOB)"])
def test_a_key_package_that_its_index_contradicts_is_not_handed_out(
    connection: apsw.Connection, change: str
) -> None:
    connection.pragma("foreign_keys", False)
    wrong = f"UPDATE key_packages SET {change} WHERE id = 1"  # noqa: S608  (a test's own words)
    change_behind_the_index(connection, "key_packages_of_device", wrong)
    with pytest.raises(apsw.CorruptError):
        connection.execute("DELETE FROM key_packages WHERE id = 1")
    with capture_logs() as logs:
        assert [claim(connection) for _ in range(3)] == [[b"two"], [b"three"], [b"last"]]
    assert [entry["id"] for entry in logs] == [1, 1, 1]


def test_a_key_package_of_another_device_that_an_index_points_at_is_not_handed_out(
    connection: apsw.Connection,
) -> None:
    swap = "UPDATE key_packages SET id = 40 WHERE id = 1; UPDATE key_packages SET id = 1 WHERE id = 4"
    change_behind_the_index(connection, "key_packages_of_device", swap)
    with capture_logs() as logs:
        assert [claim(connection) for _ in range(3)] == [[b"two"], [b"three"], [b"last"]]
    assert logs


async def test_a_token_missing_from_its_index_is_damage_and_not_a_wrong_token(
    connection: apsw.Connection,
) -> None:
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    connection.execute("CREATE TABLE empty(digest BLOB NOT NULL UNIQUE) STRICT")
    connection.pragma("writable_schema", True)
    connection.execute(
        "UPDATE sqlite_schema SET rootpage ="
        " (SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_empty_1')"
        " WHERE name = 'sqlite_autoindex_tokens_1'"
    )
    connection.execute("DELETE FROM sqlite_schema WHERE tbl_name = 'empty'")
    connection.pragma("writable_schema", "reset")
    with pytest.raises(DamageError, match="index is damaged"):
        spend_token(connection, b"digest", 2)
    with pytest.raises(Refusal):
        spend_token(connection, b"another", 2)


def test_a_missing_device_of_an_account_is_an_error(connection: apsw.Connection) -> None:
    phone = Applicant(b"p" * 32, b"identity", RED.account, RED.name, RED.folded, RED.skeleton)
    directory.enrol(connection, phone, lambda _: None, now=0)
    assert len(directory.look_up(connection, RED.name)) == 2
    connection.execute("DELETE FROM devices WHERE device = ?", (phone.device,))
    with pytest.raises(DamageError):
        directory.look_up(connection, RED.name)
    with capture_logs() as logs:
        assert directory.find_device(connection, RED, 0)  # who is whole logs in
        directory.enrol(connection, phone, lambda _: None, now=0)
    assert [entry["log_level"] for entry in logs] == ["error", "error"]
    assert len(directory.look_up(connection, RED.name)) == 2


def test_the_next_login_of_an_account_repairs_its_compared_names(connection: apsw.Connection) -> None:
    connection.execute("UPDATE accounts SET folded = 'x', skeleton = 'y' WHERE id = 1")
    phone = Applicant(b"p" * 32, b"identity", RED.account, RED.name, RED.folded, RED.skeleton)
    directory.enrol(connection, phone, lambda _: None, now=0)
    assert connection.execute("SELECT folded, skeleton FROM accounts WHERE id = 1").get == ("r", "r")
    check_rows(connection)


# --- invitations ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE welcomes SET welcome = x'00' WHERE id = 1",
        "UPDATE welcomes SET seq = 7 WHERE id = 1",
        "UPDATE welcomes SET sender = CAST(hex(zeroblob(16)) AS BLOB) WHERE id = 1",
        "UPDATE invitations SET welcome = 2 WHERE id = 1",
        "UPDATE invitations SET id = 3 WHERE id = 1",
        "DELETE FROM welcomes WHERE id = 1",
    ],
)
def test_a_damaged_invitation_is_left_out_and_logged(connection: apsw.Connection, damage: str) -> None:
    connection.pragma("foreign_keys", False)
    connection.execute(damage)
    with capture_logs() as logs:
        found = read_invitations(connection, BLUE.device, 0)
    assert [(each.id, each.welcome) for each in found] == [(2, b"welcome")]
    assert [(entry["log_level"], entry["id"] in (1, 3)) for entry in logs] == [("error", True)]


async def test_a_relay_refuses_and_logs_damaged_rows(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    await blue.ask(m.PublishKeyPackages(9, 1, [b"one"], b""))
    await blue.close()
    for welcome in (b"first", b"second"):
        room = welcome.ljust(16)
        await red.create(room)
        device = (blue.participant.device,)
        await red.submit(red.entry(b"c", room=room, kind=m.Kind.COMMIT, add=device, welcome=welcome))
    connection = apsw.Connection(str(relay.database))
    connection.execute("UPDATE key_packages SET package = x'00'")
    connection.execute("UPDATE welcomes SET welcome = x'00' WHERE welcome = CAST('first' AS BLOB)")
    connection.close()
    with capture_logs() as logs:
        refused = await red.ask(m.ClaimKeyPackages(1, "blue", 1))
        assert isinstance(refused, m.Refused)
        assert refused.code is m.Code.STORAGE
        back = await relay.join(blue.participant)
        assert (await back.expect(m.Invitation)).welcome == b"second"
        await red.say(b"goes on", room=ROOM)
    told = [entry["event"] for entry in logs if entry["log_level"] == "error"]
    assert len(told) == 3
    assert re.search("key package not .* directory .* invitation not", " ".join(told))


async def test_unreadable_invitations_are_logged(
    relay: RelayUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StorageError("a broken page")

    monkeypatch.setattr(catchup, "read_invitations", fail)
    with capture_logs() as logs:
        red = await relay.join("red")
        assert isinstance(await red.ask(m.Lookup(1, "red")), m.Account)
    assert ("invitations not sent: they cannot be read", "a broken page") in [
        (entry["event"], entry.get("reason")) for entry in logs
    ]


def test_a_migration_seals_bans_and_tokens(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    path.touch(0o600)
    older = schema.connect(path, apsw.SQLITE_OPEN_READWRITE)
    for migration in schema.MIGRATIONS[:3]:
        older.execute(migration)
    older.pragma("application_id", schema.APPLICATION_ID)
    older.pragma("user_version", 3)
    older.execute("INSERT INTO bans VALUES ('name', 'red', '', 1), ('network', '192.0.2.0/24', '', 2)")
    older.execute("INSERT INTO tokens(digest, note, made_at) VALUES (x'00', 'note', 1)")
    older.close()
    connection = schema.connect_writer(path)
    assert [ban.subject for ban in read_bans(connection)] == ["red", "192.0.2.0/24"]
    assert [token.note for token in read_tokens(connection)] == ["note"]
    check_rows(connection)
    connection.close()
