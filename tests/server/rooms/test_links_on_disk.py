"""What a relay has on disk of links and offers: failed writes, quotas, deleted rooms, damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from clave_crypto.identity import DeviceKey
from clave_server.admin.integrity import check_rows
from clave_server.limits.quotas import Quota
from clave_server.rooms.retention import RetentionPolicy
from clave_server.storage.schema import connect_reader
from clave_wire import messages as m
from clave_wire.messages import Code
from diskkit import limit_pages
from linkkit import (
    find,
    found,
    joining,
    listed,
    offer,
    put,
    refused,
    room_with_link,
    with_submission,
)
from relaykit import (
    ROOM,
    RelayUnderTest,
    running_relay,
)

COMMIT, REKEY, PROPOSAL = m.Kind.COMMIT, m.Kind.REKEY, m.Kind.PROPOSAL


@pytest.fixture
def link() -> DeviceKey:
    return DeviceKey.generate()


def stored(relay: RelayUnderTest) -> dict[str, int]:
    """Return the bytes that each account has stored, on disk."""
    connection = connect_reader(relay.database)
    try:
        rows: list[Any] = connection.execute("SELECT name, stored FROM accounts").fetchall()
        return dict(rows)
    finally:
        connection.close()


async def test_a_failed_write_keeps_neither_offer_nor_link_nor_member(
    relay: RelayUnderTest, link: DeviceKey
) -> None:
    red, green = await room_with_link(relay, link, "red", uses=1)
    other = DeviceKey.generate()
    commit, join = red.entry(bytes(50_000), kind=COMMIT), joining(green, link, read=1)
    await limit_pages(relay, spare=0)
    answer = await with_submission(red, commit, listed(other), info=bytes(50_000))
    assert isinstance(answer, m.Rejected)
    assert answer.code is Code.STORAGE
    big = m.Submit(ROOM, 1, 1, REKEY, join.payload + bytes(100_000), join.welcome)
    assert await refused(green, big) is Code.STORAGE
    await limit_pages(relay, spare=None)
    assert await find(green, other) is Code.NO_SUCH_LINK
    assert len((await red.resume(1)).members) == 1
    assert (await green.submit(join)).seq == 2  # the link still had its use
    await red.expect(m.Entry)
    again = red.entry(b"c", kind=COMMIT)
    assert again.submission == commit.submission
    await with_submission(red, again, listed(other), info=b"new")
    assert (await found(green, other)).group_info == b"new"


async def test_an_offer_alone_is_written_or_rolled_back(relay: RelayUnderTest, link: DeviceKey) -> None:
    red, green = await room_with_link(relay, link, "red")
    lost, kept = DeviceKey.generate(), DeviceKey.generate()

    async def put_alone(key: DeviceKey, size: int) -> None:
        await red.send(offer(listed(key), info=bytes(size)))
        await red.ask(m.Lookup(red.next_id(), "red"))  # the relay has received the offer, too
        await relay.sequencer.drain()

    await limit_pages(relay, spare=0)
    await put_alone(lost, 100_000)
    await limit_pages(relay, spare=None)
    assert await refused(green, joining(green, lost, read=1)) is Code.NO_SUCH_LINK
    await put_alone(kept, 7)
    assert (await found(green, kept)).group_info == bytes(7)
    await relay.restart()
    green = await relay.join(green.participant)
    assert (await green.submit(joining(green, kept))).seq == 2


async def test_an_offer_is_in_the_transaction_of_its_submission(
    relay: RelayUnderTest, link: DeviceKey
) -> None:
    red, *_ = await room_with_link(relay, link, "red")
    connection = apsw.Connection(str(relay.database))
    connection.execute("CREATE TRIGGER refuse BEFORE INSERT ON offers BEGIN SELECT RAISE(ABORT, 'no'); END")
    connection.close()
    answer = await with_submission(red, red.entry(b"c", kind=COMMIT), listed(link), info=b"new")
    assert isinstance(answer, m.Rejected)
    assert answer.code is Code.STORAGE
    assert (await red.resume(1)).seq == 1


async def test_a_group_info_counts_as_stored_until_it_is_replaced(tmp_path: Path, link: DeviceKey) -> None:
    async with running_relay(tmp_path, quota=Quota(stored_bytes=100_000)) as relay:
        (red,) = await relay.room_of("red")
        await relay.stop()
        before = stored(relay)["red"]
        await relay.start()
        red = await relay.join(red.participant)
        await put(red, offer(listed(link), info=bytes(100_000)))
        assert stored(relay)["red"] == before + 100_000
        assert await refused(red, red.entry(b"more", read=1)) is Code.LIMIT
        other = DeviceKey.generate()
        await put(red, offer(listed(other), info=bytes(7)))  # is over: only its links are taken
        assert stored(relay)["red"] == before + 100_000
        assert await find(red, other) is Code.NO_SUCH_LINK
        assert (await found(red, link)).offers == 1


async def test_replacing_an_offer_frees_the_bytes_of_the_former(tmp_path: Path, link: DeviceKey) -> None:
    async with running_relay(tmp_path, quota=Quota(stored_bytes=100_000)) as relay:
        (red,) = await relay.room_of("red")
        for _ in range(3):
            await put(red, offer(listed(link), info=bytes(90_000)))
        before = stored(relay)["red"]
        await red.say(b"there is space for it")
        await put(red, offer(listed(link), info=b""))
        assert stored(relay)["red"] == before - 90_000


@pytest.mark.parametrize("full", [False, True])
async def test_a_settling_offer_frees_the_bytes_of_who_is_gone(
    tmp_path: Path, link: DeviceKey, full: bool
) -> None:
    async with running_relay(tmp_path, quota=Quota(stored_bytes=100_000)) as relay:
        red, blue = await relay.room_of("red", "blue")
        if full:
            await red.say(bytes(100_000))
            await blue.expect(m.Entry)
        await put(blue, offer(listed(link), info=bytes(100_000)))
        before = stored(relay)["blue"]
        await blue.submit(blue.entry(b"bye", kind=PROPOSAL, remove=(blue.participant.device,)))
        await red.expect(m.Entry)
        await put(red, offer(listed(link), info=b"one that does not settle"))
        assert stored(relay)["blue"] == before
        await with_submission(red, red.entry(b"c", kind=COMMIT), listed(link), info=b"new")
        assert stored(relay)["blue"] == before - 100_000
        await blue.create(bytes(16))
        await blue.say(b"there is space for it", room=bytes(16))  # as the session knows, too
        assert isinstance(await find(blue, link), Code if full else m.LinkOffer)


async def test_a_room_that_is_deleted_takes_its_links_and_offers_along(
    relay: RelayUnderTest, link: DeviceKey
) -> None:
    red, green = await room_with_link(relay, link, "red")
    await red.submit(red.entry(b"bye", kind=PROPOSAL, remove=(red.participant.device,)))
    await relay.restart()
    before = stored(relay)["red"]
    await relay.relay.retention_task.prune(RetentionPolicy(room_bytes=1))
    green = await relay.join(green.participant)
    assert await find(green, link) is Code.NO_SUCH_LINK
    await relay.stop()
    assert before > stored(relay)["red"] == 0
    connection = connect_reader(relay.database)
    check_rows(connection)
    for table in ("rooms", "links", "offers"):
        assert connection.execute(f"SELECT count(*) FROM {table}").get == 0  # noqa: S608  (constants)
    connection.close()
    await relay.start()


async def test_what_a_relay_wrote_of_links_passes_its_check(relay: RelayUnderTest, link: DeviceKey) -> None:
    red, green = await room_with_link(relay, link, "red")
    await green.submit(joining(green, link, read=1))
    await with_submission(
        red, red.entry(b"c", kind=COMMIT, read=2), listed(DeviceKey.generate()), info=b"new"
    )
    await relay.stop()
    connection = connect_reader(relay.database)
    check_rows(connection)
    connection.close()
    await relay.start()


async def test_damaged_links_are_not_served(relay: RelayUnderTest, link: DeviceKey) -> None:
    *_, green = await room_with_link(relay, link, "red")
    connection = apsw.Connection(str(relay.database))
    connection.execute("UPDATE links SET revoked = 0, uses = 99")
    connection.close()
    assert await find(green, link) is Code.STORAGE
