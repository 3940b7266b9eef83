"""Failing and full disks, damaged files: what clients are told, and that the rest goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import apsw
import pytest
from structlog.testing import capture_logs

from clave_server.accounts import directory
from clave_server.accounts.tokens import make_token, read_tokens
from clave_server.errors import DamageError, Refusal, StartError, StorageError
from clave_server.limits.bans import Ban, BanKind, add_ban, read_bans
from clave_server.rooms import entry_store
from clave_server.rooms.invitations import highest_ids, read_invitations
from clave_server.storage import schema
from clave_server.storage.db_thread import in_transaction
from clave_wire import messages as m
from diskkit import Disk
from relaykit import ROOM, Participant, RawClient, RelayProcess, RelayUnderTest, running_relay

OTHER_ROOM = bytes(16)

_T = TypeVar("_T")


@pytest.fixture
def disk() -> Iterator[Disk]:
    with Disk() as failing:
        yield failing


# --- a disk that fails ---------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["write", "sync", "full"])
async def test_a_failing_disk_refuses_all_writes_until_it_works_again(
    disk: Disk, tmp_path: Path, call: str
) -> None:
    async with running_relay(tmp_path) as relay:
        red, blue = await relay.room_of("red", "blue")
        await red.say(b"before")
        await blue.expect(m.Entry)
        with capture_logs() as logs:
            disk.failing.add(call)
            refused = []
            for number in range(3):
                refused.append(red.entry(b"during %d" % number))
                answer = await red.ask(refused[-1])
                assert isinstance(answer, m.Rejected)
                assert answer.code is m.Code.STORAGE
            assert isinstance(await red.ask(m.PublishKeyPackages(9, 1, [b"package"], b"")), m.Refused)
            back = await relay.join(blue.participant)  # what is there is still handed out
            await back.resume(1)
            assert (await back.expect(m.Entry)).payload == b"before"
            disk.failing.clear()
            assert (await red.submit(refused[0])).seq == 3  # the number was not used up
        assert (await back.expect(m.Entry)).payload == b"during 0"
        told = [entry["event"] for entry in logs if entry["log_level"] == "error"]
        assert len(told) == 1  # however much failed
        assert "free space or repair the disk" in told[0]
        assert logs[-1]["event"] == "storage works again"
        await relay.restart()
        again = await relay.join(red.participant)
        await again.resume(2)
        assert (await again.expect(m.Entry)).payload == b"during 0"


async def test_a_refused_entry_is_not_on_disk_after_a_kill(disk: Disk, tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        (red,) = await relay.room_of("red")
        disk.failing.add("sync")
        assert isinstance(await red.ask(red.entry(b"refused")), m.Rejected)
        left = copy(relay, tmp_path / "left")
        disk.failing.clear()
        connection = schema.connect_writer(left)
        room = entry_store.load_room(connection, ROOM)
        assert room is not None
        assert room.seq == 1
        connection.close()


async def test_an_unreadable_sector_affects_only_its_room(disk: Disk, tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        (red,) = await relay.room_of("red")
        await red.say(b"on a bad sector" * 1000)
        await red.create(OTHER_ROOM)
        await red.say(b"fine", room=OTHER_ROOM)
        await relay.restart()  # brings it all from the log into the database
        where = relay.database.read_bytes().rindex(b"on a bad sector" * 10)
        disk.unreadable = range(where, where + 1)
        back = await relay.join(red.participant)
        await back.send(m.Resume(7, ROOM, 1))
        await back.expect(m.Resumed)
        refused = await back.expect(m.Refused)
        assert (refused.id, refused.code) == (7, m.Code.STORAGE)
        await back.resume(0, OTHER_ROOM)
        assert (await back.expect(m.Entry)).payload == b"fine"
        assert (await back.say(b"on", room=OTHER_ROOM)).seq == 2
        disk.unreadable = range(0)
        await back.resume(1)
        assert (await back.expect(m.Entry)).payload == b"on a bad sector" * 1000


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of 4 MiB, if this process may."""
    folder.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk to fill")
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while file.tell() < 2**23:
            try:
                file.write(bytes(4096))
            except OSError:
                return
    raise AssertionError("this disk has no end")


async def test_a_full_disk_refuses_writes_until_space_is_freed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        red = Participant("red")
        async with RelayProcess(disk / "data") as process:
            client = await (await RawClient.connect(process.port)).log_in(red)
            await client.create()
            await client.say(b"before")
            fill(disk / "junk")
            large = client.entry(bytes(500_000))
            for _ in range(3):
                answer = await client.ask(large)
                assert isinstance(answer, m.Rejected)
                assert answer.code is m.Code.STORAGE
            (disk / "junk").unlink()
            assert (await client.submit(large)).seq == 2
            os.kill(process.pid, signal.SIGKILL)
            assert await client.closed() is None
            await client.close()
        fill(disk / "junk")
        async with RelayProcess(disk / "data", ready=False) as process:
            why = f"cannot open the database {disk}/data/relay.db: its disk is full; free space"
            assert await process.last_words() == f"Error: {why}"
        (disk / "junk").unlink()
        async with RelayProcess(disk / "data") as process:
            client = await (await RawClient.connect(process.port)).log_in(red)
            assert (await client.resume(0)).seq == 2
            await client.close()


# --- files that are damaged ----------------------------------------------------------------------------


async def test_a_damaged_account_affects_no_other_account(relay: RelayUnderTest) -> None:
    red, _ = await relay.room_of("red", "blue")
    await relay.join("green")
    await relay.stop()
    connection = apsw.Connection(str(relay.database))
    connection.execute("UPDATE accounts SET account = x'00' WHERE name = 'green'")
    connection.execute("UPDATE accounts SET name = CAST(x'62ff' AS TEXT) WHERE name = 'blue'")
    connection.close()
    await relay.start()
    with capture_logs() as logs:
        red = await relay.join(red.participant)
        await red.create(OTHER_ROOM)
        await red.resume(0, OTHER_ROOM)
        claim = red.connection.send(m.ClaimKeyPackages(7, "green", 1))
        await red.write(claim + red.connection.send(red.entry(b"in one flush", room=OTHER_ROOM)))
        answers = [await red.receive() for _ in range(2)]
        assert [type(answer) for answer in answers] == [m.Accepted, m.Refused]
        for request in (m.Lookup(8, "green"), m.Resume(9, ROOM, 1)):
            answer = await red.ask(request)
            assert isinstance(answer, m.Refused)
            assert (answer.id, answer.code) == (request.id, m.Code.STORAGE)
            assert "damaged on disk" in answer.text
        assert isinstance(await red.ask(m.Lookup(10, "red")), m.Account)
    told = [entry["event"] for entry in logs if entry["log_level"] == "error"]
    assert told == ["directory request failed"] * 2 + ["room request failed"]


@pytest.mark.parametrize("lost", ["rooms", "stays WHERE left IS NULL", "submissions", "devices", "accounts"])
async def test_a_missing_row_of_a_room_is_an_error(relay: RelayUnderTest, lost: str) -> None:
    await relay.room_of("red", "blue")
    reader = schema.connect_reader(relay.database)
    assert entry_store.load_room(reader, ROOM)
    connection = apsw.Connection(str(relay.database))
    connection.execute(f"DELETE FROM {lost}")  # noqa: S608  (a test's own words)
    connection.close()
    with pytest.raises(DamageError):
        entry_store.load_room(reader, ROOM)
    reader.close()


async def test_a_start_reports_damage_in_one_line(tmp_path: Path) -> None:
    database = place_database(tmp_path / "data", b"")
    database.parent.chmod(0o700)
    connection = schema.connect_writer(database)
    page: int = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'bans'").get
    connection.close()
    with database.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"x")
    async with RelayProcess(tmp_path / "data", ready=False) as process:
        assert "is damaged or not a database; restore it from a backup" in await process.last_words()
        assert process.process.returncode == 1


ROOMS = (ROOM, OTHER_ROOM)
NAMES = ("red", "blue", "green")
FLIPS = 300

Reading = dict[tuple[object, ...], Any]


def attempt(read: Callable[[], _T]) -> _T | StorageError:
    """Read as the database threads do; return an error as `StorageError`."""
    try:
        return read()
    except (apsw.Error, UnicodeDecodeError) as error:
        return StorageError(str(error))
    except StorageError as error:
        return error


def read_all_invitations(writer: apsw.Connection) -> list[m.Invitation]:
    devices: list[Any] = writer.execute("SELECT DISTINCT device FROM invitations").fetchall()
    return [each for (device,) in devices for each in read_invitations(writer, device, 0)]


def read_everything(database: Path) -> Reading:
    """Open a database as a relay does and read what there is. Raises `StartError`."""
    reading: Reading = {}
    writer = schema.connect_writer(database)
    try:
        with schema.start_errors(database):
            highest_ids(writer)
            reading["bans",] = read_bans(writer)
        reading["tokens",] = attempt(partial(read_tokens, writer))
        for key in ROOMS:
            room = attempt(partial(entry_store.load_room, writer, key))
            if isinstance(room, StorageError) or room is None:
                reading["room", key] = room
                continue
            reading["room", key] = (
                room.seq,
                room.handshake,
                room.legacy,
                room.restores,
                room.rekeys,
                room.members,
                room.memberships,
                room.recent,
            )
            after = 0
            while after < room.seq:
                chunk = attempt(partial(entry_store.read_entries, writer, key, after, room.seq))
                reading["entries", key, after] = chunk
                after = room.seq if isinstance(chunk, StorageError) else chunk.last
        for name in NAMES:
            try:
                reading["name", name] = attempt(partial(directory.look_up, writer, name))
            except Refusal:
                reading["name", name] = None
            try:
                reading["package", name] = attempt(partial(directory.claim_key_packages, writer, name, 1, 0))
            except Refusal:
                reading["package", name] = None
        reading["invitations",] = attempt(partial(read_all_invitations, writer))
    finally:
        writer.close()
    return reading


def copy(relay: RelayUnderTest, folder: Path) -> Path:
    """Copy the database as a kill would leave it now."""
    folder.mkdir()
    for file in relay.database.parent.glob("relay.db*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, folder)
    return folder / "relay.db"


def add_bans_and_tokens(writer: apsw.Connection) -> None:
    for number in range(5):
        add_ban(writer, Ban(BanKind.NAME, f"pest{number}", "", number))
        make_token(writer, bytes([number]) * 32, note="", made_at=1, expires_at=None, uses=1)


async def make_used_database(folder: Path) -> Path:
    """Run a relay that writes every kind of row; return its database as a kill would leave it."""
    async with running_relay(folder) as relay:
        red, blue = await relay.room_of("red", "blue")
        green = await relay.join("green")
        added, gone = (green.participant.device,), (blue.participant.device,)
        for sender, submit in (
            (red, red.entry(b"one")),
            (blue, blue.entry(os.urandom(6000))),
            (red, red.entry(b"come", kind=m.Kind.COMMIT, add=added, welcome=b"w")),
            (blue, blue.entry(b"two", read=4)),
            (red, red.entry(b"rekey", kind=m.Kind.REKEY, remove=added, read=4)),
            (blue, blue.entry(b"go", kind=m.Kind.PROPOSAL, remove=gone, read=6)),
        ):
            await sender.send(submit)
            while not isinstance(await sender.receive(), m.Accepted):
                pass
        await green.expect(m.Invitation)
        for client in (red, blue, green):
            mine = [b"%s %d" % (client.participant.name.encode(), number) * 100 for number in range(3)]
            await client.send(m.PublishKeyPackages(client.next_id(), 1, mine[1:], mine[0]))
            while not isinstance(await client.receive(), m.Done):
                pass
        writer = schema.connect_writer(relay.database)
        in_transaction(writer, add_bans_and_tokens)
        writer.close()
        await green.create(OTHER_ROOM)
        return copy(relay, folder / "copy")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    (tmp_path / "life").mkdir()
    return asyncio.run(make_used_database(tmp_path / "life"))


def flip_bit(content: bytes, place: int, dice: Random) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1 << dice.randrange(8)
    return bytes(changed)


def place_database(folder: Path, database: bytes, log_ahead: bytes | None = None) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / "relay.db"
    path.touch(0o600)
    path.write_bytes(database)
    if log_ahead is not None:
        (folder / "relay.db-wal").write_bytes(log_ahead)
    return path


def test_a_flipped_bit_in_the_database_never_changes_what_is_read(database: Path, tmp_path: Path) -> None:
    """What is read is unchanged, refused or left out; a key package is one that was published."""
    read_everything(database)  # which brings the log ahead into the database
    truth, content = read_everything(database), database.read_bytes()
    dice, noticed = Random(FLIPS), 0  # noqa: S311  (dice, not keys)
    for number in range(FLIPS):
        page = number * 4096 % len(content)
        place = page + dice.randrange(dice.choice([32, 256, 4096]))
        try:
            found = read_everything(place_database(tmp_path / "flipped", flip_bit(content, place, dice)))
        except (StartError, DamageError):
            noticed += 1
            continue
        for what, value in found.items():
            if isinstance(value, StorageError):
                noticed += 1
            elif what[0] == "name":
                assert set(value or ()) <= set(truth[what]), (what, place)
            elif what[0] == "entries":  # as they were, up to where one is missed
                key, after = what[1:]
                whole = truth["entries", key, 0].frames
                assert value.frames in whole if after else whole.startswith(value.frames), (what, place)
            elif what[0] == "package":
                published = {b"%s %d" % (str(what[1]).encode(), each) * 100 for each in range(3)}
                assert set(value or ()) <= published, (what, place)
            elif what[0] == "invitations":
                assert all(each in truth.get(what, ()) for each in value), (what, place)
            else:
                assert value == truth.get(what), (what, place)
    assert noticed > FLIPS // 10


def test_a_damaged_truncated_or_missing_wal_leaves_an_earlier_state(database: Path, tmp_path: Path) -> None:
    """SQLite cannot tell this from a write that a power cut interrupted; clients can, by their cursors."""
    content, log_ahead = database.read_bytes(), database.with_name("relay.db-wal").read_bytes()
    truth = read_everything(place_database(tmp_path / "whole", content, log_ahead))
    assert truth["room", OTHER_ROOM]
    dice = Random(1)  # noqa: S311  (dice, not keys)
    found = []
    for _ in range(60):
        place = dice.randrange(len(log_ahead))
        damaged = (flip_bit(log_ahead, place, dice), log_ahead[:place])
        found += [read_everything(place_database(tmp_path / "damaged", content, each)) for each in damaged]
    found.append(read_everything(place_database(tmp_path / "damaged", content)))
    for moment in found:
        assert not any(isinstance(value, StorageError) for value in moment.values())
        for key in ROOMS:
            then, now = moment["room", key], truth["room", key]
            assert then is None or (then == now if then[0] == now[0] else then[0] < now[0])
            if (some := moment.get(("entries", key, 0))) is not None:
                assert truth["entries", key, 0].frames.startswith(some.frames)
        assert all(moment["name", name] in (None, truth["name", name]) for name in NAMES)
    assert len({str(moment["room", ROOM]) for moment in found}) > 3


async def test_a_client_that_read_more_than_is_left_gets_the_lower_seq(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        (red,) = await relay.room_of("red")
        before = copy(relay, tmp_path / "before")
        await red.say(b"lost")
        await relay.stop()
        for file in before.parent.iterdir():
            shutil.copy(file, relay.database.parent)
        await relay.start()
        back = await relay.join(red.participant)
        resumed = await back.resume(2)
        assert (resumed.seq, resumed.submission) == (1, 1)
