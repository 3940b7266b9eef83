"""The JSON that commands print with `--json`: one object a line, each with the version "v" of its form.

docs/rpc.md describes them; fields may be added, a change of meaning raises the version.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from clave_client.formats.json_values import dump
from clave_client.rpc.values import HistoryMessage, ProfileInfo, RoomSummary, SendResult
from clave_client.values import RoomInfo

__all__ = ["info_json", "message_json", "room_json", "sent_json"]

_VERSION: Final = 1


def message_json(message: HistoryMessage, room: str) -> str:
    """Return the line of a message: `clave tail --json`."""
    sent_at = datetime.fromtimestamp(message.sent_at, UTC)
    return _line(
        room=room,
        seq=message.seq,
        id=message.id.hex(),
        **{"from": message.sender.name},
        account=message.sender.account.hex(),
        verified=message.sender.verified,
        own=message.own,
        sent_at=sent_at.isoformat(timespec="milliseconds"),
        text=message.text,
    )


def sent_json(result: SendResult, room: str) -> str:
    """Return the line of a message that was sent, or waits: `clave send --json`."""
    state = "sent" if result.seq else "waiting"
    return _line(room=room, id=result.id.hex(), seq=result.seq or None, state=state)


def room_json(room: RoomSummary) -> str:
    """Return the line of a room: `clave rooms --json`."""
    return _line(
        id=room.id.hex(),
        title=room.title,
        phase=room.phase.name.lower(),
        unread=room.unread,
        waiting=room.waiting,
        muted_until=room.muted_until,
    )


def info_json(profile: ProfileInfo, rooms: list[RoomInfo]) -> str:
    """Return the line of a profile and its rooms: `clave info --json`."""
    me = {"name": profile.name, "account": profile.account.hex(), "fingerprint": profile.fingerprint}
    relay = {"address": profile.relay, "fingerprint": profile.relay_fingerprint, "online": profile.is_online}
    return _line(profile=me, relay=relay, rooms=dump(rooms), unusable=profile.unusable)


def _line(**fields: Any) -> str:
    return json.dumps({"v": _VERSION, **fields}, ensure_ascii=False)
