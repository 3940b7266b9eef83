"""What members of a room are sent, and in which order, through a real relay."""

from __future__ import annotations

import asyncio

import pytest

from clave_wire import messages as m
from relaykit import ROOM, Participant, RawClient, RelayUnderTest, entries, payloads, remove

COMMIT, PROPOSAL = m.Kind.COMMIT, m.Kind.PROPOSAL
REKEY, CONFIRM = m.Kind.REKEY, m.Kind.CONFIRM


async def test_others_get_the_entry_and_the_sender_its_seq(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    accepted = await red.say(b"hello")
    assert accepted == m.Accepted(ROOM, 2, 2)
    for client in (blue, green):
        entry = await client.expect(m.Entry)
        assert entry == m.Entry(ROOM, 2, red.participant.device, 2, m.Kind.APPLICATION, 0, b"hello")


async def test_another_device_of_the_sender_gets_the_entry(relay: RelayUnderTest) -> None:
    laptop = Participant("red")
    phone = Participant("red", laptop.account)
    first, second = await relay.join(laptop), await relay.join(phone)
    await first.create()
    await first.resume()
    await first.submit(first.entry(b"add", kind=COMMIT, add=(phone.device,), welcome=b"welcome"))
    invitation = await second.expect(m.Invitation)
    await second.resume(invitation.seq)
    await first.say(b"hello")
    assert (await second.expect(m.Entry)).payload == b"hello"


async def test_all_members_see_one_order_while_everyone_talks(relay: RelayUnderTest) -> None:
    clients = await relay.room_of("red", "blue", "green")

    async def talk(client: RawClient) -> list[tuple[bytes, int]]:
        for number in range(50):
            await client.send(client.entry(b"%d" % number))
        seen: list[tuple[bytes, int, int]] = []
        for _ in range(150):
            message = await client.receive()
            if isinstance(message, m.Accepted):
                seen.append((client.participant.device, message.submission, message.seq))
            else:
                assert isinstance(message, m.Entry)
                seen.append((message.sender, message.submission, message.seq))
        assert [seq for _, _, seq in seen] == list(range(2, 152))
        return [(sender, submission) for sender, submission, _ in seen]

    first, *others = await asyncio.gather(*map(talk, clients))
    assert all(other == first for other in others)


async def test_a_submission_that_has_not_read_the_last_handshake_is_stale(relay: RelayUnderTest) -> None:
    (red,) = await relay.room_of("red")
    for kind in m.Kind:
        for read in (0, 2):
            answer = await red.ask(red.entry(b"late", kind=kind, read=read))
            assert isinstance(answer, m.Rejected)
            assert (answer.code, answer.text) == (m.Code.STALE, "another change came first")
    assert (await red.say(b"now")).seq == 2
    assert (await red.say(b"a message is no change")).seq == 3


@pytest.mark.parametrize("kind", [COMMIT, REKEY, CONFIRM, m.Kind.LOST])
async def test_every_kind_but_application_is_a_handshake(relay: RelayUnderTest, kind: m.Kind) -> None:
    red, blue = await relay.room_of("red", "blue")
    assert (await red.submit(red.entry(b"change", kind=kind))).seq == 2
    answer = await blue.ask(blue.entry(b"late"))
    assert isinstance(answer, m.Entry)
    assert (await blue.expect(m.Rejected)).code is m.Code.STALE
    await relay.restart()
    blue = await relay.join(blue.participant)
    assert isinstance(await blue.ask(blue.entry(b"late", read=1)), m.Rejected)
    assert (await blue.say(b"now")).seq == 3


async def test_submissions_after_a_refused_one_are_out_of_order(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    submits = [red.entry(b"late", read=0), red.entry(b"behind"), red.entry(b"behind that")]
    await red.write(b"".join(map(red.connection.send, submits)))
    answers = [await red.expect(m.Rejected) for _ in submits]
    assert [answer.code for answer in answers] == [m.Code.STALE] + [m.Code.OUT_OF_ORDER] * 2
    assert answers[1].text == "an earlier submission was refused"
    assert red.participant.submissions[ROOM] == 1
    assert (await red.say(b"again")).seq == 2
    assert payloads(await entries(blue, 1)) == [b"again"]


async def test_submission_numbers_begin_at_one_in_each_room(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    for room in (ROOM, bytes(16)):
        await red.create(room)
        answer = await red.ask(m.Submit(room, 2, 0, m.Kind.APPLICATION, b"second"))
        assert isinstance(answer, m.Rejected)
        assert answer.code is m.Code.OUT_OF_ORDER
        red.participant.submissions.clear()
        assert (await red.say(b"first", room=room)).submission == 1


async def test_of_two_concurrent_commits_one_is_accepted(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    await asyncio.gather(
        red.send(red.entry(b"by red", kind=COMMIT)),
        blue.send(blue.entry(b"by blue", kind=COMMIT)),
    )
    outcomes: list[set[type]] = []
    for client in (red, blue):
        first = await client.receive()
        outcomes.append(
            {type(first)} if isinstance(first, m.Accepted) else {type(first), type(await client.receive())}
        )
    assert sorted(outcomes, key=len) == [{m.Accepted}, {m.Entry, m.Rejected}]


async def test_a_commit_and_later_submissions_can_be_sent_at_once(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    submits = [red.entry(b"a"), red.entry(b"b", kind=COMMIT), red.entry(b"c", read=3)]
    await red.write(b"".join(map(red.connection.send, submits)))
    assert [(await red.expect(m.Accepted)).seq for _ in range(3)] == [2, 3, 4]
    assert payloads(await entries(blue, 3)) == [b"a", b"b", b"c"]


# --- who may, and who gets what ------------------------------------------------------------------------


async def test_a_submission_of_a_non_member_is_refused(relay: RelayUnderTest) -> None:
    await relay.room_of("red", "blue")
    green = await relay.join("green")
    answer = await green.ask(green.entry(b"me too"))
    assert isinstance(answer, m.Rejected)
    assert answer.code is m.Code.NOT_MEMBER
    refused = await green.ask(m.Resume(1, ROOM, 0))
    assert isinstance(refused, m.Refused)
    assert refused.code is m.Code.NOT_MEMBER


async def test_requests_to_a_room_that_does_not_exist_are_refused(relay: RelayUnderTest) -> None:
    red = await relay.join("red")
    refused = await red.ask(m.Resume(1, ROOM, 0))
    assert isinstance(refused, m.Refused)
    assert refused.code is m.Code.NO_SUCH_ROOM
    rejected = await red.ask(red.entry(b"hello"))
    assert isinstance(rejected, m.Rejected)
    assert rejected.code is m.Code.NO_SUCH_ROOM


async def test_a_room_is_created_once_and_its_creator_can_repeat_the_request(relay: RelayUnderTest) -> None:
    red, blue = await relay.join("red"), await relay.join("blue")
    await red.create()
    await red.create()
    refused = await blue.ask(m.CreateRoom(1, ROOM))
    assert isinstance(refused, m.Refused)
    assert refused.code is m.Code.ROOM_EXISTS


async def test_a_new_member_gets_the_entries_that_its_inviter_had_not_seen(
    relay: RelayUnderTest,
) -> None:
    (red,) = await relay.room_of("red")
    await red.say(b"before")
    await red.say(b"not seen")
    blue = await relay.join("blue")
    add = red.entry(b"add", kind=COMMIT, add=(blue.participant.device,), welcome=b"welcome", seen=2)
    assert (await red.submit(add)).seq == 4
    invitation = await blue.expect(m.Invitation)
    assert (invitation.room, invitation.seq, invitation.sender) == (ROOM, 4, red.participant.device)
    assert invitation.welcome == b"welcome"
    refused = await blue.ask(m.Resume(1, ROOM, 1))
    assert isinstance(refused, m.Refused)
    assert refused.code is m.Code.BAD_REQUEST
    await red.say(b"after")
    resumed = await blue.resume(2)
    assert (resumed.seq, resumed.submission, resumed.legacy, resumed.restores) == (5, 0, 0, [])
    assert sorted(resumed.members) == sorted(
        [(red.participant.device, "red"), (blue.participant.device, "blue")]
    )
    assert payloads(await entries(blue, 3)) == [b"not seen", b"add", b"after"]


async def test_a_new_member_gets_the_commit_that_adds_it_whatever_view_it_names(
    relay: RelayUnderTest,
) -> None:
    (red,) = await relay.room_of("red")
    blue = await relay.join("blue")
    await red.submit(red.entry(b"add", kind=COMMIT, add=(blue.participant.device,), seen=2**40))
    await blue.resume(1)
    assert payloads(await entries(blue, 1)) == [b"add"]


async def test_a_removed_member_gets_its_removal_and_no_later_entry(relay: RelayUnderTest) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    rekey = red.entry(b"remove", kind=REKEY, remove=(blue.participant.device,))
    await red.submit(rekey)
    assert payloads(await entries(blue, 1) + await entries(green, 1)) == [b"remove"] * 2
    assert (await blue.say(b"still here")).seq == 3  # until it is confirmed
    await entries(green, 1)
    said = [green.confirm(rekey), green.entry(b"secret", read=4)]
    await green.write(b"".join(map(green.connection.send, said)))
    assert payloads(await entries(red, 3)) == [b"still here", b"confirm", b"secret"]
    assert payloads(await entries(blue, 1)) == [b"confirm"]
    answer = await blue.ask(blue.entry(b"still here?"))  # nothing came in between
    assert isinstance(answer, m.Rejected)
    assert answer.code is m.Code.NOT_MEMBER
    resumed = await blue.resume(1)  # later, from where it was
    assert (resumed.seq, resumed.members) == (4, [])
    assert payloads(await entries(blue, 3)) == [b"remove", b"still here", b"confirm"]
    for after in (4, 9):
        refused = await blue.ask(m.Resume(9, ROOM, after))
        assert isinstance(refused, m.Refused)
        assert refused.code is m.Code.NOT_MEMBER


async def test_a_member_removed_while_offline_gets_all_entries_up_to_its_removal(
    relay: RelayUnderTest,
) -> None:
    red, blue, green = await relay.room_of("red", "blue", "green")
    await blue.close()
    await red.say(b"one")
    await entries(green, 1)
    await remove(red, green, blue.participant.device)
    await entries(red, 1)
    await red.say(b"secret")
    await relay.restart()
    back = await relay.join(blue.participant)
    assert (await back.resume(1)).seq == 4
    assert payloads(await entries(back, 3)) == [b"one", b"rekey", b"confirm"]
    assert isinstance(await back.ask(m.Lookup(5, "red")), m.Account)


async def test_a_member_that_leaves_gets_its_proposal_and_no_later_entry(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    leave = blue.entry(b"leave", kind=PROPOSAL, remove=(blue.participant.device,))
    assert (await blue.submit(leave)).seq == 2
    assert (await red.expect(m.Entry)).kind is PROPOSAL
    await red.say(b"by ourselves")
    assert isinstance(await blue.ask(m.Lookup(5, "red")), m.Account)
    refused = await blue.ask(m.Resume(6, ROOM, 2))
    assert isinstance(refused, m.Refused)
    assert (await blue.ask(leave)) == m.Accepted(ROOM, leave.submission, 2)  # if the answer was lost


async def test_a_device_that_left_and_is_added_again_resumes_from_the_new_welcome(
    relay: RelayUnderTest,
) -> None:
    red, blue = await relay.room_of("red", "blue")
    device = (blue.participant.device,)
    await blue.submit(blue.entry(b"leave", kind=PROPOSAL, remove=device))
    await entries(red, 1)
    await red.submit(red.entry(b"again", kind=COMMIT, add=device, welcome=b"w"))
    invitation = await blue.expect(m.Invitation)
    assert (await blue.resume(2)).seq == invitation.seq == 3
    await red.say(b"welcome back")
    assert payloads(await entries(blue, 2)) == [b"again", b"welcome back"]


async def test_a_device_added_again_reads_on_from_its_inviters_view(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    device = (blue.participant.device,)
    await blue.submit(blue.entry(b"leave", kind=PROPOSAL, remove=device))
    await entries(red, 1)
    await red.say(b"meanwhile")
    await red.submit(red.entry(b"again", kind=COMMIT, add=device, seen=1))  # from before it left
    await relay.restart()
    back = await relay.join(blue.participant)
    assert (await back.resume(1)).members != []
    assert payloads(await entries(back, 3)) == [b"leave", b"meanwhile", b"again"]


async def test_an_unknown_device_cannot_be_added_and_later_submissions_go_on(
    relay: RelayUnderTest,
) -> None:
    (red,) = await relay.room_of("red")
    bad = red.entry(b"add", kind=COMMIT, add=(bytes(32),), welcome=b"welcome")
    await red.write(red.connection.send(bad) + red.connection.send(red.entry(b"hello")))
    codes = [(await red.expect(m.Rejected)).code for _ in range(2)]
    assert codes == [m.Code.BAD_REQUEST, m.Code.OUT_OF_ORDER]
    assert (await red.say(b"hello")).seq == 2


async def test_a_payload_above_the_limit_is_rejected_and_the_connection_stays_open(
    relay: RelayUnderTest,
) -> None:
    (red,) = await relay.room_of("red")
    answer = await red.ask(red.entry(bytes(2**20 + 1)))
    assert isinstance(answer, m.Rejected)
    assert answer.code is m.Code.TOO_LARGE
    assert (await red.say(bytes(2**20))).seq == 2


# --- invitations ---------------------------------------------------------------------------------------


async def test_an_invitation_is_sent_at_each_login_until_it_is_taken(relay: RelayUnderTest) -> None:
    (red,) = await relay.room_of("red")
    blue = await relay.join("blue")
    await blue.close()
    add = red.entry(b"add", kind=COMMIT, add=(blue.participant.device,), welcome=bytes(100_000))
    await red.submit(add)
    await relay.restart()
    for _ in range(2):
        back = await relay.join(blue.participant)
        invitation = await back.expect(m.Invitation)
        assert invitation.welcome == bytes(100_000)
        await back.close()
    back = await relay.join(blue.participant)
    invitation = await back.expect(m.Invitation)
    assert isinstance(await back.ask(m.TakeInvitation(1, invitation.id)), m.Done)
    await back.close()
    back = await relay.join(blue.participant)
    assert isinstance(await back.ask(m.Lookup(2, "red")), m.Account)


async def test_a_device_cannot_take_an_invitation_of_another_device(relay: RelayUnderTest) -> None:
    (red,) = await relay.room_of("red")
    blue = await relay.join("blue")
    add = red.entry(b"add", kind=COMMIT, add=(blue.participant.device,), welcome=b"welcome")
    await red.submit(add)
    invitation = await blue.expect(m.Invitation)
    assert isinstance(await red.ask(m.TakeInvitation(1, invitation.id)), m.Done)
    await blue.close()
    assert await (await relay.join(blue.participant)).expect(m.Invitation) == invitation


async def test_a_newer_invitation_replaces_only_its_accounts_own_of_the_same_kind(
    relay: RelayUnderTest,
) -> None:
    red, green = await relay.room_of("red", "green")
    blue = await relay.join("blue")
    device = (blue.participant.device,)
    await blue.close()
    for kind, welcome in (
        (COMMIT, b"older"),
        (m.Kind.GROUP_INFO, b"older help"),
        (COMMIT, b"newer"),
        (m.Kind.GROUP_INFO, b"newer help"),
    ):
        await red.submit(red.entry(b"let in", kind=kind, add=device, welcome=welcome))
        await green.expect(m.Entry)
    for kind in (COMMIT, m.Kind.GROUP_INFO):
        await green.submit(green.entry(b"garbage", kind=kind, add=device, welcome=b"garbage"))
    back = await relay.join(blue.participant)
    welcomes = [(await back.expect(m.Invitation)).welcome for _ in range(4)]
    assert welcomes == [b"newer", b"newer help", b"garbage", b"garbage"]
    assert isinstance(await back.ask(m.Lookup(2, "red")), m.Account)


async def test_more_invitations_than_one_read_returns_are_all_sent(relay: RelayUnderTest) -> None:
    blue = await relay.join("blue")
    await blue.close()
    red = await relay.join("red")
    rooms = [bytes([number]) * 16 for number in range(5)]
    for room in rooms:
        await red.create(room)
        device = (blue.participant.device,)
        await red.submit(red.entry(b"add", room=room, kind=COMMIT, add=device, welcome=bytes(200_000)))
    back = await relay.join(blue.participant)
    invitations = [await back.expect(m.Invitation) for _ in rooms]
    assert [invitation.room for invitation in invitations] == rooms


# --- presence ------------------------------------------------------------------------------------------


async def test_members_get_presence_of_each_other(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    await blue.send(m.Goodbye())
    gone = await red.next_presence()
    assert (gone.device, gone.name, gone.online, gone.text) == (
        blue.participant.device,
        "blue",
        False,
        "left",
    )
    back = await relay.join(blue.participant)
    await back.resume(1)
    assert (await red.next_presence()).online
    there = await back.next_presence()
    assert (there.name, there.online) == ("red", True)
    await back.close()
    lost = await red.next_presence()
    assert (lost.online, lost.text) == (False, "connection lost")


async def test_a_non_member_gets_no_presence(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    green = await relay.join("green")
    await blue.send(m.Goodbye())
    await red.next_presence()
    assert isinstance(await green.ask(m.Lookup(1, "red")), m.Account)
    assert green.presence == []


# --- memory --------------------------------------------------------------------------------------------


async def test_rooms_without_streams_are_unloaded(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    await blue.submit(blue.entry(b"leave", kind=PROPOSAL, remove=(blue.participant.device,)))
    await red.expect(m.Entry)
    await red.send(m.Goodbye())
    await red.closed()
    await blue.resume(1)  # as a former member: up to the end, then nothing is open
    await blue.expect(m.Entry)
    await blue.ask(m.Resume(5, bytes(16), 0))  # no such room
    await blue.ask(blue.entry(b"not a member any more"))
    assert isinstance(await blue.ask(m.Lookup(6, "red")), m.Account)
    assert relay.sequencer.rooms_open == 0
