"""Handshakes through a real relay: which headers are refused, and how they change the routing."""

from __future__ import annotations

import pytest

from clave_server.rooms.rekeys import reference
from clave_wire import messages as m
from clave_wire.header import Header, Seen, pack_header
from relaykit import (
    CHANGE_BURST,
    HEAD,
    ROOM,
    Participant,
    RawClient,
    RelayUnderTest,
    entries,
    payloads,
    remove,
)

COMMIT, PROPOSAL, REKEY, CONFIRM = m.Kind.COMMIT, m.Kind.PROPOSAL, m.Kind.REKEY, m.Kind.CONFIRM
LOST, GROUP_INFO = m.Kind.LOST, m.Kind.GROUP_INFO
HANDSHAKES = [kind for kind in m.Kind if kind is not m.Kind.APPLICATION]
OTHER_HEAD = bytes([1]) * 32


async def refusal(client: RawClient, submit: m.Submit) -> m.Code:
    """Submit what the relay must reject; return the code."""
    answer = await client.ask(submit)
    assert isinstance(answer, m.Rejected), answer
    return answer.code


async def member_names(client: RawClient) -> set[str]:
    return {name for _, name in (await client.resume(client.participant.seen[ROOM])).members}


async def expect_entries(*clients: RawClient) -> None:
    for client in clients:
        await client.expect(m.Entry)


# --- headers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HANDSHAKES)
async def test_a_handshake_without_a_valid_header_of_its_kind_is_refused(
    relay: RelayUnderTest, kind: m.Kind
) -> None:
    (red,) = await relay.room_of("red")
    another = CONFIRM if kind is LOST else LOST
    right = pack_header(Header(kind, HEAD, Seen(0, bytes(32))))
    for payload in (
        b"",
        b"\0\0",
        right[:-1],
        right[:2] + b"\xff" + right[3:],
        pack_header(Header(another, HEAD, Seen(0, bytes(32)))),
    ):
        submit = m.Submit(ROOM, 2, 1, kind, payload)
        assert await refusal(red, submit) is m.Code.BAD_REQUEST


async def test_the_payload_of_a_message_is_not_checked(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    strange = pack_header(Header(REKEY, HEAD, Seen(0, bytes(32)), add=[bytes(32)]))
    for payload in (b"", b"\xff\xff", strange):
        await red.say(payload)
        assert (await blue.expect(m.Entry)).payload == payload


async def test_a_submitted_payload_is_delivered_unchanged(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    for kind in (COMMIT, REKEY, CONFIRM, LOST):
        submit = red.entry(b"body", kind=kind)
        seq = (await red.submit(submit)).seq
        entry = await blue.expect(m.Entry)
        assert entry == m.Entry(ROOM, seq, red.participant.device, submit.submission, kind, 0, submit.payload)


@pytest.mark.parametrize("kind", list(m.Kind))
async def test_a_kind_that_adds_or_removes_what_it_may_not_is_refused(
    relay: RelayUnderTest, kind: m.Kind
) -> None:
    red, blue = await relay.room_of("red", "blue")
    phone = Participant("red", red.participant.account)
    await relay.join(phone)
    green = await relay.join("green")
    own, other, new = red.participant.device, blue.participant.device, green.participant.device
    refused: list[m.Submit] = []
    if kind in (m.Kind.APPLICATION, CONFIRM, LOST, PROPOSAL, REKEY):
        gone = (own,) if kind is PROPOSAL else ()
        refused.append(red.entry(b"", kind=kind, remove=gone, welcome=b"welcome"))
        if kind is not m.Kind.APPLICATION:
            refused += [red.entry(b"", kind=kind, remove=gone, add=(who,)) for who in (new, other)]
    if kind in (COMMIT, CONFIRM, LOST):
        refused += [red.entry(b"", kind=kind, remove=(who,)) for who in (own, other)]
    if kind is PROPOSAL:
        refused += [
            red.entry(b"", kind=kind, remove=gone)
            for gone in ((), (other,), (phone.device,), (own, other), (own, own))
        ]
    if kind is GROUP_INFO:
        refused += [red.entry(b"", kind=kind, add=who) for who in ((), (new,), (own, other), (other, other))]
        refused.append(red.entry(b"", kind=kind, add=(other,), remove=(other,)))
    if kind is COMMIT:
        refused.append(red.entry(b"", kind=kind, add=(new,), remove=(other,)))
    assert refused
    for submit in refused:
        assert await refusal(red, m.Submit(ROOM, 2, 1, kind, submit.payload, submit.welcome)) is (
            m.Code.BAD_REQUEST
        )
    assert await member_names(red) == {"red", "blue"}


# --- removing ------------------------------------------------------------------------------------------


async def test_a_rekey_alone_removes_nobody(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    await red.submit(red.entry(b"rekey", kind=REKEY, remove=(blue.participant.device,)))
    await blue.expect(m.Entry)
    assert (await blue.say(b"here")).seq == 3


async def test_an_account_cannot_confirm_its_own_rekey(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    phone = await relay.join(Participant("red", red.participant.account))
    await red.submit(red.entry(b"add", kind=COMMIT, add=(phone.participant.device,), welcome=b"w"))
    await phone.resume((await phone.expect(m.Invitation)).seq)
    await blue.expect(m.Entry)
    rekey = red.entry(b"rekey", kind=REKEY, remove=(blue.participant.device,))
    await red.submit(rekey)
    await expect_entries(blue, phone)
    for client, other in ((red, phone), (phone, red)):
        await client.submit(client.confirm(rekey))
        await expect_entries(blue, other)
    assert (await blue.say(b"here")).seq == 6


async def test_a_device_cannot_confirm_its_own_removal(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    rekey = red.entry(b"rekey", kind=REKEY, remove=(blue.participant.device,))
    await red.submit(rekey)
    await blue.expect(m.Entry)
    await blue.submit(blue.confirm(rekey))
    await red.expect(m.Entry)
    assert (await blue.say(b"here")).seq == 4


async def test_a_confirmation_with_another_reference_or_head_removes_nobody(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    rekey = red.entry(b"rekey", kind=REKEY, remove=(blue.participant.device,))
    await red.submit(rekey)
    await expect_entries(blue, green)
    right = reference(rekey.payload)
    for ref, head in ((right, OTHER_HEAD), (bytes(32), HEAD), (b"", HEAD)):
        await green.submit(green.entry(b"confirm", kind=CONFIRM, ref=ref, head=head))
        await expect_entries(red, blue)
    assert (await blue.say(b"here")).seq == 6
    await expect_entries(red, green)
    await green.submit(green.confirm(rekey))
    await expect_entries(red, blue)
    assert await refusal(blue, blue.entry(b"here?")) is m.Code.NOT_MEMBER


async def test_a_confirmed_rekey_drops_the_other_rekeys_of_its_head_only(relay: RelayUnderTest) -> None:
    everyone = red, blue, green, grey = await relay.room_of("red", "blue", "green", "grey")
    device = (grey.participant.device,)

    async def submit(client: RawClient, submit: m.Submit) -> m.Submit:
        await client.submit(submit)
        await expect_entries(*(other for other in everyone if other is not client))
        return submit

    first = await submit(red, red.entry(b"first", kind=REKEY))
    other = await submit(blue, blue.entry(b"other", kind=REKEY, remove=device))
    third = await submit(green, green.entry(b"third", kind=REKEY, remove=device, head=OTHER_HEAD))
    await submit(grey, grey.confirm(first))
    await submit(red, red.confirm(other))
    await submit(grey, grey.entry(b"here"))
    ref = reference(third.payload)
    await submit(red, red.entry(b"confirm", kind=CONFIRM, head=OTHER_HEAD, ref=ref))
    assert await refusal(grey, grey.entry(b"here?")) is m.Code.NOT_MEMBER


async def test_a_commit_drops_the_rekeys_of_its_head_only(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    device = (blue.participant.device,)
    rekey = red.entry(b"rekey", kind=REKEY, remove=device)
    await red.submit(rekey)
    await expect_entries(blue, green)
    await green.submit(green.entry(b"of another epoch", kind=COMMIT, head=OTHER_HEAD))
    await green.submit(green.entry(b"of this one", kind=COMMIT))
    await green.submit(green.confirm(rekey))
    await entries(blue, 3)
    assert (await blue.say(b"here")).seq == 6
    await entries(green, 1)
    await entries(red, 4)
    rekey = red.entry(b"rekey again", kind=REKEY, remove=device)
    await red.submit(rekey)
    await expect_entries(blue, green)
    await green.submit(green.entry(b"of another epoch", kind=COMMIT, head=OTHER_HEAD))
    await green.submit(green.confirm(rekey))
    await entries(blue, 2)
    assert await refusal(blue, blue.entry(b"here?")) is m.Code.NOT_MEMBER


async def test_only_the_newest_rekey_of_an_account_can_be_confirmed(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    first = red.entry(b"first", kind=REKEY, remove=(blue.participant.device,))
    await red.submit(first)
    second = red.entry(b"second", kind=REKEY)
    await red.submit(second)
    await entries(blue, 2)
    await entries(green, 2)
    for rekey in (first, second):
        await green.submit(green.confirm(rekey))
        await blue.expect(m.Entry)
    assert (await blue.say(b"here")).seq == 6


async def test_a_waiting_rekey_survives_a_restart(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    rekey = red.entry(b"rekey", kind=REKEY, remove=(blue.participant.device,))
    await red.submit(rekey)
    await relay.restart()
    green = await relay.join(green.participant)
    await green.resume(1)
    await green.expect(m.Entry)
    await green.submit(green.confirm(rekey))
    assert await member_names(green) == {"red", "green"}


async def test_rekeys_and_objections_that_are_not_on_disk_are_rolled_back(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    await red.submit(red.entry(b"none", kind=LOST))
    await expect_entries(blue, green)
    room = relay.sequencer.loaded_room(ROOM)
    assert room is not None
    before = room.handshake, dict(room.rekeys), dict(room.objections)
    rekey = red.entry(b"rekey", kind=REKEY, remove=(blue.participant.device,))
    room.stage_handshake(
        red.participant.device, rekey, Header(REKEY, HEAD, Seen(0, bytes(32)), remove=[]), {}
    )
    room.stage_mend(red.participant.device, [], [blue.participant.device], {})
    room.roll_back()
    assert (room.handshake, dict(room.rekeys), dict(room.objections)) == before


# --- coming back ---------------------------------------------------------------------------------------


async def test_a_group_info_is_delivered_to_its_member_and_changes_no_routing(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    await blue.submit(blue.entry(b"lost", kind=LOST))
    await expect_entries(red, green)
    sealed = red.entry(b"", kind=GROUP_INFO, add=(blue.participant.device,), welcome=b"sealed")
    assert (await red.submit(sealed)).seq == 3
    for client in (blue, green):
        assert (await client.expect(m.Entry)).kind is GROUP_INFO
    invitation = await blue.expect(m.Invitation)
    assert (invitation.seq, invitation.sender) == (3, red.participant.device)
    assert invitation.welcome == b"sealed"
    assert isinstance(await green.ask(m.Lookup(1, "red")), m.Account)  # which got no invitation
    assert await member_names(red) == {"red", "blue", "green"}
    await blue.resume(1)  # it is where it was
    assert payloads(await entries(blue, 2)) == [b"lost", b""]


async def test_a_commit_adds_a_removed_device_again(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    device = blue.participant.device
    assert await remove(red, green, device) == 3
    await red.expect(m.Entry)
    await entries(blue, 2)
    await red.submit(red.entry(b"add", kind=COMMIT, add=(device,), welcome=b"welcome"))
    assert (await blue.expect(m.Invitation)).seq == 4
    await blue.resume(3)
    assert payloads(await entries(blue, 1)) == [b"add"]
    assert (await blue.say(b"here")).seq == 5


# --- pace ----------------------------------------------------------------------------------------------


async def test_handshakes_of_one_account_in_one_room_are_rate_limited(
    relay: RelayUnderTest,
) -> None:
    red, blue = await relay.room_of("red", "blue")  # with the first change
    passed = 0.0
    begun = relay.sequencer.clock()
    relay.sequencer.clock = lambda: begun + passed
    for _ in range(CHANGE_BURST - 1):
        await red.submit(red.entry(b"", kind=LOST))
        await blue.expect(m.Entry)
    answer = await red.ask(red.entry(b"", kind=LOST))
    assert isinstance(answer, m.Rejected)
    assert answer.code is m.Code.PACE
    assert answer.text.endswith("wait 2 s")
    await red.say(b"a message is no change")
    await blue.expect(m.Entry)
    await blue.submit(blue.entry(b"another account", kind=LOST))
    await red.expect(m.Entry)
    other_room = bytes(16)
    await red.create(other_room)
    await red.submit(red.entry(b"another room", kind=LOST, room=other_room))
    passed = 1.5
    assert await refusal(red, red.entry(b"", kind=LOST)) is m.Code.PACE
    passed = 2.5
    await red.submit(red.entry(b"", kind=LOST))
    await blue.expect(m.Entry)
    assert await refusal(red, red.entry(b"", kind=LOST)) is m.Code.PACE


async def test_refused_handshakes_do_not_count_against_the_rate(relay: RelayUnderTest) -> None:
    (red,) = await relay.room_of("red")
    for _ in range(2 * CHANGE_BURST):
        assert await refusal(red, red.entry(b"", kind=LOST, read=0)) is m.Code.STALE
    await red.submit(red.entry(b"", kind=LOST))
