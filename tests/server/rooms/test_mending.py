"""Routing corrected by members with `Mend`: one is enough to add, two accounts are needed to remove."""

from __future__ import annotations

from clave_wire import messages as m
from relaykit import CHANGE_BURST, ROOM, Participant, RawClient, RelayUnderTest, entries, payloads, remove


async def mend(client: RawClient, add: list[bytes], gone: list[bytes]) -> m.ToClient:
    return await client.ask(m.Mend(client.next_id(), ROOM, add, gone))


async def is_member(client: RawClient) -> bool:
    answer = await client.ask(m.Mend(client.next_id(), ROOM, [], []))
    assert isinstance(answer, m.Done | m.Refused)
    return isinstance(answer, m.Done)


async def test_one_member_readmits_a_removed_device_without_a_gap(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    device = blue.participant.device
    await remove(red, green, device)
    assert payloads(await entries(blue, 2)) == [b"rekey", b"confirm"]
    await green.say(b"meanwhile")
    assert isinstance(await mend(green, [device], []), m.Done)
    assert payloads(await entries(blue, 1)) == [b"meanwhile"]  # without asking for it
    await green.say(b"and on")
    assert payloads(await entries(blue, 1)) == [b"and on"]
    assert (await blue.say(b"here")).seq == 6


async def test_a_removal_undone_at_once_loses_no_entry(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    device = blue.participant.device
    rekey = red.entry(b"rekey", kind=m.Kind.REKEY, remove=(device,))
    await red.submit(rekey)
    await green.expect(m.Entry)
    said: list[m.ToRelay] = [
        green.confirm(rekey),
        m.Mend(1, ROOM, [device], []),
        green.entry(b"more", read=3),
    ]
    await green.write(b"".join(green.connection.send(each) for each in said))
    assert payloads(await entries(blue, 3)) == [b"rekey", b"confirm", b"more"]
    assert payloads(await entries(red, 2)) == [b"confirm", b"more"]


async def test_one_member_can_add_a_new_device_to_the_routing(relay: RelayUnderTest) -> None:
    red, _ = await relay.room_of("red", "blue")
    await red.say(b"before")
    green = await relay.join("green")
    assert isinstance(await mend(red, [green.participant.device], []), m.Done)
    await green.resume(1)  # it may be a member for long, and a restored relay the only one not to know
    await red.say(b"from now on")
    assert payloads(await entries(green, 2)) == [b"before", b"from now on"]


async def test_a_device_can_remove_itself_from_the_routing(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    mended = m.Mend(1, ROOM, [], [blue.participant.device])
    late = blue.connection.send(blue.entry(b"late"))
    await blue.write(blue.connection.send(mended) + late)
    assert (await blue.expect(m.Rejected)).code is m.Code.NOT_MEMBER
    assert await blue.expect(m.Done) == m.Done(1)
    await red.say(b"secret")
    assert not await is_member(blue)


async def test_removing_a_device_from_the_routing_takes_two_other_accounts(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    device = blue.participant.device
    for _ in range(2):
        assert isinstance(await mend(red, [], [device]), m.Done)
        assert await is_member(blue)
    await green.write(
        green.connection.send(m.Mend(9, ROOM, [], [device])) + green.connection.send(green.entry(b"secret"))
    )
    assert await green.expect(m.Done) == m.Done(9)
    await green.expect(m.Accepted)
    assert payloads(await entries(red, 1)) == [b"secret"]
    assert not await is_member(blue)


async def test_two_devices_of_one_account_count_as_one(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    phone = await relay.join(Participant("red", red.participant.account))
    assert isinstance(await mend(red, [phone.participant.device], []), m.Done)
    for client in (red, phone):
        assert isinstance(await mend(client, [], [blue.participant.device]), m.Done)
    assert await is_member(blue)


async def test_the_account_of_a_device_does_not_count_against_it(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    phone = await relay.join(Participant("blue", blue.participant.account))
    device = phone.participant.device
    assert isinstance(await mend(blue, [device], []), m.Done)
    for client in (red, blue):
        assert isinstance(await mend(client, [], [device]), m.Done)
    assert await is_member(phone)


async def test_an_objection_of_a_departed_account_no_longer_counts(relay: RelayUnderTest) -> None:
    red, blue, green, grey = await relay.room_of("red", "blue", "green", "grey")
    device = blue.participant.device
    await mend(red, [], [device])
    await mend(red, [], [red.participant.device])
    await mend(green, [], [device])
    assert await is_member(blue)
    await mend(grey, [], [device])
    assert not await is_member(blue)


async def test_objections_to_a_device_are_dropped_when_it_leaves(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    device = blue.participant.device
    await mend(red, [], [device])
    await mend(blue, [], [device])
    await mend(red, [device], [])
    await mend(green, [], [device])
    assert await is_member(blue)
    strangers = [bytes([number]) * 32 for number in range(100)]
    await mend(green, [], strangers)
    room = relay.sequencer.loaded_room(ROOM)
    assert room is not None
    assert set(room.objections) == {device}


async def test_mending_needs_membership_and_known_devices(relay: RelayUnderTest) -> None:
    red, _ = await relay.room_of("red", "blue")
    green = await relay.join("green")
    assert isinstance(await mend(green, [green.participant.device], []), m.Refused)
    assert isinstance(await mend(red, [bytes(32)], []), m.Refused)


async def test_mending_shares_the_rate_limit_of_handshakes(
    relay: RelayUnderTest,
) -> None:
    red, blue = await relay.room_of("red", "blue")  # with the first change
    stopped = relay.sequencer.clock()
    relay.sequencer.clock = lambda: stopped  # no token comes back meanwhile
    for _ in range(CHANGE_BURST - 2):
        assert isinstance(await mend(red, [], []), m.Done)
        assert isinstance(await mend(red, [bytes(32)], []), m.Refused)  # which takes nothing of it
    await red.submit(red.entry(b"", kind=m.Kind.LOST))
    refused = await mend(red, [], [red.participant.device])
    assert isinstance(refused, m.Refused)
    assert refused.code is m.Code.PACE
    answer = await red.ask(red.entry(b"", kind=m.Kind.LOST))
    assert isinstance(answer, m.Rejected)
    assert answer.code is m.Code.PACE
    await red.say(b"still here")
    await entries(blue, 2)
    assert isinstance(await mend(blue, [], []), m.Done)
