"""Links through a real relay: offers are kept and served, and holders of a link let in."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from clave_crypto.identity import DeviceKey
from clave_server.limits.quotas import Quota
from clave_server.rooms import offer_staging, room_state
from clave_wire import messages as m
from clave_wire.connection import ClientConnection
from clave_wire.framing import pack
from clave_wire.limits import MAX_WELCOME_BYTES
from clave_wire.messages import Code
from linkkit import (
    find,
    found,
    in_order,
    joining,
    listed,
    offer,
    put,
    refused,
    room_with_link,
    with_submission,
)
from relaykit import (
    CHANGE_BURST,
    PATIENCE_SECONDS,
    ROOM,
    Participant,
    RelayUnderTest,
    entries,
    payloads,
    running_relay,
)

COMMIT, REKEY, PROPOSAL, LOST = m.Kind.COMMIT, m.Kind.REKEY, m.Kind.PROPOSAL, m.Kind.LOST


@pytest.fixture
def link() -> DeviceKey:
    return DeviceKey.generate()


# --- joining -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_stranger_finds_a_room_by_a_link_and_joins_it(
    relay: RelayUnderTest, link: DeviceKey, restarted: bool
) -> None:
    red, blue, green = await room_with_link(relay, link, "red", "blue")
    await red.say(b"secret")
    await blue.expect(m.Entry)
    if restarted:
        await relay.restart()
        red, blue, green = [await relay.join(each.participant) for each in (red, blue, green)]
        for client in (red, blue):
            await client.resume(2)
    answer = await found(green, link)
    assert answer == m.LinkOffer(answer.id, ROOM, 1, 0, 1, b"sealed", b"group info")
    accepted = await green.submit(joining(green, link, seen=2))
    assert (accepted.seq, accepted.submission) == (3, 1)
    assert payloads([await red.expect(m.Entry), await blue.expect(m.Entry)]) == [b"join", b"join"]
    assert isinstance(await green.ask(m.Resume(1, ROOM, 1)), m.Refused)
    resumed = await green.resume(2)
    assert {name for _, name in resumed.members} == {"red", "blue", "stranger"}
    assert (await green.expect(m.Entry)).seq == 3
    assert (await green.say(b"hello")).seq == 4
    for client in (red, blue):
        assert payloads(await entries(client, 1)) == [b"hello"]
    answer = await found(green, link)
    assert (answer.handshake, answer.submission) == (3, 2)
    await relay.restart()
    green = await relay.join(green.participant)
    assert len((await green.resume(4)).members) == 3
    assert (await found(green, link)).submission == 2


async def test_an_offer_that_had_seen_too_little_of_the_log_lets_nobody_in(
    relay: RelayUnderTest, link: DeviceKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_state, "MAX_BACKLOG", 3)
    red, green = await room_with_link(relay, link, "red")
    for number in range(5):
        await red.say(b"%d" % number)
    answer = await green.ask(joining(green, link, read=1, seen=2))
    assert isinstance(answer, m.Rejected)
    assert answer.code is Code.PRUNED
    assert isinstance(await green.submit(joining(green, link, read=1, seen=3)), m.Accepted)
    await green.resume(4)


async def test_a_rekey_of_who_joined_waits_to_be_confirmed(relay: RelayUnderTest, link: DeviceKey) -> None:
    red, green = await room_with_link(relay, link, "red")
    rekey = joining(green, link, read=1)
    await green.submit(rekey)
    await red.expect(m.Entry)
    another, new = DeviceKey.generate(), b"after the confirmation"
    assert isinstance(await with_submission(red, red.confirm(rekey), listed(another), info=new), m.Accepted)
    assert (await found(green, another)).group_info == new
    assert await find(green, link) is Code.LINK_REVOKED  # as the confirmation settled which are live


async def test_the_same_submission_is_accepted_once(relay: RelayUnderTest, link: DeviceKey) -> None:
    _, green, blue = *(await room_with_link(relay, link, "red", uses=1)), await relay.join("blue")
    submit = joining(green, link, read=1)
    for _ in range(2):
        assert (await green.submit(submit)).seq == 2
    back = await relay.join(green.participant)
    assert (await back.submit(submit)).seq == 2
    assert await refused(blue, joining(blue, link, read=2)) is Code.LINK_USED_UP


async def test_a_member_may_join_again_by_a_link_that_is_used_up(
    relay: RelayUnderTest, link: DeviceKey
) -> None:
    red, green = await room_with_link(relay, link, "red", uses=1)
    await green.submit(joining(green, link, read=1))
    assert (await found(green, link)).handshake == 2
    assert (await green.submit(joining(green, link))).seq == 3
    blue = await relay.join("blue")
    assert await find(blue, link) is Code.LINK_USED_UP
    assert payloads(await entries(red, 2)) == [b"join", b"join"]
    await relay.restart()
    blue, green = await relay.join(blue.participant), await relay.join(green.participant)
    assert await find(blue, link) is Code.LINK_USED_UP
    assert (await found(green, link)).submission == 2


# --- what is refused -----------------------------------------------------------------------------------


async def test_a_link_that_nobody_offered_lets_nobody_in(relay: RelayUnderTest, link: DeviceKey) -> None:
    _, green = await room_with_link(relay, link, "red")
    other = DeviceKey.generate()
    assert await find(green, other) is Code.NO_SUCH_LINK
    assert await refused(green, joining(green, other, read=1)) is Code.NO_SUCH_LINK
    lost = green.entry(b"join", room=bytes(16), kind=REKEY, read=0, welcome=bytes(96))
    assert await refused(green, lost) is Code.NO_SUCH_ROOM


async def test_an_expired_link_lets_nobody_in(relay: RelayUnderTest, link: DeviceKey) -> None:
    _, green = await room_with_link(relay, link, "red", not_after=1)
    assert await find(green, link) is Code.LINK_EXPIRED
    assert await refused(green, joining(green, link, read=1)) is Code.LINK_EXPIRED


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_revoked_link_lets_nobody_in_and_is_not_revived(
    relay: RelayUnderTest, link: DeviceKey, restarted: bool
) -> None:
    red, blue, green = await room_with_link(relay, link, "red", "blue")
    assert isinstance(await with_submission(red, red.entry(b"c", kind=COMMIT), info=b"new"), m.Accepted)
    if restarted:
        await relay.restart()
        red, blue, green = [await relay.join(each.participant) for each in (red, blue, green)]
    await put(blue, offer(listed(link)))
    assert await find(green, link) is Code.LINK_REVOKED
    assert await refused(green, joining(green, link, read=2)) is Code.LINK_REVOKED


async def test_a_proof_for_anything_else_lets_nobody_in(relay: RelayUnderTest, link: DeviceKey) -> None:
    _, green = await room_with_link(relay, link, "red")
    device = green.participant.device
    other = Participant("other")
    namesake = Participant("somebody", green.participant.account)
    namesake.device = device
    join = partial(joining, green, link, read=1)
    for wrong in (
        partial(join, who=other),
        partial(join, who=namesake),
        partial(join, signed_room=bytes(16)),
        partial(join, signed_head=bytes([1]) * 32),
    ):
        assert await refused(green, wrong()) is Code.NOT_MEMBER
    for add, remove in (((device,), ()), ((), (device,))):
        assert await refused(green, joining(green, link, read=1, add=add, remove=remove)) is Code.BAD_REQUEST
    assert (await green.submit(joining(green, link, read=1))).seq == 2


@pytest.mark.parametrize("size", [1, 95, 97])
async def test_a_rekey_carries_nothing_else_than_a_proof(
    relay: RelayUnderTest, link: DeviceKey, size: int
) -> None:
    red, green = await room_with_link(relay, link, "red")
    for client, code in ((red, Code.BAD_REQUEST), (green, Code.NOT_MEMBER)):
        submit = client.entry(b"rekey", kind=REKEY, read=1, welcome=bytes(size))
        assert await refused(client, submit) is code


async def test_a_join_is_checked_as_other_submissions_are(relay: RelayUnderTest, link: DeviceKey) -> None:
    red, green = await room_with_link(relay, link, "red")
    assert await refused(green, joining(green, link, read=0)) is Code.STALE
    green.participant.submissions[ROOM] = 1
    assert await refused(green, joining(green, link, read=1)) is Code.OUT_OF_ORDER
    green.participant.submissions[ROOM] = 0
    for _ in range(CHANGE_BURST):
        await green.submit(joining(green, link, read=green.participant.handshakes[ROOM] or 1))
    assert await refused(green, joining(green, link)) is Code.PACE
    await entries(red, CHANGE_BURST)


async def test_a_full_room_takes_nobody_in(
    relay: RelayUnderTest, link: DeviceKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, blue, green = await room_with_link(relay, link, "red", "blue")
    monkeypatch.setattr(room_state, "MAX_MEMBERS", 2)
    assert await refused(green, joining(green, link, read=1)) is Code.LIMIT
    await blue.submit(joining(blue, link, read=1))  # a member is not one more


async def test_an_account_over_its_quota_cannot_join(tmp_path: Path, link: DeviceKey) -> None:
    async with running_relay(tmp_path, quota=Quota(stored_bytes=20_000)) as relay:
        _, green = await room_with_link(relay, link, "red")
        await green.create(bytes(16))
        await green.say(bytes(20_000), room=bytes(16))
        assert await refused(green, joining(green, link, read=1)) is Code.LIMIT


async def test_a_client_of_version_6_has_no_links(relay: RelayUnderTest, link: DeviceKey) -> None:
    red, green = await room_with_link(relay, link, "red")
    old = await relay.connect()
    old.connection = ClientConnection((6, 5, 4))
    await old.log_in(red.participant)
    other = DeviceKey.generate()
    await old.write(pack(offer(listed(other))) + pack(m.FindLink(7, link.public, 0)))
    answer = await old.expect(m.Refused)
    assert (answer.id, answer.code) == (7, Code.BAD_REQUEST)
    await in_order(old)
    assert await find(green, other) is Code.NO_SUCH_LINK


# --- offers --------------------------------------------------------------------------------------------


async def test_offers_that_began_an_epoch_are_served_first_and_then_the_latest(
    relay: RelayUnderTest, link: DeviceKey
) -> None:
    red, blue, grey, green = await room_with_link(relay, link, "red", "blue", "grey")
    await with_submission(red, red.entry(b"c", kind=COMMIT), listed(link), info=b"settled")
    for before, client in enumerate((blue, grey), 1):
        await entries(client, before)
        await client.say(b"so that the numbers differ")
        await put(client, offer(listed(link, sealed=client.participant.name.encode()), info=b"later"))
    served = [await found(green, link, place) for place in range(3)]
    assert [each.group_info for each in served] == [b"settled", b"later", b"later"]
    assert [each.sealed for each in served] == [b"sealed", b"grey", b"blue"]
    assert {each.offers for each in served} == {3}
    assert await find(green, link, 3) is Code.NO_SUCH_LINK
    await put(grey, offer(listed(link, sealed=b"")))  # which serves nobody, in place of the former
    assert (await found(green, link)).offers == 2


async def test_an_offer_with_a_refused_submission_is_dropped(relay: RelayUnderTest, link: DeviceKey) -> None:
    red, green = await room_with_link(relay, link, "red")
    other = DeviceKey.generate()
    stale = red.entry(b"c", kind=COMMIT, read=0)
    assert isinstance(await with_submission(red, stale, listed(other), info=b"new"), m.Rejected)
    again = red.entry(b"c", kind=COMMIT)
    assert again.submission == stale.submission
    await red.submit(again)
    assert await find(green, other) is Code.NO_SUCH_LINK
    assert (await found(green, link)).group_info == b"group info"


async def test_an_offer_waits_for_its_own_submission(relay: RelayUnderTest, link: DeviceKey) -> None:
    red, green = await room_with_link(relay, link, "red")
    other, later = DeviceKey.generate(), DeviceKey.generate()
    said, commit = red.entry(b"said"), red.entry(b"c", kind=COMMIT)
    await red.send(offer(listed(other), submission=commit.submission))
    await red.submit(said)
    assert await find(green, other) is Code.NO_SUCH_LINK
    await red.send(offer(listed(later), submission=commit.submission))  # in place of the former
    await red.submit(commit)
    assert await find(green, other) is Code.NO_SUCH_LINK
    assert (await found(green, later)).offers == 1
    assert relay.sequencer._offers._size == 0


async def test_offers_that_wait_are_dropped_for_newer_ones_and_with_their_session(
    relay: RelayUnderTest, link: DeviceKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offer_staging, "MAX_WAITING_BYTES", 10)
    red, blue, green = await room_with_link(relay, link, "red", "blue")
    dropped, kept = DeviceKey.generate(), DeviceKey.generate()
    waits = offer(listed(dropped), submission=1, info=bytes(6))
    await green.send(waits)
    await in_order(green)
    await green.close()
    staging = relay.sequencer._offers
    async with asyncio.timeout(PATIENCE_SECONDS):
        while staging._waiting:
            await red.ask(m.Lookup(red.next_id(), "red"))
    assert staging._size == 0
    await put(blue, waits)
    await put(red, offer(listed(kept), submission=red.participant.submissions[ROOM] + 1, info=bytes(6)))
    await blue.say(b"hello")
    await red.expect(m.Entry)
    await red.say(b"hello")
    assert staging._size == 0
    green = await relay.join(green.participant)
    assert await find(green, dropped) is Code.NO_SUCH_LINK
    assert (await found(green, kept)).group_info == bytes(6)


@pytest.mark.parametrize("kind", [m.Kind.APPLICATION, REKEY, LOST, COMMIT])
async def test_only_what_begins_an_epoch_settles_which_links_are_live(
    relay: RelayUnderTest, link: DeviceKey, kind: m.Kind
) -> None:
    red, _, green = await room_with_link(relay, link, "red", "blue")
    other = DeviceKey.generate()
    await with_submission(red, red.entry(b"x", kind=kind), listed(other), info=b"new")
    answer = await green.ask(joining(green, link, read=1 if kind is m.Kind.APPLICATION else 2))
    if kind is COMMIT:
        assert isinstance(answer, m.Rejected)
        assert answer.code is Code.LINK_REVOKED
    else:
        assert isinstance(answer, m.Accepted)
    assert (await found(green, other)).group_info == b"new"


async def test_a_rekey_settles_where_nobody_else_could_confirm_it(
    relay: RelayUnderTest, link: DeviceKey
) -> None:
    red, green = await room_with_link(relay, link, "red")
    await with_submission(red, red.entry(b"x", kind=REKEY), info=b"new")
    assert await find(green, link) is Code.LINK_REVOKED


async def test_a_confirmation_settles_only_if_it_confirms(relay: RelayUnderTest, link: DeviceKey) -> None:
    red, blue, green = await room_with_link(relay, link, "red", "blue")
    rekey = red.entry(b"rekey", kind=REKEY)
    await red.submit(rekey)
    await blue.expect(m.Entry)
    await with_submission(red, red.confirm(rekey), info=b"own")
    await blue.expect(m.Entry)
    await put(red, offer(listed(link)))
    assert (await found(green, link)).offers == 1
    await with_submission(blue, blue.confirm(rekey), info=b"confirmed")
    assert await find(green, link) is Code.LINK_REVOKED


async def test_an_offer_of_who_joins_settles_nothing(relay: RelayUnderTest, link: DeviceKey) -> None:
    _, green = await room_with_link(relay, link, "red")
    answer = await with_submission(green, joining(green, link, read=1), info=b"own")
    assert isinstance(answer, m.Accepted)
    assert (await found(green, link)).group_info == b"group info"


async def test_an_offer_of_who_joins_settles_where_nobody_is_who_could_confirm(
    relay: RelayUnderTest, link: DeviceKey
) -> None:
    red, green = await room_with_link(relay, link, "red")
    await red.send(m.Mend(1, ROOM, [], [red.participant.device]))
    await red.expect(m.Done)
    answer = await with_submission(green, joining(green, link, read=1), listed(link), info=b"own")
    assert isinstance(answer, m.Accepted)
    assert (await found(green, link)).group_info == b"own"


async def test_a_rekey_that_removes_all_others_settles(relay: RelayUnderTest, link: DeviceKey) -> None:
    red, blue, green = await room_with_link(relay, link, "red", "blue")
    rekey = red.entry(b"rekey", kind=REKEY, remove=(blue.participant.device,))
    await with_submission(red, rekey, info=b"own")
    await blue.expect(m.Entry)
    assert await find(green, link) is Code.LINK_REVOKED


async def test_what_a_settling_offer_says_of_a_link_counts(relay: RelayUnderTest, link: DeviceKey) -> None:
    red, green = await room_with_link(relay, link, "red", uses=0)
    await put(red, offer(listed(link, uses=9)))
    assert await find(green, link) is Code.LINK_USED_UP
    await with_submission(red, red.entry(b"c", kind=COMMIT), listed(link, uses=1), info=b"new")
    assert (await found(green, link)).group_info == b"new"


@pytest.mark.parametrize("who", ["a stranger", "who leaves", "too large"])
async def test_offers_that_are_not_taken_are_dropped_without_a_word(
    relay: RelayUnderTest, link: DeviceKey, who: str
) -> None:
    red, blue, green = await room_with_link(relay, link, "red", "blue")
    other = DeviceKey.generate()
    if who == "a stranger":
        await put(green, offer(listed(other)))
    elif who == "who leaves":
        leaving = blue.entry(b"bye", kind=PROPOSAL, remove=(blue.participant.device,))
        assert isinstance(await with_submission(blue, leaving, listed(other), info=b"x"), m.Accepted)
    else:
        await put(red, offer(listed(other), info=bytes(MAX_WELCOME_BYTES + 1)))
        assert await find(green, other) is Code.NO_SUCH_LINK
        await put(red, offer(listed(link), info=bytes(MAX_WELCOME_BYTES)))
        assert len((await found(green, link)).group_info) == MAX_WELCOME_BYTES
    assert await find(green, other) is Code.NO_SUCH_LINK
    await put(green, offer(listed(other), room=bytes(16)))


async def test_a_link_of_two_rooms_is_of_the_one_that_had_it_first(
    relay: RelayUnderTest, link: DeviceKey
) -> None:
    red, green = await room_with_link(relay, link, "red")
    low = bytes(16)
    await red.create(low)
    await put(red, offer(listed(link), room=low))
    assert (await found(green, link)).room == ROOM
    await with_submission(red, red.entry(b"c", kind=COMMIT), listed(link), info=b"new")
    assert (await found(green, link)).room == ROOM
