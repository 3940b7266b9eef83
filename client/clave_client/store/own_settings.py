"""The settings that a profile shares with the other devices of its account. Knows the store, not the network.

What changed here is found by comparing what is stored with what was stored at the last look, so no place
that changes a setting has to tell, and a crash loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from clave_client.formats.own_settings import Contact, Setting, SettingKind
from clave_client.store.database import Store
from clave_client.store.settings import ANSWER, ARCHIVED, DRAFT, READ_RECEIPTS, muted_until

__all__ = ["MOST_AHEAD", "ROOM_SETTINGS", "OwnSettings"]

MOST_AHEAD: Final = 24 * 3600 * 1000
"""How far ahead of this device's clock a stamp may be, in ms.

One that is further ahead would be in force for as long, whoever sets it.
"""

ROOM_SETTINGS: Final = {
    SettingKind.DRAFT: DRAFT,
    SettingKind.ARCHIVE: ARCHIVED,
    SettingKind.RECEIPTS: READ_RECEIPTS,
    SettingKind.ANSWER: ANSWER,
}
"""The settings of rooms that are shared, by their names in the store."""

_KINDS: Final = frozenset(SettingKind)
_LOOKED: Final = "own settings were looked at"
_STORED: Final = {
    SettingKind.READ: (
        "SELECT rooms.id, (SELECT messages.id FROM messages JOIN room_numbers ON number = messages.room"
        " WHERE room_numbers.id = rooms.id AND seq <= shown ORDER BY seq DESC LIMIT 1)"
        " FROM rooms WHERE shown > 0 AND id = ifnull(?1, id)"
    ),
    **{
        kind: f"SELECT room, value FROM room_settings WHERE name = '{name}' AND room = ifnull(?1, room)"  # noqa: S608
        for kind, name in ROOM_SETTINGS.items()
    },
    SettingKind.BLOCK: "SELECT account, name FROM blocked WHERE account = ifnull(?1, account)",
    SettingKind.VERIFIED: (
        "SELECT account, name FROM accounts WHERE verified AND account = ifnull(?1, account)"
    ),
}
"""Subject and value of what is stored, all or that with a subject."""

_CONTACTS: Final = (
    "SELECT CAST(skeleton AS BLOB), name, account, decided FROM pins"
    " WHERE account != ?2 AND CAST(skeleton AS BLOB) = ifnull(?1, CAST(skeleton AS BLOB))"
)


class _Known(msgspec.Struct, frozen=True, array_like=True):
    """A row: `mine` is what was stored here at the last look, `value` what counts among all devices."""

    kind: int
    subject: bytes
    mine: bytes
    value: bytes
    stamp: int
    writer: bytes
    to_send: bool = False
    to_apply: bool = False

    def __repr__(self) -> str:
        return f"<_Known {self.kind!r}, {self.stamp!r}>"

    @property
    def setting(self) -> Setting:
        return Setting(self.kind, self.subject, self.value, self.stamp, self.writer)


_FIELDS: Final = ", ".join(_Known.__struct_fields__)


class OwnSettings:
    """The shared settings of one profile. The caller opens transactions."""

    def __init__(self, store: Store, account: bytes, device: bytes) -> None:
        self._store = store
        self._account = account
        self._device = device

    # --- changed here ---

    def note_changes(self, now: int) -> None:
        """Note what changed here since the last look, to be sent; `now` is in ms since 1970.

        What the first look finds may be as old as this profile, so it has the lowest stamp. Writes nothing if
        nothing changed.
        """
        moment = self._moment(now)
        if self._store.get(_LOOKED) is None:
            self._store.put(_LOOKED, b"1")
        known = {(each.kind, each.subject): each for each in self._rows("")}
        present = {(kind, subject): value for kind, subject, value in self._present()}
        for key in known.keys() - present.keys():
            present[key] = b""
        for (kind, subject), value in present.items():
            self._note_change(kind, subject, value, known.get((kind, subject)), moment)

    def _moment(self, now: int) -> int:
        return 0 if self._store.get(_LOOKED) is None else max(0, now)

    def _note_change(self, kind: int, subject: bytes, value: bytes, before: _Known | None, now: int) -> bool:
        """Note one setting as it is stored now; return whether it has changed."""
        if value == (b"" if before is None else before.mine):
            return False
        if before is not None and before.to_apply and kind == SettingKind.READ:
            return False  # a device is further than this one, which has not got that message yet
        stamp = now
        if before is not None and before.stamp <= now + MOST_AHEAD:
            stamp = max(stamp, before.stamp + 1)
        self._put(_Known(kind, subject, value, value, stamp, self._device, to_send=True))
        return True

    def _present(
        self, only: int | None = None, subject: bytes | None = None
    ) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield kind, subject and value of what is stored now, of all settings or of one; none is empty."""
        for kind, sql in _STORED.items():
            if only in (kind, None):
                for key, value in self._store.rows(sql, subject):
                    if value is not None:
                        yield kind, msgspec.convert(key, bytes), _bytes_of(value)
        if only in (SettingKind.MUTE, None):
            for muted, until in muted_until(self._store).items():
                if subject in (muted, None):
                    yield SettingKind.MUTE, muted, str(until).encode()
        if only in (SettingKind.CONTACT, None):
            for skeleton, *contact in self._store.rows(_CONTACTS, subject, self._account):
                found = msgspec.convert(contact, Contact, strict=False)
                yield SettingKind.CONTACT, msgspec.convert(skeleton, bytes), msgspec.msgpack.encode(found)

    # --- to be sent ---

    def take_unsent(self) -> list[Setting]:
        """Return what is to be sent, and note that it is."""
        found = [each.setting for each in self._rows("WHERE to_send")]
        self._note_sent()
        return found

    def take_all(self) -> list[Setting]:
        """Return all that counts, and note that it is sent."""
        self._note_sent()
        return [each.setting for each in self._rows("")]

    def _note_sent(self) -> None:
        self._store.run("UPDATE own_settings SET to_send = 0 WHERE to_send")

    # --- from other devices ---

    def merge(self, settings: Iterable[Setting], now: int) -> None:
        """Note what another device says, where it counts more than what is known, to be applied.

        Left out is what this version does not know, and what was changed more than a day from now.
        """
        limit, moment = now + MOST_AHEAD, self._moment(now)
        for each in settings:
            if each.kind not in _KINDS or each.stamp > limit:
                continue
            before = self._row(each)
            value = next((value for *_, value in self._present(each.kind, each.subject)), b"")
            if self._note_change(each.kind, each.subject, value, before, moment):
                before = self._row(each)
            if each.kind == SettingKind.READ and before is not None:
                self._merge_read(each, before)
            elif before is None or _rank(each) > _rank(before.setting, limit):
                mine = b"" if before is None else before.mine
                self._put(_Known(each.kind, each.subject, mine, *_rest(each), to_apply=True))

    def _row(self, setting: Setting) -> _Known | None:
        return next(iter(self._rows("WHERE kind = ? AND subject = ?", setting.kind, setting.subject)), None)

    def _merge_read(self, found: Setting, before: _Known) -> None:
        """Note what another device has read last; of two that wait, the one further in the log."""
        if before.to_apply:
            waiting = self._store.message(found.subject, before.value)
            other = self._store.message(found.subject, found.value)
            if waiting is None and other is None:
                is_further = found.stamp > before.stamp
            else:  # one that is not here yet comes after all that is
                is_further = other is None or (waiting is not None and other.seq > waiting.seq)
            if not is_further:
                return
        stamp = max(found.stamp, before.stamp)
        row = msgspec.structs.replace(before, value=found.value, stamp=stamp, writer=found.writer)
        self._put(msgspec.structs.replace(row, to_apply=True))

    def unapplied(self) -> list[Setting]:
        """Return what is to be applied, contacts before verified accounts."""
        return [each.setting for each in self._rows("WHERE to_apply")]

    def note_applied(self, applied: Iterable[Setting]) -> None:
        """Note that settings were applied, or refused: what is stored now is no change of this device.

        Of what was read, and of a contact, what is stored now is what counts for this device.
        """
        done = {(each.kind, each.subject) for each in applied}
        if not done:
            return
        present = {(kind, subject): value for kind, subject, value in self._present()}
        for row in self._rows("WHERE to_apply"):
            key = row.kind, row.subject
            if key in done:
                mine = present.get(key, b"")
                is_own = row.kind in (SettingKind.READ, SettingKind.CONTACT)
                value = mine if is_own else row.value
                self._put(msgspec.structs.replace(row, mine=mine, value=value, to_apply=False))

    # --- rows ---

    def _rows(self, where: str, *values: int | bytes) -> list[_Known]:
        sql = f"SELECT {_FIELDS} FROM own_settings {where} ORDER BY kind, subject"  # noqa: S608 (constant words)
        return [msgspec.convert(row, _Known, strict=False) for row in self._store.rows(sql, *values)]

    def _put(self, row: _Known) -> None:
        self._store.run(
            "INSERT OR REPLACE INTO own_settings VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *msgspec.structs.astuple(row)[:6],
            int(row.to_send),
            int(row.to_apply),
        )


def _bytes_of(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else msgspec.convert(value, bytes)


def _rest(setting: Setting) -> tuple[bytes, int, bytes]:
    return setting.value, setting.stamp, setting.writer


def _rank(setting: Setting, limit: int = 1 << 63) -> tuple[bool, int, bytes]:
    """Return what decides between two values: of contacts the user's decision, then stamp and writer.

    A stamp above `limit`, made while this device's clock was ahead, counts for nothing.
    """
    is_decided = False
    if setting.kind == SettingKind.CONTACT and setting.value:
        try:
            is_decided = msgspec.msgpack.decode(setting.value, type=Contact).is_decided
        except msgspec.DecodeError:
            return False, -1, b""
    return is_decided, setting.stamp if setting.stamp <= limit else 0, setting.writer
