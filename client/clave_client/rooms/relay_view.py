"""What the relay could learn of one message, from what this profile has kept. Asks nobody, changes nothing.

Ciphertexts are deleted once they are in the log, so most of a header is gone by then. What can be derived is,
by the code that sends: the size by measuring the content once more, the epoch if no change has followed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from clave_client.formats.payload import header_digest
from clave_client.rooms.local_room import LocalRoom
from clave_client.store.audit_queries import own_content
from clave_client.store.database import Store
from clave_client.store.message_tables import HistoryLine
from clave_client.values import ERA_BITS, MOST_NUMBER, RelayView, RoutedDevice
from clave_wire.header import Header, Seen, pack_header, split_payload
from clave_wire.messages import Kind
from clave_wire.text import sanitize

__all__ = ["relay_view"]

_DIGEST_BYTES = 32


class _Sizes(NamedTuple):
    """Sizes in bytes, None if they are not known."""

    entry: int | None = None
    ciphertext: int | None = None
    padded: int | None = None


class _Clear(NamedTuple):
    """What stands in a header, None if that is not known."""

    head: bytes | None = None
    seen: int | None = None
    counted: int | None = None


def relay_view(
    room: LocalRoom, store: Store, line: HistoryLine, *, way: str, online: Collection[bytes]
) -> RelayView:
    """Return what the relay could learn of the message `line`.

    `way` is how this client reaches the relay, and `online` are the devices that it says are connected.
    """
    own = line.sender == room.roster.own_device
    waiting = next((item for item in store.outbox(room.id, -1) if item.id == line.id), None)
    payload = None if waiting is None else waiting.payload
    is_present = line.seq >> ERA_BITS == room.record.era and line.seq & MOST_NUMBER > room.record.read
    if payload is not None:
        header, raw_header, body = split_payload(payload)
        clear = _Clear(header.head, header.seen.seq, header.count)
        sizes = _Sizes(len(payload), len(body), None)
    else:
        # What counts was made in the epoch of its place, which is the present one if no change has followed.
        clear, raw_header = _Clear(room.head if is_present else None), b""
        sizes = _Sizes()
    data = own_content(store, line.id) if own else None
    if data is not None:
        sizes = _measured(room, data, clear, raw_header, line)
    sender = room.find(line.sender)
    role = room.state.role_of(line.account).word if line.account in room.roster.accounts else ""
    answered = store.message(room.id, line.reply_to) if line.reply_to else None
    return RelayView(
        room.id,
        line.seq & MOST_NUMBER,
        own,
        sanitize(line.name),
        line.account,
        line.sender,
        "" if sender is None else sender.device_name,
        way if own else "",
        line.accepted_at / 1000,
        *sizes,
        *clear,
        _routed(room, online),
        is_present,
        len(line.text),
        0 if answered is None else answered.seq & MOST_NUMBER,
        len(store.reactions(room.id, line.id)),
        line.edits,
        bool(line.expires_at or line.expires_after),
        room.record.title,
        role,
    )


def _measured(room: LocalRoom, data: bytes, clear: _Clear, raw_header: bytes, line: HistoryLine) -> _Sizes:
    """Return the sizes of an own message with the content `data`.

    That of the header is known if it is the same for all numbers that can stand there.
    """
    bound = header_digest(raw_header)  # of the same length whatever the header is
    size = room.group.measure(data, authenticated_data=bound)
    last = max(0, (line.seq & MOST_NUMBER) - 1)
    seen = (0, last) if clear.seen is None else (clear.seen, clear.seen)
    count = (1, max(1, room.record.count)) if clear.counted is None else (clear.counted, clear.counted)
    least, most = (_header_bytes(*numbers) for numbers in zip(seen, count, strict=True))
    return _Sizes(least + size.message if least == most else None, size.message, size.padded)


def _header_bytes(seen: int, count: int) -> int:
    """Return the size of a message's header with these numbers in it."""
    nothing = bytes(_DIGEST_BYTES)
    return len(pack_header(Header(Kind.APPLICATION, nothing, Seen(seen, nothing), count)))


def _routed(room: LocalRoom, online: Collection[bytes]) -> list[RoutedDevice]:
    """Return the devices of the room, as the relay knows them."""
    return [
        RoutedDevice(person.name, person.device_name, person.device, person.device in online)
        for person in room.roster.people().values()
    ]
