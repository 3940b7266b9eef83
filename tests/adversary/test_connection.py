"""A relay that faults once, or hangs, leaves nobody waiting; what changed is told before one says more."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from adversary.kit import changed, faults, read_up, room_of, stage, talk, until, wire_of
from clave_client import events
from clave_client.errors import RelayUnreachable
from clave_client.sync import resumes
from clave_wire.messages import Accepted, Closing, Code, Done, Entry, Refused, Resumed, ToClient
from scenarios.stage import gather_in
from scenarios.test_bad_input import clave


async def test_a_relay_that_takes_leave_and_stays_is_left(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        closing = Closing(Code.SHUTDOWN, "the relay shuts down", 0)
        wire_of("red").shown = lambda message: (closing,)
        await blue.client.send(room, "comes as a goodbye")  # and the relay keeps the connection open
        wire_of("red").honest()
        await red.sees(events.Disconnected)
        assert "shuts down" in faults(red)[0]
        await red.sees(events.Connected)
        await talk(room, red, blue)


async def test_an_answer_to_an_invitation_outlasts_a_fault(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = (await red.client.create_room("friends")).id
        await red.client.invite(room, "blue")
        await blue.sees(events.Invited)
        for number in range(5):
            await red.client.send(room, f"said {number}")
        wire_of("blue").shown = lambda message: (
            () if isinstance(message, Entry) and message.seq == 3 else (message,)
        )
        answering = asyncio.create_task(blue.client.accept(room))
        await blue.sees(events.Disconnected)
        wire_of("blue").honest()
        await asyncio.wait_for(answering, 10)
        assert len(blue.texts(room)) == 5
        await talk(room, red, blue)


async def test_a_message_and_a_change_outlast_a_fault(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        wire_of("red").shown = lambda message: (
            (changed(message, seq=message.seq + 1),) if isinstance(message, Entry | Accepted) else (message,)
        )
        saying = asyncio.create_task(red.client.send(room, "said once"))
        changing = asyncio.create_task(red.client.set_title(room, "another title"))
        await red.sees(events.Disconnected)
        wire_of("red").honest()
        await asyncio.wait_for(saying, 10)
        with contextlib.suppress(RelayUnreachable):  # it may not know whether the change went through
            await asyncio.wait_for(changing, 10)
        await read_up(room, red, blue)
        assert blue.texts(room).count("said once") == 1
        await talk(room, red, blue)


async def test_talk_goes_on_while_the_relays_list_is_compared(tmp_path: Path) -> None:
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        session = red.client.sync
        for number in range(10):
            session.routing.checked_at.clear()
            session.routing.check(room_of(red, room))
            red.client.post(room, f"said {number}")
            await asyncio.sleep(0.02)
        await blue.reads("said 9")
        assert blue.texts(room) == [f"said {number}" for number in range(10)]
        assert not faults(red)


async def test_what_changed_while_one_was_away_is_told_before_one_says_more(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with stage(tmp_path, "red", "blue", "green", "mallory") as (_, (red, blue, green, mallory)):
        room = await gather_in("friends", red, blue, green)
        await blue.go()
        await red.client.invite(room, "mallory")
        await mallory.sees(events.Invited)
        await mallory.client.accept(room)
        await red.client.set_title(room, "colleagues")
        await until(lambda: room_of(green, room).record.title == "colleagues")
        await red.client.remove(room, "green")  # mallory confirms it
        await green.sees(events.RoomClosed)
        ran = await clave("send", "--name", "blue", "friends", "hello", home=home)
        assert ran.status == 0
        assert ran.err.splitlines() == [
            "clave: colleagues: red (unverified) invited mallory (unverified)",
            "clave: colleagues: red (unverified) calls the room colleagues now",
            "clave: colleagues: red (unverified) removed green (unverified)",
        ]
        ran = await clave("send", "--name", "blue", "colleagues", "-", home=home, given="more\nand more\n")
        assert (ran.status, ran.err) == (0, ""), "told once"
        await mallory.reads("and more")
        await blue.come()


@pytest.mark.parametrize("line", ["said at once", "-"])
async def test_a_relay_that_lied_is_told_of_when_one_sends(tmp_path: Path, line: str) -> None:
    home = tmp_path / "home"
    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        chain = room_of(blue, room).chain
        real = chain.seen
        await red.go()
        chain.seen = lambda: changed(real(), seq=real().seq + 1000)  # type: ignore[method-assign]
        await blue.client.send(room, "from the future")
        ran = await clave("send", "--name", "red", "friends", line, home=home, given="said\n")
        assert ran.status == 0
        assert "do not trust this relay" in ran.err
        await red.come()


async def test_a_room_that_is_not_routed_is_asked_for_at_one_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(resumes.RESUME_RETRY_SECONDS, Code.NOT_MEMBER, 2.0)
    asked: list[float] = []

    def turn_away(message: ToClient) -> tuple[ToClient, ...]:
        if isinstance(message, Resumed):
            asked.append(asyncio.get_running_loop().time())
            return (Refused(message.id, Code.NOT_MEMBER, "not a member"),)
        return (message,)

    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        wire_of("red").shown = turn_away
        for _ in range(3):
            wire_of("red").link.abort()  # type: ignore[union-attr]  # it is up
            await red.sees(events.Connected)
        asked.clear()
        await asyncio.sleep(4.2)
        assert 1 <= len(asked) <= 3
        wire_of("red").honest()
        await talk(room, red, blue)


async def test_a_correction_that_is_refused_is_tried_at_one_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clave_client.sync.routing.RECHECK_SECONDS", 0.25)
    monkeypatch.setattr("clave_client.sync.routing.MAX_BATCH_MEMBERS", 1)
    asked: list[float] = []

    async with stage(tmp_path, "red", "blue") as (_, (red, blue)):
        room = await gather_in("friends", red, blue)
        session = red.client.sync

        def make_up(message: ToClient) -> tuple[ToClient, ...]:
            if isinstance(message, Resumed):
                asked.append(asyncio.get_running_loop().time())
                strangers = [(bytes([number]) * 32, "stranger") for number in range(3)]
                return (changed(message, members=[*message.members, *strangers]),)
            if isinstance(message, Done | Refused) and message.id in session.routing.corrections:
                return (Refused(message.id, Code.BAD_REQUEST, "not now"),)
            return (message,)

        wire_of("red").shown = make_up
        session.routing.recheck(room_of(red, room))
        await asyncio.sleep(2.0)
        assert 3 <= len(asked) <= 9
        wire_of("red").honest()
        await talk(room, red, blue)
