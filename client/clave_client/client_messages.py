"""What a client says in its rooms, and does to what was said there.

The part of `client.Client` that appends to outboxes. A method `note_...` stores what is to be sent and
returns its id; `submit_noted` sends it. An event says what became of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from clave_client.client_settings import ClientSettings
from clave_client.client_setup import chosen_proxy
from clave_client.errors import ClientError, MemberNotFound, UsageError
from clave_client.events import MessageKind
from clave_client.formats.agreed_state import MAX_EXPIRY_SECONDS, Role
from clave_client.formats.content import MAX_BODY_BYTES, is_reaction
from clave_client.formats.mimi.content import Expiration
from clave_client.formats.mimi.message_id import legacy_message_id
from clave_client.rooms.local_room import LocalRoom
from clave_client.rooms.relay_view import relay_view
from clave_client.store.message_tables import HistoryLine
from clave_client.store.search_index import MOST_ROW
from clave_client.values import ERA_BITS, MOST_NUMBER, Phase, RelayView
from clave_wire.text import sanitize

__all__ = ["ClientMessages", "FoundLine", "check_current", "check_latest"]

_FORMER_ID_BYTES = 16

_MOST_DIGITS = 18
_LOOKED_AT = 1000
"""Messages that are looked at for the last one of somebody."""


class FoundLine(NamedTuple):
    """A message of `room` that a search found; `marks` are the places of the words in its text.

    `row` grows with the time at which this device received it.
    """

    room: bytes
    row: int
    line: HistoryLine
    marks: list[tuple[int, int]]


class ClientMessages(ClientSettings):
    """The messages of one profile; the base of `Client`."""

    def submit_noted(self, room: bytes) -> None:
        """Send what was noted for a room, if there is a connection; else it is sent once there is one."""
        here = self.sync.rooms.get(room)
        if here is not None:
            self.sync.invitations.retry_deferred()
            self.sync.submit_noted(here)

    # --- saying something ---

    def post(self, room: bytes, text: str, *, reply_to: bytes = b"", expires_after: int = 0) -> bytes:
        """Append a message to a room's outbox and return its id; an event `Sent` or `SendFailed` follows.

        Once this returns the message survives a crash. Raises `UsageError` when it is empty or too long.
        """
        noted = self.note_message(room, text, reply_to=reply_to, expires_after=expires_after)
        return self._submitted(room, noted)

    def note_message(self, room: bytes, text: str, *, reply_to: bytes = b"", expires_after: int = 0) -> bytes:
        """Append a message, an answer to the message `reply_to` if that is given.

        It disappears `expires_after` seconds after it was read, or with 0 when those of the room do. Raises
        `UsageError` when it is empty or too long, or needs what a member of the room does not know yet.
        """
        here, text = self._speaking_in(room), _checked_text(text)
        if reply_to:
            self._find(here, reply_to)
            check_current(here, "replies")
        if expires_after:
            check_current(here, "messages that disappear")
            if not 0 < expires_after <= MAX_EXPIRY_SECONDS:
                raise UsageError("a message disappears after a year (365d) at most")
        seconds = expires_after or here.state.expiry
        expires = Expiration(relative=True, time=seconds) if seconds else None
        return here.enqueue_text(text, reply_to=reply_to, expires=expires)

    def note_edit(self, room: bytes, message: bytes, text: str) -> bytes:
        """Append another text for one's own message. Raises `UsageError` when that cannot be."""
        here, text = self._speaking_in(room), _checked_text(text)
        line = self._own(here, message, "edit")
        check_current(here, "edited messages")
        return here.enqueue(here.composer.text(text, reply_to=line.reply_to, replaces=line.id))

    def note_deletion(self, room: bytes, message: bytes) -> bytes:
        """Append the deletion of one's own message for all, or as an admin the removal of another's."""
        here = self._speaking_in(room)
        line = self._find(here, message)
        if line.account != here.account and here.state.role_of(here.account) < Role.ADMIN:
            raise UsageError(f"only {line.name} or an admin can delete that; /delete it here only")
        check_current(here, "deleted messages")
        return here.enqueue(here.composer.deletion(line.id))

    def hide_message(self, room: bytes, message: bytes) -> None:
        """Delete a message on this device only."""
        self.note_hidden(room, message)
        self.sync.store.remove_traces()

    def note_hidden(self, room: bytes, message: bytes) -> None:
        """Delete a message on this device only; `Store.remove_traces` does the rest."""
        line = self._find(self._room(room), message)
        with self.sync.store.transaction():
            self.sync.store.erase_message(room, line.id, MessageKind.HIDDEN)

    def note_reaction(self, room: bytes, message: bytes, reaction: str) -> bytes:
        """Append a reaction to a message: an emoji, or a few letters. Raises `UsageError`."""
        here = self._speaking_in(room)
        if not is_reaction(reaction):
            raise UsageError("a reaction is one emoji, or a few letters without spaces")
        line = self._find(here, message)
        check_current(here, "reactions")
        own = self.sync.store.reactions(room, line.id)
        if any(each.account == here.account and each.reaction == reaction for each in own):
            raise UsageError(f"you have reacted with {reaction} already; /unreact takes it back")
        return here.enqueue(here.composer.reaction(line.id, reaction))

    def note_unreaction(self, room: bytes, message: bytes, reaction: str = "") -> bytes:
        """Append that one's own reaction to a message is taken back: the named one, or the only one."""
        here = self._speaking_in(room)
        line = self._find(here, message)
        reactions = [
            each for each in self.sync.store.reactions(room, line.id) if each.account == here.account
        ]
        found = [each for each in reactions if reaction in ("", each.reaction)]
        if not found:
            raise UsageError(
                "you have not reacted to that" + (f" with {sanitize(reaction)}" if reaction else "")
            )
        if len(found) > 1:
            raise UsageError(f"say which reaction: {' '.join(each.reaction for each in found)}")
        return here.enqueue(here.composer.deletion(found[0].id))

    def edit(self, room: bytes, message: bytes, text: str) -> bytes:
        """Give one's own message another text, for all; return the id of what says so, as `post` does."""
        return self._submitted(room, self.note_edit(room, message, text))

    def delete(self, room: bytes, message: bytes) -> bytes:
        """Delete one's own message for all, or as an admin another's; return the id of what says so."""
        return self._submitted(room, self.note_deletion(room, message))

    def react(self, room: bytes, message: bytes, reaction: str) -> bytes:
        """React to a message; return the id of what says so."""
        return self._submitted(room, self.note_reaction(room, message, reaction))

    def unreact(self, room: bytes, message: bytes, reaction: str = "") -> bytes:
        """Take a reaction back, the named one or the only one; return the id of what says so."""
        return self._submitted(room, self.note_unreaction(room, message, reaction))

    def _submitted(self, room: bytes, content: bytes) -> bytes:
        self.submit_noted(room)
        return content

    # --- sent and delivered ---

    async def wait_until_sendable(self, room: bytes) -> None:
        """Wait until a room is read and messages can be encrypted for its present members.

        Raises `ClientError` when the relay refuses to resume the room.
        """
        await self.sync.wait_until_sendable(room)

    async def wait_delivered(self, room: bytes, message_id: bytes) -> int:
        """Wait until something posted is in the log; return its history seq. Raises `ClientError`.

        `message_id` is what `post` or a method `note_...` returned, also in an earlier version.
        """
        sync = self.sync
        if len(message_id) == _FORMER_ID_BYTES:
            message_id = legacy_message_id(room, sync.account.verified.account, message_id)
        if seq := sync.store.sent_place(message_id):
            return seq
        if (line := sync.store.message(room, message_id)) is not None:  # what it said was deleted since
            return line.seq
        if not sync.store.is_waiting(room, message_id):
            raise ClientError("that message was not sent, and waits no longer")
        return await sync.wait_for_delivery(room, message_id)

    async def send(self, room: bytes, text: str, *, reply_to: bytes = b"", expires_after: int = 0) -> int:
        """Send a message; return its history seq once the relay has it on disk. Raises `ClientError`."""
        message_id = self.post(room, text, reply_to=reply_to, expires_after=expires_after)
        return await self.sync.wait_for_delivery(room, message_id)

    # --- finding messages ---

    def find_message(self, room: bytes, words: str, *, own: bool | None = None) -> HistoryLine:
        """Return the message that `words` name: its number, its id, or without words the last one.

        The last one is that of this account with `own`; if that is False that of others, or else the own
        one. Raises `UsageError`, also when the last own one is not in the log yet.
        """
        here = self._room(room)
        if not words.strip():
            if own and self.sync.store.pending_texts(room, 1):
                raise UsageError(
                    "your last message cannot be changed before it is sent; name an earlier one by its number"
                )
            found = self._last_message(here, own) or (None if own else self._last_message(here, None))
        elif words.strip().isascii() and words.strip().isdecimal():
            found = self._numbered(here, int(words.strip()[:_MOST_DIGITS]))
        else:
            try:
                found = self._unblocked(room, bytes.fromhex(words))
            except ValueError:
                raise UsageError("say which message: its number, as /numbers shows it") from None
        if found is None:
            raise UsageError(f"there is no such message in {here.record.title}")
        return found

    def relay_view(self, room: bytes, words: str = "") -> RelayView:
        """Return what the relay could learn of the message that `words` name: its number, or its id.

        Without words it is the last one that this device sent. Raises `UsageError`.
        """
        here, device = self._room(room), self.sync.own_device
        if words.strip():
            line: HistoryLine | None = self.find_message(room, words)
        else:
            lines = reversed(self.history(room, last=_LOOKED_AT))
            line = next((line for line in lines if line.sender == device), None)
        if line is None:
            raise UsageError(f"this device has said nothing in {here.record.title}; say which message")
        address = self.sync.connection.address
        is_onion = address.host.endswith(".onion")
        has_proxy = chosen_proxy(self.sync.store, None, address) is not None
        way = "onion" if is_onion else "proxy" if has_proxy else "direct"
        online = self.sync.online.get(room, set()) | {device}
        return relay_view(here, self.sync.store, line, way=way, online=online)

    def search(
        self,
        words: str,
        *,
        room: bytes = b"",
        sender: str = "",
        since: float = 0.0,
        before: int = 0,
        limit: int = 20,
    ) -> tuple[list[FoundLine], int]:
        """Return messages with all `words`, newest first: of one room, of a sender, since a time, if given.

        `since` is in seconds since 1970. The number returned is what to give as `before` for the next page,
        0 at the end; with `since` a page can be empty before that. Raises `UsageError` without words, and
        `MemberNotFound` if nobody goes by the sender's name.
        """
        store = self.sync.store
        self.sync.expiry.check()
        try:
            wanted = store.index.words(words)
        except ValueError as error:
            raise UsageError(str(error)) from None
        senders = store.senders_called(sender) if sender else None
        if senders == []:
            raise MemberNotFound(f"nobody called {sanitize(sender)} has said anything here")
        rows, end = store.index.find(
            wanted,
            room=store.room_number(room) if room else None,
            senders=senders,
            without=store.blocked_senders(),
            since=round(since * 1000),
            before=before or MOST_ROW,
            limit=limit,
        )
        found = store.lines_at(rows)
        return [FoundLine(of, row, line, wanted.marks(line.text)) for row, of, line in found], end

    def _last_message(self, here: LocalRoom, own: bool | None) -> HistoryLine | None:
        for line in reversed(self.history(here.id, last=_LOOKED_AT)):
            is_own = line.account == here.account
            if own in (None, is_own) and line.kind in (MessageKind.TEXT, MessageKind.UNKNOWN):
                return line
        return None

    def _numbered(self, here: LocalRoom, number: int) -> HistoryLine | None:
        """Return the message with a number, the latest if the relay has given it several times."""
        if number > MOST_NUMBER:
            return self.sync.store.message_at(here.id, number)
        places = (era << ERA_BITS | number for era in range(here.record.era, -1, -1))
        return next(filter(None, (self.sync.store.message_at(here.id, place) for place in places)), None)

    # --- checks ---

    def _speaking_in(self, room: bytes) -> LocalRoom:
        """Return a room in which this device can say something. Raises `UsageError`."""
        self.sync.check()
        here = self._room(room)
        if here.record.phase is not Phase.JOINED:
            raise UsageError(f"accept the invitation to {here.record.title} first")
        if here.state.role_of(here.account) is Role.GUEST:
            raise UsageError(f"you are a guest in {here.record.title}, and guests only read")
        return here

    def _find(self, here: LocalRoom, message: bytes) -> HistoryLine:
        """Return a message that can be changed, answered or reacted to. Raises `UsageError`."""
        line = self._unblocked(here.id, message)
        if line is None:
            raise UsageError(f"there is no such message in {here.record.title}")
        if line.kind not in (MessageKind.TEXT, MessageKind.UNKNOWN):
            raise UsageError("that message was deleted")
        return line

    def _unblocked(self, room: bytes, message: bytes) -> HistoryLine | None:
        """Return a message, unless it is of somebody blocked."""
        line = self.sync.store.message(room, message)
        return None if line is None or self.sync.store.is_blocked(line.account) else line

    def _own(self, here: LocalRoom, message: bytes, deed: str) -> HistoryLine:
        line = self._find(here, message)
        if line.account != here.account:
            raise UsageError(f"only {line.name} can {deed} that")
        return line


def _checked_text(text: str) -> str:
    text = text.encode(errors="replace").decode()
    if not text.strip():
        raise UsageError("an empty message says nothing")
    if len(text.encode()) > MAX_BODY_BYTES:
        raise UsageError(f"a message has at most {MAX_BODY_BYTES} bytes; send it in pieces")
    return text


def check_current(here: LocalRoom, what: str) -> None:
    """Raise `UsageError` if a member of the room does not know `what` of the version before yet."""
    _check_updated(here, here.roster.outdated, what)


def check_latest(here: LocalRoom, what: str) -> None:
    """Raise `UsageError` if a member of the room does not know `what` of this version yet."""
    _check_updated(here, here.roster.without_links, what)


def _check_updated(here: LocalRoom, outdated: Sequence[str], what: str) -> None:
    if outdated:
        names = ", ".join(outdated[:3]) + (" and others" if len(outdated) > 3 else "")
        have = "has" if len(outdated) == 1 else "have"
        raise UsageError(f"{names} {have} to update clave before {here.record.title} can have {what}")
