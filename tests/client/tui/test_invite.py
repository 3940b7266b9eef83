"""The screen that invites: by a name that is completed, and by a link that is shown, drawn and copied."""

from __future__ import annotations

from pathlib import Path

from textual.widgets import Select

from clave_client.rpc import methods as m
from clave_client.testing import MemoryRelay
from clave_client.tui.screens.invite import InviteScreen
from clave_client.ui.link_text import qr_lines
from client.tui.screenkit import Screen, in_a_room, screen_of


async def inviting(red: Screen) -> InviteScreen:
    screen = InviteScreen(red.main.talk)
    red.pilot.app.push_screen(screen)
    await red.shows("Invite into")
    return screen


async def in_an_own_room(red: Screen, title: str = "attic") -> None:
    await red.opens(title)


async def test_somebody_is_invited_by_the_first_letters_of_a_known_name(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue)
        await in_an_own_room(red)
        screen = await inviting(red)
        await red.pilot.press("b")
        await red.until(lambda: screen._whom._suggestion == "blue")
        await red.pilot.press("right", "enter")
        await red.shows("The invitation waits for blue (unverified).")
        await red.until(lambda: [each.title for each in blue.invitations()] == ["attic"])
        assert screen._whom.value == ""


async def test_why_somebody_is_not_invited_is_said(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await in_an_own_room(red)
        await inviting(red)
        await red.pilot.press("enter")
        await red.shows("say whom")
        await red.pilot.press(*"nobody", "enter")
        await red.shows("nobody has this name here")


async def test_a_link_is_made_shown_and_copied(tmp_path: Path) -> None:
    size = (100, 60)
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path, size) as red:
        await in_a_room(red, blue)
        screen = await inviting(red)
        assert "Alt-c copy" not in red.text
        await red.pilot.press("tab", "tab", "tab", "enter")
        await red.shows("whoever has this line can join friends: 10 devices until")
        await red.shows("clave://memory.invalid")
        await red.shows("Alt-c copy")
        await red.pilot.press("alt+c")
        await red.shows("Copied, if the terminal allows it")
        line = red.pilot.app.clipboard
        assert line.startswith("clave join clave://")
        picture = qr_lines(line.removeprefix("clave join "))
        await red.until(lambda: all(row in red.text for row in picture))
        (link,) = await red.main.talk.session.ask(m.ListLinks(room=screen.room))
        assert link.uses == 10


async def test_a_link_allows_what_was_chosen(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue)
        screen = await inviting(red)
        seconds, uses = screen.query(Select)
        seconds.focus()
        await red.pilot.press("enter", "up", "up", "enter")
        uses.focus()
        await red.pilot.press("enter", "up", "enter", "alt+l")
        await red.shows("whoever has this line can join friends: 1 device until")
        (link,) = await red.main.talk.session.ask(m.ListLinks(room=screen.room))
        assert link.uses == 1
        assert 3500 < link.not_after - relay.clock() <= 3600


async def test_it_fits_a_small_terminal(tmp_path: Path) -> None:
    small = (40, 15)
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path, small) as red:
        await in_a_room(red, blue)
        await inviting(red)
        assert "Make a link" in red.text
        await red.pilot.press("alt+l")
        await red.shows("clave join")
        await red.pilot.press("pagedown", "pagedown")
        await red.shows("the QR code takes")
        assert max(map(len, red.lines)) == 40
        await red.pilot.press("escape")
        await red.until(lambda: red.pilot.app.screen is red.main)


async def test_a_relay_that_does_not_answer_leaves_the_screen_usable(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue"), screen_of(relay, tmp_path) as red:
        await in_an_own_room(red)
        screen = await inviting(red)
        relay.freeze()
        screen._whom.value = "blue"
        await red.pilot.press("enter", "enter")
        await red.until(lambda: screen._work is not None and screen._work.is_running)
        await red.pilot.press("escape")
        await red.until(lambda: red.pilot.app.screen is red.main)
        relay.thaw()
