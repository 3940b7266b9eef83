"""Makes the summary of a room that programs and people see. Knows no screen."""

from __future__ import annotations

from collections import Counter

from clave_client.formats.agreed_state import Role
from clave_client.formats.room_code import room_code
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.suites import is_post_quantum
from clave_client.values import RoomInfo
from clave_crypto.identity import fingerprint
from clave_wire.text import sanitize

__all__ = ["room_info"]


def room_info(room: LocalRoom, account: bytes) -> RoomInfo:
    """Return the summary of a room for the member `account`."""
    devices = room.roster.people().values()
    verified = {person.account: person.verified for person in devices}
    verified[account] = True
    suite = room.group.suite
    owes = room.owes_receipts and len(verified) > 1
    return RoomInfo(
        room.id,
        room.record.title,
        room.record.phase,
        room.group.epoch,
        len(verified),
        len(devices),
        sum(not compared for compared in verified.values()),
        room.state.role_of(account) >= Role.ADMIN,
        suite.id,
        suite.name,
        suite.words,
        is_post_quantum(suite),
        room.state.expiry,
        bool(room.state.direct),
        room.roster.outdated,
        owes,
        owes and room.tells_what_was_read,
        room.state.role_of(account).word,
        sanitize(room.state.topic),
        room.state.add.word,
        room.state.remove.word,
        room.state.edit.word,
        _names_of_banned(room),
        room.state.link.word,
        len(room.state.links),
        "" if room.joining is None else room.name_of(room.joining.inviter),
        room.awaits_entry,
        () if room.cannot_follow or room.awaits_entry else room_code(room.group),  # of an epoch that holds
        room.state.pin.word,
        len(room.state.pinned),
    )


def _names_of_banned(room: LocalRoom) -> tuple[str, ...]:
    """Return the names of the banned accounts, with fingerprints where several have the same."""
    names = {account: room.name_of_banned(account) for account in room.state.banned}
    several = {name for name, count in Counter(names.values()).items() if count > 1}
    return tuple(
        f"{name} ({fingerprint(account)})" if name in several else name for account, name in names.items()
    )
