"""The screen that searches all messages as one types. Knows no index: the owner has that."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.types import CSSPathType
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from clave_client.rpc import methods as m
from clave_client.rpc.values import FoundMessage, SearchPage
from clave_client.tui.base_app import program_of
from clave_client.tui.keymap import bindings
from clave_client.tui.line_content import content_of, paragraphs
from clave_client.tui.screens.side import SideScreen
from clave_client.tui.talk import ScreenConversation
from clave_client.tui.typed_ahead import Field
from clave_client.ui.display import clock_text, date_text, name_with_warning
from clave_client.ui.message_lines import marked_text, message_lines

__all__ = ["SearchScreen"]

_PAUSE_SECONDS: Final = 0.15
"""How long nothing is typed before a search begins."""

_CONTEXT: Final = 3
"""Messages shown before and after the highlighted one."""


class SearchScreen(SideScreen[FoundMessage | None]):
    """What was found, newest first, and what was said around one of it. Returns the message to go to."""

    CSS_PATH: ClassVar[CSSPathType | None] = ["side.tcss", "search.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = bindings("search")
    HEADING = "Search"
    HINT = "Enter goes there"

    def __init__(self, talk: ScreenConversation) -> None:
        super().__init__(talk)
        self._input = Field(placeholder="words to find", compact=True)
        self._input.entered = self._submit
        self.hold = 0
        """What keeps the keys behind Enter until that was gone to, for `release_keys`."""
        # Kept, as a search can still run when the screen and what is on it are gone.
        self._count, self._hits, self._around = Static(id="count"), OptionList(id="hits"), Static(id="around")
        self._around_box = VerticalScroll(id="context", can_focus=False)
        self._found: list[FoundMessage] = []
        self._searched = self._begun = m.Search(words="")
        self._next = 0
        self._is_here_only = False
        self._timer: Timer | None = None
        self._goes = False
        """Whether to go to the first hit once it is found: Enter came before it."""

    @property
    def body(self) -> Widget:
        """What is scrolled: what was found."""
        return self._hits

    def compose_body(self) -> ComposeResult:
        """Yield what is searched for, what was found, and what was said around that."""
        yield self._input
        yield self._count
        yield self._hits
        with self._around_box:
            yield self._around

    def on_mount(self) -> None:
        """Begin with the words."""
        super().on_mount()
        self._input.focus()
        self._show_count()

    # --- searching ---

    def _wanted(self) -> m.Search:
        return m.Search(words=self._input.value.strip(), room=self.room if self._is_here_only else "")

    def on_input_changed(self) -> None:
        """Search once nothing is typed for a moment."""
        if self._goes and self._wanted() == self._begun:
            return  # what Enter, typed right behind it, has begun already
        self._goes = False
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_PAUSE_SECONDS, self._begin)

    def _begin(self) -> None:
        """Search for other words than before."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self.show_error("")
        self._begun = self._wanted()
        self.run_worker(self._search(self._begun), group="search", exclusive=True)

    async def _search(self, search: m.Search) -> None:
        page: SearchPage | None = None
        if search.words:
            page = await self.ask(search)
        self._searched, self._next = search, 0
        self._found.clear()
        self._hits.clear_options()
        self._around.update("")
        if page is not None:
            self._add(page.found, page.next)
        if self._found:
            self._hits.highlighted = 0
        self._show_count()
        if self._goes and self._found:
            self._go(0)
        elif self._goes:
            self._goes = False
            program_of(self).release_keys(self.hold)

    async def _search_older(self) -> None:
        older = m.Search(words=self._searched.words, room=self._searched.room, before=self._next)
        page = await self.ask(older)
        if page is not None:
            self._add(page.found, page.next)
            self._show_count()

    def _add(self, found: list[FoundMessage], older: int) -> None:
        self._next = older
        self._found += found
        self._hits.add_options(Option(self._words(each)) for each in found)

    def _words(self, found: FoundMessage) -> Content:
        """Return who said it where and when in one line, and what in another."""
        message = found.message
        moment = f"  {found.title}, {date_text(message.sent_at)} {clock_text(message.sent_at)}"
        who = "own" if message.own else "name", name_with_warning(message.sender, self.talk.account)
        return paragraphs(content_of([who, ("time", moment)]), Content("  ") + content_of(marked_text(found)))

    def _show_count(self) -> None:
        where = f"in {self.talk.title(self.of_room)}" if self._is_here_only else "in all rooms"
        if not self._searched.words:
            text = f"type what to find {where}"
        elif not self._found:
            text = f"nothing was found {where}"
        else:
            more = ", and there are older ones" if self._next else ""
            text = f"{len(self._found)} found {where}, newest first{more}"
        self._count.update(Content(text))

    # --- what was said around ---

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Show what was said before and after."""
        if event.option_index < len(self._found):
            found = self._found[event.option_index]
            self.run_worker(self._show_around(found), group="around", exclusive=True)

    async def _show_around(self, found: FoundMessage) -> None:
        room, message = found.room.hex(), found.message
        before = await self.ask(m.GetHistory(room=room, before=message.seq, limit=_CONTEXT))
        after = await self.ask(m.GetHistory(room=room, after=message.seq, limit=_CONTEXT, newest=False))
        members = await self.ask(m.ListMembers(room=room)) or []
        names = {each.person.account: each.person.name for each in members}
        lines = [
            Content("> " if each is message else "  ") + content_of(line)
            for each in (*(before or ()), message, *(after or ()))
            for line in message_lines(each, me=self.talk.account, names=names)
        ]
        self._around.update(paragraphs(*lines))
        if before is not None:
            above = sum(self._height(each) for each in lines[: len(before)])
            self._around_box.scroll_to(y=max(0, above - 1), animate=False)

    def _height(self, content: Content) -> int:
        return content.get_height({}, max(1, self._around.size.width))

    # --- keys ---

    def _submit(self) -> None:
        """Go to the highlighted message, or to the first that is found for these words."""
        place = self._hits.highlighted
        if self._timer is not None or self._searched != self._wanted():
            self._goes = True
            self.hold = program_of(self).hold_keys(for_screen=False)
            self._begin()
        elif place is not None:
            self._go(place)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Go to a message."""
        self._go(event.option_index)

    def _go(self, place: int) -> None:
        """Go to what was found; what is below the search is not drawn before, and takes no keys."""
        program = program_of(self)
        if program.screen is self:
            program.draw_later()
            self.hold = program.hold_keys(for_screen=False)
        self.dismiss(self._found[place])

    def action_older_hits(self) -> None:
        """Find older messages."""
        if self._next and self._timer is None and self._searched == self._wanted():
            self.run_worker(self._search_older(), group="search", exclusive=True)

    def action_this_room(self) -> None:
        """Search the current room only, or all."""
        if self._is_here_only or self.current():
            self._is_here_only = not self._is_here_only
            self._begin()

    def action_hit_above(self) -> None:
        """Highlight the message above."""
        self._hits.action_cursor_up()

    def action_hit_below(self) -> None:
        """Highlight the message below."""
        self._hits.action_cursor_down()
