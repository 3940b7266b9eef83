"""The screens that compare keys: with one person, with all of a room, and when two keys go by one name."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual.widgets import Input

from clave_client.client import Client
from clave_client.rpc import methods as m
from clave_client.testing import MemoryRelay
from clave_client.tui.screens.verify import VerifyScreen
from clave_client.ui.link_text import qr_lines
from clave_client.values import Fingerprint, SeenKey
from client.tui.screenkit import SECONDS, Screen, in_a_room, screen_of


async def comparing(red: Screen, name: str = "") -> list[None]:
    """Open the screen; return the list that what it was closed with is added to."""
    closed: list[None] = []
    red.pilot.app.push_screen(VerifyScreen(red.main.talk, name), closed.append)
    await red.shows("Compare with" if name else "Compare keys")
    return closed


async def seen_by(blue: Client, name: str) -> Fingerprint:
    return await blue.fingerprint(name)


async def is_verified(red: Screen, name: str) -> bool:
    return (await red.main.talk.session.ask(m.GetFingerprint(name=name))).verified


async def test_a_person_is_verified_by_what_both_see(tmp_path: Path) -> None:
    tall = (90, 48)
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path, tall) as red:
        await in_a_room(red, blue)
        closed = await comparing(red)
        await red.shows("blue  unverified")
        await red.pilot.press("enter")
        await red.shows("Compare with blue")
        there = await seen_by(blue, "red")
        for part in (there.safety_number[:23], there.safety_number[-23:]):
            await red.shows(part)
        own = await red.main.talk.session.ask(m.GetFingerprint(name="blue"))
        await red.shows(own.fingerprint[:19])
        await red.until(
            lambda: all(line in red.text for line in qr_lines(there.safety_number.replace(" ", "")))
        )
        await red.pilot.press("alt+y")
        await red.shows("blue  verified")
        assert await is_verified(red, "blue")
        await red.pilot.press("escape")
        await red.until(lambda: closed == [None])
        await red.shows("* blue is verified: ")


async def test_that_they_differ_is_explained_and_marks_nothing(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue)
        closed = await comparing(red, "blue")
        await red.pilot.press("alt+x")
        await red.shows("Nothing was marked.")
        await red.shows("this is not the key that blue")
        assert not await is_verified(red, "blue")
        await red.pilot.press("escape")
        await red.shows("blue  unverified")
        assert not closed


async def test_what_is_read_out_has_to_be_half_of_what_is_shown(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue)
        closed = await comparing(red, "blue")
        number = (await seen_by(blue, "red")).safety_number
        typed = red.pilot.app.screen.query_one(Input)
        wrong = str((int(number[0]) + 1) % 10) + number[1:]
        for text in ("", number[:20], wrong):
            typed.value = text
            await red.pilot.press("enter")
            await red.shows("nothing was marked")
            assert not await is_verified(red, "blue")
        typed.value = number[:36]
        await red.pilot.press("enter")
        await red.until(lambda: closed == [None])
        assert await is_verified(red, "blue")


async def test_what_is_marked_is_the_key_that_was_shown(tmp_path: Path) -> None:
    """Whatever the owner would say by then: it is not asked again."""
    asked: list[m.Method[object]] = []
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue)
        await comparing(red, "blue")
        session = red.main.talk.session
        shown = await session.ask(m.GetFingerprint(name="blue"))
        ask = session.ask

        async def note_and_ask(method: m.Method[object]) -> object:
            asked.append(method)
            return await ask(method)

        session.ask = note_and_ask  # type: ignore[method-assign,assignment]
        await red.pilot.press("alt+y")
        await red.until(lambda: any(isinstance(each, m.Verify) for each in asked))
        assert [type(each) for each in asked[:1]] == [m.Verify]
        assert isinstance(asked[0], m.Verify)
        assert asked[0].account == shown.account


async def test_all_of_a_room_are_verified_by_its_code(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await comparing(red)
        await red.shows("all of friends, by the words that all of them see")
        await red.pilot.press("up", "enter")
        await red.shows("Compare with all of friends")
        code = blue.room(room).info().code
        for at in range(0, len(code), 4):
            await red.shows(" ".join(code[at : at + 4]))
        await red.pilot.press("enter")
        await red.pilot.pause()
        assert "All of them read these words" in red.text, "the Enter that led here answers nothing"
        await red.pilot.press("tab", "enter")
        await red.shows("blue  verified")


async def test_a_code_of_before_verifies_nobody(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await comparing(red)
        await red.shows("all of friends")
        await red.pilot.press("up", "enter")
        await red.shows("All of them read these words")
        session, friends = red.main.talk.session, room.hex()
        old = (await session.ask(m.GetRoomInfo(room=friends))).code
        await session.ask(m.SetTopic(room=friends, topic="boats"))
        async with asyncio.timeout(SECONDS):
            while (await session.ask(m.GetRoomInfo(room=friends))).code in ((), old):
                await red.pilot.pause(0.01)
        assert not red.pilot.app.screen.query_one("#said").display
        await red.pilot.press("alt+y")
        await red.until(lambda: red.pilot.app.screen.query_one("#said").display)
        assert not await is_verified(red, "blue")


async def test_of_two_keys_of_one_name_the_user_chooses(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue)
        talk, other = red.main.talk, bytes(range(32))

        async def account() -> bytes:
            return (await talk.session.ask(m.GetFingerprint(name="blue"))).account

        known = await account()
        talk.keys.refused["blue"] = SeenKey(other, "the relay")
        await comparing(red)
        await red.shows("blue  unverified")
        await red.pilot.press("enter")
        await red.shows("Several keys go by blue")
        await red.shows("known so far")
        await red.pilot.press("up", "enter")
        await red.shows("Compare keys")
        assert await account() == known
        await red.pilot.press("enter")
        await red.shows("Several keys go by blue")
        await red.pilot.press("enter")
        await red.shows("Compare with blue")
        assert await account() == known
        await red.pilot.press("escape", "enter")
        await red.shows("Several keys go by blue")
        await red.pilot.press("down", "enter")
        await red.shows("Compare with blue")
        assert await account() == other
        assert "blue" not in talk.keys.refused


async def test_the_own_key_is_only_shown(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await red.opens("friends")
        await comparing(red)
        await red.shows("red  you")
        await red.pilot.press("enter")
        await red.shows("Your own key")
        assert "They are the same" not in red.text
        await red.pilot.press("alt+y")
        await red.shows("Your own key")


async def test_it_fits_a_small_terminal(tmp_path: Path) -> None:
    small = (40, 15)
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path, small) as red:
        await in_a_room(red, blue)
        await comparing(red, "blue")
        await red.shows("They differ")
        await red.shows("Esc close")
        for _ in range(6):
            await red.pilot.press("pagedown")
        await red.until(lambda: "▀" in red.text)
        assert max(map(len, red.lines)) == 40
