"""What `clave send`, `clave tail` and `clave info` do. Knows no options."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from datetime import UTC, datetime
from typing import TextIO

from clave_client import events
from clave_client.client import Client
from clave_client.events import Event
from clave_client.store.database import HistoryLine
from clave_client.sync.event_stream import EventStream
from clave_client.ui.display import event_line, history_line, plain, relay_restored_text, room_info_lines
from clave_client.ui.hints import notice_text
from clave_client.ui.line_reader import read_lines

__all__ = ["describe", "follow", "send_lines", "send_message"]

_MOST_UNACKNOWLEDGED = 64
"""Most lines sent and not yet acknowledged; then reading pauses."""

_SYNC_SECONDS = 5.0
"""How long to wait for a room to be read before its members are checked."""


async def send_message(client: Client, room: bytes, text: str) -> None:
    """Print key notices and what changed, then send `text`; return once the relay has it on disk."""
    stream = client.events()
    await _print_first_key_notices(client, stream, room)
    await _catch_up(client, stream, room)
    try:
        await client.send(room, text)
    finally:
        _print_pending(client, stream, room)


async def send_lines(client: Client, room: bytes, source: TextIO) -> None:
    """Send each line of `source` that is not blank, as `send_message` does; return once all are on disk."""
    stream = client.events()
    await _print_first_key_notices(client, stream, room)
    sending: set[asyncio.Task[int]] = set()
    try:
        async for line in read_lines(source):
            _print_key_notices(stream, room)
            if line.strip():
                await _catch_up(client, stream, room)
                sending.add(asyncio.create_task(client.send(room, line)))
            if len(sending) >= _MOST_UNACKNOWLEDGED:
                done, sending = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.gather(*done)
        await asyncio.gather(*sending)
    finally:
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        _print_pending(client, stream, room)


async def _print_first_key_notices(client: Client, stream: EventStream[Event], room: bytes) -> None:
    """Read `room` and print notices of members whose name is pinned to another key."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_SYNC_SECONDS):
            await client.wait_synced(room)
    _print_key_notices(stream, room)


def _print_key_notices(stream: EventStream[Event], room: bytes) -> None:
    for notice in stream.key_notices(room):
        _print_warning(notice_text(notice))


async def _catch_up(client: Client, stream: EventStream[Event], room: bytes) -> None:
    """Read what the relay has of `room` and print what changed there."""
    await client.wait_until_sendable(room)
    _print_pending(client, stream, room)


def _print_pending(client: Client, stream: EventStream[Event], room: bytes) -> None:
    """Print the pending events of `room` that matter before sending there."""
    record = client.rooms.get(room)
    title = room.hex()[:8] if record is None else record.title
    for event in stream.pending():
        if event.room in (room, b""):
            _print_event(event, title)


def _print_event(event: Event, title: str) -> None:
    """Print a change of the room called `title`, or a notice; ignore other events."""
    match event:
        case events.Notice():
            _print_warning(notice_text(event))
        case events.RelayRestored():
            _print_warning(relay_restored_text(event))
        case (
            events.Diverged()
            | events.MemberAdded()
            | events.MemberLeft()
            | events.MemberRemoved()
            | events.RoomChanged()
            | events.RoomClosed()
        ):
            line = event_line(event, lambda _: title, elsewhere=False) or []
            _print_warning(f"{title}: {plain(line).removeprefix('* ')}")
        case _:
            pass


async def follow(client: Client, room: bytes, *, earlier: int, as_json: bool) -> None:
    """Print the last `earlier` messages of `room` and then each new one; return when the room is closed."""
    title = client.rooms[room].title

    def show(lines: list[HistoryLine]) -> None:
        for line in lines:
            client.mark_shown(room, line.seq)
            text = (
                _as_json(line, title)
                if as_json
                else plain(history_line(line, own=False, sender=client.sender(line)))
            )
            print(text, flush=True)  # noqa: T201 (printing is its purpose)

    past = client.history(room, last=max(earlier, 1))
    last = past[-1].seq if past else 0
    show(past if earlier else [])
    async for event in client.events():
        match event:
            case events.Message() | events.Sent() if event.room == room:
                fresh = client.history(room, after=last)
                last = fresh[-1].seq if fresh else last
                show(fresh)
            case events.Disconnected():
                _print_warning(f"{event.reason}; trying again")
            case events.RoomClosed() if event.room == room:
                return
            case _ if event.room in (room, b""):
                _print_event(event, title)
            case _:
                pass


async def describe(client: Client, room: bytes | None) -> None:
    """Print the summary of `room`, or this profile's and that of every room."""
    lines: list[str] = []
    if room is None:
        me, (address, pinned) = await client.fingerprint(client.name), client.relay
        lines += [f"{me.name}: {me.fingerprint}", f"relay: {address}", f"relay fingerprint {pinned}"]
    for each in client.rooms if room is None else (room,):
        lines += ["", *room_info_lines(client.info(each))]
        lines += [notice_text(notice) for notice in client.key_mismatches(each)]
    if room is None:
        lines += [line for reason in client.unusable for line in ("", reason)]
    print("\n".join(lines).lstrip("\n"), flush=True)  # noqa: T201 (printing is its purpose)


def _as_json(line: HistoryLine, title: str) -> str:
    sent_at = datetime.fromtimestamp(line.sent_at / 1000, UTC)
    fields = {
        "room": title,
        "seq": line.seq,
        "id": line.id.hex(),
        "from": line.name,
        "account": line.account.hex(),
        "sent_at": sent_at.isoformat(timespec="milliseconds"),
        "text": line.text,
    }
    return json.dumps(fields, ensure_ascii=False)


def _print_warning(text: str) -> None:
    print(f"clave: {text}", file=sys.stderr, flush=True)  # noqa: T201 (printing is its purpose)
