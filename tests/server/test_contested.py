"""Contested commits, whom they take out, and routing that a member mends."""

from __future__ import annotations

from clave_wire import messages as m
from relaykit import ROOM, RelayUnderTest, entries, payloads

COMMIT = m.Kind.COMMIT


async def test_a_reported_commit_lets_another_one_of_its_epoch_through(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    bad = await red.submit(red.entry(b"bad", epoch=1, kind=COMMIT))
    await blue.expect(m.Entry)
    assert isinstance(await blue.ask(m.Report(1, ROOM, 1, bad.seq)), m.Done)
    good = blue.entry(b"good", epoch=1, kind=COMMIT)
    assert (await blue.submit(good)).seq == 3
    answer = await blue.ask(blue.entry(b"more of it", epoch=1, kind=COMMIT))
    assert isinstance(answer, m.Rejected)
    assert (await blue.say(b"settled", epoch=2)).seq == 4


async def test_a_valid_commit_wrongly_reported_holds_once_built_upon(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    commit = await red.submit(red.entry(b"valid", epoch=1, kind=COMMIT))
    await blue.expect(m.Entry)
    await blue.ask(m.Report(1, ROOM, 1, commit.seq))
    await relay.restart()
    red = await relay.join(red.participant)
    await red.resume(commit.seq)
    await red.say(b"either epoch is open", epoch=1)
    await red.say(b"to messages", epoch=2)
    await red.submit(red.entry(b"next", epoch=2, kind=COMMIT))
    answer = await red.ask(red.entry(b"old", epoch=1))
    assert isinstance(answer, m.Rejected)
    assert answer.code is m.Code.STALE_EPOCH


async def test_only_the_latest_commit_is_reported_and_only_by_members(relay: RelayUnderTest) -> None:
    red, _blue = await relay.room_of("red", "blue")
    await red.submit(red.entry(b"commit", epoch=1, kind=COMMIT))
    green = await relay.join("green")
    for client, report in (
        (red, m.Report(1, ROOM, 0, 1)),
        (red, m.Report(1, ROOM, 1, 1)),
        (green, m.Report(1, ROOM, 1, 2)),
    ):
        assert isinstance(await client.ask(report), m.Refused)
    answer = await red.ask(red.entry(b"x", epoch=1, kind=COMMIT))
    assert isinstance(answer, m.Rejected)


async def test_mending_brings_a_removed_member_back_without_a_gap(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    device = blue.participant.device
    bad = red.entry(b"bad commit", epoch=1, kind=COMMIT, remove=(device,))
    await red.submit(bad)
    await green.expect(m.Entry)
    assert payloads(await entries(blue, 1)) == [b"bad commit"]
    await green.say(b"meanwhile", epoch=2)
    assert isinstance(await green.ask(m.Mend(1, ROOM, [device], [])), m.Done)
    assert payloads(await entries(blue, 1)) == [b"meanwhile"]  # without asking for it
    await green.say(b"and on", epoch=2)
    assert payloads(await entries(blue, 1)) == [b"and on"]
    assert (await blue.say(b"here", epoch=2)).seq == 5


async def test_a_removal_mended_at_once_costs_nothing(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    device = blue.participant.device
    remove = red.entry(b"bad commit", epoch=1, kind=COMMIT, remove=(device,))
    said: list[m.ToRelay] = [remove, m.Mend(1, ROOM, [device], []), red.entry(b"more", epoch=2)]
    await red.write(b"".join(map(red.connection.send, said)))
    assert payloads(await entries(blue, 2)) == [b"bad commit", b"more"]
    assert payloads(await entries(green, 2)) == [b"bad commit", b"more"]


async def test_mending_stops_routing_at_once(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    mend = m.Mend(1, ROOM, [], [blue.participant.device])
    await red.write(red.connection.send(mend) + red.connection.send(red.entry(b"secret", epoch=1)))
    await red.expect(m.Done)
    await red.expect(m.Accepted)
    assert isinstance(await blue.ask(m.Mend(2, ROOM, [blue.participant.device], [])), m.Refused)


async def test_mending_needs_membership_and_known_devices(relay: RelayUnderTest) -> None:
    red, _ = await relay.room_of("red", "blue")
    green = await relay.join("green")
    assert isinstance(await green.ask(m.Mend(1, ROOM, [green.participant.device], [])), m.Refused)
    assert isinstance(await red.ask(m.Mend(2, ROOM, [bytes(32)], [])), m.Refused)


async def test_who_takes_everybody_out_with_a_commit_nobody_believes_is_undone(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    others = (blue.participant.device, green.participant.device)
    await red.submit(red.entry(b"garbage", epoch=1, kind=m.Kind.COMMIT, remove=others))
    for client in (blue, green):
        assert (await client.expect(m.Entry)).payload == b"garbage"
    assert isinstance(await blue.ask(m.Report(blue.next_id(), ROOM, 1, 2)), m.Done)
    right = blue.entry(b"right", epoch=1, kind=m.Kind.COMMIT, remove=(red.participant.device,))
    assert (await blue.submit(right)).seq == 3
    assert (await green.expect(m.Entry)).payload == b"right"
    assert (await green.say(b"without red", epoch=2)).seq == 4
    assert (await blue.expect(m.Entry)).payload == b"without red"


async def test_who_was_taken_out_before_the_latest_commit_contests_nothing(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    await red.submit(red.entry(b"out", epoch=1, kind=m.Kind.COMMIT, remove=(blue.participant.device,)))
    await blue.expect(m.Entry)
    await red.submit(red.entry(b"on", epoch=2, kind=m.Kind.COMMIT))
    refused = await blue.ask(m.Report(blue.next_id(), ROOM, 2, 3))
    assert isinstance(refused, m.Refused)
    assert refused.code is m.Code.NOT_MEMBER
