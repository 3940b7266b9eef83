"""A person's conversation: typed lines in, lines to show out. Line mode and pipes are thin shells around it.

Knows the room being talked in and what was shown; what can be typed is in `commands`.
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
from clave_client.people.known_keys import Fingerprint
from clave_client.store.database import Phase, RoomRecord
from clave_client.store.pins import SeenKey
from clave_client.ui.display import Line, event_line, history_line, note

__all__ = ["Conversation", "ShownKey", "ShownKeys"]

FLUSH_SECONDS = 5.0


@dataclass(frozen=True)
class ShownKey:
    """A key that was shown at `at`, in seconds of the conversation's clock; `asked` for by /fingerprint."""

    found: Fingerprint
    at: float
    asked: bool


@dataclass
class ShownKeys:
    """What the person was shown of people's keys, by name: decisions are about these and no others.

    `one` is the key shown last to compare, `choice` the keys shown to choose from, and `refused` those that
    stopped something.
    """

    one: dict[str, ShownKey] = field(default_factory=dict)
    choice: dict[str, list[SeenKey]] = field(default_factory=dict)
    refused: dict[str, SeenKey] = field(default_factory=dict)


class Conversation:
    """One person at one client. `show` takes each line meant for the screen; `clock` is in seconds."""

    def __init__(
        self, client: Client, show: Callable[[Line], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.client = client
        self.show = show
        self.clock = clock
        self.keys = ShownKeys()
        self.room: bytes | None = None
        self.over = False
        self._offline = False
        self._titles: dict[bytes, str] = {}

    @property
    def prompt(self) -> str:
        """What stands before the line being typed."""
        return f"{self.title(self.room)}> " if self.room is not None else "> "

    def title(self, room: bytes) -> str:
        """Return what a room is called, also after it was closed."""
        record = self.client.rooms.get(room)
        if record is not None:
            self._titles[room] = record.title
        return self._titles.get(room, room.hex()[:8])

    def current(self) -> bytes:
        """Return the room being talked in; raises `UsageError` when there is none."""
        if self.room is None:
            raise UsageError("you are in no room; /new TITLE opens one, /accept answers an invitation")
        return self.room

    def enter(self, room: bytes) -> None:
        """Talk in `room` from now on, and show what was said there unseen."""
        self.room = room
        self.title(room)
        self.warn(room)
        for line in self.client.unshown(room):
            if self.client.mark_shown(room, line.seq):
                self.show(history_line(line, own=False, sender=self.client.sender(line)))

    def warn(self, room: bytes) -> None:
        """Show what is new of members whose name is bound to another key."""
        for notice in self.client.key_notices(room):
            self.take(notice)

    def begin(self, room: bytes | None) -> None:
        """Say where one is, and enter `room`, or the only room there is."""
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
                self._remind(record)

    def _remind(self, record: RoomRecord) -> None:
        """Show an invitation that waits."""
        title, inviter = record.title, self.client.inviter(record.id)
        if inviter is not None and inviter.known:
            self.take(events.Invited(record.id, title, inviter, (inviter.name,)))
            return
        self.show(note(f"you are invited to {title}; /accept {title} or /decline {title}"))
        self._tell_apart(record.id)

    def _tell_apart(self, invitation: bytes) -> None:
        """Say that an invitation is to another room than the one with such a title."""
        other = self.client.similar_room(invitation)
        if other is not None:
            text = (
                f"you have a room called {other.title} already; this is another one, {invitation.hex()[:8]}"
            )
            self.show(note(text, "alarm"))

    async def listen(self) -> None:
        """Show what happens until the session cannot go on; raises what ended it."""
        async for event in self.client.events():
            self.take(event)

    def take(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, events.Connected | events.Disconnected):
            self._connection(event)
            return
        if isinstance(event, events.Message) and not self.client.mark_shown(event.room, event.seq):
            return
        room = getattr(event, "room", b"")
        line = event_line(event, self.title, elsewhere=room != self.room)
        if line is not None:
            self.show(line)
        if isinstance(event, events.Invited):
            self._tell_apart(event.room)
        if isinstance(event, events.RoomClosed) and event.room == self.room:
            self.room = None

    def _connection(self, event: events.Connected | events.Disconnected) -> None:
        if isinstance(event, events.Disconnected) and not self._offline:
            self.show(note(f"offline: {event.reason}; what you write waits", "alarm"))
        if isinstance(event, events.Connected) and self._offline:
            self.show(note("online again"))
        self._offline = isinstance(event, events.Disconnected)

    async def finish(self) -> None:
        """Wait a moment for what was said to reach the relay."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS if self.client.is_online else 0):
                await self.client.wait_flushed()
        except TimeoutError:
            self.show(note("not everything reached the relay; it is kept and goes out next time", "alarm"))
