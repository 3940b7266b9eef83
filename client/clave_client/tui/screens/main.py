"""The main screen: rooms, messages, and what is being written. Shows what a `ScreenConversation` has."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, ClassVar, Final

from msgspec.structs import replace
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from clave_client.errors import ClientError
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.rpc.values import HistoryMessage, RoomSummary
from clave_client.tui.base_app import FRAME_SECONDS, forget_closed_widgets, program_of
from clave_client.tui.keymap import ASKING, AT_ONCE, CHANGING, OPENING, Keys, bindings
from clave_client.tui.message_actions import act_on, copy_text
from clave_client.tui.messages import (
    About,
    LineTyped,
    PageWanted,
    PlaceWanted,
    ShortcutPressed,
)
from clave_client.tui.screens.choice import ChoiceScreen
from clave_client.tui.screens.writing import WritingScreen
from clave_client.tui.shortcuts import ACTIONS, SWITCHES
from clave_client.tui.talk import ScreenConversation
from clave_client.tui.widgets.bare_lines import FilledRow
from clave_client.tui.widgets.checklist import Checklist
from clave_client.tui.widgets.completion_list import CompletionList
from clave_client.tui.widgets.composer import Composer
from clave_client.tui.widgets.message_list import MessageList
from clave_client.tui.widgets.place_bar import PlaceBar
from clave_client.tui.widgets.room_list import RoomList, in_order
from clave_client.tui.widgets.room_panel import RoomPanel
from clave_client.tui.widgets.status_line import StatusLine
from clave_client.tui.widgets.waiting_lines import WaitingLines
from clave_client.ui.chat_commands import run_input, run_shortcut
from clave_client.ui.display import note
from clave_client.ui.draft_line import TypedText
from clave_client.ui.hints import error_text
from clave_client.ui.link_text import holds_link
from clave_client.ui.message_lines import short
from clave_client.ui.terminal.input_queue import InputQueue, Job
from clave_client.ui.terminal.interrupts import Interrupt, Interrupts
from clave_client.values import Phase

__all__ = ["MainScreen"]

_WIDE: Final = 100
"""Columns below which what is at the right takes the place of the list of rooms."""

_REFRESH_SECONDS: Final = 5.0
_SLOW_SECONDS: Final = 0.3
"""After how long a command that runs is named."""

_PANEL_SECONDS: Final = 0.5
"""How often the right side is asked for anew while something happens."""


class MainScreen(WritingScreen):
    """Rooms at the left, the messages of one in the middle, the composer below."""

    CSS_PATH = "main.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("main", by="act")
    BLANK = True  # what is on it fills it
    NARROW: ClassVar[int] = 70
    """Columns below which the list of rooms is left out."""

    def __init__(
        self,
        session: Session,
        room: str | Callable[[Session], Awaitable[str]] | None,
        fail: Callable[[Exception], None],
        alert: Callable[[], None],
        keys: Keys,
    ) -> None:
        super().__init__()
        self._room = room
        self.keys = keys
        self.messages, self.rooms, self.panel = (
            MessageList(keys, self._act, self.draw_at_once),
            RoomList(self.choose_room, self.leave_rooms),
            RoomPanel(),
        )
        self.completions, self.place = CompletionList(), PlaceBar()
        self.composer = Composer(keys, self._choose_completion, self.do_at_once, self.draw_at_once)
        self.title_line, self.status = Static(id="title"), StatusLine(keys)
        self.banner, self.waiting, self.checklist = Static(id="banner"), WaitingLines(keys), Checklist(keys)
        self.fail = fail
        self.talk = ScreenConversation(session, self.messages, self._changed, alert)
        self.talk.draft = self
        self.talk.is_in_sight = self._is_in_sight
        self.talk.may_choose = self._may_choose
        self._queue = InputQueue(time.monotonic, self._show_soon, self._cancelled)
        self._interrupts = Interrupts(time.monotonic)
        self._begun = asyncio.Event()
        self._switched, self._not_shown, self._put = 0, "", ""
        self._is_dirty = self._draws_at_once = False
        self._panel_asked = 0.0

    def compose(self) -> ComposeResult:
        """Put the parts in their places."""
        # As few containers as can be: of each, Textual draws each line, for each key.
        yield self.status
        yield self.rooms
        yield self.panel
        yield self.title_line
        yield self.checklist
        with FilledRow(id="history"):
            yield self.messages
            yield self.place
        yield self.waiting
        yield self.completions
        yield self.banner
        yield self.composer

    def on_mount(self) -> None:
        """Begin the conversation."""
        self.set_focus(self.composer)
        self.watch(self.messages, "scroll_y", self._show_soon, init=False)
        self.run_worker(self._talk(), name="conversation")
        self.run_worker(self._run_jobs(), name="what is typed")

    def draw_at_once(self) -> None:
        """Draw what a key has changed once it is known, not with the next of 60 updates a second."""
        self._draws_at_once = True
        program_of(self).draw_now()

    def on_idle(self) -> None:
        """Draw what a key has changed."""
        has_changed = self._repaint_required or self._layout_required or self._scroll_required
        if self._draws_at_once and (has_changed or self._dirty_widgets):
            self._draws_at_once = False
            self._on_timer_update()

    def on_screen_resume(self) -> None:
        """Forget the screen that was over this one."""
        forget_closed_widgets()

    def on_resize(self, event: Resize) -> None:
        """Leave out of a narrow screen what does not fit."""
        self.set_class(event.size.width < self.NARROW, "narrow")
        self.set_class(event.size.width < _WIDE, "not-wide")
        self.call_after_refresh(self._go_on_writing)

    async def _talk(self) -> None:
        try:
            self.composer.typed = await self.talk.session.ask(m.GetTypedLines())
            room = await self._room(self.talk.session) if callable(self._room) else self._room
            await self.talk.begin(room)
            self.checklist.is_wanted = callable(self._room) or not self.talk.rooms
            self._show_soon()
            self._begun.set()
            self.set_interval(_REFRESH_SECONDS, self._refresh)
            await self.talk.listen()
        except Exception as error:  # noqa: BLE001  (whoever runs the app raises it)
            self.fail(error)

    def _refresh(self) -> None:
        """Ask for the rooms: no event tells what other windows and devices have opened or read."""
        self.run_worker(self._quietly(self.talk.refresh()), exclusive=True, group="rooms")

    async def _run_jobs(self) -> None:
        try:
            await self._queue.run()
        except Exception as error:  # noqa: BLE001  (whoever runs the app raises it)
            self.fail(error)

    # --- what the conversation shows ---

    def _is_in_sight(self) -> bool:
        return self.app.screen is self and self.app.app_focus

    def _may_choose(self) -> bool:
        """Whether nothing was typed here, or for a later room: a chosen message would take it for keys."""
        is_as_left = self.composer.text in ("", self._put) and self._switched == self.composer.cuts
        return self.messages.has_focus or is_as_left

    def _changed(self) -> None:
        """Show soon what has changed, with what else does until then."""
        self._panel_asked = min(self._panel_asked, time.monotonic())
        self._show_soon()

    def _show_soon(self) -> None:
        if not self._is_dirty and self.is_mounted:
            self._is_dirty = True
            self.set_timer(FRAME_SECONDS, self._show)

    def listed_rooms(self) -> list[RoomSummary]:
        """Return the rooms of the list, in its order."""
        talk = self.talk
        return in_order([each for each in talk.rooms.values() if not each.archived or each.id == talk.room])

    def _show(self) -> None:
        """Show the rooms, the title and the status as they are now."""
        self._is_dirty = False
        if not self.is_attached:
            return
        talk = self.talk
        waiting = Counter(message.room for message in talk.waiting.values())
        rooms = [replace(room, waiting=waiting[room.id]) for room in self.listed_rooms()]
        talk.note_seen()
        if self.messages.is_at_end:  # what is in sight is noted as shown a little later
            rooms = [replace(each, unread=0, mentions=0) if each.id == talk.room else each for each in rooms]
        self.rooms.show(rooms, talk.room)
        title = Content(talk.title(talk.room) or "clave")
        if title != self.title_line.content:
            self.title_line.update(title, layout=False)
        self.place.show(*talk.part_in_sight())
        self.checklist.show(talk, said=self.messages.rows.holds_own)
        slow = self._queue.running if self._queue.seconds >= _SLOW_SECONDS else None
        if slow is None and self._queue.running is not None:
            self.set_timer(_SLOW_SECONDS, self._show_soon)
        self.waiting.show(talk, "" if slow is None else slow.label)
        self._show_status()
        if self.panel.shows and self._panel_asked <= time.monotonic():
            self._panel_asked = time.monotonic() + _PANEL_SECONDS
            self.run_worker(self._ask_panel(), exclusive=True, group="panel")

    def _show_status(self) -> None:
        self.status.show(self.talk, self.messages, self.panel.info)

    async def _ask_panel(self) -> None:
        await self.panel.ask(self.talk)
        self._show_status()

    # --- what the user does, in its turn ---

    def on_line_typed(self, event: LineTyped) -> None:
        """Send what was written, or run the command, after what was typed before."""
        self._queue.put(Job(event.text, partial(self._run_line, event.text, event.about)))

    async def _run_line(self, text: str, about: About | None) -> None:
        await self._begun.wait()
        if not holds_link(text):
            await self._safely(self._remember, text)
        await self._safely(self.talk.show_newest)
        self.messages.show_end()
        if about is None:
            accepted = await run_input(self.talk, text)
        elif about.edits:
            accepted = await self._safely(self.talk.edit, about.message, text)
        else:
            accepted = await self._safely(self.talk.answer, about.message, text)
        if not accepted and not self.composer.text:
            self.composer.about = about if self._switched == self.composer.cuts else None
            self.put_back(text)
            self._show_banner()
        await self._safely(self.talk.ask_members)
        kept, self._not_shown = self._not_shown, ""
        self.put_back(kept)
        if self.talk.finished:
            await self.leave()

    async def _remember(self, text: str) -> None:
        await self.talk.session.ask(m.AddTypedLine(line=text))

    async def _safely(self, work: Callable[..., Awaitable[object]], *arguments: object) -> bool:
        """Do `work` and return whether it succeeded; its error is shown."""
        try:
            await work(*arguments)
        except ClientError as error:
            self.talk.show(note(error_text(error), "alarm"))
            return False
        return True

    def _cancelled(self, job: Job) -> None:
        self.talk.show(note(f"cancelled: {short(job.label)}"))

    def on_shortcut_pressed(self, event: ShortcutPressed) -> None:
        """Do what a key does while something is written."""
        self.do(event.action, event.text)

    def do(self, action: str, text: str = "") -> None:
        """Do an action of the place "main" in the keymap; `text` was written before it."""
        if action == "leave" and self._queue.seconds < _SLOW_SECONDS:
            self._queue.put(Job(action, self.leave))  # after what was typed, unless that takes its time
        elif action in SWITCHES:
            self._queue.put(Job(action, partial(self._switch, partial(SWITCHES[action], self), text)))
        else:
            work = self._safely(ACTIONS[action], self)
            self.run_worker(self._perform(action, self._holding(work) if action in OPENING else work))

    def _holding(self, work: Awaitable[object]) -> Coroutine[Any, Any, None]:
        """Keep what is typed from now on for the screen that `work` opens, at most until its end."""
        app = program_of(self)
        hold = app.hold_keys()

        async def held() -> None:
            try:
                await work
            finally:
                app.release_keys(hold)

        return held()

    async def _perform(self, action: str, work: Awaitable[object]) -> None:
        await work
        if action in CHANGING:
            with contextlib.suppress(ClientError):
                await self.talk.ask_members()  # whom the user has verified, for one
        if action in OPENING:
            self._show_soon()

    def action_act(self, action: str) -> None:
        """Do an action of the place "main"."""
        self.do(action, self.composer.cut() if action in SWITCHES else "")

    def go(self, room: bytes, seq: int = 0) -> None:
        """Enter a room in turn with what is typed, and show the message at a history seq there, if any."""
        if room != self.talk.room:
            work = partial(self._enter, room, seq)
            self._queue.put(Job("go", partial(self._switch, work, self.composer.cut())))
        elif seq:
            self._queue.put(Job("go", partial(self._show_around, seq)))

    async def _show_around(self, seq: int) -> None:
        await self._safely(self.talk.show_around, seq)
        self.draw_at_once()

    def do_at_once(self, action: str) -> None:
        """Do what changes where or what is written, before what is typed after it."""
        try:
            if action == "stop":
                self._interrupt()
            elif action in OPENING:
                self.do(action)
            elif action in ("answer_last", "edit_last"):
                self._take_last(edits=action == "edit_last")
            elif action == "select":
                self.set_focus(self.messages)
            elif action == "find_room":
                self._hide_panel()
                self.remove_class("narrow")
                self.rooms.find()
            else:
                self._write()
        except ClientError as error:
            self.talk.show(note(error_text(error), "alarm"))

    def _write(self) -> None:
        """Leave one thing after the other: completions, what is selected, answering; then write."""
        if self.completions.display:
            self.completions.show(())
            return
        self.clear_selection()
        self._hide_panel()
        if self.composer.has_focus:
            self.stop_answering()
        self.leave_rooms()

    def _interrupt(self) -> None:
        """Do what Ctrl-C does: copy what is selected, or cancel what runs, or empty the line, or ask."""
        selected = self.get_selected_text() or self.composer.selected_text
        if selected:
            copy_text(self, selected)
            self.clear_selection()
            return
        has_text = bool(self.composer.text) or self.composer.about is not None
        match self._interrupts.press(running=self._queue.is_cancellable(), has_text=has_text):
            case Interrupt.CANCEL:
                self._queue.cancel()
            case Interrupt.CLEAR:
                self.stop_answering()
                self.composer.write("")
            case Interrupt.ASK:
                self.status.flash(f"{self.keys.shown('composer', 'stop')} once more closes this window")
            case Interrupt.QUIT:
                self.run_worker(self.leave(128 + signal.SIGINT))

    def _hide_panel(self) -> None:
        """Hide what is at the right, if the screen has no place for it beside the rest."""
        if self.panel.shows and self.has_class("not-wide"):
            self.choose_panel(self.panel.shows)

    def choose_panel(self, what: str) -> None:
        """Show "members" or "info" at the right, or hide them."""
        self.panel.choose(what)
        self.set_class(bool(self.panel.shows), "with-panel")
        self._panel_asked = 0.0
        self._show_soon()
        self.call_after_refresh(self._go_on_writing)

    def _go_on_writing(self) -> None:
        is_covered = self.has_class("narrow") and self.has_class("with-panel")
        if self.focused is None and not is_covered:  # what had the focus was hidden
            self.set_focus(self.composer)

    async def leave(self, status: int = 0) -> None:
        """End the conversation and the program, which has this exit status."""
        self.talk.finished = True
        await self.talk.finish()
        self.app.exit(return_code=status)

    async def _switch(self, work: Callable[[TypedText], Awaitable[None]], text: str) -> None:
        """Do what leads to another room; what was written stays with the one that is left."""
        self._switched += 1
        await self._begun.wait()
        typed = TypedText("\n".join(each for each in (self._not_shown, text) if each))
        self._not_shown = ""
        program_of(self).draw_later()
        try:
            await run_shortcut(self.talk, work, typed)
        finally:
            self.draw_at_once()
            if not typed.is_kept:
                self.put_back(typed.text)

    def choose_room(self, room: bytes) -> None:
        """Enter a room, or ask how to answer an invitation."""
        self.leave_rooms()
        known = self.talk.rooms.get(room)
        if known is not None and known.phase is Phase.INVITED:
            self.run_worker(self._holding(self._answer_invitation(room.hex(), known.title)))
        else:
            self.go(room)

    def leave_rooms(self) -> None:
        """Go on writing."""
        self.set_class(self.size.width < self.NARROW, "narrow")
        self.set_focus(self.composer)

    async def _enter(self, room: bytes, seq: int, typed: TypedText) -> None:
        if seq:
            await self.talk.enter_at(room, seq, typed)
        else:
            await self.talk.enter(room, typed)

    async def _answer_invitation(self, room: str, title: str) -> None:
        answers = {"accept": "accept", "decline": "decline", "later": "decide later"}
        chosen = await self.app.push_screen_wait(ChoiceScreen(f"you are invited to {title}", answers))
        if chosen == "accept":
            work = partial(self._accept, bytes.fromhex(room))
            self._queue.put(Job("accept", partial(self._switch, work, self.composer.cut())))
        elif chosen == "decline":
            self.post_message(LineTyped(f"/decline {room}"))

    async def _accept(self, room: bytes, typed: TypedText) -> None:
        await self.talk.session.ask(m.Accept(room=room.hex()))
        await self.talk.refresh()
        if room in self.talk.rooms:  # else removed meanwhile, which an event says
            await self.talk.enter(room, typed)

    # --- the history ---

    def on_page_wanted(self, event: PageWanted) -> None:
        """Load older or newer messages."""
        self.run_worker(self._quietly(self.talk.load(older=event.older)))

    def on_place_wanted(self, event: PlaceWanted) -> None:
        """Show the messages at a place of the history."""
        self.run_worker(self._safely(self.talk.show_place, event.place), exclusive=True, group="place")

    async def _quietly(self, work: Coroutine[Any, Any, object]) -> None:
        with contextlib.suppress(ClientError):  # whoever waits for the next event is told
            await work

    def _act(self, action: str, messages: list[HistoryMessage]) -> None:
        """Do something to the chosen messages; what leads to the composer at once."""
        if action == "go_on_writing":
            self.set_focus(self.composer)
        elif action in AT_ONCE:
            self.do_at_once(action)
        elif action == "reply":
            self.answer(messages[-1])
        elif action == "edit":
            self.edit(messages[-1])
        else:
            work = self._safely(act_on, self, action, messages)
            self.run_worker(self._holding(work) if action in ASKING else work)
