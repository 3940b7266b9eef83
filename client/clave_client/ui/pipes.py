"""What `clave send`, `clave tail` and `clave info` do: rooms at the end of a pipe. Knows no options."""

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
from clave_client.ui.display import event_line, history_line, plain, relay_restored_text
from clave_client.ui.line_reader import read_lines

__all__ = ["describe", "follow", "say", "say_lines", "warn_of_keys"]

_UNDER_WAY = 64
"""Lines sent and not yet acknowledged, before the next one is read."""

_SYNC_SECONDS = 5.0
"""How long to wait for what the relay has of a room before its members are looked at."""


async def warn_of_keys(client: Client, room: bytes) -> None:
    """Tell of members of `room` whose name is bound to another key, as of all that the relay has."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_SYNC_SECONDS):
            await client.wait_synced(room)
    _warn_of_new_keys(client, room)


def _warn_of_new_keys(client: Client, room: bytes) -> None:
    for notice in client.key_notices(room):
        _warn(notice.text)


async def say(client: Client, room: bytes, text: str) -> None:
    """Say `text`, once what changed meanwhile is told; return when the relay has it on disk."""
    await _catch_up(client, room)
    try:
        await client.send(room, text)
    finally:
        _tell(client, room)


async def say_lines(client: Client, room: bytes, source: TextIO) -> None:
    """Say each line of `source` that is not blank, like `say`; return when the relay has them all on disk."""
    sending: set[asyncio.Task[int]] = set()
    try:
        async for line in read_lines(source):
            _warn_of_new_keys(client, room)
            if line.strip():
                await _catch_up(client, room)
                sending.add(asyncio.create_task(client.send(room, line)))
            if len(sending) >= _UNDER_WAY:
                done, sending = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.gather(*done)
        await asyncio.gather(*sending)
    finally:
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        _tell(client, room)


async def _catch_up(client: Client, room: bytes) -> None:
    """Read what the relay has of `room`, and tell what changed there, before anything is said."""
    await client.wait_until_sendable(room)
    _tell(client, room)


def _tell(client: Client, room: bytes) -> None:
    """Tell what happened in `room` that a person should know before saying more."""
    record = client.rooms.get(room)
    title = room.hex()[:8] if record is None else record.title
    for event in client.pending_events():
        if getattr(event, "room", None) in (room, b""):
            _tell_one(event, title)


def _tell_one(event: Event, title: str) -> None:
    """Tell a change of the room called `title`, or what went wrong; nothing of other events."""
    match event:
        case events.Notice():
            _warn(event.text)
        case events.RelayRestored():
            _warn(relay_restored_text(event))
        case (
            events.Diverged()
            | events.MemberAdded()
            | events.MemberLeft()
            | events.MemberRemoved()
            | events.RoomChanged()
            | events.RoomClosed()
        ):
            line = event_line(event, lambda _: title, elsewhere=False) or []
            _warn(f"{title}: {plain(line).removeprefix('* ')}")
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
                _warn(f"{event.reason}; trying again")
            case events.RoomClosed() if event.room == room:
                return
            case _ if getattr(event, "room", None) in (room, b""):
                _tell_one(event, title)
            case _:
                pass


async def describe(client: Client, room: bytes | None) -> None:
    """Print what `room` is, or who one is and what every room is."""
    lines: list[str] = []
    if room is None:
        me, (address, pinned) = await client.fingerprint(client.name), client.relay
        lines += [f"{me.name}: {me.fingerprint}", f"relay: {address}", f"relay fingerprint {pinned}"]
    for each in client.rooms if room is None else (room,):
        lines += ["", *client.info(each).lines()]
        lines += [notice.text for notice in client.key_mismatches(each)]
    if room is None:
        lines += [line for told in client.unusable for line in ("", told)]
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


def _warn(text: str) -> None:
    print(f"clave: {text}", file=sys.stderr, flush=True)  # noqa: T201 (printing is its purpose)
