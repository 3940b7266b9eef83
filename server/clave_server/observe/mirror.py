"""The mirror, the relay's screen: a line for each durable entry, login and disconnect. Knows no plaintext.

Times are local and names are sanitized. The ciphertext shown is the end of the payload; its start is MLS
framing, which is alike in all.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from clave_server.observe.line_output import LineOutput
from clave_server.observe.line_writer import Gap, LineWriter, Listener
from clave_server.option_values import MirrorMode
from clave_wire.messages import Kind
from clave_wire.text import sanitize

__all__ = ["TAIL_BYTES", "ConnectionRecord", "EntryRecord", "Mirror"]


TAIL_BYTES: Final = 32
"""Bytes of a payload's end that a record holds."""


class EntryRecord(NamedTuple):
    """An entry; `tail` is the end of its payload, `size` the payload's bytes."""

    name: str
    address: str
    room: bytes
    seq: int
    kind: Kind
    size: int
    tail: bytes


class ConnectionRecord(NamedTuple):
    """A login or the end of a connection; `event` says which, or why it ended."""

    name: str
    address: str
    event: str


_SHORT_ROOM: Final = 4
_SHORT_TAIL: Final = 8
_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"

_Fields = Mapping[str, str]
_Item = tuple[dt.datetime, EntryRecord | ConnectionRecord | _Fields]


class Mirror:
    """Renders records as lines on a thread of its own; `enabled` is False in mode OFF."""

    def __init__(
        self,
        mode: MirrorMode,
        output: LineOutput,
        *,
        coloured: bool,
        clock: Callable[[], dt.datetime],
        listener: Listener,
    ) -> None:
        self._mode = mode
        self._coloured = coloured
        self._clock = clock
        self.enabled = mode is not MirrorMode.OFF
        self._lines = LineWriter[_Item](output, self._line, self._summary, listener)

    @property
    def capacity(self) -> int:
        """How many more entries can be shown one by one now."""
        return self._lines.capacity if self.enabled else 0

    def show_entries(self, records: Sequence[EntryRecord], more: int) -> None:
        """Show entries that are on disk, followed by `more` that are only counted."""
        if self.enabled:
            now = self._clock()
            self._lines.put([(now, record) for record in records], more)

    def show_connection(self, record: ConnectionRecord) -> None:
        """Show a login or the end of a connection."""
        if self.enabled:
            self._lines.put([(self._clock(), record)])

    def announce_address(self, address: str, fingerprint: str) -> None:
        """Write in every mode where the relay listens, and what its certificate is compared by."""
        self._lines.put([(self._clock(), {"address": address, "fingerprint": fingerprint})])

    def reopen(self) -> None:
        """Go on in the file that has the output's name now."""
        self._lines.reopen()

    def stop(self) -> None:
        """Write what is queued, for at most one second."""
        self._lines.stop(timeout=1.0)

    def _line(self, item: _Item) -> str:
        at, record = item
        if isinstance(record, Mapping):
            if self._mode is MirrorMode.JSON:
                return _json(at, event="listening", **record)
            return f"listening on {record['address']}  fingerprint {record['fingerprint']}\n"
        name, address = sanitize(record.name), sanitize(record.address)
        if isinstance(record, ConnectionRecord):
            event = sanitize(record.event)
            if self._mode is MirrorMode.JSON:
                return _json(at, event="visit", name=name, address=address, text=event)
            return self._row(at, name, address, event)
        room, tail = record.room.hex(), record.tail.hex()
        kind = record.kind.name.lower().replace("_", " ")
        if self._mode is MirrorMode.JSON:
            return _json(
                at,
                event="entry",
                name=name,
                address=address,
                room=room,
                seq=record.seq,
                kind=kind,
                size=record.size,
                piece=tail,
            )
        if self._mode is MirrorMode.SHORT:
            room, tail = room[: 2 * _SHORT_ROOM], tail[-2 * _SHORT_TAIL :]
        where = f"room {room}  seq {record.seq}  {kind}  {record.size} B"
        return self._row(at, name, address, where, f"..{tail}")

    def _row(self, at: dt.datetime, name: str, address: str, *fields: str) -> str:
        time = f"{at:%Y-%m-%d %H:%M:%S}"
        if not self._coloured:
            return "  ".join((time, name, address, *fields)) + "\n"
        first, *rest = fields
        cells = (f"{_DIM}{time}{_PLAIN}", f"{_BOLD}{name}{_PLAIN}", address, first)
        return "  ".join((*cells, *(f"{_DIM}{field}{_PLAIN}" for field in rest))) + "\n"

    def _summary(self, gap: Gap) -> str:
        at, (count, reason) = self._clock(), gap
        if self._mode is MirrorMode.JSON:
            if reason:
                return _json(at, event="lost", count=count, reason=reason)
            return _json(at, event="summed", count=count)
        if reason:
            return f"{at:%Y-%m-%d %H:%M:%S}  {count} lines lost, as they could not be written: {reason}\n"
        return f"{at:%Y-%m-%d %H:%M:%S}  {count} more lines, too many to show one by one\n"


def _json(at: dt.datetime, **fields: str | int) -> str:
    return json.dumps({"at": at.isoformat(timespec="milliseconds"), **fields}) + "\n"
