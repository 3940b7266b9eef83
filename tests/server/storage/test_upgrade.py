"""A relay migrates what an older one left, and refuses what a newer one left."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import apsw
import pytest

from clave_crypto.identity import AccountKey, DeviceKey
from clave_crypto.keys import Secret
from clave_server.admin.integrity import check_rows
from clave_server.errors import DamageError, StartError
from clave_server.storage import schema, seals
from clave_wire import messages as m
from linkkit import found, joining, listed, offer, put
from relaykit import ROOM, Participant, RelayProcess, RelayUnderTest, entries

SEALS = {
    "key_packages": seals.KEY_PACKAGE,
    "last_resorts": seals.LAST_RESORT,
    "welcomes": seals.WELCOME,
    "invitations": seals.INVITATION,
}
STORED = Path(__file__).parent / "stored"


def former_participant(name: str, version: int = 2) -> Participant:
    keys = json.loads((STORED / f"version-{version}.json").read_text())[name]
    account = AccountKey.from_secret(Secret(bytes.fromhex(keys["account"])))
    participant = Participant(name, account)
    participant.key = DeviceKey.from_secret(Secret(bytes.fromhex(keys["device"])))
    participant.device = participant.key.public
    participant.identity = account.certify(name, "laptop", participant.device)
    return participant


def place_stored_database(data: Path, version: int = 2) -> Path:
    data.mkdir(mode=0o700)
    database = data / "relay.db"
    database.touch(0o600)
    database.write_bytes(gzip.decompress((STORED / f"version-{version}.db.gz").read_bytes()))
    return database


async def start_with_version(relay: RelayUnderTest, version: int) -> None:
    """Start the relay on the data that a relay of that version left."""
    await relay.stop()
    relay.folder /= "before"
    relay.folder.mkdir()
    assert schema.versions_behind(place_stored_database(relay.folder / "data", version)) > 0
    relay.settings["new_identity"] = True
    await relay.start()


async def test_everything_of_version_2_is_migrated(relay: RelayUnderTest) -> None:
    await start_with_version(relay, 2)
    red = await relay.join(former_participant("red"))
    assert not red.logged_in.registered
    resumed = await red.resume(0)
    assert (resumed.seq, resumed.submission, resumed.legacy, resumed.restores) == (7, 6, 7, [])
    assert {name for _, name in resumed.members} == {"red", "green"}
    said = [(await red.expect(m.Entry)).payload for _ in range(7)]
    assert said[1:3] == [b"hello", b"hello to you"]
    assert said[4:] == [b"0", b"1", b"2"]

    green = await relay.join(former_participant("green"))
    assert green.logged_in.key_packages == [(2, 2)]
    invitation = await green.expect(m.Invitation)
    assert (invitation.room, invitation.seq, invitation.welcome) == (ROOM, 4, b"welcome")
    await green.resume(invitation.seq)
    assert [(await green.expect(m.Entry)).payload for _ in range(3)] == [b"0", b"1", b"2"]
    claims = [await red.ask(m.ClaimKeyPackages(red.next_id(), "green", 2)) for _ in range(3)]
    packages = [package for claim in claims if isinstance(claim, m.KeyPackages) for package in claim.packages]
    assert packages == [b"package 1", b"package 2", b"last resort"]

    blue = await relay.join(former_participant("blue"))
    assert (await blue.resume(1)).seq == 4  # where it was taken out

    assert isinstance(await red.ask(red.entry(b"2", read=4)), m.Rejected)
    again = red.entry(b"2", read=7)
    assert again.submission == 7
    assert (await red.submit(again)).seq == 8
    assert (await green.expect(m.Entry)).seq == 8


def test_a_migration_seals_the_rows_of_older_versions(tmp_path: Path) -> None:
    connection = schema.connect_writer(place_stored_database(tmp_path / "data"))
    check_rows(connection)
    assert connection.execute("SELECT count(*) FROM invitations WHERE account IS NULL").get == 0
    for table in ("key_packages", "last_resorts", "welcomes", "invitations"):
        assert connection.execute(f"SELECT count(*) FROM {table}").get  # noqa: S608  (constants)
        connection.execute(f"UPDATE {table} SET seal = x''")  # noqa: S608  (constants)
        with pytest.raises(DamageError):
            check_rows(connection)
        connection.execute(f"UPDATE {table} SET seal = {SEALS[table]}")  # noqa: S608  (constants)
    check_rows(connection)
    connection.close()


def test_a_key_package_damaged_before_the_migration_stays_damaged(tmp_path: Path) -> None:
    database = place_stored_database(tmp_path / "data")
    with pytest.MonkeyPatch.context() as former_version:
        former_version.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:7])
        former = schema.connect_writer(database)
    former.execute("UPDATE key_packages SET package = x'00' WHERE id = (SELECT min(id) FROM key_packages)")
    former.close()
    connection = schema.connect_writer(database)
    whole = connection.execute(f"SELECT seal = {seals.KEY_PACKAGE}, not_after FROM key_packages").fetchall()  # noqa: S608
    assert whole == [(0, 0), (1, 0)]
    with pytest.raises(DamageError, match="a key package of device"):
        check_rows(connection)
    connection.close()


async def test_a_resubmission_from_before_the_migration_gets_its_seq(relay: RelayUnderTest) -> None:
    await start_with_version(relay, 2)
    red = await relay.join(former_participant("red"))
    await red.resume(7)
    red.participant.submissions[ROOM] = 5
    assert (await red.submit(red.entry(b"2", read=4))).seq == 7


async def test_everything_of_version_3_is_migrated(relay: RelayUnderTest) -> None:
    await start_with_version(relay, 3)
    blue, red = (
        await relay.join(former_participant("blue", 3)),
        await relay.join(former_participant("red", 3)),
    )
    resumed = await blue.resume(1)
    assert (resumed.seq, resumed.submission, resumed.legacy, resumed.restores) == (7, 5, 7, [])
    assert {name for _, name in resumed.members} == {"blue", "green"}
    said = await entries(blue, 6)
    assert [entry.payload for entry in said] == [
        b"hello",
        b"hello to you",
        b"green for red",
        b"0",
        b"1",
        b"2",
    ]
    assert [entry.epoch for entry in said] == [1, 1, 1, 2, 2, 2]  # as they were
    assert (await red.resume(1)).seq == 4  # where it was taken out
    await entries(red, 3)

    green = await relay.join(former_participant("green", 3))
    invitation = await green.expect(m.Invitation)
    assert (invitation.seq, invitation.welcome) == (4, b"welcome")
    assert isinstance(await green.ask(m.TakeInvitation(1, invitation.id)), m.Done)
    assert (await green.resume(4)).legacy == 7
    await entries(green, 3)
    assert (await blue.submit(blue.entry(b"begin anew", kind=m.Kind.COMMIT, read=7))).seq == 8
    await relay.restart()
    green = await relay.join(green.participant)
    resumed = await green.resume(7)
    assert (resumed.seq, resumed.legacy) == (8, 7)


async def test_a_room_of_before_takes_offers_and_who_joins_by_a_link(relay: RelayUnderTest) -> None:
    await start_with_version(relay, 3)
    blue, stranger = await relay.join(former_participant("blue", 3)), await relay.join("stranger")
    link = DeviceKey.generate()
    await put(blue, offer(listed(link)))
    assert (await found(stranger, link)).handshake == 7
    assert (await stranger.submit(joining(stranger, link))).seq == 8
    await relay.stop()
    connection = schema.connect_reader(relay.database)
    check_rows(connection)
    connection.close()
    await relay.start()


@pytest.mark.parametrize(("version", "reader"), [(2, "red"), (3, "blue")])
async def test_the_times_of_older_entries_are_told(
    relay: RelayUnderTest, tmp_path: Path, version: int, reader: str
) -> None:
    connection = apsw.Connection(str(place_stored_database(tmp_path / "former", version)))
    rows: list[Any] = connection.execute(
        "SELECT first_seq, last_seq, at FROM segments ORDER BY last_seq"
    ).fetchall()
    connection.close()
    stored = [(seq, at) for first, last, at in rows for seq in range(first, last + 1)]
    assert len({at for _, at in stored}) > 1
    await start_with_version(relay, version)
    client = await relay.join(former_participant(reader, version))
    await client.resume(1)
    await entries(client, 6)
    assert client.times[ROOM] == stored[1:]


async def test_a_room_damaged_before_the_migration_is_refused_afterwards(relay: RelayUnderTest) -> None:
    await relay.stop()
    relay.folder /= "before"
    relay.folder.mkdir()
    connection = apsw.Connection(str(place_stored_database(relay.folder / "data", 3)))
    connection.execute("UPDATE rooms SET epoch = epoch + 1")
    connection.close()
    relay.settings["new_identity"] = True
    await relay.start()
    blue = await relay.join(former_participant("blue", 3))
    refused = await blue.ask(m.Resume(1, ROOM, 1))
    assert isinstance(refused, m.Refused)
    assert refused.code is m.Code.STORAGE


@pytest.mark.parametrize("change", ["newer", "older code"])
async def test_a_database_of_a_newer_relay_is_refused_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    database = place_stored_database(tmp_path / "data")
    connection = schema.connect_writer(database)
    if change == "newer":
        connection.pragma("user_version", len(schema.MIGRATIONS) + 1)
    else:  # what the relay of before knew
        monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:2])
    connection.close()
    before = database.read_bytes()
    with pytest.raises(StartError, match="was written by a newer clave-relay; update this one"):
        schema.connect_writer(database)
    assert database.read_bytes() == before
    if change == "newer":
        async with RelayProcess(tmp_path / "data", ready=False) as process:
            assert await process.last_words() == (
                f"Error: the database {database} was written by a newer clave-relay; update this one"
            )
        assert database.read_bytes() == before
