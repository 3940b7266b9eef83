"""What the subcommands about rooms and people do. Knows no options."""

from __future__ import annotations

from clave_client.errors import MessageWaiting, UsageError
from clave_client.formats.durations import exact_duration_words, parse_duration
from clave_client.rpc import methods as m
from clave_client.rpc.method_base import Change
from clave_client.rpc.session import Session
from clave_client.ui.json_output import line_json, room_json, sent_json
from clave_client.ui.warnings import print_out, print_warning
from clave_client.values import BlockedPerson

__all__ = [
    "archive_room",
    "block_person",
    "change_room",
    "keep_draft",
    "open_direct",
    "set_expiry",
    "set_receipts",
    "unblock_person",
]


async def open_direct(session: Session, name: str, text: str, key: str, *, as_json: bool) -> None:
    """Find or make the room with `name`, and say `text` there if there is any. Raises `MessageWaiting`."""
    room = await session.ask(m.OpenDirect(name=name, key=key))
    if not text:
        print_out(room_json(room) if as_json else f"{room.title}  {room.id.hex()[:8]}")
        return
    result = await session.ask(m.Send(room=room.id.hex(), text=text, key=f"{key}-1"))
    if as_json:
        print_out(sent_json(result, room.title))
    if not result.seq:
        raise MessageWaiting(1)


async def change_room(session: Session, request: Change[bool]) -> bool:
    """Have a room changed for all; return whether that counts already, and say if it does not."""
    counts = await session.ask(request)
    if not counts:
        print_warning("this change waits until another member is here and confirms it")
    return counts


async def set_expiry(session: Session, room: str, after: str, key: str, *, as_json: bool) -> None:
    """Set, or without `after` print, when messages of a room disappear. Raises `UsageError`."""
    if after:
        seconds = 0 if after == "off" else parse_duration(after)
        if seconds is None:
            raise UsageError("say after how long: 30s, 10m, 8h, 7d, or off")
        await change_room(session, m.SetExpiry(room=room, seconds=seconds, key=key))
    info = await session.ask(m.GetRoomInfo(room=room))
    seconds = info.expiry if not after else seconds
    if as_json:
        print_out(line_json(room=info.title, expiry=seconds))
    elif seconds:
        print_out(
            f"new messages of {info.title} disappear {exact_duration_words(seconds)} after they are read"
        )
    else:
        print_out(f"messages of {info.title} are kept")


async def set_receipts(session: Session, room: str, *, on: bool, as_json: bool) -> None:
    """Have the others of a room told what was read, or not."""
    found = await session.ask(m.FindRoom(room=room))
    await session.ask(m.SetReadReceipts(room=found.id.hex(), on=on))
    if as_json:
        print_out(line_json(room=found.title, read_receipts=on))


async def block_person(session: Session, name: str, *, as_json: bool) -> None:
    """Block somebody, or without a name print who is blocked."""
    if name:
        _print_person(await session.ask(m.Block(name=name)), as_json=as_json)
        return
    for each in await session.ask(m.ListBlocked()):
        _print_person(each, as_json=as_json)


async def unblock_person(session: Session, name: str, *, as_json: bool) -> None:
    """Block somebody no longer."""
    _print_person(await session.ask(m.Unblock(name=name)), as_json=as_json)


def _print_person(person: BlockedPerson, *, as_json: bool) -> None:
    if as_json:
        print_out(line_json(name=person.name, account=person.account.hex(), fingerprint=person.fingerprint))
    else:
        print_out(f"{person.name}  {person.fingerprint}")


async def archive_room(session: Session, room: str, *, archived: bool, as_json: bool) -> None:
    """Leave a room out of lists, or take it in again."""
    found = await session.ask(m.FindRoom(room=room))
    await session.ask(m.Archive(room=found.id.hex(), archived=archived))
    if as_json:
        print_out(line_json(room=found.title, archived=archived))


async def keep_draft(session: Session, room: str, text: str | None, *, as_json: bool) -> None:
    """Keep `text` as what was typed in a room, or with None print that."""
    found = await session.ask(m.FindRoom(room=room))
    if text is not None:
        await session.ask(m.SetDraft(room=found.id.hex(), text=text))
    else:
        text = await session.ask(m.GetDraft(room=found.id.hex()))
        if text and not as_json:
            print_out(text)
    if as_json:
        print_out(line_json(room=found.title, draft=text))
