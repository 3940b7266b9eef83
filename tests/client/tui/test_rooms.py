"""The rooms at the left, the members and info at the right, and the place in a long history."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from clave_client.client import Client
from clave_client.rpc import methods as m
from clave_client.testing import MemoryRelay
from clave_client.tui.screens.choice import ChoiceScreen
from clave_client.ui.display import note
from client.tui.screenkit import Screen, in_a_room, screen_of


def _is_in(screen: Screen, title: str) -> bool:
    return screen.main.talk.title(screen.main.talk.room) == title


async def test_rooms_are_found_as_one_types(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        for title in ("attic", "garden", "cellar"):
            await red.opens(title)
        red.type_ahead("ctrl+t", *"gar", "enter")
        await red.until(lambda: red.main.talk.title(red.main.talk.room) == "garden")
        await red.until(lambda: red.main.composer.has_focus)
        assert not red.main.rooms.filter.display
        red.type_ahead("ctrl+t", "down", "enter")
        await red.until(lambda: red.main.talk.title(red.main.talk.room) == "cellar")
        red.type_ahead("ctrl+t", *"nothing", "escape", *"written")
        await red.until(lambda: red.main.composer.text == "written")
        assert "attic" in red.text


async def test_a_room_that_comes_while_one_is_looked_for_moves_no_choice(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        for title in ("attic", "cellar"):
            await red.opens(title)
        red.type_ahead("ctrl+t", "down")
        await red.until(lambda: red.main.rooms.filter.display)
        await (await blue.create_room("attic of blue")).invite("red")
        await red.shows("invitations")
        red.type_ahead("enter")
        await red.until(lambda: not red.main.rooms.filter.display)
        await red.pilot.pause()
        assert not isinstance(red.pilot.app.screen, ChoiceScreen)
        assert _is_in(red, "cellar")


async def test_keys_go_from_room_to_room(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        for title in ("attic", "cellar", "garden"):
            await red.opens(title)
        talk = red.main.talk
        for key, title in (
            ("alt+up", "cellar"),
            ("alt+1", "attic"),
            ("alt+up", "garden"),
            ("alt+down", "attic"),
        ):
            red.type_ahead(*"to " + title, key)
            await red.until(partial(_is_in, red, title))
        red.type_ahead("alt+3", *"said here", "enter")
        await red.shows("  said here")
        assert talk.title(talk.room) == "garden", "what is typed behind a key is for the room it leads to"
        await red.pilot.press("alt+1")
        await red.until(lambda: red.main.composer.text == "to garden")
        await red.shows("garden draft")
        await red.pilot.press("alt+3")
        await red.until(lambda: red.main.composer.text == "to cellarto attic")


async def test_marks_say_what_is_muted_and_who_mentions_one(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await red.types("/mute friends")
        await red.shows("friends muted")
        await red.opens("attic")
        await blue.room(room).send("hello")
        await blue.room(room).send("@red are you there?")
        await red.shows("friends 2 @1 muted")
        await red.shows("2 new elsewhere, Alt-a")


async def test_an_invitation_is_answered_from_the_list(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await red.shows("online")
        room = await blue.create_room("of blue")
        await room.invite("red")
        await red.shows("invitations")
        red.type_ahead("ctrl+t", "enter")
        await red.until(lambda: isinstance(red.pilot.app.screen, ChoiceScreen))
        await red.shows("you are invited to of blue")
        await red.pilot.press("enter")
        await red.until(lambda: red.main.talk.room == room.id)


async def test_people_stand_below_the_rooms(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue"), screen_of(relay, tmp_path) as red:
        await red.opens("friends")
        await red.types("/dm blue")
        await red.shows("people")
        left = [line[:25].strip() for line in red.lines]
        assert left.index("rooms") < left.index("people")


async def test_members_are_shown_with_role_trust_and_devices(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue)
        await red.pilot.press("alt+p")
        await red.shows("* blue member")
        await red.shows("unverified")
        await red.shows("main: online")
        await red.types("/role blue admin")
        await red.shows("* blue admin")
        await red.pilot.press("alt+p")
        await red.until(lambda: "* blue admin" not in red.text)


async def test_info_shows_suite_epoch_and_the_code(tmp_path: Path) -> None:
    async with (
        MemoryRelay() as relay,
        relay.client("blue") as blue,
        screen_of(relay, tmp_path, (120, 60)) as red,
    ):
        await in_a_room(red, blue)
        assert "epoch" not in red.lines[-1]
        await red.pilot.press("alt+i")
        await red.shows("code of this moment")
        await red.until(lambda: "epoch 1, MLS_" in red.lines[-1])


async def _long(red: Screen, blue: Client, count: int) -> bytes:
    room = await in_a_room(red, blue)
    for number in range(count):
        blue.post(room, f"message {number}.")
    await blue.wait_flushed()
    await red.shows(f"message {count - 1}.")
    await red.opens("attic")
    return room


async def test_what_is_new_begins_below_a_line(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await _long(red, blue, 3)
        await blue.room(room).send("the first new one")
        await red.shows("friends 1")
        await red.pilot.press("alt+a")
        await red.shows("the first new one")
        shown = red.text
        assert shown.index("message 2.") < shown.index("--- new ---") < shown.index("the first new one")
        await red.types("/room attic")
        await red.until(lambda: "first new" not in red.text)
        await red.types("/room friends")
        await red.shows("the first new one")
        assert "--- new ---" not in red.text


async def test_much_that_is_new_is_read_from_its_beginning(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await _long(red, blue, 5)
        for number in range(300):
            blue.post(room, f"new {number}.")
        await blue.wait_flushed()
        await red.shows("friends 300")
        await red.pilot.press("alt+a")
        await red.shows("--- new ---")
        await red.shows("  new 0.")
        assert red.main.messages.has_newer
        session = red.main.talk.session
        left = await session.ask(m.GetUnread(room=room.hex()))
        assert len(left) > 200, "only what was in sight counts as read"
        await red.until(lambda: "SCROLLED" in red.lines[-1])
        await blue.room(room).send("while red reads")
        await red.until(lambda: "1 new;" in red.lines[-1])
        await red.pilot.press("ctrl+end")
        await red.shows("while red reads")
        await red.until(lambda: "SCROLLED" not in red.lines[-1])
        async with asyncio.timeout(10.0):
            while await session.ask(m.GetUnread(room=room.hex())):
                await red.pilot.pause(0.05)


async def test_the_bar_shows_the_place_in_all_that_is_stored(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await _long(red, blue, 500)
        await red.types("/room friends")
        await red.shows("message 499.")
        bar = red.main.place
        await red.until(lambda: bar.top > 0.9 and bar.end == 1.0)
        await red.pilot.click(bar, offset=(0, bar.size.height // 2))
        await red.until(lambda: 0.3 < bar.top < 0.7)
        assert "message 499." not in red.text
        await red.pilot.click(bar, offset=(0, 0))
        await red.shows("message 0.")
        await red.until(lambda: bar.top < 0.02)


async def test_narrow_screens_show_one_thing_at_a_time(tmp_path: Path) -> None:
    async with (
        MemoryRelay() as relay,
        relay.client("blue") as blue,
        screen_of(relay, tmp_path, (40, 15)) as red,
    ):
        await in_a_room(red, blue)
        assert "rooms" not in red.text
        await red.pilot.press("ctrl+t")
        await red.shows("rooms")
        await red.pilot.press("escape")
        await red.until(lambda: "rooms" not in red.text)
        await red.pilot.press("alt+p")
        await red.shows("* blue member")
        await red.pilot.press("alt+p")
        await red.until(lambda: "* blue member" not in red.text)


async def test_what_is_said_while_a_room_is_opened_stands_below_its_messages(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await _long(red, blue, 3)
        talk, ask = red.main.talk, red.main.talk.session.ask
        asked_for = ("ListMembers", "GetHistory", "GetUnread")

        async def ask_late(asked: m.Method[object]) -> object:
            """Show a note, and let a frame pass, before the answer."""
            if type(asked).__name__ in asked_for:
                talk.show(note(f"before {type(asked).__name__}"))
                red.main.messages.flush()
            return await ask(asked)

        talk.session.ask = ask_late  # type: ignore[method-assign, assignment]
        await red.types("/room friends")
        await red.shows("message 2.")
        talk.session.ask = ask  # type: ignore[method-assign]
        for name in asked_for:
            assert red.text.index("message 2.") < red.text.index(f"before {name}")


async def test_what_comes_while_messages_are_shown_anew_is_kept(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await _long(red, blue, 3)
        await red.types("/room friends")
        await red.shows("message 2.")
        talk, ask = red.main.talk, red.main.talk.session.ask

        async def ask_early(asked: m.Method[object]) -> object:
            """Have a message come after the answer, before it is shown."""
            found = await ask(asked)
            if isinstance(asked, m.GetHistory):
                assert isinstance(found, list)
                last = found[-1]
                talk.show_message(replace(last, seq=last.seq + 1, id=b"later", text="just then"))
            return found

        talk.session.ask = ask_early  # type: ignore[method-assign, assignment]
        await talk.show_history(3)
        talk.session.ask = ask  # type: ignore[method-assign]
        await red.shows("just then")
        assert red.text.count("message 2.") == 1
