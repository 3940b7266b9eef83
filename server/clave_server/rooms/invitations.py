"""Invitations that wait in the database for their devices. Runs on the database threads.

At most 128 invitations by acquainted accounts wait for a device, and 128 by strangers. Above that, a new
invitation displaces the oldest one of the account with the most there, so that one account's many
cannot keep out another's.

A new invitation first displaces the one to the same room by the same account, of the same sort (a welcome, or
a group info for a device that lost the room). So no account's is lost by what another account sends.

A welcome counts as stored by the account that sent it until its last invitation is deleted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set
from typing import Any, Final

import apsw
import structlog

from clave_server.accounts.device_counts import DeviceCount, check_count, update_count
from clave_server.accounts.directory import add_stored
from clave_server.rooms.segment import CHUNK_BYTES
from clave_server.storage.seals import INVITATION, WELCOME
from clave_wire.messages import Invitation

__all__ = [
    "MAX_INVITATIONS",
    "add_invitations",
    "delete_invitations_before",
    "delete_invitations_of",
    "highest_ids",
    "read_invitations",
    "take_invitation",
]

MAX_INVITATIONS: Final = 128
"""Invitations that wait for one device by acquainted accounts, and as many by strangers."""

_SUPERSEDED: Final = (
    "SELECT id FROM invitations WHERE device = ? AND room = ? AND account = ? AND help = ? AND welcome != ?"
)

_ACCOUNT: Final = "SELECT account FROM devices WHERE device = ?"

_ROOMS: Final = (
    "SELECT DISTINCT room FROM devices JOIN stays USING (device)"
    " WHERE account = ? AND left IS NULL AND room != ? LIMIT 1024"
)
"""The rooms of an account, at most 1024, so that an account in very many does not slow each flush."""

_ROOMS_SENT_TO: Final = "SELECT room FROM submissions WHERE device = ?"
_IS_MEMBER: Final = "SELECT 1 FROM stays WHERE room = ? AND device = ? AND left IS NULL"

_INSERT: Final = (
    "INSERT INTO invitations(id, device, room, welcome, account, acquainted, help, seal) VALUES"
    " (?1, ?2, ?3, ?4, ?5, ?6, ?7, seal('invitation', ?1, ?2, ?3, ?4, ?5, ?6, ?7)) ON CONFLICT DO NOTHING"
)

_COUNT_WAITING: Final = "SELECT count(*) FROM invitations WHERE device = ? AND acquainted = ?"

_DISPLACED: Final = (
    "SELECT min(id) FROM invitations WHERE device = ? AND acquainted = ?"
    " GROUP BY account ORDER BY count(*) DESC, min(id) LIMIT 1"
)

_STORE: Final = (
    "UPDATE accounts SET stored = stored + (SELECT length(welcome) FROM welcomes WHERE id = ?) WHERE id = ?"
)
_STORED: Final = (
    "SELECT accounts.account, sum(length(welcome)) FROM welcomes JOIN devices ON devices.device = sender"
    " JOIN accounts ON accounts.id = devices.account WHERE {} GROUP BY accounts.id"
)
_STORED_FOR: Final = _STORED.format(
    "welcomes.id = (SELECT welcome FROM invitations WHERE id = ?1) AND NOT EXISTS"
    " (SELECT 1 FROM invitations WHERE welcome = welcomes.id AND id != ?1)"
)
_STORED_BEFORE: Final = _STORED.format("at < ?")
"""Both select accounts and the bytes of their welcomes that no other invitation needs."""

_WHOLE: Final = (
    f"invitations.seal = {INVITATION} AND welcomes.seal = {WELCOME} AND welcomes.room = invitations.room"
)
_READ: Final = (
    f"SELECT invitations.id, welcomes.room, seq, sender, welcomes.welcome, {_WHOLE} FROM invitations"  # noqa: S608
    " LEFT JOIN welcomes ON welcomes.id = invitations.welcome"
    " WHERE device = ? AND invitations.id > ? ORDER BY invitations.id"
)

_OWN: Final = "SELECT id FROM invitations WHERE id = ? AND device = ?"
_OLDER: Final = "invitations WHERE welcome IN (SELECT id FROM welcomes WHERE at < ?)"

_log = structlog.get_logger()


def add_invitations(
    connection: apsw.Connection,
    welcome: int,
    room: bytes,
    sender: bytes,
    invited: Iterable[tuple[int, bytes, bool]],
) -> Counter[bytes]:
    """Store invitations to `room`, in place of older ones there by the same account.

    Each is (id, device, whether it carries a group info rather than a welcome). The row `welcome` exists, and
    `sender` is the device that sent it. A device that a commit names twice is invited once. Returns the bytes
    of welcomes deleted with the displaced invitations, by account.
    """
    released = Counter[bytes]()
    account = connection.execute(_ACCOUNT, (sender,)).get
    connection.execute(_STORE, (welcome, account))
    rooms = {other for (other,) in connection.execute(_ROOMS, (account, room))}
    for number, device, helps in invited:
        check_count(connection, device, DeviceCount.INVITATIONS)
        released += _delete(connection, _SUPERSEDED, (device, room, account, helps, welcome))
        acquainted = _is_acquainted(connection, device, account, rooms)
        connection.execute(_INSERT, (number, device, room, welcome, account, acquainted, helps))
        if connection.execute(_COUNT_WAITING, (device, acquainted)).get > MAX_INVITATIONS:
            released += _delete(connection, _DISPLACED, (device, acquainted))
        update_count(connection, device, DeviceCount.INVITATIONS)
    return released


def _delete(connection: apsw.Connection, query: str, bindings: tuple[Any, ...]) -> Counter[bytes]:
    """Delete the invitations that `query` selects; return the bytes of welcomes deleted, by account."""
    released = Counter[bytes]()
    rows: list[Any] = connection.execute(query, bindings).fetchall()
    for (invitation,) in rows:
        released += _release(connection, _STORED_FOR, invitation)
        connection.execute("DELETE FROM invitations WHERE id = ?", (invitation,))
    return released


def _release(connection: apsw.Connection, query: str, argument: int) -> Counter[bytes]:
    """Subtract the bytes that `query` selects from what accounts have stored; return them."""
    rows: list[Any] = connection.execute(query, (argument,)).fetchall()
    released = Counter[bytes](dict(rows))
    for account, size in released.items():
        add_stored(connection, account, -size)
    return released


def _is_acquainted(connection: apsw.Connection, device: bytes, account: int, rooms: Set[Any]) -> bool:
    """Return whether a device is the account's own, or in one of its `rooms` and has sent something there.

    A stranger can add a device to a room without its consent, so membership alone does not count.
    """
    if connection.execute(_ACCOUNT, (device,)).get == account:
        return True
    sent_to = connection.execute(_ROOMS_SENT_TO, (device,)).fetchall() if rooms else []
    return any(
        room in rooms and connection.execute(_IS_MEMBER, (room, device)).get is not None
        for (room,) in sent_to
    )


def read_invitations(connection: apsw.Connection, device: bytes, after: int) -> list[Invitation]:
    """Read the device's invitations with ids above `after`, about `CHUNK_BYTES` of them.

    A damaged one is logged and left out.
    """
    invitations: list[Invitation] = []
    size = 0
    for *fields, whole in connection.execute(_READ, (device, after)):
        if not whole:
            _log.error("invitation not sent: it is damaged on disk", device=device.hex(), id=fields[0])
            continue
        size += len(fields[-1])
        if invitations and size > CHUNK_BYTES:
            break
        invitations.append(Invitation(*fields))
    return invitations


def take_invitation(connection: apsw.Connection, device: bytes, invitation: int) -> Counter[bytes]:
    """Delete an invitation of `device`, if it is there.

    Returns the bytes of the welcome deleted with it, by account.
    """
    check_count(connection, device, DeviceCount.INVITATIONS)
    released = _delete(connection, _OWN, (invitation, device))
    update_count(connection, device, DeviceCount.INVITATIONS)
    return released


def delete_invitations_before(connection: apsw.Connection, at: int) -> Counter[bytes]:
    """Delete the invitations made before `at` (ms since 1970).

    Returns the bytes of the welcomes deleted with them, by account.
    """
    devices: list[Any] = connection.execute(f"SELECT DISTINCT device FROM {_OLDER}", (at,)).fetchall()  # noqa: S608
    for (device,) in devices:
        check_count(connection, device, DeviceCount.INVITATIONS)
    released = _release(connection, _STORED_BEFORE, at)
    connection.execute(f"DELETE FROM {_OLDER}", (at,))  # noqa: S608  (a constant)
    for (device,) in devices:
        update_count(connection, device, DeviceCount.INVITATIONS)
    return released


def delete_invitations_of(connection: apsw.Connection, device: bytes) -> Counter[bytes]:
    """Delete all that wait for a device; return the bytes of the welcomes deleted with them, by account."""
    released = _delete(connection, "SELECT id FROM invitations WHERE device = ?", (device,))
    update_count(connection, device, DeviceCount.INVITATIONS)
    return released


def highest_ids(connection: apsw.Connection) -> tuple[int, int]:
    """Return the highest invitation id ever used and the highest welcome id stored."""
    used = connection.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'invitations'").get
    invitation = connection.execute("SELECT max(id) FROM invitations").get
    welcome = connection.execute("SELECT max(id) FROM welcomes").get
    return max(used or 0, invitation or 0), welcome or 0
