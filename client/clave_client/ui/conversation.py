"""The state of an interactive conversation: the rooms, the current one, what waits. Knows no terminal.

What can be typed is in `chat_commands`; line mode and plain pipes are thin shells around both.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from clave_client import events
from clave_client.errors import StoreDamaged, UsageError
from clave_client.events import Event
from clave_client.formats.json_values import load_event
from clave_client.rpc import methods as m
from clave_client.rpc.session import STALL_SECONDS, Session
from clave_client.rpc.values import FoundMessage, HistoryMessage, ProfileInfo, RoomSummary
from clave_client.ui.conversation_screen import ConversationScreen
from clave_client.ui.display import (
    Line,
    note,
    separator,
)
from clave_client.ui.draft_line import DraftLine, NoDraft, TypedText
from clave_client.ui.message_lines import reaction_text
from clave_client.ui.presence_lines import PresenceLines
from clave_client.values import Fingerprint, Phase, SeenKey

__all__ = ["Conversation", "ShownKey", "ShownKeys"]

FLUSH_SECONDS = 5.0

_CONTEXT = 10
"""Earlier messages shown when a room is entered."""

_AROUND = 5
"""Messages shown before and after one that is jumped to."""

_PAGE = 200
"""Most messages asked for at once."""


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
    error named. `codes` are the words shown to compare with all of a room, by its id, and when.
    """

    last: dict[str, ShownKey] = field(default_factory=dict)
    choices: dict[str, list[SeenKey]] = field(default_factory=dict)
    refused: dict[str, SeenKey] = field(default_factory=dict)
    codes: dict[str, tuple[tuple[str, ...], float]] = field(default_factory=dict, repr=False)


class Conversation(ConversationScreen):
    """One user at one window. `show` is called with each line for the screen; `clock` is in seconds.

    `room` is the current room, `finished` is set by `exit`. `interactive` says that somebody looks: then
    messages of other rooms are counted rather than shown, and leaving a room asks. `shown` waits until what
    was shown has been taken. A screen is connected by `connect`: `changed` is called when the prompt or what
    waits has changed, `alert` for each message that may ring a bell, with its room's title.
    """

    def __init__(
        self,
        session: Session,
        show: Callable[[Line], None],
        *,
        interactive: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(session, show, interactive=interactive)
        self.clock = clock
        self.keys = ShownKeys()
        self.finished = False
        self.names: list[str] = []
        self.typed = ""
        self.found: list[FoundMessage] = []
        self.find_more: m.Search | None = None
        self.draft: DraftLine = NoDraft()
        self.offer: asyncio.Task[str] | None = None
        """Shows the words of the new device that this window's code was made for; returns the pairing."""
        self._changed: Callable[[], None] = lambda: None
        self._alert: Callable[[events.Message, str], None] = lambda *_: None
        self._shown: dict[bytes, set[int]] = {}
        self._showing = asyncio.Lock()
        self.shown: Callable[[], Awaitable[None]] = _nothing
        self._told: set[tuple[bytes, str]] = set()
        self._told_number = 0
        self._subscribed_after = 0
        self._caught_up: set[bytes] = set()
        self._posted: set[bytes] = set()
        self._declined: set[bytes] = set()
        self._presence = PresenceLines(self.show_now)

    def connect(
        self,
        show: Callable[[Line], None],
        changed: Callable[[], None],
        alert: Callable[[events.Message, str], None],
        draft: DraftLine | None = None,
    ) -> None:
        """Use another screen from now on; with `draft` the line that is typed there is kept by room."""
        self._out, self._changed, self._alert = show, changed, alert
        if draft is not None:
            self.draft = draft

    # --- beginning and rooms ---

    async def begin(self, room: str | None) -> None:
        """Show the rooms, and enter `room`, or the last one, or the only one there is."""
        self._subscribed_after = await self.session.subscribe()
        profile = await self.refresh()
        self._online = profile.is_online or None
        self._presence.begin()
        for line in profile.unusable:
            self.show(note(line, "alarm"))
        if self.session.serving_failed:
            reason = self.session.serving_failed
            self.show(note(f"other programs cannot use this profile now: {reason}", "alarm"))
        joined = [each for each in self.rooms.values() if each.phase is Phase.JOINED]
        chosen = None
        if room is not None:
            chosen = await self.find_joined(room)
        elif any(each.id == profile.last_room for each in joined):
            chosen = profile.last_room
        elif len(joined) == 1:
            chosen = joined[0].id
        if chosen is not None:
            with self.while_it_lasts(chosen):
                await self.enter(chosen)
                self.show(note(f"talking in {self.title(chosen)}; /help lists the commands"))
        elif joined:
            titles = ", ".join(sorted(each.title for each in joined))
            self.show(note(f"your rooms: {titles}; /room TITLE enters one"))
        else:
            self.show(
                note("no rooms yet: /new TITLE opens one, /invite NAME brings people in; /help lists all")
            )
        for each in self.rooms.values():
            if each.phase is Phase.INVITED:
                self._show_invitation(each)

    async def find_joined(self, words: str) -> bytes:
        """Return the id of the room that `words` name. Raises `UsageError` for an invitation."""
        room = await self.session.ask(m.FindRoom(room=words))
        if room.phase is Phase.INVITED:
            raise UsageError(f"answer the invitation first: /accept {words} or /decline {words}")
        return room.id

    async def refresh(self) -> ProfileInfo:
        """Ask for the rooms, for what waits, and for the profile, which is returned."""
        found = await self.session.ask(m.ListRooms())
        self.rooms = {room.id: room for room in found}
        profile = await self.session.ask(m.GetProfile())
        self.name, self.account, self.names = profile.name, profile.account, profile.names
        pending = await self.session.ask(m.ListPending())
        self.waiting = {message.id: message for message in pending}
        self._changed()
        return profile

    def _show_invitation(self, room: RoomSummary) -> None:
        """Show an invitation that waits for an answer."""
        if room.inviter is not None:
            self.show_now(
                events.Invited(room.id, room.title, room.inviter, (room.inviter.name,) * room.people)
            )
        self._warn_of_similar_title(room)

    def _warn_of_similar_title(self, room: RoomSummary) -> None:
        """Warn that an invitation is to another room than the joined one with a similar title."""
        if room.similar:
            text = f"you have a room called {room.similar} already; this is another one, {room.id.hex()[:8]}"
            self.show(note(text, "alarm"))

    async def enter(self, room: bytes, typed: TypedText | None = None) -> None:
        """Make `room` the current room; show its last messages, and those that were not shown yet.

        `typed` was typed in the former room and not sent; it is kept there. What is typed meanwhile is for
        the new one.
        """
        async with self._showing:  # events wait, so that each message is shown once and in its place
            await self._enter(room, typed or TypedText())

    async def _enter(self, room: bytes, typed: TypedText) -> None:
        ask, words = self.session.ask, room.hex()
        if room not in self.rooms:
            await self.refresh()
        if self.room != room:
            draft = await ask(m.GetDraft(room=words))
            typed.is_kept = await self._keep_draft(typed.text)
            await ask(m.SetLastRoom(room=words))
            self.room = room
            self.draft.put_back(draft)
        await self.ask_members()
        self.title(room)
        self._day = ""
        await self.show_key_notices(room)
        await self._show_missed_changes(room)
        self._shown[room] = set()
        unread = await ask(m.GetUnread(room=words))
        if self.interactive:
            before = unread[0].seq if unread else 0
            self._show_page(room, await ask(m.GetHistory(room=words, before=before, limit=_CONTEXT)))
            if unread:  # with what was said from other windows in between
                self.show(separator("new"))
                unread = await ask(m.GetHistory(room=words, after=before - 1, newest=False, limit=_PAGE))
        while unread:
            self._show_page(room, unread)
            await self.shown()
            last = unread[-1].seq
            await ask(m.MarkShown(room=words, seq=last, until=True))
            if self.interactive:
                unread = await ask(m.GetHistory(room=words, after=last, newest=False, limit=_PAGE))
            else:
                unread = await ask(m.GetUnread(room=words))
        if room in self.rooms:
            self._forget_unread(room)
        self._changed()

    async def ask_members(self) -> None:
        """Ask who is in the current room, as mentions are shown by these names."""
        if self.room is not None:
            self.people = await self.session.ask(m.ListMembers(room=self.room.hex()))
            self.members = {each.person.account: each.person.name for each in self.people}

    async def _keep_draft(self, text: str) -> bool:
        """Keep what was typed and not sent with the current room; return whether there is such a room."""
        if self.room is None or self.room not in self.rooms:
            return False
        room = self.room
        await self.session.ask(m.SetDraft(room=room.hex(), text=text))
        if room in self.rooms:
            self.rooms[room] = replace(self.rooms[room], draft=bool(text))
        return True

    def _show_page(self, room: bytes, page: list[HistoryMessage]) -> None:
        for message in page:
            self._shown[room].add(message.seq)
            self.show_message(message)

    def _count_unread(self, room: bytes, *, mentions: bool = False) -> None:
        known = self.rooms[room]
        self.rooms[room] = replace(
            known, unread=known.unread + 1, mentions=known.mentions + mentions, archived=False
        )
        self._changed()

    def _forget_unread(self, room: bytes) -> None:
        self.rooms[room] = replace(self.rooms[room], unread=0, mentions=0)
        self._changed()

    async def show_history(self, count: int) -> None:
        """Show the last messages of the current room again."""
        found = await self.session.ask(m.GetHistory(room=self.current(), limit=count))
        for message in found:
            self.show_message(message)
        if not found:
            self.show(note("nobody has said anything here yet"))

    async def show_found(self, found: FoundMessage) -> None:
        """Show what was said around a message that a search has found."""
        if found.room != self.room:
            await self.enter(found.room)
        room, seq = found.room.hex(), found.message.seq
        before = await self.session.ask(m.GetHistory(room=room, before=seq + 1, limit=_AROUND + 1))
        after = await self.session.ask(m.GetHistory(room=room, after=seq, limit=_AROUND, newest=False))
        self.show(note(f"what was said around it in {found.title}:"))
        for message in before + after:
            self.show_message(message)

    async def show_key_notices(self, room: bytes) -> None:
        """Show notices of members whose name is pinned to another key, each once."""
        for notice in await self.session.ask(m.ListMismatches(room=room.hex())):
            self._show_notice(notice)

    async def _show_missed_changes(self, room: bytes) -> None:
        """Show, once, who came and went in a room and what else changed while no window was open."""
        if room in self._caught_up:
            return
        self._caught_up.add(room)
        news = await self.session.ask(m.CatchUp(room=room.hex(), wait=0.0))
        for change in news.changes:
            if change.number <= self._subscribed_after:
                self.show_now(load_event(change.event))

    def _show_notice(self, notice: events.Notice) -> None:
        if notice.advice is events.Advice.DECIDE_KEYS:
            if (notice.room, notice.text) in self._told:
                return
            self._told.add((notice.room, notice.text))
        self.show_now(notice)

    # --- events ---

    async def listen(self) -> None:
        """Show events until the owner cannot go on; raise the error that ended it."""
        while True:
            number, event = await self.session.next_event()
            if event is None:
                text = "some events were deleted before they were shown; messages are in /history"
                self.show(note(text, "alarm"))
                await self.refresh()
            else:
                await self.show_event(event)
            await self.shown()
            self._told_number = max(self._told_number, number)

    async def show_event(self, event: Event) -> None:
        """Show one event."""
        async with self._showing:
            await self._show_event(event)

    async def _show_event(self, event: Event) -> None:
        match event:
            case events.Connected() | events.Disconnected():
                self._show_connection(event)
            case events.Message():
                await self._show_others_message(event)
            case events.Sent():
                await self._show_own_message(event)
            case events.SendFailed():
                self.show_now(event)
                self.waiting.pop(event.id, None)
                if event.text:
                    self.show([("alarm", "  it said: "), ("", event.text)])
            case events.OutboxChanged():
                pending = await self.session.ask(m.ListPending())
                self.waiting = {message.id: message for message in pending}
            case events.MessageEdited() | events.MessageDeleted() | events.ReactionChanged():
                await self._show_message_change(event)
            case events.StatusChanged() | events.MessagesExpired():
                pass  # what became of messages is in /show
            case events.PresenceChanged():
                self._presence.changed(event)
            case events.Notice():
                self._show_notice(event)
            case _:
                await self._show_change(event)
        self._changed()

    async def _show_change(self, event: Event) -> None:
        if event.room and not self.knows(event.room):
            await self.refresh()  # for its title
        if isinstance(event, events.Invited):
            self._titles[event.room] = event.title
        if isinstance(event, events.RoomClosed) and event.by is None and event.room in self._declined:
            self.show(note(f"you declined the invitation to {event.title}"))
        else:
            self.show_now(event)
        if isinstance(event, events.RoomClosed):
            self._declined.discard(event.room)
        await self.refresh()
        if event.room == self.room and event.room in self.rooms:
            await self.ask_members()
        if isinstance(event, events.Invited) and event.room in self.rooms:
            self._warn_of_similar_title(self.rooms[event.room])
        if isinstance(event, events.RoomClosed) and event.room == self.room:
            self._titles[event.room] = event.title
            self.room = None

    async def _show_message_change(
        self, event: events.MessageEdited | events.MessageDeleted | events.ReactionChanged
    ) -> None:
        """Show what happened to a message of the current room; with a screen, nothing of other rooms."""
        if event.room != self.room and self.interactive:
            return
        if not isinstance(event, events.ReactionChanged):
            self.show_now(event)
            return
        found = await self.ask_message(event.room, event.id)
        elsewhere = event.room != self.room
        where: Line = [("note", f"[{self.title(event.room)}] ")] if elsewhere else []
        self.show(where + note(reaction_text(event, found, self.account)))

    async def _show_others_message(self, event: events.Message) -> None:
        room, seen = event.room, self._shown.setdefault(event.room, set())
        if event.seq in seen:
            seen.discard(event.seq)
            return
        known = self.rooms.get(room)
        if known is None or known.muted_until <= time.time():
            self._alert(event, self.title(room))
        if room == self.room:
            await self._mark_shown(event)
            await self.show_new_message(event)
        elif self.interactive:
            if known is not None:
                self._count_unread(room, mentions=event.mentions_me)
        else:
            await self._mark_shown(event)
            await self.show_new_message(event, elsewhere=room)

    async def _mark_shown(self, event: events.Message) -> None:
        with self.while_it_lasts(event.room):
            await self.session.ask(m.MarkShown(room=event.room.hex(), seq=event.seq))

    async def _show_own_message(self, event: events.Sent) -> None:
        """Show a message of this profile that the relay has now; in a pipe, only other windows' ones."""
        self.waiting.pop(event.id, None)
        posted_here = event.id in self._posted
        self._posted.discard(event.id)
        if not event.text or (posted_here and not self.interactive):
            return
        if not self.knows(event.room):  # another window has made it
            await self.refresh()
        elsewhere = event.room != self.room
        if not elsewhere and event.seq in self._shown.get(event.room, ()):
            return
        if elsewhere and self.interactive and not posted_here:
            return
        message = await self.ask_message(event.room, event.id)
        if message is not None:
            self.show_message(message, elsewhere=event.room if elsewhere else b"")

    def _show_connection(self, event: events.Connected | events.Disconnected) -> None:
        if isinstance(event, events.Disconnected):
            if self._online is not False:
                self.show(note(f"offline: {event.reason}; what you write waits", "alarm"))
            self._online = False
            return
        if event.registered:
            self.show(note(f"{self.name} is registered at {event.relay}"))
        if event.first_use:
            self.show(note(f"relay fingerprint {event.fingerprint}"))
            if event.vouched:
                text = "a certificate authority vouches for it, and will be believed about the next one"
            else:
                text = "compare it with what the relay printed; it is pinned from now on"
            self.show(note(text))
        if self._online is False:
            self.show(note("online again"))
        self._online = True
        self._presence.begin()

    def owner_stalled(self, process: int) -> None:
        """Show that the owner of the profile does not answer, or with 0 that it does again."""
        if process:
            text = f"process {process} holds the profile and does not answer; what you type waits"
            self.show(note(text, "alarm"))
        else:
            self.show(note("the profile's owner answers again"))

    # --- what is typed ---

    async def post(self, text: str, *, reply_to: str = "", expires: int = 0) -> None:
        """Post a message in the current room, in answer to the message that `reply_to` names, if any."""
        room = self.current()
        await self.show_key_notices(bytes.fromhex(room))
        key = secrets.token_hex(16)
        post = m.Post(room=room, text=text, reply_to=reply_to, expires=expires, typed=self.typed, key=key)
        self._posted.add(await self.session.ask(post))

    def note_declined(self, room: bytes) -> None:
        """Note that the user declined an invitation."""
        self._declined.add(room)

    async def finish(self) -> None:
        """Wait up to 5 s for unsent messages to reach the relay; show if some did not."""
        self._presence.stop()
        if self.offer is not None:
            self.offer.cancel()
        with contextlib.suppress(UsageError, StoreDamaged):
            await self._keep_draft(self.draft.text())
        wait = 0.0 if self._online is False else FLUSH_SECONDS
        try:
            async with asyncio.timeout(wait + STALL_SECONDS):
                with contextlib.suppress(StoreDamaged):  # then it is told once more
                    await self.session.ask(m.NoteTold(number=self._told_number))
                is_flushed = await self.session.ask(m.WaitFlushed(wait=wait))
        except TimeoutError:
            self.show(note("the process that holds the profile does not answer", "alarm"))
            is_flushed = False
        if not is_flushed:
            self.show(note("not everything reached the relay; it is kept and goes out next time", "alarm"))


async def _nothing() -> None:
    """Wait for nothing: what is shown is there at once."""
