"""What the keys of the main screen do, by the names of `keymap`. Knows the screen.

Side screens are imported when one is opened, so that the program starts without them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from clave_client.errors import UsageError
from clave_client.tui.base_app import program_of
from clave_client.tui.keymap import AT_ONCE, OPENING
from clave_client.ui.chat_commands import switch_to_unread
from clave_client.ui.draft_line import TypedText
from clave_client.values import Phase

if TYPE_CHECKING:
    from clave_client.tui.screens.main import MainScreen

__all__ = ["ACTIONS", "SWITCHES"]

# --- to other rooms ---


async def _next_unread(screen: MainScreen, typed: TypedText) -> None:
    await switch_to_unread(screen.talk, typed)


async def _go_by(step: int, screen: MainScreen, typed: TypedText) -> None:
    """Enter the room that is `step` places below the current one in the list."""
    rooms = [room for room in screen.listed_rooms() if room.phase is Phase.JOINED]
    if rooms:
        place = next(
            (n for n, room in enumerate(rooms) if room.id == screen.talk.room), -1 if step > 0 else 0
        )
        await screen.talk.enter(rooms[(place + step) % len(rooms)].id, typed)


async def _go_to(number: int, screen: MainScreen, typed: TypedText) -> None:
    """Enter the room with this number in the list."""
    rooms = screen.listed_rooms()
    if number <= len(rooms) and rooms[number - 1].phase is Phase.JOINED:
        await screen.talk.enter(rooms[number - 1].id, typed)


SWITCHES: Final[Mapping[str, Callable[[MainScreen, TypedText], Awaitable[None]]]] = {
    "next_unread": _next_unread,
    "previous_room": partial(_go_by, -1),
    "next_room": partial(_go_by, 1),
    **{f"room_{number}": partial(_go_to, number) for number in range(1, 10)},
}
"""What leads to another room; it is done in turn with typed lines."""

# --- on this screen ---


async def _palette(screen: MainScreen) -> None:
    from clave_client.tui.palette import Palette

    await screen.app.push_screen_wait(Palette())


async def _jump(screen: MainScreen) -> None:
    from clave_client.tui.screens.jump import JumpScreen, targets_of

    jump = JumpScreen(targets_of(screen))
    chosen = await screen.app.push_screen_wait(jump)
    try:
        if chosen is not None:
            chosen.go()
    finally:
        program_of(screen).release_keys(jump.hold)


async def _at_once(action: str, screen: MainScreen) -> None:
    screen.do_at_once(action)


async def _panel(what: str, screen: MainScreen) -> None:
    screen.choose_panel(what)


async def _older(screen: MainScreen) -> None:
    screen.messages.action_page_up()
    screen.draw_at_once()


async def _newer(screen: MainScreen) -> None:
    screen.messages.action_page_down()
    screen.draw_at_once()


async def _newest(screen: MainScreen) -> None:
    await screen.talk.show_place(1.0)


async def _leave(screen: MainScreen) -> None:
    await screen.leave()


# --- away from it ---


async def _editor(screen: MainScreen) -> None:
    from clave_client.tui.away import edit_text

    screen.composer.write(await edit_text(screen.app, screen.composer.text))
    screen.composer.focus()


async def _bare(screen: MainScreen) -> None:
    from clave_client.tui.away import show_bare

    await show_bare(screen.app, screen.messages.rows.lines())


async def _suspend(screen: MainScreen) -> None:
    screen.app.action_suspend_process()


# --- other screens ---


async def _open(name: str, screen: MainScreen) -> None:
    """Open one of the side screens."""
    await screen.app.push_screen_wait(_made(name, screen))


def _made(name: str, screen: MainScreen) -> Any:
    talk = screen.talk
    match name:
        case "help":
            from clave_client.tui.screens.help import HelpScreen

            return HelpScreen(talk, screen.keys)
        case "invite":
            from clave_client.tui.screens.invite import InviteScreen

            _check_room(screen)
            return InviteScreen(talk)
        case "verify":
            from clave_client.tui.screens.verify import VerifyScreen

            return VerifyScreen(talk)
        case "links":
            from clave_client.tui.screens.links import LinksScreen

            _check_room(screen)
            return LinksScreen(talk)
        case "devices":
            from clave_client.tui.screens.devices import DevicesScreen

            return DevicesScreen(talk)
        case _:
            from clave_client.tui.screens.settings import SettingsScreen

            return SettingsScreen(talk)


def _check_room(screen: MainScreen) -> None:
    if screen.talk.room is None:
        raise UsageError("you are in no room; /new TITLE opens one")


async def _search(screen: MainScreen) -> None:
    from clave_client.tui.screens.search import SearchScreen

    search = SearchScreen(screen.talk)
    found = await screen.app.push_screen_wait(search)
    try:
        if found is not None:
            screen.go(found.room, found.message.seq)
    finally:
        program_of(screen).release_keys(search.hold)


ACTIONS: Final[Mapping[str, Callable[[MainScreen], Awaitable[None]]]] = {
    "palette": _palette,
    "jump": _jump,
    **{action: partial(_at_once, action) for action in AT_ONCE - OPENING},
    "members": partial(_panel, "members"),
    "info": partial(_panel, "info"),
    "older": _older,
    "newer": _newer,
    "newest": _newest,
    "leave": _leave,
    "editor": _editor,
    "bare": _bare,
    "suspend": _suspend,
    "search": _search,
    **{name: partial(_open, name) for name in ("help", "invite", "verify", "links", "devices", "settings")},
}
"""All else that a key of the main screen does."""
