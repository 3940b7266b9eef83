"""What the contents of messages do to a room's history, alike at all members. Knows the store; sends nothing.

Who may change a message is judged at the place of the change in the log: its author's account, or for a
removal an admin by the agreed state there. What names a message that is not here, or changes another's, does
nothing and is reported once per member; only where the relay has lost entries, which are sent again in
another order, it is kept until the message comes.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from clave_client import events
from clave_client.events import MessageKind, Person
from clave_client.formats.agreed_state import Role
from clave_client.formats.content import SPEAKING, Content, ContentKind
from clave_client.formats.markdown import mentioned, readable
from clave_client.formats.mimi.status import MessageStatus
from clave_client.rooms.batch_report import BatchReport
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.settings_entries import take_settings
from clave_client.store.database import Store
from clave_client.store.message_tables import HistoryLine
from clave_client.values import Phase

__all__ = ["MessageEffects"]

_LATEST: Final = 253_370_764_800_000
"""The last moment that calendars can show (the year 9999), in milliseconds since 1970: relays can lie."""

_DEEDS: Final = {
    ContentKind.EDIT: "edited",
    ContentKind.DELETION: "deleted",
    ContentKind.REACTION: "reacted to",
}
"""What contents do to the messages that they name."""

_REPORTED: Final = (MessageStatus.DELIVERED, MessageStatus.READ)


class _Change(NamedTuple):
    """A content that changes what has not come yet."""

    content: Content
    person: Person
    accepted_at: int
    is_admin: bool


class MessageEffects:
    """What contents do to the history of one room. Use it in the transaction in which the log is read."""

    def __init__(self, room: LocalRoom, store: Store) -> None:
        self._room = room
        self._store = store
        self._report = BatchReport(room.id)
        self._is_blocked = False
        self._is_admin = False

    def apply(
        self, content: Content, person: Person, place: int, accepted_at: int, report: BatchReport
    ) -> None:
        """Apply a content of `person`, at history seq `place`, and report what it did.

        `accepted_at` is the relay's time in milliseconds since 1970, 0 if not known.
        """
        role = self._room.state.role_of(person.account)
        if content.kind in SPEAKING and role is Role.GUEST:
            self._report = report
            if not self._store.is_blocked(person.account):
                self._report_inert(person, "is a guest, who only reads, and said something")
            return
        self._apply(_Change(content, person, accepted_at, role >= Role.ADMIN), place, report)

    def _apply(self, change: _Change, place: int, report: BatchReport) -> None:
        content, person = change.content, change.person
        self._report, self._is_admin = report, change.is_admin
        is_own = person.device == self._room.roster.own_device
        if self._room.direct and person.account != self._room.account and not self._room.is_joint:
            self._room.note_joint()  # whoever speaks has joined; a device that came later never read of it
        if content.kind is ContentKind.JOINED:
            if not is_own and report.is_new(person.device, "joined"):
                report.add(events.InvitationAccepted(self._room.id, person))
            return
        if content.settings is not None:
            if not take_settings(self._room, self._store, content.settings, person):
                self._report_inert(person, "sent settings of its own")
            return
        line = self._line(content, person, place, change.accepted_at)
        self._is_blocked = self._store.is_blocked(person.account)
        if self._is_blocked:  # it is kept, and shown nowhere until that ends
            self._report = BatchReport(self._room.id, is_hidden=True)
        absent = self._absent(content, person)
        if absent:
            if self._comes_again:
                data = msgspec.msgpack.encode(change)
                values = content.target, place, person.account, content.kind, data
                self._store.add_early(self._room.id, *values)
            else:
                self._report_inert(person, f"{absent} a message that is not here")
            return
        match content.kind:
            case ContentKind.TEXT | ContentKind.UNKNOWN:
                self._add(content, person, line, is_own=is_own)
            case ContentKind.EDIT:
                self._edit(content, person, line)
            case ContentKind.DELETION:
                self._delete(content, person, line, report)
            case ContentKind.REACTION:
                self._react(content, person, line)
            case ContentKind.STATUS:
                self._note_statuses(content, person, line)
        if self._comes_again:
            for before, data in self._store.take_early(self._room.id, content.id):
                self._apply(msgspec.msgpack.decode(data, type=_Change), before, report)

    @property
    def _comes_again(self) -> bool:
        """Whether the relay was restored, so that what it lost is sent again in another order."""
        return bool(self._room.record.era or self._room.relay_restores)

    def _absent(self, content: Content, person: Person) -> str:
        """Return what a content did to a message that is not here, empty if it is here or none is named."""
        deed = _DEEDS.get(content.kind, "")
        if not deed or self._store.message(self._room.id, content.target) is not None:
            return ""
        has_reacted = self._store.has_reaction(self._room.id, person.account, content.target)
        return "" if content.kind is ContentKind.DELETION and has_reacted else deed

    def _line(self, content: Content, person: Person, place: int, accepted_at: int) -> HistoryLine:
        """Return the line of a content as if it were a message of its own."""
        now = round(self._room.clock() * 1000)
        accepted_at = accepted_at if accepted_at <= _LATEST else 0
        sent_at = content.sent_at if content.sent_at is not None else accepted_at or now
        text, mentions = content.text, frozenset[bytes]()
        if content.markup and (mentions := mentioned(content.markup)):
            text = readable(content.markup, self._room.name_of)
        expires = content.expires
        is_own = person.device == self._room.roster.own_device
        after = max(1, expires.time) if expires is not None and expires.relative else 0
        at = expires.time * 1000 if expires is not None and not expires.relative else 0
        if after and is_own:  # who said it has read it
            at, after = now + after * 1000, 0
        return HistoryLine(
            place,
            person.device,
            person.account,
            person.name,
            content.id,
            text,
            sent_at,
            MessageKind.UNKNOWN if content.kind is ContentKind.UNKNOWN else MessageKind.TEXT,
            content.markup,
            content.reply_to,
            accepted_at,
            expires_at=at,
            expires_after=after,
            mentions_me=self._room.account in mentions,
        )

    # --- messages ---

    def _add(self, content: Content, person: Person, line: HistoryLine, *, is_own: bool) -> None:
        room = self._room
        if line.expires_at and line.expires_at <= room.clock() * 1000:
            self._store.add_message(room.id, _expired(line))  # its id is kept, so that it never comes again
            return
        if not self._store.add_message(room.id, line) or is_own:
            return
        if room.record.phase is Phase.LEAVING:
            return  # who leaves, or has declined, is shown nothing more
        room.note_late(line.seq)
        if self._is_blocked:
            return
        room.set_archived(archived=False)
        self._report.add(
            events.Message(
                room.id,
                line.seq,
                person,
                line.id,
                line.text,
                line.sent_at / 1000,
                line.kind,
                line.markup,
                line.reply_to,
                line.accepted_at / 1000,
                line.mentions_me,
                bool(line.expires_at or line.expires_after),
            )
        )
        room.note_received(line.id, person)

    def _edit(self, content: Content, person: Person, line: HistoryLine) -> None:
        room = self._room
        found = self._store.message(room.id, content.target)
        if found is None or found.kind is not MessageKind.TEXT:
            return
        if found.account != person.account:
            self._report_inert(person, f"tried to edit a message of {found.name}")
            return
        if self._store.is_current(room.id, found.id, content.id):
            return  # it was sent again; a former version that comes again counts again
        expires = content.expires  # an absolute one can only shorten; another began with the message
        at = expires.time * 1000 if expires is not None and not expires.relative else 0
        ends = [each for each in (found.expires_at, at) if each]
        edited = HistoryLine(
            found.seq,
            found.sender,
            found.account,
            found.name,
            found.id,
            line.text,
            line.sent_at,
            markup=line.markup,
            expires_at=min(ends, default=0),
            mentions_me=line.mentions_me,
        )
        self._store.edit_message(room.id, found.id, content.id, edited)
        if edited.expires_at and edited.expires_at <= room.clock() * 1000:
            self._store.erase_message(room.id, found.id, MessageKind.EXPIRED)
            return
        self._report.add(
            events.MessageEdited(
                room.id, found.seq, person, found.id, line.text, line.sent_at / 1000, line.markup
            )
        )

    def _delete(self, content: Content, person: Person, line: HistoryLine, shown: BatchReport) -> None:
        """Delete a message of this account, or as an admin remove another's; or take a reaction back.

        `shown` is told of a removal also by somebody blocked.
        """
        room = self._room
        reacted = self._store.drop_reaction(room.id, person.account, content.target)
        for message, reaction in reacted:
            self._report.add(
                events.ReactionChanged(room.id, message.seq, person, message.id, reaction, added=False)
            )
        found = self._store.message(room.id, content.target)
        if reacted or found is None or found.kind not in (MessageKind.TEXT, MessageKind.UNKNOWN):
            return
        if found.account == person.account:
            self._store.erase_message(room.id, found.id, MessageKind.DELETED)
        elif self._is_admin:
            self._store.erase_message(room.id, found.id, MessageKind.REMOVED, line)
            self._report = shown
        else:
            self._report_inert(person, f"tried to delete a message of {found.name}")
            return
        self._report.add(events.MessageDeleted(room.id, found.seq, person, found.id, found.name))

    def _react(self, content: Content, person: Person, line: HistoryLine) -> None:
        room = self._room
        if content.replaces:
            for message, reaction in self._store.drop_reaction(room.id, person.account, content.replaces):
                self._report.add(
                    events.ReactionChanged(room.id, message.seq, person, message.id, reaction, added=False)
                )
        found = self._store.message(room.id, content.target)
        if found is None or found.kind not in (MessageKind.TEXT, MessageKind.UNKNOWN):
            return
        for reaction in content.reactions:
            if self._store.add_reaction(room.id, found.id, line, reaction):
                self._report.add(
                    events.ReactionChanged(room.id, found.seq, person, found.id, reaction, added=True)
                )

    def _note_statuses(self, content: Content, person: Person, line: HistoryLine) -> None:
        """Note what became of this account's messages at another one."""
        room = self._room
        if person.account == room.account or self._is_blocked or not room.owes_receipts:
            return
        statuses = {message: status for message, status in content.statuses if status in _REPORTED}
        for message in self._store.said(room.id, room.account, statuses):
            if self._store.add_receipt(room.id, message, line, statuses[message]):
                self._report.add(events.StatusChanged(room.id, message))

    def _report_inert(self, person: Person, text: str) -> None:
        if self._report.is_new(person.device, re.sub(r" of .*", "", text)):
            self._report.add(events.Notice(self._room.id, f"{person.name} {text}; nothing changed"))


def _expired(line: HistoryLine) -> HistoryLine:
    return HistoryLine(
        line.seq, line.sender, line.account, line.name, line.id, "", line.sent_at, MessageKind.EXPIRED
    )
