"""What one window of a conversation shows: messages, the prompt, and what waits above it. Knows no terminal.

A part of `conversation.Conversation`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from clave_client import events
from clave_client.errors import RoomBehind, UsageError
from clave_client.events import Event
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.rpc.values import HistoryMessage, PendingMessage, RoomSummary
from clave_client.ui.display import Line, date_text, event_line, message_line, separator
from clave_client.ui.message_lines import message_lines
from clave_client.values import MemberInfo

__all__ = ["ConversationScreen"]

_MOST_LIVE = 5
"""Most lines of waiting messages above the prompt."""

_MOST_SHORTENED = 200
"""Most characters of a waiting message in its line."""


class ConversationScreen:
    """The lines of one window; `show` is called with each. The base of `Conversation`.

    `room` is the current room, `rooms` are all, `people` the devices in the current one and `members` their
    names by account. `waiting` are the messages that wait to be sent. With `numbered` messages are shown with
    their numbers.
    """

    def __init__(self, session: Session, show: Callable[[Line], None], *, interactive: bool) -> None:
        self.session = session
        self.interactive = interactive
        self.room: bytes | None = None
        self.name = ""
        self.account = b""
        self.rooms: dict[bytes, RoomSummary] = {}
        self.waiting: dict[bytes, PendingMessage] = {}
        self.people: list[MemberInfo] = []
        self.members: dict[bytes, str] = {}
        self.numbered = False
        self._out = show
        self._online: bool | None = None
        self._titles: dict[bytes, str] = {}
        self._day = ""

    @contextlib.contextmanager
    def while_it_lasts(self, room: bytes) -> Iterator[None]:
        """Ignore that a room ended meanwhile, of which an event tells."""
        try:
            yield
        except (UsageError, RoomBehind):
            if self.room == room:
                self.room = None

    def show(self, line: Line) -> None:
        """Show a line."""
        self._out(line)

    def show_now(self, event: Event) -> None:
        """Show an event that needs no answer of the owner."""
        line = event_line(event, self.title, elsewhere=event.room != self.room, me=self.account)
        if line is not None:
            self.show(line)

    def show_message(self, message: HistoryMessage, *, elsewhere: bytes = b"") -> None:
        """Show a message, after a line with its day if that is another one than the last message's."""
        if not elsewhere:
            self.show_day(message.sent_at)
        where: Line = [("note", f"[{self.title(elsewhere)}] ")] if elsewhere else []
        names = self.members | {self.account: self.name}
        for line in message_lines(message, me=self.account, names=names, numbered=self.numbered):
            self.show(where + line)

    async def ask_message(self, room: bytes, message: bytes) -> HistoryMessage | None:
        """Ask for a message; return None if it, or its room, is gone meanwhile."""
        with contextlib.suppress(UsageError, RoomBehind):
            asked = m.GetMessage(room=room.hex(), message=message.hex())
            return (await self.session.ask(asked)).message
        return None

    async def show_new_message(self, event: events.Message, *, elsewhere: bytes = b"") -> None:
        """Show a message that has come; what it answers has to be asked for."""
        if event.reply_to or event.markup or self.numbered or event.kind is not events.MessageKind.TEXT:
            message = await self.ask_message(event.room, event.id)
            if message is not None:
                self.show_message(message, elsewhere=elsewhere)
            return
        if not elsewhere:
            self.show_day(event.sent_at)
        where: Line = [("note", f"[{self.title(elsewhere)}] ")] if elsewhere else []
        tail: Line = [("time", " (disappears)")] if event.disappears else []
        self.show(where + message_line(event.sender, event.text, event.sent_at, me=self.account) + tail)

    def show_day(self, moment: float) -> None:
        """Show a line with the day of a time in seconds since 1970, if that is another one than before."""
        day = date_text(moment)
        if day not in (self._day, date_text(time.time()) if not self._day else ""):
            self.show(separator(day))
        self._day = day

    @property
    def is_online(self) -> bool:
        """Whether there was a connection to the relay when last heard of it."""
        return self._online is not False

    @property
    def prompt(self) -> str:
        """The prompt before the line being typed."""
        away = " (offline)" if self._online is False else ""
        return f"{self.title(self.room)}{away}> " if self.room is not None else f"{away.strip()}> ".lstrip()

    def live(self) -> list[Line]:
        """Return the lines above the prompt: what waits to be sent, and where there is something new."""
        lines: list[Line] = []
        waiting = list(self.waiting.values())
        for message in waiting[:_MOST_LIVE]:
            first = message.text[:_MOST_SHORTENED].split("\n", 1)[0]
            more = " ..." if len(first) < len(message.text) else ""
            where = "" if message.room == self.room else f"[{self.title(message.room)}] "
            text = f"{where}{self.name}: {first}{more}"
            lines.append([("time", "waiting "), ("time", text)])
        if len(waiting) > _MOST_LIVE:
            lines.append([("time", f"... and {len(waiting) - _MOST_LIVE} more wait to be sent")])
        unread = [f"{number} {room.title} {room.unread}" for number, room in self._unread_rooms()]
        if unread:
            lines.append([("note", f"new: {', '.join(unread)}  (Alt-a)")])
        return lines

    def _unread_rooms(self) -> list[tuple[int, RoomSummary]]:
        numbered = enumerate(self.rooms.values(), start=1)
        return [(n, room) for n, room in numbered if room.unread and room.id != self.room]

    def title(self, room: bytes | None) -> str:
        """Return a room's title, also after it was closed."""
        if room is None:
            return ""
        record = self.rooms.get(room)
        if record is not None:
            self._titles[room] = record.title
        return self._titles.get(room, room.hex()[:8])

    def knows(self, room: bytes) -> bool:
        """Return whether the title of a room is known."""
        return room in self.rooms or room in self._titles

    def current(self) -> str:
        """Return the id of the current room, as a method's parameter. Raises `UsageError` without one."""
        if self.room is None:
            raise UsageError("you are in no room; /room TITLE enters one, /new TITLE opens one")
        return self.room.hex()
