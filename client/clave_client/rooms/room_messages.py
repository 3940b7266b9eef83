"""What is said in one room, as far as it needs no keys: what waits to be sent, what was shown, what is owed.

A part of `LocalRoom`. Each call is one transaction.
"""

from __future__ import annotations

from typing import Final

from clave_client import events
from clave_client.errors import RoomBehind, StateTooOld, UsageError
from clave_client.events import Person
from clave_client.formats.composing import Composer, Outgoing
from clave_client.formats.content import ContentKind
from clave_client.formats.former_content import FormerKind
from clave_client.formats.mimi.content import Expiration
from clave_client.formats.mimi.status import MessageStatus
from clave_client.rooms.lost_entries import LostEntries
from clave_client.rooms.stored_room import DIRECT, JOINT, REFUSED
from clave_client.store.settings import ANSWER, ARCHIVED, READ_RECEIPTS
from clave_client.values import Phase
from clave_crypto.identity import fingerprint
from clave_wire.text import sanitize

__all__ = ["MOST_RECEIPT_ACCOUNTS", "RoomMessages"]

MOST_RECEIPT_ACCOUNTS: Final = 20
"""Accounts of the largest room in which receipts are sent."""

_MOST_RECEIPTS: Final = 500
"""Most messages of which it is told at once that they were received or read."""

_MOST_BEHIND: Final = 1000
"""Entries behind the end of the log from which on it is not told that a message was received."""


class RoomMessages(LostEntries):
    """A room with what is said in it; the base of `LocalRoom`."""

    _direct: list[bytes] | None = None

    # --- to be sent ---

    @property
    def composer(self) -> Composer:
        """What makes contents to send here; mentions are of the members' names."""
        names = {member.name: member.account for member in self.roster.members().values()}
        return Composer(self.id, self.account, names)

    def name_of(self, account: bytes) -> str:
        """Return the name of a member by its account, or nothing for somebody who is none."""
        return self.roster.names.get(account, "")

    def name_of_banned(self, account: bytes) -> str:
        """Return the name under which a banned account is known here, or its fingerprint."""
        return sanitize(self._store.account_name(account)) or fingerprint(account)

    def enqueue(self, item: Outgoing) -> bytes:
        """Append a content to the outbox and return its id; from here on it survives a crash."""
        self.check_age()
        with self.changing():
            self.outbox.append(item, round(self.clock() * 1000))
        return item.id

    def enqueue_text(self, text: str, *, reply_to: bytes = b"", expires: Expiration | None = None) -> bytes:
        """Append a message and return its id; in the former format if a member reads no other.

        That format has neither answers nor expiry, which the caller has to check.
        """
        if self.roster.outdated:
            return self._enqueue_former(FormerKind.TEXT, text)
        return self.enqueue(self.composer.text(text, reply_to=reply_to, expires=expires))

    def enqueue_joined(self) -> bytes:
        """Append the note that this device accepted its invitation."""
        if self.roster.outdated:
            return self._enqueue_former(FormerKind.JOINED, "")
        return self.enqueue(self.composer.joined())

    def _enqueue_former(self, kind: FormerKind, text: str) -> bytes:
        return self.enqueue(self.composer.former(kind, text, round(self.clock() * 1000)))

    def check_age(self) -> None:
        """Raise `StateTooOld` if this device has submitted what it does not remember."""
        if self.too_old:
            raise StateTooOld(
                f"this profile comes from a backup, too old to send to {self.record.title}; leave and rejoin"
            )

    # --- what kind of room it is ---

    @property
    def is_joined(self) -> bool:
        """Whether this device is a member that accepted its invitation and does not leave."""
        return self.record.phase is Phase.JOINED

    def is_invited_by(self, account: bytes) -> bool:
        """Return whether this is an open invitation of `account`."""
        inviter = self.roster.inviting_member() if self.record.phase is Phase.INVITED else None
        return inviter is not None and inviter.account == account

    @property
    def direct(self) -> list[bytes]:
        """The accounts, sorted, of a room between two people or for own notes; empty for others."""
        if self._direct is None:
            stored = bytes.fromhex(self._store.room_setting(self.id, DIRECT))
            self._direct = [stored[place : place + 32] for place in range(0, len(stored), 32)]
        return self._direct

    @property
    def is_notes(self) -> bool:
        """Whether this is a room of own notes, which only devices of this account can be in."""
        return len(self.direct) == 1

    @property
    def is_archived(self) -> bool:
        """Whether lists leave this room out until somebody says something there."""
        if self._is_archived is None:
            self._is_archived = bool(self._store.room_setting(self.id, ARCHIVED))
        return self._is_archived

    def set_archived(self, *, archived: bool) -> None:
        """Leave this room out of lists, or take it in again."""
        if archived != self.is_archived:
            self._store.set_room_setting(self.id, ARCHIVED, "yes" if archived else "")
            self._is_archived = archived

    @property
    def is_joint(self) -> bool:
        """Whether both people of a room between two are known to have joined it."""
        return bool(self._store.room_setting(self.id, JOINT))

    def note_joint(self) -> None:
        """Note that both people of a room between two have joined it."""
        if self.direct:
            self._store.set_room_setting(self.id, JOINT, "yes")

    # --- decisions of the user ---

    def note_answer(self, answer: str) -> None:
        """Note for the other devices of the account that its user has come "in", or gone "out"."""
        self._store.set_room_setting(self.id, ANSWER, answer)

    def accept(self) -> None:
        """Accept the invitation. Raises `UsageError` if there is none."""
        self._answer(Phase.JOINED)

    def decline(self) -> None:
        """Decline the invitation: start to leave. Raises `UsageError` if there is none."""
        self._answer(Phase.LEAVING)

    def _answer(self, phase: Phase) -> None:
        if self.record.phase is not Phase.INVITED:
            raise UsageError(f"there is no open invitation to {self.record.title}")
        with self.changing():
            self.set(phase=phase)

    def start_leaving(self) -> None:
        """Start to leave; `leave_due` becomes true once the leave can be submitted."""
        with self.changing():
            self.set(phase=Phase.LEAVING)

    # --- closing ---

    def refuse(self) -> None:
        """Decline the invitation of a blocked account: start to leave, and show nothing of it."""
        with self.changing():
            self._store.set_room_setting(self.id, REFUSED, "yes")
            self.set(phase=Phase.LEAVING)
        self.is_refused = True

    def close(self, by: Person | None) -> events.RoomClosed:
        """Delete the keys, as this device is no longer a member; `by` removed it, None for its own leave."""
        with self.changing():
            self.unsent = self._texts_nobody_read() | self.outbox.texts(include_logged=True)
            self.set(phase=Phase.CLOSED, submission=max(self.record.submission, self.last_accepted))
            self._store.forget_group(self.id)
        return events.RoomClosed(self.id, self.record.title, by)

    def _texts_nobody_read(self) -> dict[bytes, str]:
        """Return the texts by id that were said after a join by a link that no member has confirmed."""
        if self.joining is None or self.joining.let_in:
            return {}
        sent = self._store.sent_after(self.id, self.history_seq(self.record.began))
        return {each.id: each.text for each in sent if each.kind == ContentKind.TEXT}

    def fall_behind(self) -> RoomBehind:
        """Delete the keys, as the relay no longer has the next entries. Returns the error to report."""
        with self.changing():
            self.unsent = self.outbox.texts()
            self.set(phase=Phase.BEHIND)
            self._store.forget_group(self.id)
        return RoomBehind(self.record.title, self.record.cursor)

    # --- receipts ---

    @property
    def owes_receipts(self) -> bool:
        """Whether receipts are sent here: the room is small and joined, and all its members know them."""
        small = len(self.roster.accounts) <= MOST_RECEIPT_ACCOUNTS
        return small and self.is_joined and not self.roster.outdated

    @property
    def tells_what_was_read(self) -> bool:
        """Whether the user wants the others to be told what was read."""
        return bool(self._store.room_setting(self.id, READ_RECEIPTS))

    def owes_receipts_to(self, person: Person) -> bool:
        """Return whether `person` is told what became of its messages: in a room of two only if verified."""
        return self.owes_receipts and (not self.direct or person.verified)

    def note_received(self, message: bytes, person: Person) -> None:
        """Owe `person` the report that its message was received, unless it is one of very many."""
        if self._end - self.record.cursor <= _MOST_BEHIND and self.owes_receipts_to(person):
            self._store.add_due_receipt(self.id, message, MessageStatus.DELIVERED)

    def enqueue_receipts(self) -> bool:
        """Append a report of the statuses that are due; return whether there were any."""
        with self.changing():
            found = self._store.take_due_receipts(self.id, _MOST_RECEIPTS)
            if found and self.owes_receipts:
                self.outbox.append(self.composer.statuses(found), round(self.clock() * 1000))
        return bool(found)

    # --- shown ---

    def mark_shown(self, place: int, *, until: bool = False, elsewhere: bool = False) -> bool:
        """Note that the message at history seq `place` is shown; return False when it was before.

        With `until`, all up to it are. Those that are to be deleted some time after that are from now on.
        With `elsewhere`, it was shown on another device of the account, which tells others.
        """
        is_late = place in self.late
        if place <= self.record.shown and not is_late and not (until and self.late):
            return False
        with self.changing():
            passed = self.late if until else frozenset()
            first = min([self.record.shown + 1, place, *passed])
            self._note_read(first, place, tells=not elsewhere)
            if until:
                self._set_late(frozenset(late for late in self.late if late > place))
            elif is_late:
                self._set_late(self.late - {place})
            self.set(shown=max(self.record.shown, place))
        return True

    def _note_read(self, first: int, last: int, *, tells: bool) -> None:
        """Begin the time of messages from `first` to `last`, and owe receipts for them if wanted."""
        self._store.start_expiry(self.id, first, last, round(self.clock() * 1000))
        if not tells or not self.owes_receipts or not self.tells_what_was_read:
            return
        for line in self._store.next_messages(self.id, first - 1, _MOST_RECEIPTS, before=last + 1):
            sender = self.find(line.sender)
            if sender is not None and sender.account != self.account and self.owes_receipts_to(sender):
                self._store.add_due_receipt(self.id, line.id, MessageStatus.READ)
