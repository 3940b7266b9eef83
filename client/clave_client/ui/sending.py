"""What `clave send` does: sends a message, or each line of standard input. Knows no options."""

from __future__ import annotations

import asyncio
import sys

from clave_client.errors import MessageWaiting, NoLongerMember, NotInRoom, RoomNotFound, UsageError
from clave_client.formats.content import MAX_BODY_BYTES
from clave_client.formats.json_values import load, load_event
from clave_client.rpc import methods as m
from clave_client.rpc.blocking import BlockingSend
from clave_client.rpc.session import Session
from clave_client.rpc.values import RoomNews, RoomSummary, SendResult
from clave_client.ui.input_lines import read_byte_lines
from clave_client.ui.json_output import sent_json
from clave_client.ui.warnings import print_out, print_warning, warn_of

__all__ = ["Sender", "make_change", "report_sent"]

_MOST_UNACKNOWLEDGED = 32
"""Most lines sent and not yet acknowledged; then reading pauses."""

_PROGRESS_SECONDS = 1.0


def report_sent(done: BlockingSend, *, as_json: bool) -> None:
    """Print what there is to say of a message that was sent. Raises `MessageWaiting` if it waits."""
    room, result = load(RoomSummary, done.room), load(SendResult, done.result)
    if as_json:
        print_out(sent_json(result, room.title))
    if not result.seq:
        raise MessageWaiting(1)


async def make_change(session: Session, room: str, change: m.Change[SendResult], *, as_json: bool) -> None:
    """Make a change of a message and print what became of it. Raises `MessageWaiting` if it waits."""
    found = await session.ask(m.FindRoom(room=room))
    result = await session.ask(change)
    if as_json:
        print_out(sent_json(result, found.title))
    if not result.seq:
        raise MessageWaiting(1)


class Sender:
    """Sends messages to `room`; each waits up to `wait` seconds for the relay and then stays in the outbox.

    A repeated `key` sends nothing a second time. Messages disappear `expires` seconds after they were read,
    or with 0 when those of the room do.
    """

    def __init__(
        self, session: Session, *, room: str, wait: float, key: str, as_json: bool, expires: int = 0
    ) -> None:
        self._session = session
        self._words = room
        self._wait = wait
        self._key = key
        self._as_json = as_json
        self._expires = expires
        self._told: set[str] = set()
        self._told_number = 0
        self._sent = 0
        self._waiting = 0
        self._is_away = False
        self._in_order = asyncio.Lock()
        self._refused = 0
        self._room: RoomSummary

    async def send(self, text: str) -> None:
        """Send one message. Raises `MessageWaiting` if it stays in the outbox, or `ClientError`."""
        self._room = await self._session.ask(m.FindRoom(room=self._words))
        await self._send_one(text, self._key)
        self._report_waiting()

    async def send_lines(self, source: int) -> None:
        """Send each line of the file descriptor `source` that is not blank; a too long one is left out.

        Raises `UsageError` at the end if one was, `MessageWaiting` if some stay in the outbox.
        """
        self._room = await self._session.ask(m.FindRoom(room=self._words))
        sending: set[asyncio.Task[None]] = set()
        progress = asyncio.create_task(self._show_progress())
        number = 0
        try:
            async for line in read_byte_lines(source, MAX_BODY_BYTES):
                number += 1
                text = None if line is None else line.decode(errors="replace")
                if text is None or len(text.encode()) > MAX_BODY_BYTES:
                    self._refused += 1
                    print_warning(f"line {number} has more than {MAX_BODY_BYTES} bytes; it was not sent")
                    continue
                text = text.removeprefix("\ufeff" if number == 1 else "")
                if text.strip():
                    key = f"{self._key}-{number}" if self._key else ""
                    sending.add(asyncio.create_task(self._send_one(text, key)))
                if len(sending) >= _MOST_UNACKNOWLEDGED:
                    await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
                done = {task for task in sending if task.done()}
                sending -= done
                await asyncio.gather(*done)  # the first refusal ends it
            await asyncio.gather(*sending)
        finally:
            for task in (progress, *sending):
                task.cancel()
            await asyncio.gather(progress, *sending, return_exceptions=True)
        if self._refused:
            raise UsageError(f"{self._refused} of {number} lines were too long and were not sent")
        self._report_waiting()

    def _report_waiting(self) -> None:
        if self._waiting:
            raise MessageWaiting(self._waiting)

    async def _send_one(self, text: str, key: str) -> None:
        try:
            async with self._in_order:
                sending = await self._begin(text, key)
            result = await sending
        except (RoomNotFound, NotInRoom):  # it was found before
            raise NoLongerMember(self._room.title, None) from None
        if result.seq:
            self._sent += 1
        else:
            self._waiting += 1
            self._is_away = True
        if self._as_json:
            print_out(sent_json(result, self._room.title))

    async def _begin(self, text: str, key: str) -> asyncio.Task[SendResult]:
        """Read what waits in the room, tell it, and ask for a message to be sent; return the task of it."""
        # Once the relay was away for one message, the others are just left in the outbox.
        wait, room = 0.0 if self._is_away else self._wait, self._room.id.hex()
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + wait
        news = await self._session.ask(m.CatchUp(room=room, wait=wait))
        self._tell(news)
        wait = max(0.0, ends_at - loop.time())
        send = m.Send(room=room, text=text, expires=self._expires, wait=wait, told=news.number, key=key)
        sending = asyncio.create_task(self._session.ask(send))
        if wait:
            await asyncio.sleep(0)  # it is asked before the next one
        else:
            self._is_away = True
            await asyncio.gather(sending, return_exceptions=True)
        return sending

    def _tell(self, news: RoomNews) -> None:
        """Print key notices and what changed in the room, each once."""
        fresh = [notice for notice in news.notices if notice.text not in self._told]
        self._told |= {notice.text for notice in fresh}
        changes = [load_event(each.event) for each in news.changes if each.number > self._told_number]
        self._told_number = max(self._told_number, news.number)
        warn_of([*fresh, *changes], news.title)

    async def _show_progress(self) -> None:
        """Show on a terminal how many lines were sent."""
        if sys.stderr is None or not sys.stderr.isatty():
            return
        try:
            while True:
                await asyncio.sleep(_PROGRESS_SECONDS)
                sys.stderr.write(f"\r{self._sent} lines sent")
                sys.stderr.flush()
        finally:
            if self._sent:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()
