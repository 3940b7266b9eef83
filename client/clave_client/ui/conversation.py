"""The state of an interactive conversation: the current room, and the keys shown. Knows no terminal.

What can be typed is in `chat_commands`; line mode and plain pipes are thin shells around both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from clave_client import events
from clave_client.client import Client
from clave_client.errors import UsageError
from clave_client.events import Event
from clave_client.store.database import RoomRecord
from clave_client.ui.display import Line, event_line, history_line, note
from clave_client.values import Fingerprint, Phase, SeenKey

__all__ = ["Conversation", "ShownKey", "ShownKeys"]

FLUSH_SECONDS = 5.0


@dataclass(frozen=True)
class ShownKey:
    """A key that was shown at `at`, in seconds of the conversation's clock; `asked` says by /fingerprint."""

    found: Fingerprint
    at: float
    asked: bool


@dataclass
class ShownKeys:
    """The keys the user was shown, by name: decisions are about these and no others.

    `last` is the key shown last to compare, `choices` the keys shown to choose from, `refused` those that an
    error named.
    """

    last: dict[str, ShownKey] = field(default_factory=dict)
    choices: dict[str, list[SeenKey]] = field(default_factory=dict)
    refused: dict[str, SeenKey] = field(default_factory=dict)


class Conversation:
    """One user at one client. `show` is called with each line for the screen; `clock` is in seconds.

    `room` is the current room, `finished` is set by `exit`.
    """

    def __init__(
        self, client: Client, show: Callable[[Line], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.client = client
        self.show = show
        self.clock = clock
        self.keys = ShownKeys()
        self.room: bytes | None = None
        self.finished = False
        self._events = client.events()
        self._offline = False
        self._titles: dict[bytes, str] = {}

    @property
    def prompt(self) -> str:
        """The prompt before the line being typed."""
        return f"{self.title(self.room)}> " if self.room is not None else "> "

    def title(self, room: bytes) -> str:
        """Return a room's title, also after it was closed."""
        record = self.client.rooms.get(room)
        if record is not None:
            self._titles[room] = record.title
        return self._titles.get(room, room.hex()[:8])

    def current(self) -> bytes:
        """Return the current room. Raises `UsageError` when there is none."""
        if self.room is None:
            raise UsageError("you are in no room; /new TITLE opens one, /accept answers an invitation")
        return self.room

    def enter(self, room: bytes) -> None:
        """Make `room` the current room and show its messages that were not shown yet."""
        self.room = room
        self.title(room)
        self.show_key_notices(room)
        for line in self.client.unshown(room):
            if self.client.mark_shown(room, line.seq):
                self.show(history_line(line, own=False, sender=self.client.sender(line)))

    def show_key_notices(self, room: bytes) -> None:
        """Show new notices of members whose name is pinned to another key."""
        for notice in self._events.key_notices(room):
            self.show_event(notice)

    def begin(self, room: bytes | None) -> None:
        """Show the relay and the rooms, and enter `room`, or the only room there is."""
        connected = self.client.connected
        if connected.registered:
            self.show(note(f"{self.client.name} is registered at {connected.relay}"))
        if connected.first_use:
            self.show(note(f"relay fingerprint {connected.fingerprint}"))
            if connected.vouched:
                text = "a certificate authority vouches for it, and will be believed about the next one"
            else:
                text = "compare it with what the relay printed; it is pinned from now on"
            self.show(note(text))
        joined = [record.id for record in self.client.rooms.values() if record.phase is Phase.JOINED]
        if room is not None or len(joined) == 1:
            self.enter(room or joined[0])
            self.show(note(f"talking in {self.title(self.current())}; /help lists the commands"))
        elif joined:
            titles = ", ".join(sorted(self.title(room) for room in joined))
            self.show(note(f"your rooms: {titles}; /room TITLE enters one"))
        else:
            self.show(
                note("no rooms yet: /new TITLE opens one, /invite NAME brings people in; /help lists all")
            )
        for record in self.client.rooms.values():
            if record.phase is Phase.INVITED:
                self._show_invitation(record)

    def _show_invitation(self, record: RoomRecord) -> None:
        """Show an invitation that waits for an answer."""
        title, inviter = record.title, self.client.inviter(record.id)
        if inviter is not None and inviter.known:
            self.show_event(events.Invited(record.id, title, inviter, (inviter.name,)))
            return
        self.show(note(f"you are invited to {title}; /accept {title} or /decline {title}"))
        self._warn_of_similar_title(record.id)

    def _warn_of_similar_title(self, invitation: bytes) -> None:
        """Warn that an invitation is to another room than the joined one with a similar title."""
        other = self.client.similar_room(invitation)
        if other is not None:
            text = (
                f"you have a room called {other.title} already; this is another one, {invitation.hex()[:8]}"
            )
            self.show(note(text, "alarm"))

    async def listen(self) -> None:
        """Show events until the client cannot go on; raise the error that ended it."""
        async for event in self._events:
            self.show_event(event)

    def show_event(self, event: Event) -> None:
        """Show one event; a message only if it was not shown before."""
        if isinstance(event, events.Connected | events.Disconnected):
            self._show_connection(event)
            return
        if isinstance(event, events.Message) and not self.client.mark_shown(event.room, event.seq):
            return
        line = event_line(event, self.title, elsewhere=event.room != self.room)
        if line is not None:
            self.show(line)
        if isinstance(event, events.Invited):
            self._warn_of_similar_title(event.room)
        if isinstance(event, events.RoomClosed) and event.room == self.room:
            self.room = None

    def _show_connection(self, event: events.Connected | events.Disconnected) -> None:
        if isinstance(event, events.Disconnected) and not self._offline:
            self.show(note(f"offline: {event.reason}; what you write waits", "alarm"))
        if isinstance(event, events.Connected) and self._offline:
            self.show(note("online again"))
        self._offline = isinstance(event, events.Disconnected)

    async def finish(self) -> None:
        """Wait up to 5 s for unsent messages to reach the relay; show if some did not."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS if self.client.is_online else 0):
                await self.client.wait_flushed()
        except TimeoutError:
            self.show(note("not everything reached the relay; it is kept and goes out next time", "alarm"))
