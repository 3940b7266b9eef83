"""The screen that compares keys: with one person, or with all of a room. Chooses with whom."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.content import Content
from textual.types import CSSPathType
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from clave_client.errors import ClientError
from clave_client.rpc import methods as m
from clave_client.tui.screens.choice import ChoiceScreen
from clave_client.tui.screens.compare import CompareScreen
from clave_client.tui.screens.room_code import RoomCodeScreen
from clave_client.tui.screens.side import SideScreen, new_key
from clave_client.tui.talk import ScreenConversation
from clave_client.ui.display import note, warning_word
from clave_client.ui.hints import error_text
from clave_client.ui.key_commands import choice_of
from clave_client.values import MemberInfo, SeenKey

__all__ = ["VerifyScreen"]

_ALL: Final = "all"
_PERSON: Final = "person:"


class VerifyScreen(SideScreen[None]):
    """The people whose keys can be compared; `name` is somebody to begin with."""

    CSS_PATH: ClassVar[CSSPathType | None] = "side.tcss"
    HEADING = "Compare keys"
    HINT = "Enter chooses"

    def __init__(self, talk: ScreenConversation, name: str = "") -> None:
        super().__init__(talk)
        self._first = name
        self._people = OptionList(id="body")

    def compose_body(self) -> ComposeResult:
        """Yield the people."""
        text = "With whom do you compare? Until you have, a relay that lies could stand between you."
        yield Static(Content(text))
        yield self._people

    def on_mount(self) -> None:
        """Begin with the people, or with the one that was named."""
        super().on_mount()
        self._people.focus()
        self.run_worker(self._begin())

    async def _begin(self) -> None:
        await self._show_people()
        if self._first and await self._compare(self._first):
            self.dismiss(None)

    async def _show_people(self) -> None:
        """List the members of the room, this account first, then the others that are known."""
        members: list[MemberInfo] = []
        if self.room:
            members = await self.ask(m.ListMembers(room=self.room)) or []
        people = {each.person.name: each.person for each in members}
        people |= {each.person.name: each.person for each in members if warning_word(each.person)}
        others = sorted(name for name in people if name != self.talk.name)
        options = []
        if others:
            text = f"all of {self.talk.title(self.of_room)}, by the words that all of them see"
            options.append(Option(Content(text), _ALL))
        for name in others:
            word = warning_word(people[name]) or "verified"
            options.append(_option(name, word, "$text-success" if word == "verified" else "$text-warning"))
        where = "not in this room" if self.room else ""
        known = sorted({*self.talk.names} - {*people, self.talk.name})
        options += [_option(name, where, "$text-muted") for name in known]
        options.append(_option(self.talk.name, "you", "$text-muted"))
        place = self._people.highlighted
        self._people.set_options(options)
        if place is None:  # at first somebody who is not verified yet
            place = next((n for n, name in enumerate(others, start=1) if warning_word(people[name])), 0)
        self._people.highlighted = min(place, len(options) - 1)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Compare with somebody, or with all."""
        which = event.option_id or ""
        self.begin(self._compare_chosen(which))

    async def _compare_chosen(self, which: str) -> None:
        if which == _ALL:
            await self._compare_all()
        else:
            await self._compare(which.removeprefix(_PERSON))
        await self._show_people()

    async def _compare(self, name: str) -> bool:
        """Show the key of a person, after a choice if there are several; return whether it was verified."""
        try:
            choice = await choice_of(self.talk, name) if name != self.talk.name else []
        except ClientError as error:
            self.show_error(error_text(error))
            return False
        if len(choice) > 1 and not await self._choose(name, choice):
            return False
        found = await self.ask(m.GetFingerprint(name=name, room=self.room))
        if found is None:
            return False
        done = await self.app.push_screen_wait(CompareScreen(self.talk, found))
        return done is True

    async def _choose(self, name: str, choice: list[SeenKey]) -> bool:
        """Have the user choose the key that a name stands for from now on; return whether there is one."""
        from clave_crypto.identity import fingerprint  # here, as it loads `cryptography`

        answers = {
            str(place): f"{fingerprint(one.account)}  ({one.source}{', known so far' if one.bound else ''})"
            for place, one in enumerate(choice)
        }
        answers[""] = "decide later"
        question = (
            f"Several keys go by {name}: one of them may be of somebody else. Ask {name}, in a call or face"
            " to face, which fingerprint is right, and choose that."
        )
        answer = await self.app.push_screen_wait(ChoiceScreen(question, answers))
        if not answer:
            return False
        chosen = choice[int(answer)]
        if chosen.bound:
            return True
        if not await self.do(m.Repin(name=name, account=chosen.account, key=new_key())):
            return False
        keys = self.talk.keys
        for decided in (keys.choices, keys.refused, keys.last):
            decided.pop(name, None)
        self.talk.show(note(f"{name} is {fingerprint(chosen.account)} from now on"))
        return True

    async def _compare_all(self) -> None:
        room = self.current()
        info = await self.ask(m.GetRoomInfo(room=room))  # first, so that the members are none of before
        if info is None:
            return
        members = await self.ask(m.ListMembers(room=room))
        if members is None:
            return
        if not info.code:
            self.show_error(f"{info.title} has no code just now: a change of it is not confirmed yet")
            return
        others = sorted({each.person.name for each in members} - {self.talk.name})
        await self.app.push_screen_wait(RoomCodeScreen(self.talk, info, others))


def _option(name: str, words: str, style: str) -> Option:
    return Option(Content.assemble(name, "  ", (words, style)), f"{_PERSON}{name}")
