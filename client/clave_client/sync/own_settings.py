"""Keeps the settings of this account's devices alike, by the account's own room. Knows no screen.

A few seconds after anything is stored it is compared with the last look, and what has changed is sent. What
another device has changed is applied. A device that comes new asks for all, and one of the others answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec

from clave_client import events
from clave_client.errors import ClientError
from clave_client.formats.own_settings import Contact, Purpose, Setting, SettingKind, in_messages
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.settings_entries import ANSWER_DUE_PART, ASKED_PART, REFUSED, is_own_room
from clave_client.store import settings
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.store.own_settings import ROOM_SETTINGS, OwnSettings
from clave_client.store.pins import Pins
from clave_client.sync.blocking import BlockingContext, block_account
from clave_client.sync.context import SyncContext
from clave_client.sync.expiry import ExpiryTimer
from clave_client.sync.siblings import Siblings
from clave_client.values import Phase
from clave_wire.text import sanitize, skeleton

__all__ = ["OwnSettingsContext", "OwnSettingsInUse"]

_GATHER_SECONDS: Final = 3.0
"""Time from a change until it is sent, with what else has changed by then."""

_LEFT_TO_OTHERS_SECONDS: Final = 20.0
"""Time for which a device leaves an answer to those that come before it in the room."""

_MOST_NAME: Final = 256


class OwnSettingsContext(SyncContext, BlockingContext, Protocol):
    """What this needs of a `RoomSync`."""

    expiry: ExpiryTimer

    @property
    def clock(self) -> Callable[[], float]:
        """The clock, in seconds since 1970."""

    def submit_noted(self, room: LocalRoom) -> None:
        """Submit what is due in a room, after resuming it if that was not asked for yet."""

    def batch_done(self) -> None:
        """Wake whoever waits for what has become true."""


class OwnSettingsInUse:
    """The settings of one profile that the devices of its account share.

    `open_room` finds or makes the account's own room; it is set before the first connection.
    """

    def __init__(self, sync: OwnSettingsContext, store: Store, account: Account, siblings: Siblings) -> None:
        self._sync = sync
        self._store = store
        self._account = account
        self._siblings = siblings
        self._known = OwnSettings(store, account.verified.account, account.device.public)
        self._pins = Pins(store)
        self.open_room: Callable[[], Awaitable[object]] | None = None
        self._is_due = self._is_opening = self._is_looking = False
        self._answers_at: float | None = None
        self._asked: set[bytes] = set()
        self._told: set[tuple[bytes, bytes]] = set()
        if siblings.known.others():
            store.watch(self._written)

    # --- when ---

    def check(self) -> None:
        """Begin to share settings, if there is another device: one was added, or there is a connection."""
        if self._siblings.known.others():
            self._store.watch(self._written)
            if self._sync.is_online:
                self._open_room()
            self._written()

    def disconnected(self) -> None:
        """Only note what changes, until there is a connection."""
        self._answers_at = None
        self._asked.clear()

    def finish(self) -> None:
        """Send what has changed at once, as this program ends."""
        self._store.watch(None)
        try:
            self._look()
        except ClientError:
            pass  # the next look finds it

    def _written(self) -> None:
        """Look in a moment, as something was stored; but not because of what a look has stored."""
        if not self._is_due and not self._is_looking:
            with contextlib.suppress(RuntimeError):  # opened only to read, without an event loop
                asyncio.get_running_loop()
                self._is_due = True
                self._sync.later(_GATHER_SECONDS, self._run)

    def _run(self) -> None:
        self._is_due = False
        if not self._store.is_closed:
            self._look()

    def _look(self) -> None:
        """Note what has changed; with a connection apply what came, and send what is to be sent."""
        if not self._siblings.known.others():
            return
        self._is_looking = True
        try:
            now = round(self._sync.clock() * 1000)
            with self._store.transaction():
                self._known.note_changes(now)
            if self._sync.is_online:
                self._apply()
                self._send(now)
        finally:
            self._is_looking = False

    # --- the own room ---

    @property
    def rooms(self) -> list[LocalRoom]:
        """The account's own rooms, without those in which a removed device is: it is told nothing.

        There is more than one if two devices did not know of each other's.
        """
        revoked = self._siblings.known.revoked()
        found = [room for room in self._sync.rooms.values() if room.is_notes and room.is_joined]
        return [room for room in found if is_own_room(room) and not any(map(room.roster.has, revoked))]

    def _open_room(self) -> None:
        """Have the primary device make the room, if there is none."""
        notes = [room for room in self._sync.rooms.values() if room.is_notes and room.is_joined]
        is_missing = self._siblings.is_asked and not notes
        if is_missing and self._account.is_primary and not self._is_opening:
            self._is_opening = True
            self._sync.spawn(self._make_room)

    async def _make_room(self) -> None:
        try:
            if self.open_room is not None and any(
                each.is_paired for each in self._siblings.known.others().values()
            ):
                await self.open_room()
        finally:
            self._is_opening = False
        self._written()

    # --- sharing ---

    def _send(self, now: int) -> None:
        """Send what has changed to all own rooms, or all settings where they are asked for."""
        rooms = [room for room in self.rooms if room.may_send]
        if not rooms:
            return
        purposes = {room.id: self._purpose(room) for room in rooms}
        with self._store.transaction():
            everything = self._known.take_all() if any(purposes.values()) else []
            changed = [] if everything else self._known.take_unsent()
            for room in rooms:
                purpose = purposes[room.id]
                found = everything if purpose else changed or everything
                if found or purpose:
                    self._append(room, purpose, found, now)
        for room in rooms:
            self._sync.submit_due(room)

    def _append(self, room: LocalRoom, purpose: Purpose, found: Sequence[Setting], now: int) -> None:
        for message in in_messages(purpose, found):
            room.outbox.append(room.composer.settings(message), now)
        if purpose:
            room.put_part(ASKED_PART, b"1")
            room.put_part(ANSWER_DUE_PART, None)
            self._asked.add(room.id)

    def _purpose(self, room: LocalRoom) -> Purpose:
        """Return why this device sends now: it has never asked, or it is its turn to answer, or neither.

        What the relay has refused is said once a connection: it would refuse it again.
        """
        asked = room.part(ASKED_PART)
        if asked is None or (asked == REFUSED and room.id not in self._asked):
            return Purpose.ASK
        if room.part(ANSWER_DUE_PART) is None:
            self._answers_at = None
            return Purpose.CHANGE
        now = asyncio.get_running_loop().time()
        if self._answers_at is None:
            before = room.roster.own_rank(self._siblings.online, self._siblings.known.others())
            self._answers_at = now + (_LEFT_TO_OTHERS_SECONDS if before else 0.0)
            if before:
                self._sync.later(_LEFT_TO_OTHERS_SECONDS, self._run)
        return Purpose.ANSWER if now >= self._answers_at else Purpose.CHANGE

    # --- applying ---

    def _apply(self) -> None:
        """Apply what other devices have changed, as far as it can be now: all of it, or nothing."""
        waiting = self._known.unapplied()
        if not waiting:
            return
        changed: list[LocalRoom] = []
        try:
            with self._store.transaction():
                self._known.note_applied([each for each in waiting if self._apply_one(each, changed)])
        except BaseException:
            for room in changed:
                room.reload()
            raise
        self._sync.expiry.check()  # what was read elsewhere disappears some time after that
        for room in changed:
            self._sync.submit_noted(room)
        self._sync.batch_done()

    def _apply_one(self, setting: Setting, changed: list[LocalRoom]) -> bool:
        """Apply a setting; return False if that has to wait. What makes no sense does nothing.

        Rooms that it changes are added to `changed`.
        """
        kind, subject, value = setting.kind, setting.subject, setting.value
        try:
            match kind:
                case SettingKind.READ:
                    return self._mark_shown(subject, value, changed)
                case SettingKind.DRAFT | SettingKind.RECEIPTS:
                    self._store.set_room_setting(subject, ROOM_SETTINGS[SettingKind(kind)], value.decode())
                case SettingKind.ARCHIVE:
                    self._archive(subject, is_archived=bool(value))
                case SettingKind.MUTE:
                    until = float(value or b"0")
                    if math.isfinite(until):
                        settings.mute(self._store, subject, until)
                case SettingKind.ANSWER:
                    self._answer(subject, value, changed)
                case SettingKind.BLOCK:
                    self._block(subject, value.decode(), changed)
                case SettingKind.CONTACT:
                    self._pin(setting)
                case SettingKind.VERIFIED:
                    self._verify(subject, value.decode())
        except (ValueError, msgspec.DecodeError):
            pass
        return True

    def _mark_shown(self, room_id: bytes, message: bytes, changed: list[LocalRoom]) -> bool:
        """Note what another device has shown; return False while the message may still come."""
        room = self._sync.rooms.get(room_id)
        if room is None:
            return True
        line = self._store.message(room_id, message)
        if line is None:
            return room.synced
        if room.mark_shown(line.seq, elsewhere=True):
            changed.append(room)
        return True

    def _archive(self, room_id: bytes, *, is_archived: bool) -> None:
        room = self._sync.rooms.get(room_id)
        if room is not None:
            room.set_archived(archived=is_archived)
        else:
            name = ROOM_SETTINGS[SettingKind.ARCHIVE]
            self._store.set_room_setting(room_id, name, "yes" if is_archived else "")

    def _answer(self, room_id: bytes, answer: bytes, changed: list[LocalRoom]) -> None:
        """Accept an invitation, or leave a room, as the user has done on another device."""
        room = self._sync.rooms.get(room_id)
        inviter = None if room is None else room.roster.inviter()
        is_invited = room is not None and room.record.phase is Phase.INVITED
        if room is None or room.is_notes or not (is_invited or (room.is_joined and answer == b"out")):
            return
        if answer == b"out":
            room.decline() if is_invited else room.start_leaving()
        elif answer == b"in" and inviter is not None:
            if self._pins.contradicted_by(inviter.name, inviter.account) is not None:
                return  # the user has to decide here
            room.accept()
            room.note_joint()
        room.note_answer(answer.decode())
        changed.append(room)

    def _block(self, account: bytes, name: str, changed: list[LocalRoom]) -> None:
        if len(account) != 32 or account == self._account.verified.account:
            return
        if name:
            changed += block_account(self._sync, account, name[:_MOST_NAME])
        else:
            self._store.unblock(account)

    def _pin(self, setting: Setting) -> None:
        """Pin a name as another device has; tell the user if it is pinned to another account here."""
        if not setting.value:
            return
        contact = msgspec.msgpack.decode(setting.value, type=Contact)
        name, account = contact.name, contact.account
        if skeleton(name).encode() != setting.subject:
            return
        known = self._pins.contradicted_by(name, account)
        if known is None:
            self._store.add_pin(name, account)
            if contact.is_decided:
                self._store.note_decided(account)
        elif known.account == self._account.verified.account:
            return
        elif contact.is_decided:
            self._pins.repin(name, account)
        elif (subject := (setting.subject, account)) not in self._told:
            self._told.add(subject)
            shown = sanitize(name)
            text = f"your other device knows {shown} by another key: ask {shown}, and see /trust {shown}"
            self._sync.emit(events.Notice(b"", text))

    def _verify(self, account: bytes, name: str) -> None:
        if len(account) == 32 and name and account != self._account.verified.account:
            with self._store.transaction():
                self._store.add_account(account, name[:_MOST_NAME])
                self._store.verify_account(account)
