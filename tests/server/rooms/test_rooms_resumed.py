"""What members are sent after they were offline, and the answers to resubmissions."""

from __future__ import annotations

import asyncio

import pytest

from clave_server.relay import client_handler
from clave_wire import messages as m
from relaykit import ROOM, RelayUnderTest, entries, payloads

COMMIT, PROPOSAL = m.Kind.COMMIT, m.Kind.PROPOSAL
REKEY, CONFIRM = m.Kind.REKEY, m.Kind.CONFIRM


# --- catching up ---------------------------------------------------------------------------------------


async def test_a_device_that_was_offline_catches_up_with_its_own_entries_included(
    relay: RelayUnderTest,
) -> None:
    red, blue = await relay.room_of("red", "blue")
    await blue.say(b"mine")
    await red.expect(m.Entry)
    await blue.close()
    await red.say(b"while away")
    back = await relay.join(blue.participant)
    resumed = await back.resume(1)
    assert (resumed.seq, resumed.submission) == (3, 1)
    got = await entries(back, 2)
    assert payloads(got) == [b"mine", b"while away"]
    assert got[0].sender == blue.participant.device


async def test_catch_up_can_start_inside_a_segment(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    submits = [red.entry(b"%d" % number) for number in range(10)]
    await red.write(b"".join(map(red.connection.send, submits)))
    for _ in submits:
        await red.expect(m.Accepted)
    await entries(blue, 10)
    for after in range(1, 12):
        await blue.resume(after)
        assert payloads(await entries(blue, 11 - after)) == [b"%d" % n for n in range(after - 1, 10)]


async def test_catch_up_while_others_send_has_no_gap_and_no_duplicate(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    count = 600
    for number in range(count // 2):
        await red.send(red.entry(b"%05d" % number * 400))
    for _ in range(count // 2):
        await red.expect(m.Accepted)
    await blue.close()

    async def talk() -> None:
        for number in range(count // 2, count):
            await red.say(b"%05d" % number * 400)

    async def catch_up() -> None:
        for _ in range(5):  # leaves in the middle, comes back to where it was
            back = await relay.join(blue.participant)
            await back.resume(1)
            await entries(back, 100)
            await back.close()
        back = await relay.join(blue.participant)
        await back.resume(1)
        got = await entries(back, count)
        assert [entry.seq for entry in got] == list(range(2, count + 2))

    await asyncio.gather(talk(), catch_up())


async def test_a_second_resume_starts_from_its_own_position(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    await red.say(b"hello")
    await entries(blue, 1)
    await blue.resume(1)
    assert payloads(await entries(blue, 1)) == [b"hello"]
    await red.say(b"once")
    assert payloads(await entries(blue, 1)) == [b"once"]


async def test_a_resume_beyond_the_end_returns_the_last_seq(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    assert (await red.resume(2)).seq == 1
    await blue.say(b"what comes next")
    assert payloads(await entries(red, 1)) == [b"what comes next"]


async def test_a_room_can_be_resumed_again_at_the_limit_of_open_rooms(
    relay: RelayUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_handler, "MAX_STREAMS", 2)
    red = await relay.join("red")
    for number in range(3):
        await red.create(bytes([number]) * 16)
    for number in (0, 1, 0, 1):
        await red.resume(0, bytes([number]) * 16)
    refused = await red.ask(m.Resume(red.next_id(), bytes([2]) * 16, 0))
    assert isinstance(refused, m.Refused)
    assert refused.code is m.Code.LIMIT


# --- resubmission --------------------------------------------------------------------------------------


async def test_a_resubmission_gets_its_seq_and_adds_no_entry(relay: RelayUnderTest) -> None:
    red, _blue = await relay.room_of("red", "blue")
    submit = red.entry(b"once")
    first = await red.submit(submit)
    assert await red.submit(submit) == first
    await relay.restart()
    back = await relay.join(red.participant)
    assert await back.ask(submit) == first  # without resuming
    resumed = await back.resume(2)
    assert resumed.submission == submit.submission
    assert await back.submit(submit) == first  # behind no more
    assert resumed.seq == 2


async def test_a_submission_sent_twice_at_once_is_one_entry(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    frame = red.connection.send(red.entry(b"once"))
    await red.write(frame + frame)
    assert (await red.expect(m.Accepted)).seq == 2
    await red.say(b"next")
    assert payloads(await entries(blue, 2)) == [b"once", b"next"]


async def test_a_resubmission_during_catch_up_is_answered_by_the_entry(relay: RelayUnderTest) -> None:
    red, blue = await relay.room_of("red", "blue")
    await blue.say(b"first")
    await red.expect(m.Entry)
    submit = red.entry(b"mine")
    await red.submit(submit)
    await red.close()
    back = await relay.join(red.participant)
    await back.write(back.connection.send(m.Resume(1, ROOM, 1)) + back.connection.send(submit))
    await back.expect(m.Resumed)
    assert payloads(await entries(back, 2)) == [b"first", b"mine"]


async def test_a_number_used_too_long_ago_must_be_renumbered(relay: RelayUnderTest) -> None:
    (red,) = await relay.room_of("red")
    old = red.entry(b"old")
    await red.submit(old)
    for _ in range(32):
        await red.say(b"more")
    answer = await red.ask(old)
    assert isinstance(answer, m.Rejected)
    assert answer.code is m.Code.RENUMBER


async def test_a_resubmission_is_recognised_after_a_later_handshake(relay: RelayUnderTest) -> None:
    (red,) = await relay.room_of("red")
    commit = red.entry(b"commit", kind=COMMIT)
    first = await red.submit(commit)
    assert await red.submit(commit) == first
