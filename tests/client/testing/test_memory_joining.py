"""What a device that is joining by a link may do, and others to it: the same at both relays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clave_crypto.identity import DeviceKey
from clave_server.rooms.rekeys import reference
from clave_wire import messages as m
from clave_wire.messages import Code, Kind
from linkkit import (
    Join,
    find,
    found,
    is_ordinary,
    joining,
    listed,
    mend,
    offer,
    put,
    refused,
    room_with_joining,
    routed,
    with_submission,
)
from relaykit import ROOM, Participant, RawClient

COMMIT, REKEY, PROPOSAL, CONFIRM = Kind.COMMIT, Kind.REKEY, Kind.PROPOSAL, Kind.CONFIRM


@pytest.fixture
def link() -> DeviceKey:
    return DeviceKey.generate()


async def another_joins(join: Join, link: DeviceKey, who: Participant | str, *others: RawClient) -> RawClient:
    """Have somebody ask to join; wait until `others` have read it."""
    client = await join(who)
    await found(client, link)
    await client.submit(joining(client, link))
    await client.resume(client.participant.seen[ROOM])
    for other in others:
        await other.expect(m.Entry)
    return client


def phone_of(client: RawClient) -> Participant:
    return Participant(client.participant.name, client.participant.account)


async def do(sender: RawClient, submit: m.Submit, *others: RawClient) -> None:
    """Have a client submit, and others read it."""
    await sender.submit(submit)
    for other in others:
        await other.expect(m.Entry)


# --- how joining ends ----------------------------------------------------------------------------------


async def test_a_confirmation_by_another_account_ends_joining(join: Join, link: DeviceKey) -> None:
    (red, green), rekey = await room_with_joining(join, link, "red")
    phone = await another_joins(join, link, phone_of(green), red, green)
    assert await mend(green) is Code.NOT_MEMBER
    again = joining(green, link)
    await do(green, again, red, phone)
    await do(phone, phone.confirm(again), red, green)
    await do(red, red.confirm(rekey), green, phone)  # of which a newer one took the place
    assert not await is_ordinary(green)
    await do(red, red.confirm(again), green, phone)
    assert await is_ordinary(green)
    assert not await is_ordinary(phone)
    await do(green, joining(green, link), red, phone)
    assert await is_ordinary(green), "an ordinary member stays one"


async def test_an_ordinary_device_of_the_same_account_confirms_nothing(join: Join, link: DeviceKey) -> None:
    (red, blue, _), _ = await room_with_joining(join, link, "red", "blue")
    phone = await join(phone_of(blue))
    await found(phone, link)
    rekey = joining(phone, link, seen=2)
    await phone.submit(rekey)
    for client in (red, blue):
        await client.expect(m.Entry)
    await phone.resume(3)
    await do(blue, blue.confirm(rekey), red, phone)
    assert not await is_ordinary(phone)
    await do(red, red.confirm(rekey), blue, phone)
    assert await is_ordinary(phone)


async def test_who_repeats_the_rekey_of_another_is_not_confirmed_with_it(join: Join, link: DeviceKey) -> None:
    (red, green), rekey = await room_with_joining(join, link, "red")
    grey = await join("grey")
    await found(grey, link)
    copy = joining(grey, link, seen=0)
    assert copy.payload == rekey.payload
    await do(grey, copy, red, green)
    await do(red, red.confirm(rekey), green)
    assert await is_ordinary(green)
    assert not await is_ordinary(grey)


async def test_a_confirmed_rekey_without_a_proof_ends_joining(join: Join, link: DeviceKey) -> None:
    (red, green), _ = await room_with_joining(join, link, "red")
    rekey = green.entry(b"rekey", kind=REKEY)
    await do(green, rekey, red)
    assert not await is_ordinary(green)
    await do(red, red.confirm(rekey), green)
    assert await is_ordinary(green)


async def test_who_asks_again_in_another_epoch_is_confirmed_there(join: Join, link: DeviceKey) -> None:
    (red, green), first = await room_with_joining(join, link, "red")
    await do(red, red.entry(b"c", kind=COMMIT), green)
    await do(red, red.confirm(first), green)  # its epoch has ended
    assert not await is_ordinary(green)
    head = bytes([1]) * 32
    second = joining(green, link, head=head, signed_head=head)
    await do(green, second, red)
    confirm = red.entry(b"", kind=CONFIRM, head=head, ref=reference(second.payload))
    await do(red, confirm, green)
    assert await is_ordinary(green)


@pytest.mark.parametrize("by_commit", [True, False])
async def test_a_member_that_adds_the_device_ends_joining(
    join: Join, link: DeviceKey, by_commit: bool
) -> None:
    (red, green), _ = await room_with_joining(join, link, "red")
    if by_commit:
        await do(red, red.entry(b"c", kind=COMMIT, add=(green.participant.device,)), green)
    else:
        assert await mend(red, add=(green,)) is None
    assert await is_ordinary(green)


async def test_who_leaves_and_is_let_in_again_is_joining_again(join: Join, link: DeviceKey) -> None:
    (red, green), rekey = await room_with_joining(join, link, "red")
    for confirmed in (False, True):
        if confirmed:
            await do(red, red.confirm(rekey), green)
        leaving = green.entry(b"bye", kind=PROPOSAL, remove=(green.participant.device,))
        await do(green, leaving, red)
        assert await routed(red) == ["red"]
        rekey = joining(green, link)
        await do(green, rekey, red)
        await green.resume(green.participant.seen[ROOM])
        assert not await is_ordinary(green)


async def test_who_nobody_could_confirm_is_an_ordinary_member_at_once(join: Join, link: DeviceKey) -> None:
    (red, green), _ = await room_with_joining(join, link, "red")
    phone = await another_joins(join, link, phone_of(red), red, green)
    assert await is_ordinary(phone)
    assert not await is_ordinary(green)
    await do(red, red.entry(b"bye", kind=PROPOSAL, remove=(red.participant.device,)), phone, green)
    await do(phone, phone.entry(b"bye", kind=PROPOSAL, remove=(phone.participant.device,)), green)
    assert not await is_ordinary(green)
    await green.submit(joining(green, link))
    assert await is_ordinary(green), "it asked again when it was alone"


# --- what it may not do --------------------------------------------------------------------------------


async def test_its_offers_are_dropped(join: Join, link: DeviceKey) -> None:
    (red, blue, green), _ = await room_with_joining(join, link, "red", "blue")
    other = DeviceKey.generate()
    await put(green, offer(listed(other), info=b"own"))
    rekey = red.entry(b"rekey", kind=REKEY)
    await do(red, rekey, blue, green)
    makes: list[Callable[[], m.Submit]] = [
        lambda: green.entry(b"hello"),
        lambda: green.entry(b"lost", kind=Kind.LOST),
        lambda: green.entry(b"c", kind=COMMIT),
        lambda: green.confirm(rekey),
        lambda: green.entry(b"rekey", kind=REKEY),
        lambda: joining(green, link),
    ]
    for make in makes:
        assert isinstance(await with_submission(green, make(), listed(other), info=b"own"), m.Accepted)
        assert isinstance(await blue.receive(), m.Entry)
        assert await find(blue, other) is Code.NO_SUCH_LINK
        assert (await found(blue, link)).offers == 1
    asked = await join("grey")
    await found(asked, link)
    submit = joining(asked, link)
    assert isinstance(await with_submission(asked, submit, listed(other), info=b"own"), m.Accepted)
    await blue.expect(m.Entry)
    assert await find(blue, other) is Code.NO_SUCH_LINK


async def test_it_cannot_mend(join: Join, link: DeviceKey) -> None:
    (red, blue, green), _ = await room_with_joining(join, link, "red", "blue")
    for add, remove in (((), ()), ((), (green,)), ((), (red,)), ((red,), ())):
        assert await mend(green, add, remove) is Code.NOT_MEMBER
    assert await mend(blue, remove=(red,)) is None
    assert await routed(blue) == ["blue", "red", "stranger"]


async def test_it_confirms_nothing(join: Join, link: DeviceKey) -> None:
    (red, blue, green), joins = await room_with_joining(join, link, "red", "blue")
    grey = await another_joins(join, link, "grey", red, blue, green)
    await do(grey, grey.confirm(joins), red, blue, green)
    assert not await is_ordinary(green)
    rekey = red.entry(b"rekey", kind=REKEY, remove=(green.participant.device,))
    await do(red, rekey, blue, green, grey)
    await do(grey, grey.confirm(rekey), red, blue, green)
    assert await routed(red) == ["blue", "grey", "red", "stranger"]
    await do(blue, blue.confirm(rekey), red, green, grey)
    assert await routed(red) == ["blue", "grey", "red"]


async def test_it_adds_nobody_and_its_commits_end_no_epoch(join: Join, link: DeviceKey) -> None:
    (red, blue, green), _ = await room_with_joining(join, link, "red", "blue")
    grey = await join("grey")
    rekey = red.entry(b"rekey", kind=REKEY, remove=(green.participant.device,))
    await do(red, rekey, blue, green)
    for added in (grey, red, green):
        submit = green.entry(b"c", kind=COMMIT, add=(added.participant.device,), welcome=b"hello")
        assert await refused(green, submit) is Code.BAD_REQUEST
    await do(green, green.entry(b"c", kind=COMMIT), red, blue)
    assert not await is_ordinary(green)
    await do(blue, blue.confirm(rekey), red, green)
    assert await routed(red) == ["blue", "red"]


async def test_objections_of_who_is_only_joining_do_not_count(join: Join, link: DeviceKey) -> None:
    (red, blue, grey, green), _ = await room_with_joining(join, link, "red", "blue", "grey")
    assert await mend(blue, remove=(grey,)) is None
    phone = await another_joins(join, link, phone_of(blue), red, blue, grey, green)
    leaving = blue.entry(b"bye", kind=PROPOSAL, remove=(blue.participant.device,))
    await do(blue, leaving, red, grey, green, phone)
    assert await mend(red, remove=(grey,)) is None
    assert await routed(red) == ["blue", "grey", "red", "stranger"]


# --- what it may do, and what others may do to it ------------------------------------------------------


async def test_it_speaks_and_asks_and_leaves_as_others_do(join: Join, link: DeviceKey) -> None:
    (red, green), _ = await room_with_joining(join, link, "red")
    await do(green, green.entry(b"hello"), red)
    await do(green, green.entry(b"lost", kind=Kind.LOST), red)
    helps = green.entry(b"", kind=Kind.GROUP_INFO, add=(red.participant.device,), welcome=b"sealed")
    await green.submit(helps)
    assert {type(await red.receive()) for _ in range(2)} == {m.Entry, m.Invitation}
    await do(green, joining(green, link), red)
    assert not await is_ordinary(green)
    leaving = green.entry(b"bye", kind=PROPOSAL, remove=(green.participant.device,))
    await do(green, leaving, red)
    assert await routed(red) == ["red"]


@pytest.mark.parametrize("by_own_account", [False, True])
async def test_one_member_takes_it_out_at_once(join: Join, link: DeviceKey, by_own_account: bool) -> None:
    (red, blue, green), _ = await room_with_joining(join, link, "red", "blue")
    phone = await another_joins(join, link, phone_of(blue), red, blue, green)
    by = blue if by_own_account else red
    assert await mend(by, remove=(phone, green)) is None
    assert await routed(by) == ["blue", "red"]
    for gone in (phone, green):
        assert (await gone.expect(m.Refused)).code is Code.NOT_MEMBER


async def test_a_lone_account_settles_its_offer_although_somebody_is_joining(
    join: Join, link: DeviceKey
) -> None:
    (red, green), _ = await room_with_joining(join, link, "red")
    rekey = red.entry(b"rekey", kind=REKEY)
    assert isinstance(await with_submission(red, rekey), m.Accepted)
    await green.expect(m.Entry)
    assert await find(green, link) is Code.LINK_REVOKED


async def test_a_confirmation_of_who_is_joining_settles(join: Join, link: DeviceKey) -> None:
    (red, green), rekey = await room_with_joining(join, link, "red")
    assert isinstance(await with_submission(red, red.confirm(rekey)), m.Accepted)
    await green.expect(m.Entry)
    assert await find(green, link) is Code.LINK_REVOKED
    other = DeviceKey.generate()
    await put(green, offer(listed(other), info=b"a member's"))
    assert (await found(green, other)).group_info == b"a member's"
