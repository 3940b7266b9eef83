"""The JSON that commands print with `--json`: one object a line, each with the version "v" of its form.

docs/rpc.md describes them; fields may be added, a change of meaning raises the version.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from clave_client.formats.json_values import dump
from clave_client.rpc.values import (
    FoundMessage,
    HistoryMessage,
    MessageDetails,
    ProfileInfo,
    RoomSummary,
    SendResult,
)
from clave_client.values import RelayView, RoomInfo

__all__ = [
    "details_json",
    "found_json",
    "info_json",
    "line_json",
    "message_fields",
    "message_json",
    "relay_view_json",
    "room_json",
    "sent_json",
]

_VERSION: Final = 1


def message_json(message: HistoryMessage, room: str) -> str:
    """Return the line of a message: `clave tail --json`."""
    return line_json(**message_fields(message, room))


def message_fields(message: HistoryMessage, room: str) -> dict[str, Any]:
    """Return the fields of a message, as `clave tail --json` has them."""
    quote = message.quote
    return {
        "room": room,
        "seq": message.seq,
        "number": message.number,
        "id": message.id.hex(),
        "from": message.sender.name,
        "account": message.sender.account.hex(),
        "verified": message.sender.verified,
        "own": message.own,
        "sent_at": _time(message.sent_at),
        "accepted_at": _time(message.accepted_at) if message.accepted_at else None,
        "kind": message.kind.name.lower(),
        "text": message.text,
        "markdown": message.markup or None,
        "reply_to": None if quote is None else {"number": quote.number or None, "from": quote.name or None},
        "edits": message.edits,
        "removed_by": message.removed_by or None,
        "expires_at": _time(message.expires_at) if message.expires_at else None,
        "expires_after": message.expires_after or None,
        "mentions_me": message.mentions_me,
        "reactions": [{"reaction": each.reaction, "from": each.names} for each in message.reactions],
        "delivered": message.delivered if message.own else None,
        "read": message.read if message.own else None,
    }


def details_json(details: MessageDetails, room: str) -> str:
    """Return the line of a message with all there is to know of it: `clave show --json`."""
    versions = [{"text": each.text, "sent_at": _time(each.sent_at)} for each in details.versions]
    receipts = [{"name": each.name, "state": each.state or None} for each in details.receipts]
    return line_json(**message_fields(details.message, room), versions=versions, receipts=receipts)


def found_json(found: FoundMessage) -> str:
    """Return the line of a message that a search found: `clave search --json`."""
    return line_json(**message_fields(found.message, found.title), marks=found.marks)


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


def sent_json(result: SendResult, room: str) -> str:
    """Return the line of a message that was sent, or waits: `clave send --json`."""
    state = "sent" if result.seq else "waiting"
    return line_json(room=room, id=result.id.hex(), seq=result.seq or None, state=state)


def room_json(room: RoomSummary) -> str:
    """Return the line of a room: `clave rooms --json`."""
    return line_json(
        id=room.id.hex(),
        title=room.title,
        phase=room.phase.name.lower(),
        unread=room.unread,
        mentions=room.mentions,
        archived=room.archived,
        direct=room.direct,
        waiting=room.waiting,
        muted_until=room.muted_until,
    )


def info_json(profile: ProfileInfo, rooms: list[RoomInfo]) -> str:
    """Return the line of a profile and its rooms: `clave info --json`."""
    me = {"name": profile.name, "account": profile.account.hex(), "fingerprint": profile.fingerprint}
    relay = {"address": profile.relay, "fingerprint": profile.relay_fingerprint, "online": profile.is_online}
    return line_json(profile=me, relay=relay, rooms=dump(rooms), unusable=profile.unusable)


def relay_view_json(view: RelayView) -> str:
    """Return the line of what the relay could learn of a message: `clave receipt --json`."""
    fields = dump(view) | {"accepted_at": _time(view.accepted_at) if view.accepted_at else None}
    names = ("characters", "reply_to", "reactions", "edits", "disappears", "title", "role")
    hidden = {name: fields.pop(name) for name in names}
    fields |= {"way": view.way or None, "device_name": view.device_name or None}
    hidden |= {"reply_to": view.reply_to or None, "role": view.role or None}
    return line_json(**fields, hidden=hidden)


def line_json(**fields: Any) -> str:
    """Return an object with these fields as a line."""
    return json.dumps({"v": _VERSION, **fields}, ensure_ascii=False)
