"""The relay in memory treats links and offers as the real one does."""

from __future__ import annotations

from functools import partial

from clave_crypto.identity import DeviceKey
from clave_wire import messages as m
from clave_wire.framing import pack
from clave_wire.limits import MAX_WELCOME_BYTES
from clave_wire.messages import Code
from linkkit import (
    Join,
    find,
    found,
    in_order,
    joining,
    listed,
    offer,
    put,
    refused,
    room_of,
    with_submission,
)
from relaykit import ROOM, Participant, entries, payloads

COMMIT, REKEY, PROPOSAL = m.Kind.COMMIT, m.Kind.REKEY, m.Kind.PROPOSAL


async def test_who_holds_a_link_joins(join: Join) -> None:
    link = DeviceKey.generate()
    red, green = await room_of(join, "red")
    await red.say(b"secret")
    await put(red, offer(listed(link, uses=1)))
    answer = await found(green, link)
    assert answer == m.LinkOffer(answer.id, ROOM, 1, 0, 1, b"sealed", b"group info")
    submit = joining(green, link, seen=2)
    for _ in range(2):
        assert (await green.submit(submit)).seq == 3
    assert payloads(await entries(red, 1)) == [b"join"]
    assert isinstance(await green.ask(m.Resume(1, ROOM, 1)), m.Refused)
    assert len((await green.resume(2)).members) == 2
    await green.receive()  # its own entry
    blue = await join("blue")
    assert await find(blue, link) is Code.LINK_USED_UP
    assert await refused(blue, joining(blue, link, read=3)) is Code.LINK_USED_UP
    assert (await found(green, link)).submission == 1
    assert (await green.submit(joining(green, link))).seq == 4  # who is a member uses nothing


async def test_each_refusal_has_its_code(join: Join) -> None:
    link, expired, other = (DeviceKey.generate() for _ in range(3))
    red, green = await room_of(join, "red")
    await put(red, offer(listed(link), listed(expired, not_after=1)))
    assert await find(green, other) is Code.NO_SUCH_LINK
    assert await find(green, link, 1) is Code.NO_SUCH_LINK
    assert await find(green, expired) is Code.LINK_EXPIRED
    submit = partial(joining, green, link, read=1)
    assert await refused(green, joining(green, other, read=1)) is Code.NO_SUCH_LINK
    assert await refused(green, joining(green, expired, read=1)) is Code.LINK_EXPIRED
    assert await refused(green, submit(read=0)) is Code.STALE
    assert await refused(green, submit(who=Participant("other"))) is Code.NOT_MEMBER
    assert await refused(green, submit(signed_head=bytes([1]) * 32)) is Code.NOT_MEMBER
    assert await refused(green, submit(remove=(red.participant.device,))) is Code.BAD_REQUEST
    assert await refused(green, green.entry(b"x", kind=REKEY, read=1, welcome=b"w")) is Code.NOT_MEMBER
    assert await refused(red, red.entry(b"x", kind=REKEY, read=1, welcome=b"w")) is Code.BAD_REQUEST
    await with_submission(red, red.entry(b"c", kind=COMMIT))
    assert await find(green, link) is Code.LINK_REVOKED
    await put(red, offer(listed(link)))
    assert await refused(green, submit(read=2)) is Code.LINK_REVOKED


async def test_what_settles_which_links_are_live(join: Join) -> None:
    link, other = DeviceKey.generate(), DeviceKey.generate()
    red, blue, green = await room_of(join, "red", "blue")
    await put(blue, offer(listed(link)))
    rekey = red.entry(b"rekey", kind=REKEY)
    assert isinstance(await with_submission(red, rekey, listed(other)), m.Accepted)
    await blue.expect(m.Entry)
    assert (await found(green, link)).offers == 1
    assert (await found(green, other)).group_info == b"new"
    await with_submission(blue, blue.confirm(rekey), listed(other))
    assert await find(green, link) is Code.LINK_REVOKED
    await red.expect(m.Entry)
    await red.say(b"so that the numbers differ")
    await put(red, offer(listed(other), info=b"later"))
    assert [(await found(green, other, place)).group_info for place in (0, 1)] == [b"new", b"later"]
    stale = red.entry(b"c", kind=COMMIT, read=0)
    assert isinstance(await with_submission(red, stale), m.Rejected)
    await red.submit(red.entry(b"c", kind=COMMIT))
    assert (await found(green, other)).offers == 2


async def test_a_rekey_settles_where_nobody_else_is(join: Join) -> None:
    link = DeviceKey.generate()
    red, green = await room_of(join, "red")
    await put(red, offer(listed(link)))
    await with_submission(red, red.entry(b"rekey", kind=REKEY))
    assert await find(green, link) is Code.LINK_REVOKED


async def test_other_offers_are_dropped(join: Join) -> None:
    link = DeviceKey.generate()
    red, blue, green = await room_of(join, "red", "blue")
    await put(green, offer(listed(link)))
    await put(red, offer(listed(link), info=bytes(MAX_WELCOME_BYTES + 1)))
    leaving = blue.entry(b"bye", kind=PROPOSAL, remove=(blue.participant.device,))
    assert isinstance(await with_submission(blue, leaving, listed(link)), m.Accepted)
    old = await join(red.participant, 6, 5, 4)
    await old.write(pack(offer(listed(link))))
    await in_order(old)
    await old.write(pack(m.FindLink(1, link.public, 0)))
    answer = await old.expect(m.Refused)
    assert answer.code is Code.BAD_REQUEST
    assert await find(green, link) is Code.NO_SUCH_LINK


async def test_who_agreed_on_version_6_cannot_join_by_a_link(join: Join) -> None:
    link = DeviceKey.generate()
    red, green = await room_of(join, "red")
    await put(red, offer(listed(link)))
    submit = joining(green, link, read=1)
    old = await join(green.participant, 6, 5, 4)
    assert await refused(old, submit) is Code.BAD_REQUEST
    assert await refused(old, m.Submit(ROOM, 1, 9, REKEY, submit.payload, submit.welcome)) is Code.BAD_REQUEST
    new = await join(green.participant)
    assert (await new.submit(submit)).seq == 2


async def test_offers_of_who_is_gone_are_dropped_when_one_settles(join: Join) -> None:
    link = DeviceKey.generate()
    red, blue, grey, green = await room_of(join, "red", "blue", "grey")
    for client in (red, blue, grey):
        await put(client, offer(listed(link), info=client.participant.name.encode()))
    leaving = blue.entry(b"bye", kind=PROPOSAL, remove=(blue.participant.device,))
    await blue.submit(leaving)
    await red.expect(m.Entry)
    await put(red, offer(listed(link), info=b"red"))
    assert (await found(green, link)).offers == 3
    await with_submission(red, red.entry(b"c", kind=COMMIT), listed(link))
    assert [(await found(green, link, place)).group_info for place in (0, 1)] == [b"new", b"grey"]
    assert await find(green, link, 2) is Code.NO_SUCH_LINK


async def test_eight_offers_are_kept(join: Join) -> None:
    link = DeviceKey.generate()
    *members, green = await room_of(join, *(f"n{number}" for number in range(10)))
    for number, member in enumerate(members):
        await put(member, offer(listed(link), info=bytes([number])))
        await members[0].say(b"so that the numbers differ")
        for other in members[1:]:
            await other.expect(m.Entry)
    served = [(await found(green, link, place)).group_info[0] for place in range(8)]
    assert served == [9, 8, 7, 6, 5, 4, 3, 2]
    assert await find(green, link, 8) is Code.NO_SUCH_LINK
