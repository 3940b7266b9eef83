"""Acknowledged entries survive full disks, damage and restarts."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from clave_server.rooms import segment
from clave_wire import messages as m
from diskkit import limit_pages
from relaykit import ROOM, RelayUnderTest, entries, payloads

COMMIT = m.Kind.COMMIT


async def test_a_full_disk_refuses_all_writes_and_changes_nothing_until_there_is_space(
    relay: RelayUnderTest,
) -> None:
    red, blue = await relay.room_of("red", "blue")
    green = await relay.join("green")
    await limit_pages(relay, spare=0)
    commit = red.entry(
        bytes(50_000),
        kind=COMMIT,
        add=(green.participant.device,),
        welcome=b"w",
    )
    await red.write(red.connection.send(commit) + red.connection.send(red.entry(b"next", read=2)))
    for submission in (commit.submission, commit.submission + 1):
        answer = await red.expect(m.Rejected)
        assert (answer.submission, answer.code) == (submission, m.Code.STORAGE)
    refused = await red.ask(m.PublishKeyPackages(1, 1, [bytes(10_000)] * 5, b""))
    assert isinstance(refused, m.Refused)
    assert refused.code is m.Code.STORAGE

    await limit_pages(relay, spare=None)
    resumed = await blue.resume(1)  # there is nothing new to read
    assert (resumed.seq, len(resumed.members)) == (1, 2)
    accepted = await red.submit(commit)  # the number was not used up
    assert accepted.seq == 2
    assert (await green.expect(m.Invitation)).seq == 2
    assert (await blue.expect(m.Entry)).payload == commit.payload


async def test_a_room_that_could_not_be_written_does_not_exist(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    await limit_pages(relay, spare=0)
    submits = b"".join(red.connection.send(red.entry(bytes(50_000))) for _ in range(2))
    await red.write(red.connection.send(m.CreateRoom(1, ROOM)) + submits)
    assert isinstance(await red.receive(), m.Rejected | m.Refused)
    assert isinstance(await red.receive(), m.Rejected | m.Refused)
    assert isinstance(await red.receive(), m.Rejected | m.Refused)
    await limit_pages(relay, spare=None)
    refused = await red.ask(m.Resume(2, ROOM, 0))
    assert isinstance(refused, m.Refused)
    assert refused.code is m.Code.NO_SUCH_ROOM
    await red.create()
    assert (await red.say(b"hello")).seq == 1


def flip_a_bit(database: Path, column: str) -> None:
    connection = apsw.Connection(str(database))
    rowid = connection.execute("SELECT max(id) FROM segments").get
    with connection.blob_open("main", "segments", column, rowid, True) as blob:
        middle = blob.length() // 2
        blob.seek(middle)
        changed = blob.read(1)[0] ^ 1
        blob.seek(middle)
        blob.write(bytes([changed]))
    connection.close()


@pytest.mark.parametrize("column", ["frames", "digest"])
async def test_a_changed_segment_is_refused_and_other_rooms_go_on(relay: RelayUnderTest, column: str) -> None:
    other_room = bytes(16)
    (red,) = await relay.room_of("red")
    await red.create(other_room)
    await red.say(b"fine", room=other_room)
    await red.say(b"to be damaged")
    await relay.stop()
    flip_a_bit(relay.database, column)
    await relay.start()
    back = await relay.join(red.participant)
    await back.send(m.Resume(7, ROOM, 0))
    await back.expect(m.Resumed)
    message = await back.receive()
    if isinstance(message, m.Entry):  # the first segment is whole
        message = await back.receive()
    assert isinstance(message, m.Refused)
    assert (message.id, message.code) == (7, m.Code.STORAGE)
    await back.resume(0, other_room)
    assert (await back.expect(m.Entry)).payload == b"fine"


async def test_a_missing_segment_is_refused(relay: RelayUnderTest) -> None:
    (red,) = await relay.room_of("red")
    for number in range(3):
        await red.say(b"%d" % number)
    await relay.stop()
    connection = apsw.Connection(str(relay.database))
    connection.execute("DELETE FROM segments WHERE first_seq = 3")
    connection.close()
    await relay.start()
    back = await relay.join(red.participant)
    await back.resume(0)
    assert (await back.expect(m.Entry)).seq == 1
    assert (await back.expect(m.Entry)).seq == 2
    assert (await back.expect(m.Refused)).code is m.Code.STORAGE


async def test_everything_survives_a_clean_restart(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    await red.say(b"hello")
    await red.submit(red.entry(b"commit", kind=COMMIT))
    await red.ask(m.PublishKeyPackages(1, 1, [b"package"], b"last resort"))
    await relay.restart()
    back = await relay.join(blue.participant)
    resumed = await back.resume(1)
    assert (resumed.seq, len(resumed.members)) == (3, 2)
    assert payloads(await entries(back, 2)) == [b"hello", b"commit"]
    assert await back.ask(m.ClaimKeyPackages(1, "red", 1)) == m.KeyPackages(1, [b"package"])


async def test_entries_of_any_size_are_read_back_unchanged(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    sizes = [0, 1, segment.CHUNK_BYTES - 1, segment.CHUNK_BYTES, 2**20, 5, 200_000, 200_000]
    await red.write(b"".join(red.connection.send(red.entry(bytes(size))) for size in sizes))
    for _ in sizes:
        await red.expect(m.Accepted)
    await blue.close()
    back = await relay.join(blue.participant)
    await back.resume(1)
    assert [len((await back.expect(m.Entry)).payload) for _ in sizes] == sizes
