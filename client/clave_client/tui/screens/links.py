"""The screen with the links by which others can join the current room."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from clave_client.rpc import methods as m
from clave_client.tui.keymap import bindings
from clave_client.tui.screens.choice import ChoiceScreen
from clave_client.tui.screens.side import SideScreen, new_key
from clave_client.tui.talk import ScreenConversation
from clave_client.ui.link_text import link_line

__all__ = ["LinksScreen"]

_ALL: Final = "all"
_YES: Final = "yes"


class LinksScreen(SideScreen[None]):
    """The links, without what it takes to join by them; the highlighted one or all can be ended."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("links")

    def __init__(self, talk: ScreenConversation) -> None:
        super().__init__(talk)
        self._count, self._links = Static(), OptionList(id="body")

    def heading(self) -> str:
        """Return of which room."""
        return f"Links to join {self.talk.title(self.of_room)}"

    def compose_body(self) -> ComposeResult:
        """Yield the links."""
        yield self._count
        yield self._links

    def on_mount(self) -> None:
        """Begin with the list."""
        super().on_mount()
        self._links.focus()
        self.run_worker(self._show())

    async def _show(self) -> None:
        room = self.current()
        if not room:
            return
        links = await self.ask(m.ListLinks(room=room))
        if links is None:
            return
        place = self._links.highlighted or 0
        self._links.set_options(Option(Content(link_line(link)), link.id) for link in links)
        self._links.highlighted = min(place, len(links) - 1) if links else None
        text = "Who has one of them can join; a link itself is shown only when it is made."
        self._count.update(Content(text if links else "There is no link to join by."))
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to end links only if there are some."""
        return action not in ("revoke", "revoke_all") or self._links.option_count > 0

    def on_option_list_option_selected(self) -> None:
        """Offer to end the link."""
        self.action_revoke()

    def action_revoke(self) -> None:
        """End the highlighted link, after a question."""
        option = self._links.highlighted_option
        if option is not None and option.id is not None:
            self.begin(self._revoke(option.id, f"the link {option.id}"))

    def action_revoke_all(self) -> None:
        """End all links, after a question."""
        self.begin(self._revoke(_ALL, "all links to this room"))

    async def _revoke(self, which: str, words: str) -> None:
        question = f"End {words}? Nobody can join by it any more; who has joined stays."
        answers = {"": "no, keep it" if which != _ALL else "no, keep them", _YES: f"yes, end {words}"}
        if await self.app.push_screen_wait(ChoiceScreen(question, answers)) != _YES:
            return
        results: list[bool] = []
        if await self.do(m.RevokeLinks(room=self.room, link=which, key=new_key()), results.append):
            await self._show()
            counts = "" if results[0] else " once the clave of another member has confirmed it"
            self.say(f"{words.capitalize()}: ended{counts}.")
