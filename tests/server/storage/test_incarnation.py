"""A relay that runs on a backup says so, in its log and to every client."""

from __future__ import annotations

import subprocess
from pathlib import Path

import apsw
import pytest
from structlog.testing import capture_logs

from clave_server.admin.backup import back_up
from clave_server.admin.integrity import check_rows
from clave_server.errors import DamageError, StartError
from clave_server.rooms.entry_store import load_room
from clave_server.storage import schema
from clave_server.storage.incarnation import begin_anew, read_incarnation
from clave_wire import messages as m
from relaykit import ROOM, RelayUnderTest, entries

OTHER_ROOM = bytes(16)


def restore(relay: RelayUnderTest, backup: Path) -> None:
    """Replace the database of a stopped relay by a backup."""
    for file in (relay.folder / "data").glob("relay.db*"):
        file.unlink()
    subprocess.run(["tar", "-xpf", str(backup), "-C", str(relay.folder / "data")], check=True, timeout=30)  # noqa: S607  (the system's)


async def test_a_restored_relay_reports_its_new_incarnation_and_what_it_kept(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    await red.create(OTHER_ROOM)
    rekey = red.entry(b"rekey", kind=m.Kind.REKEY, remove=(blue.participant.device,))
    await red.submit(rekey)
    await red.say(b"kept")  # the room's own row does not count it
    back_up(relay.folder / "data", relay.folder / "backup.tar")
    await red.say(b"lost")
    await relay.stop()
    restore(relay, relay.folder / "backup.tar")
    with capture_logs() as logs:
        await relay.start()
    assert [entry["event"] for entry in logs if "restored" in entry["event"]] == [
        "database restored from a backup; clients are told when they log in"
    ]
    back = await relay.join(red.participant)
    assert back.logged_in.incarnation != red.logged_in.incarnation
    resumed = await back.resume(4)
    former = red.logged_in.incarnation
    assert (resumed.seq, resumed.submission, resumed.restores, resumed.legacy) == (3, 3, [(former, 3)], 0)
    assert (await back.resume(0, OTHER_ROOM)).restores == [(former, 0)]
    back.participant.submissions[ROOM] = resumed.submission
    green = await relay.join(green.participant)
    await green.resume(1)
    await entries(green, 2)
    await green.submit(green.confirm(rekey))  # which is known no more
    assert len((await green.resume(4)).members) == 3

    with capture_logs() as logs:
        await relay.restart()
    assert not [entry for entry in logs if "restored" in entry["event"]]
    again = await relay.join(red.participant)
    assert again.logged_in.incarnation == back.logged_in.incarnation
    resumed = await again.resume(4)
    assert (resumed.seq, resumed.restores) == (4, [(former, 3)])


async def test_a_backup_does_not_change_the_incarnation_of_its_relay(relay: RelayUnderTest) -> None:
    (red,) = await relay.room_of("red")
    back_up(relay.folder / "data", relay.folder / "backup.tar")
    reader = schema.connect_reader(relay.database)
    assert [key for (key,) in reader.execute("SELECT key FROM meta")] == ["clock", "incarnation"]
    reader.close()
    await relay.restart()
    back = await relay.join(red.participant)
    assert back.logged_in.incarnation == red.logged_in.incarnation
    assert (await back.resume(1)).restores == []


async def test_a_restore_is_atomic_and_leaves_damaged_rooms_damaged(
    relay: RelayUnderTest,
) -> None:
    red, blue = await relay.room_of("red", "blue")
    await red.submit(red.entry(b"rekey", kind=m.Kind.REKEY))
    await blue.expect(m.Entry)
    await red.create(OTHER_ROOM)
    back_up(relay.folder / "data", relay.folder / "backup.tar")
    await relay.stop()
    restore(relay, relay.folder / "backup.tar")
    connection = schema.connect_writer(relay.database)
    before = read_incarnation(connection)
    connection.execute("UPDATE rooms SET seq = 9 WHERE room = ?", (OTHER_ROOM,))
    connection.execute(
        "CREATE TEMP TRIGGER fail BEFORE UPDATE OF seal ON rooms BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with pytest.raises(apsw.ConstraintError):
        begin_anew(connection)
    connection.execute("DROP TRIGGER fail")
    assert read_incarnation(connection) == before
    assert connection.execute("SELECT count(*) FROM rekeys").get == 1
    assert begin_anew(connection)
    assert not begin_anew(connection)
    loaded = load_room(connection, ROOM)
    assert loaded is not None
    assert (loaded.restores, loaded.rekeys) == ([(before, 2)], {})
    with pytest.raises(DamageError):
        load_room(connection, OTHER_ROOM)
    with pytest.raises(DamageError, match=r"the state of room 0{32} is damaged"):
        check_rows(connection)
    connection.execute("UPDATE meta SET value = x'00'")
    with pytest.raises(StartError, match="incarnation is damaged"):
        read_incarnation(connection)
    connection.close()
    restore(relay, relay.folder / "backup.tar")
    await relay.start()
