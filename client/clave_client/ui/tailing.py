"""What `clave tail` does: prints messages of a room as they come. Knows no options."""

from __future__ import annotations

import contextlib
import sys

from clave_client import events
from clave_client.errors import NoLongerMember, UsageError
from clave_client.rpc import methods as m
from clave_client.rpc.event_buffer import SessionEvent
from clave_client.rpc.session import Session
from clave_client.rpc.values import HistoryMessage, RoomSummary
from clave_client.ui.display import Line, event_line, name_with_warning, note, plain
from clave_client.ui.json_output import message_json
from clave_client.ui.message_lines import message_lines, reaction_text
from clave_client.ui.output import Output
from clave_client.ui.warnings import encoded, print_warning, warn_of

__all__ = ["Tail"]

_SYNC_SECONDS = 5.0
"""How long to wait for what the relay has, before the last messages are shown."""

_PAGE = 500


class Tail:
    """Prints messages of `room`. With `consumer` its place is kept under that name, by room."""

    def __init__(self, session: Session, *, room: str, as_json: bool, consumer: str = "") -> None:
        self._session = session
        self._words = room
        self._as_json = as_json
        self._consumer = consumer
        self._output = Output(sys.stdout.fileno())
        self._earlier: set[int] = set()
        """The printed messages of which an event may come yet."""
        self._offline = False
        self._me = b""
        self._names: dict[bytes, str] = {}
        self._room: RoomSummary

    async def follow(self, *, earlier: int, after: int | None) -> None:
        """Print the last `earlier` messages, or all above the seq `after`, and then each new one.

        Returns never. Raises `NoLongerMember` when this device is not in the room any more.
        """
        ask = self._session.ask
        self._room = room = await ask(m.FindRoom(room=self._words))
        self._me = (await ask(m.GetProfile())).account
        await self._ask_names()
        if self._consumer:
            consumer = f"{self._consumer} {room.id.hex()}"
            await self._session.subscribe(consumer=consumer)
        else:
            await self._session.subscribe()
            consumer = ""
            if await ask(m.WaitSettled()):
                await ask(m.WaitSynced(room=room.id.hex(), wait=_SYNC_SECONDS))
            await self._print_earlier(earlier, after)
        for notice in await ask(m.ListMismatches(room=room.id.hex())):
            warn_of([notice], room.title)
        while True:
            event = await self._session.next_event()
            await self._take(event)
            if consumer and event.number:
                await ask(m.CommitEvents(consumer=consumer, number=event.number))

    async def _ask_names(self) -> None:
        members = await self._session.ask(m.ListMembers(room=self._room.id.hex()))
        self._names = {each.person.account: each.person.name for each in members}

    async def _print_earlier(self, earlier: int, after: int | None) -> None:
        words = self._room.id.hex()
        if after is None:
            await self._print_page(await self._session.ask(m.GetHistory(room=words, limit=earlier)))
            return
        while True:
            page = await self._session.ask(m.GetHistory(room=words, after=after, limit=_PAGE, newest=False))
            if not page:
                return
            await self._print_page(page)
            after = page[-1].seq

    async def _print_page(self, page: list[HistoryMessage]) -> None:
        for message in page:
            self._earlier.add(message.seq)
            await self._print(message)

    async def _take(self, happened: SessionEvent) -> None:
        event, room = happened.event, self._room
        match event:
            case events.Message() | events.Sent() if event.room == room.id and event.seq in self._earlier:
                self._earlier.discard(event.seq)
            case None:
                print_warning(f"{room.title}: some events were deleted before they were shown")
            case events.Message() if event.room == room.id:
                await self._print_present(event.id)
            case events.Sent() if event.room == room.id and event.text:
                await self._print_present(event.id)
            case events.MessageEdited() | events.MessageDeleted() | events.ReactionChanged():
                if event.room == room.id:
                    await self._print_change(event)
            case events.StatusChanged() | events.MessagesExpired():
                pass
            case events.Disconnected():
                if not self._offline:
                    print_warning(f"{event.reason}; trying again")
                self._offline = True
            case events.Connected():
                self._offline = False
            case events.RoomClosed() if event.room == room.id:
                by = None if event.by is None else name_with_warning(event.by)
                raise NoLongerMember(event.title, by)
            case _ if event.room in (room.id, b""):
                warn_of([event], room.title)
                if isinstance(event, events.MemberAdded):
                    await self._ask_names()
            case _:
                pass

    async def _print_present(self, message: bytes) -> None:
        """Print a message as it is now; nothing if it is gone."""
        found = await self._find(message)
        if found is not None:
            await self._print(found)

    async def _print_change(
        self, event: events.MessageEdited | events.MessageDeleted | events.ReactionChanged
    ) -> None:
        """Print what happened to a message, or as JSON the message again as it is now."""
        if self._as_json:
            await self._print_present(event.id)
            return
        line: Line | None
        if isinstance(event, events.ReactionChanged):
            line = note(reaction_text(event, await self._find(event.id), self._me))
        else:
            line = event_line(event, lambda _: self._room.title, elsewhere=False, me=self._me)
        if line is not None:
            await self._output.write(encoded(plain(line)))

    async def _find(self, message: bytes) -> HistoryMessage | None:
        """Return a message as it is now; None if it is gone."""
        with contextlib.suppress(UsageError):
            words = m.GetMessage(room=self._room.id.hex(), message=message.hex())
            return (await self._session.ask(words)).message
        return None

    async def _print(self, message: HistoryMessage) -> None:
        if self._as_json:
            await self._output.write(encoded(message_json(message, self._room.title)))
            return
        if not self._consumer:
            await self._session.ask(m.MarkShown(room=self._room.id.hex(), seq=message.seq))
        for line in message_lines(message, me=self._me, names=self._names):
            await self._output.write(encoded(plain(line)))
