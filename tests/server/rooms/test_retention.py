"""Old entries are pruned, clients that needed them are told, and nothing else is lost."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from clave_server.limits.quotas import Quota
from clave_server.rooms.retention import RetentionPolicy, prune_all
from clave_server.storage.schema import connect_writer
from clave_wire import messages as m
from relaykit import ROOM, Participant, RawClient, RelayUnderTest, running_relay

DAY = 24 * 60 * 60 * 1000
LATER = 10**15
"""A time (ms since 1970) at which everything is old."""


async def room_with_entries(relay: RelayUnderTest) -> list[RawClient]:
    """Return red and blue, who have read entries 1 to 11, each in its own segment; blue is offline."""
    red, blue = await relay.room_of("red", "blue")
    for number in range(10):
        await red.say(b"%d" % number * 500)
        await blue.expect(m.Entry)
    await blue.close()
    return [red, blue]


async def resume(client: RawClient, after: int) -> m.ToClient:
    return await client.ask(m.Resume(client.next_id(), ROOM, after))


async def test_a_member_behind_the_pruned_entries_is_refused_and_the_others_go_on(
    relay: RelayUnderTest,
) -> None:
    red, blue = await room_with_entries(relay)
    await relay.restart()  # a room in use is saved now and then; this is one way to have it saved now
    red = await relay.join(red.participant)
    await red.resume(11)
    pruned = await relay.relay.retention_task.prune(RetentionPolicy(room_bytes=2000))
    assert pruned.entries == 8
    assert pruned.kept_from == {ROOM: 9}
    back = await relay.join(blue.participant)
    refused = await resume(back, 3)
    assert isinstance(refused, m.Refused)
    assert (refused.code, refused.text) == (
        m.Code.PRUNED,
        "entries 4 to 8 of this room are no longer kept",
    )
    await back.resume(8)
    assert [(await back.expect(m.Entry)).seq for _ in range(3)] == [9, 10, 11]
    assert (await red.say(b"on")).seq == 12
    assert (await back.expect(m.Entry)).seq == 12


async def test_pruned_entries_stay_pruned_after_a_restart(relay: RelayUnderTest) -> None:
    red, _ = await room_with_entries(relay)
    await relay.restart()
    await relay.relay.retention_task.prune(RetentionPolicy(room_bytes=1))
    await relay.restart()
    back = await relay.join(red.participant)
    refused = await resume(back, 10)
    assert isinstance(refused, m.Refused)
    assert refused.code is m.Code.PRUNED
    resumed = await back.resume(11)
    assert resumed.seq == 11
    assert resumed.submission == red.participant.submissions[ROOM]  # what counts is still known
    assert (await back.say(b"on")).seq == 12


async def test_only_entries_older_than_the_retention_days_are_pruned(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        await room_with_entries(relay)
        await relay.stop()
        connection = connect_writer(relay.database)
        connection.execute("UPDATE segments SET at = ? * last_seq", (DAY,))
        pruned = prune_all(connection, RetentionPolicy(days=3), now=8 * DAY)
        assert pruned.kept_from == {ROOM: 5}
        assert connection.execute("SELECT min(first_seq), max(last_seq) FROM segments").get == (5, 11)
        connection.close()
        await relay.start()


async def test_an_open_room_is_pruned_too(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        await room_with_entries(relay)
        connection = apsw.Connection(str(relay.database))
        saved = connection.execute("SELECT seq FROM rooms").get
        connection.close()
        assert saved == 1  # the commit that made the room; nothing was saved since
        pruned = await relay.relay.retention_task.prune(RetentionPolicy(room_bytes=1))
        assert pruned.kept_from == {ROOM: 12}


async def test_pruning_frees_quota(tmp_path: Path) -> None:
    async with running_relay(tmp_path, quota=Quota(stored_bytes=30_000)) as relay:
        (red,) = await relay.room_of("red")
        for _ in range(3):
            await red.say(bytes(10_000))
        refused = await red.ask(red.entry(b"more"))
        assert isinstance(refused, m.Rejected)
        assert refused.code is m.Code.LIMIT
        await relay.restart()
        back = await relay.join(red.participant)
        await back.resume(1)
        for _ in range(3):
            await back.receive()
        assert isinstance(await back.ask(back.entry(b"more")), m.Rejected)
        await relay.relay.retention_task.prune(RetentionPolicy(room_bytes=1))
        await back.say(b"more")


async def test_the_number_of_rooms_an_account_creates_is_limited(tmp_path: Path) -> None:
    async with running_relay(tmp_path, quota=Quota(rooms=2)) as relay:
        red = await relay.join("red")
        for number in range(2):
            await red.create(bytes([number]) * 16)
        for _ in range(2):
            refused = await red.ask(m.CreateRoom(red.next_id(), bytes([9]) * 16))
            assert isinstance(refused, m.Refused)
            assert refused.code is m.Code.LIMIT
            red = await relay.join(red.participant)
        blue = await relay.join(Participant("blue"))
        await blue.create()


async def test_a_room_without_members_is_deleted_with_its_last_entry(relay: RelayUnderTest) -> None:
    (red,) = await relay.room_of("red")
    await red.submit(red.entry(b"rekey", kind=m.Kind.REKEY))  # which waits to be confirmed
    leaving = red.entry(b"bye", kind=m.Kind.PROPOSAL, remove=(red.participant.device,))
    await red.submit(leaving)
    await relay.restart()
    await relay.relay.retention_task.prune(RetentionPolicy(room_bytes=10**6))
    blue = await relay.join("blue")
    taken = await blue.ask(m.CreateRoom(1, ROOM))
    assert isinstance(taken, m.Refused)
    await relay.relay.retention_task.prune(RetentionPolicy(room_bytes=1))
    await blue.create()


@pytest.mark.parametrize("policy", [RetentionPolicy(), RetentionPolicy(days=100_000)])
async def test_nothing_is_pruned_within_the_policy(relay: RelayUnderTest, policy: RetentionPolicy) -> None:
    await room_with_entries(relay)
    await relay.restart()
    assert (await relay.relay.retention_task.prune(policy)).entries == 0


async def test_an_invitation_that_is_not_taken_expires(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        (red,) = await relay.room_of("red")
        blue = await relay.join("blue")
        invite = red.entry(b"c", kind=m.Kind.COMMIT, add=(blue.participant.device,), welcome=b"welcome")
        await red.submit(invite)
        await blue.expect(m.Invitation)
        await relay.stop()
        connection = connect_writer(relay.database)
        prune_all(connection, RetentionPolicy(days=1), LATER)
        assert connection.execute("SELECT count(*) FROM invitations").get == 0
        assert connection.execute("SELECT count(*) FROM welcomes").get == 0
        connection.close()
        await relay.start()


async def test_only_stored_entries_count_against_a_quota(relay: RelayUnderTest) -> None:
    (red,) = await relay.room_of("red")
    for _ in range(3):  # neither of these is kept
        assert isinstance(await red.ask(red.entry(bytes(100_000), read=7)), m.Rejected)
        await red.resume(1)
    blue = await relay.join("blue")
    added, welcome = (blue.participant.device,), bytes(100_000)
    commit = red.entry(b"c", kind=m.Kind.COMMIT, add=added, welcome=welcome)
    await red.submit(commit)
    await red.submit(commit)
    invitation = await blue.expect(m.Invitation)
    assert isinstance(await blue.ask(m.TakeInvitation(1, invitation.id)), m.Done)
    await relay.stop()
    connection = connect_writer(relay.database)
    kept = connection.execute("SELECT sum(length(frames)) FROM segments").get
    assert connection.execute("SELECT max(stored) FROM accounts").get == kept
    prune_all(connection, RetentionPolicy(room_bytes=1), LATER)
    assert connection.execute("SELECT max(stored) FROM accounts").get == 0
    connection.close()
    await relay.start()


async def test_a_welcome_counts_against_a_quota_until_its_last_invitation_is_gone(tmp_path: Path) -> None:
    async with running_relay(tmp_path, quota=Quota(stored_bytes=150_000)) as relay:
        (red,) = await relay.room_of("red")
        blue, green = await relay.join("blue"), await relay.join("green")
        both = (blue.participant.device, green.participant.device)

        async def let_in(kind: m.Kind, *devices: bytes) -> m.Code | None:
            """Have red send a large welcome; return why it is refused, if it is."""
            answer = await red.ask(red.entry(b"c", kind=kind, add=devices, welcome=bytes(100_000)))
            return answer.code if isinstance(answer, m.Rejected) else None

        async def take(client: RawClient, count: int) -> None:
            invitations = [await client.expect(m.Invitation) for _ in range(count)]
            for invitation in invitations:
                assert isinstance(await client.ask(m.TakeInvitation(1, invitation.id)), m.Done)

        assert await let_in(m.Kind.COMMIT, *both) is None
        assert await let_in(m.Kind.COMMIT, *both) is None  # in place of the first
        assert await let_in(m.Kind.GROUP_INFO, both[0]) is None
        for kind in (m.Kind.COMMIT, m.Kind.GROUP_INFO):
            assert await let_in(kind, both[1]) is m.Code.LIMIT
        await take(blue, 3)  # the welcome waits for green
        assert await let_in(m.Kind.GROUP_INFO, both[0]) is None
        assert await let_in(m.Kind.COMMIT, both[1]) is m.Code.LIMIT
        await take(green, 2)
        assert await let_in(m.Kind.COMMIT, *both) is None
        assert await let_in(m.Kind.COMMIT, both[1]) is m.Code.LIMIT
        await relay.restart()
        red = await relay.join(red.participant)
        assert await let_in(m.Kind.COMMIT, both[1]) is m.Code.LIMIT
        await relay.relay.retention_task.prune(RetentionPolicy(days=-1))
        assert await let_in(m.Kind.COMMIT, both[1]) is None


async def test_a_quota_limits_welcomes_of_one_write_batch(tmp_path: Path) -> None:
    async with running_relay(tmp_path, quota=Quota(stored_bytes=3000)) as relay:
        red, blue = await relay.room_of("red", "blue")
        lost, kind = (blue.participant.device,), m.Kind.GROUP_INFO
        submits = [red.entry(b"h", kind=kind, add=lost, welcome=bytes(4000), read=read) for read in (1, 2)]
        await red.write(b"".join(map(red.connection.send, submits)))
        assert (await red.expect(m.Rejected)).code is m.Code.LIMIT  # at once, the other once it is on disk
        await red.expect(m.Accepted)


async def test_quotas_limit_entries_and_rooms_of_one_write_batch(tmp_path: Path) -> None:
    async with running_relay(tmp_path, quota=Quota(rooms=3, stored_bytes=25_000)) as relay:
        (red,) = await relay.room_of("red")
        rooms = [m.CreateRoom(red.next_id(), bytes([9, number]) * 8) for number in range(5)]
        await red.write(b"".join(map(red.connection.send, rooms)))
        answers = [type(await red.receive()) for _ in rooms]
        assert sorted(answers, key=str) == [m.Done] * 2 + [m.Refused] * 3
        submits = [red.entry(bytes(10_000)) for _ in range(5)]
        await red.write(b"".join(map(red.connection.send, submits)))
        taken = [type(await red.receive()) for _ in submits]
        assert sorted(taken, key=str) == [m.Accepted] * 3 + [m.Rejected] * 2
        again = await red.ask(submits[0])
        assert isinstance(again, m.Accepted)  # it is in the log, whatever the quota
        for kind in (m.Kind.COMMIT, m.Kind.REKEY, m.Kind.CONFIRM, m.Kind.LOST):
            await red.submit(red.entry(b"keeps the group going", kind=kind))
        blue = await relay.join("blue")
        add = red.entry(b"invites", kind=m.Kind.COMMIT, add=(blue.participant.device,))
        refused = await red.ask(add)
        assert isinstance(refused, m.Rejected)
        assert refused.code is m.Code.LIMIT
