"""The screen with the settings of the current room, and how the screen looks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.types import CSSPathType
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from clave_client.errors import ClientError
from clave_client.formats.durations import exact_duration_words
from clave_client.rpc import methods as m
from clave_client.rpc.values import RoomSummary
from clave_client.tui.keymap import bindings
from clave_client.tui.messages import ThemeChosen
from clave_client.tui.screens.choice import ChoiceScreen
from clave_client.tui.screens.side import SideScreen, new_key
from clave_client.tui.talk import ScreenConversation
from clave_client.tui.typed_ahead import Field
from clave_client.ui.display import clock_text, date_text, policy_text
from clave_client.ui.hints import error_text
from clave_client.values import RoomInfo

__all__ = ["SettingsScreen"]

_DAY: Final = 86_400
_EXPIRIES: Final = (0, 3600, _DAY, 7 * _DAY, 30 * _DAY)
_HOURS: Final = {
    "off": "rings",
    "1": "is muted for 1 hour",
    "8": "is muted for 8 hours",
    "good": "is muted for good",
}
_FOR_GOOD_SECONDS: Final = 24 * 36_500 * 3600
_LONG_SECONDS: Final = 365 * _DAY
"""From when on a muted room is called so for good."""

_RANKS: Final = {"guest": 0, "member": 1, "admin": 2, "owner": 3}
_ACTIONS: Final = ("add", "remove", "edit", "link", "pin")
_ROLES: Final = ("member", "admin", "owner")
_POLICY: Final = "policy "
_TEXTS: Final = ("title", "topic")


class SettingsScreen(SideScreen[None]):
    """A list of settings with their values; choosing one asks for another value.

    The choice of a theme is told by `ThemeChosen`. Whether this account may change a setting of the room is
    decided by the owner, who says why not; the list only says what it seems to take.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["side.tcss", "settings.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = bindings("side")
    HEADING = "Settings"
    HINT = "Enter changes"

    def __init__(self, talk: ScreenConversation) -> None:
        super().__init__(talk)
        self._list = OptionList(id="body")
        self._wanted = Field(compact=True, id="wanted")
        self._editing = ""
        self._info: RoomInfo | None = None

    def compose_body(self) -> ComposeResult:
        """Yield the settings, and where a text is written."""
        yield self._list
        yield self._wanted

    def on_mount(self) -> None:
        """Begin with the list."""
        super().on_mount()
        self._wanted.display = False
        self._list.focus()
        self.run_worker(self._show())

    # --- what is set ---

    async def _show(self) -> None:
        """Show all settings as they are now."""
        self._info = None
        if self.room:
            self._info = await self.ask(m.GetRoomInfo(room=self.room))
        options: list[Option] = []
        if self._info is not None:
            options += self._of_room(self._info)
        options += [_heading("This screen"), _option("theme", "looks", self.app.theme)]
        place = self._list.highlighted
        self._list.set_options(options)
        self._list.highlighted = place if place is not None else 1

    def _of_room(self, info: RoomInfo) -> list[Option]:
        edit_takes, policy_takes = _lacks(info.role, info.may_edit), _lacks(info.role, "owner")
        expiry = f"{exact_duration_words(info.expiry)} after they are read" if info.expiry else "never"
        options = [
            _heading(f"{info.title}, for all of its members"),
            _option("title", "is called", info.title, edit_takes),
            _option("topic", "is about", info.topic or "nothing in particular", edit_takes),
            _option("expiry", "new messages disappear", expiry, edit_takes),
            *(
                _option(f"{_POLICY}{action}", "", policy_text(action, role), policy_takes)
                for action, role in _policies(info).items()
            ),
            _heading(f"{info.title}, for you alone"),
        ]
        room = self._summary()
        if room is not None:
            options += [
                _option("mute", "a new message", _mute_words(room.muted_until)),
                _option("archived", "in the list of rooms", "left out" if room.archived else "shown"),
            ]
        told = "what you have got and read" if info.read_receipts else "what you have got, not what you read"
        options.append(_option("receipts", "the others are told", told if info.receipts else "nothing"))
        return options

    def _summary(self) -> RoomSummary | None:
        return None if self.of_room is None else self.talk.rooms.get(self.of_room)

    # --- changes ---

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Ask for another value."""
        name = event.option_id or ""
        if name in _TEXTS:
            self._edit(name)
        else:
            self.begin(self._change(name))

    def _edit(self, name: str) -> None:
        assert self._info is not None  # noqa: S101  (the list has such a setting only then)
        self._editing = name
        self._wanted.value = self._info.title if name == "title" else self._info.topic
        self._wanted.display = True
        self._wanted.focus()

    def action_close(self) -> None:
        """Stop writing, or else close."""
        if self._editing:
            self._stop_editing()
        else:
            super().action_close()

    def _stop_editing(self) -> None:
        self._editing = ""
        self._list.focus()
        self._wanted.display = False

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Set the title or the topic."""
        text, room = event.value.strip(), self.room
        title = m.SetTitle(room=room, title=text, key=new_key())
        change = title if self._editing == "title" else m.SetTopic(room=room, topic=text, key=new_key())
        self._stop_editing()
        self.begin(self._do(change))

    async def _change(self, name: str) -> None:
        match name:
            case "theme":
                await self._change_theme()
            case "mute":
                await self._mute()
            case "receipts" | "archived":
                await self._switch(name)
            case "expiry":
                await self._change_expiry()
            case _:
                await self._change_policy(name.removeprefix(_POLICY))

    async def _choose(self, question: str, answers: Mapping[str, str], now: str) -> str:
        """Have one of the answers chosen; return "" for the one that holds already, or none."""
        marked = {each: f"{words}  (as now)" if each == now else words for each, words in answers.items()}
        answer = await self.app.push_screen_wait(ChoiceScreen(question, marked))
        return "" if answer is None or answer == now else answer

    async def _change_theme(self) -> None:
        names = sorted(self.app.available_themes, key=lambda name: (not name.startswith("clave-"), name))
        chosen = await self._choose(
            "How is the screen to look?", {name: name for name in names}, self.app.theme
        )
        if chosen:
            self.app.theme = chosen
            self.post_message(ThemeChosen(chosen))
            await self._show()

    async def _mute(self) -> None:
        chosen = await self._choose("If something new is said there, the room", _HOURS, "")
        if chosen:
            seconds = _FOR_GOOD_SECONDS if chosen == "good" else 0 if chosen == "off" else int(chosen) * 3600
            await self._do(m.Mute(room=self.room, until=time.time() + seconds if seconds else 0.0))

    async def _switch(self, name: str) -> None:
        """Change what is either so or not."""
        info, room = self._info, self._summary()
        if info is None or room is None:
            return
        if name == "receipts":
            await self._do(m.SetReadReceipts(room=self.room, on=not info.read_receipts))
        else:
            await self._do(m.Archive(room=self.room, archived=not room.archived))

    async def _change_expiry(self) -> None:
        now = 0 if self._info is None else self._info.expiry
        answers = {
            str(each): f"{exact_duration_words(each)} after they are read" if each else "never"
            for each in sorted({*_EXPIRIES, now})
        }
        chosen = await self._choose("New messages of this room disappear", answers, str(now))
        if chosen:
            await self._do(m.SetExpiry(room=self.room, seconds=int(chosen), key=new_key()))

    async def _change_policy(self, action: str) -> None:
        now = "" if self._info is None else _policies(self._info)[action]
        answers = {role: policy_text(action, role) for role in _ROLES}
        role = await self._choose("Who may?", answers, now)
        if role:
            await self._do(m.SetPolicy(room=self.room, action=action, role=role, key=new_key()))

    async def _do(self, method: m.Method[Any]) -> None:
        """Change something, and show it; a change for all may count only once another member confirms it."""
        results: list[Any] = []
        if not await self.do(method, results.append):
            return
        try:
            await self.talk.refresh()
        except ClientError as error:
            self.show_error(error_text(error))
        await self._show()
        if results == [False]:
            self.say("It counts once the clave of another member has confirmed it.")


def _lacks(role: str, needed: str) -> str:
    """Return words for the role that a change takes, "" if `role` is enough."""
    if _RANKS.get(role, 0) >= _RANKS.get(needed, 0):
        return ""
    return {"member": "guests cannot change it", "admin": "takes an admin"}.get(needed, "takes an owner")


def _policies(info: RoomInfo) -> dict[str, str]:
    roles = (info.may_add, info.may_remove, info.may_edit, info.may_link, info.may_pin)
    return dict(zip(_ACTIONS, roles, strict=True))


def _mute_words(until: float) -> str:
    now = time.time()
    if until <= now:
        return "rings"
    if until > now + _LONG_SECONDS:
        return "is muted for good"
    return f"is muted until {date_text(until)} {clock_text(until)}"


def _heading(text: str) -> Option:
    return Option(Content.styled(text, "bold underline"), disabled=True)


def _option(name: str, label: str, value: str, takes: str = "") -> Option:
    """Return the line of a setting; `takes` says which role this account lacks to change it."""
    words = [(f"{label}: ", "$text-muted")] if label else []
    tail = [(f"  ({takes})", "$text-warning")] if takes else []
    return Option(Content.assemble("  ", *words, value, *tail), name)
