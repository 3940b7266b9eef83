"""The settings that a profile shares with the other devices of its account. Knows the store, not the network.

What changed here is found by comparing what is stored with what was stored at the last look, so no place
that changes a setting has to tell, and a crash loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from clave_client.formats.own_settings import MAX_STAMP, Contact, Setting, SettingKind
from clave_client.store.database import Store
from clave_client.store.settings import ANSWER, ARCHIVED, DRAFT, READ_RECEIPTS, muted_until

__all__ = ["ROOM_SETTINGS", "OwnSettings"]

ROOM_SETTINGS: Final = {
    SettingKind.DRAFT: DRAFT,
    SettingKind.ARCHIVE: ARCHIVED,
    SettingKind.RECEIPTS: READ_RECEIPTS,
    SettingKind.ANSWER: ANSWER,
}
"""The settings of rooms that are shared, by their names in the store."""

_LAST_SHOWN: Final = (
    "SELECT rooms.id, (SELECT messages.id FROM messages JOIN room_numbers ON number = messages.room"
    " WHERE room_numbers.id = rooms.id AND seq <= shown ORDER BY seq DESC LIMIT 1) FROM rooms"
)
_KINDS: Final = frozenset(SettingKind)
_FIELDS: Final = "kind, subject, value, stamp, writer"
_MERGE: Final = (
    "INSERT INTO own_settings VALUES (?, ?, x'', ?, ?, ?, 0, 1) ON CONFLICT DO UPDATE SET"
    " value = excluded.value, stamp = max(stamp, excluded.stamp), writer = excluded.writer,"
    " to_send = to_send AND kind = 1, to_apply = 1"
    " WHERE (excluded.stamp, excluded.writer) > (stamp, writer) OR (kind = 1 AND NOT to_apply)"
)
"""What was read last is always applied, as devices read on from wherever they are."""


class _Known(msgspec.Struct, frozen=True, array_like=True):
    """What was stored of a setting here at the last look, its stamp, and whether it is to be applied."""

    mine: bytes
    stamp: int
    to_apply: bool

    def __repr__(self) -> str:
        return f"<_Known {self.stamp!r}>"


class OwnSettings:
    """The shared settings of one profile. The caller opens transactions."""

    def __init__(self, store: Store, account: bytes, device: bytes) -> None:
        self._store = store
        self._account = account
        self._device = device

    # --- changed here ---

    def note_changes(self, now: int) -> None:
        """Note what changed here since the last look, to be sent; `now` is in ms since 1970."""
        rows = self._store.rows("SELECT kind, subject, mine, stamp, to_apply FROM own_settings")
        known = {
            (kind, subject): _Known(mine, stamp, bool(to_apply))
            for kind, subject, mine, stamp, to_apply in (
                msgspec.convert(row, tuple[int, bytes, bytes, int, int]) for row in rows
            )
        }
        present = {(kind, subject): value for kind, subject, value in self._present()}
        gone = [(*key, b"") for key, each in known.items() if each.mine and key not in present]
        for kind, subject, value in [*((*key, value) for key, value in present.items()), *gone]:
            before = known.get((kind, subject))
            if value == (b"" if before is None else before.mine):
                continue
            if before is not None and before.to_apply and kind == SettingKind.READ:
                continue  # a device is further than this one, which has not got that message yet
            stamp = max(0, now) if before is None else max(now, before.stamp + 1)
            said = value
            if kind == SettingKind.CONTACT and before is not None and before.mine and value:
                contact = msgspec.msgpack.decode(value, type=Contact)
                said = msgspec.msgpack.encode(msgspec.structs.replace(contact, is_decided=True))
            self._store.run(
                "INSERT OR REPLACE INTO own_settings VALUES (?, ?, ?, ?, ?, ?, 1, 0)",
                kind,
                subject,
                value,
                said,
                min(stamp, MAX_STAMP),
                self._device,
            )

    def _present(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield kind, subject and value of all settings as they are stored now; those that are empty lack."""
        store = self._store
        for room, message in store.rows(f"{_LAST_SHOWN} WHERE shown > 0"):
            if message is not None:
                yield SettingKind.READ, msgspec.convert(room, bytes), msgspec.convert(message, bytes)
        for kind, setting in ROOM_SETTINGS.items():
            for room, value in store.rows("SELECT room, value FROM room_settings WHERE name = ?", setting):
                yield kind, msgspec.convert(room, bytes), str(value).encode()
        for muted, until in muted_until(store).items():
            yield SettingKind.MUTE, muted, str(until).encode()
        for blocked, known_as in store.blocked():
            yield SettingKind.BLOCK, blocked, known_as.encode()
        pins = store.rows("SELECT skeleton, name, account FROM pins WHERE account != ?", self._account)
        for skeleton, name, account in pins:
            contact = Contact(str(name), msgspec.convert(account, bytes))
            yield SettingKind.CONTACT, str(skeleton).encode(), msgspec.msgpack.encode(contact)
        for verified, name in store.rows("SELECT account, name FROM accounts WHERE verified"):
            yield SettingKind.VERIFIED, msgspec.convert(verified, bytes), str(name).encode()

    # --- to be sent ---

    def take_unsent(self) -> list[Setting]:
        """Return what is to be sent, and note that it is."""
        found = self._settings("WHERE to_send")
        self._store.run("UPDATE own_settings SET to_send = 0 WHERE to_send")
        return found

    def take_all(self) -> list[Setting]:
        """Return all that is known, and note that it is sent."""
        self._store.run("UPDATE own_settings SET to_send = 0 WHERE to_send")
        return self._settings("")

    def _settings(self, where: str) -> list[Setting]:
        rows = self._store.rows(f"SELECT {_FIELDS} FROM own_settings {where} ORDER BY kind, subject")  # noqa: S608
        return [msgspec.convert(row, Setting) for row in rows]

    # --- from other devices ---

    def merge(self, settings: Iterable[Setting], now: int) -> None:
        """Note what another device says, where it is later than what is known, to be applied."""
        self.note_changes(now)
        for each in settings:
            if each.kind in _KINDS:
                self._store.run(_MERGE, *msgspec.structs.astuple(each))

    def unapplied(self) -> list[Setting]:
        """Return what is to be applied, contacts before verified accounts."""
        return self._settings("WHERE to_apply")

    def note_applied(self, applied: Iterable[Setting]) -> None:
        """Note that settings were applied, or refused: what is stored now is no change of this device."""
        done = {(each.kind, each.subject) for each in applied}
        present = {(kind, subject): value for kind, subject, value in self._present()} if done else {}
        for kind, subject in done:
            self._store.run(
                "UPDATE own_settings SET mine = ?1, value = CASE kind WHEN 1 THEN ?1 ELSE value END,"
                " to_apply = 0 WHERE kind = ?2 AND subject = ?3",
                present.get((kind, subject), b""),
                kind,
                subject,
            )
