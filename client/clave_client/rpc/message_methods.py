"""The methods of the RPC about messages and conversations: their parameters and results.

A parameter `message` is the number of a message in its room, its id in hexadecimal, or "last": the last one
that the method can be about.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from clave_client.rpc.method_base import Change, Count, Method, Number, Seconds
from clave_client.rpc.values import (
    HistoryMessage,
    MessageDetails,
    PendingMessage,
    RoomSummary,
    SearchPage,
    SendResult,
)
from clave_client.values import BlockedPerson

__all__ = [
    "MESSAGE_METHODS",
    "Archive",
    "Block",
    "DeleteMessage",
    "Edit",
    "Expiry",
    "GetDraft",
    "GetHistory",
    "GetMessage",
    "GetUnread",
    "ListBlocked",
    "ListPending",
    "MarkShown",
    "OpenDirect",
    "Post",
    "React",
    "Search",
    "Send",
    "SetDraft",
    "SetExpiry",
    "SetReadReceipts",
    "Unblock",
    "Unreact",
]

Expiry = Annotated[int, msgspec.Meta(ge=0)]
"""Seconds, 365 days at most, after which a message that was read disappears; 0 for what its room has."""

# --- reading ---


class GetHistory(Method[list[HistoryMessage]], frozen=True, kw_only=True):
    """Return up to `limit` messages with a seq above `after` and, unless it is 0, below `before`.

    They are the first of these, or with `newest` the last; oldest first, at most 1 MiB of text.
    """

    NAME = "room.history"
    RESULT = list[HistoryMessage]

    room: str
    after: Number = 0
    before: Number = 0
    limit: Count = 100
    newest: bool = True


class GetUnread(Method[list[HistoryMessage]], frozen=True, kw_only=True):
    """Return others' messages that no window has shown yet, oldest first, at most `limit` and 1 MiB."""

    NAME = "room.unread"
    RESULT = list[HistoryMessage]

    room: str
    limit: Count = 1000


class MarkShown(Method[None], frozen=True, kw_only=True):
    """Note that the message at `seq` was shown; with `until`, all messages up to it."""

    NAME = "room.mark_shown"

    room: str
    seq: Number
    until: bool = False


class ListPending(Method[list[PendingMessage]], frozen=True, kw_only=True):
    """Return the first 100 messages that wait to be sent: in a room, or with "" in all."""

    NAME = "room.pending"
    RESULT = list[PendingMessage]

    room: str = ""


class GetMessage(Method[MessageDetails], frozen=True, kw_only=True):
    """Return a message with its former versions, reactions, and who received or read it."""

    NAME = "message.get"
    RESULT = MessageDetails

    room: str
    message: str = "last"


class Search(Method[SearchPage], frozen=True, kw_only=True):
    """Return messages with all `words`, newest first; in one room, of one person, since a time, if given.

    `since` is in seconds since 1970. `before` is the `next` of the page before, 0 for the first.
    """

    NAME = "message.search"
    RESULT = SearchPage

    words: str
    room: str = ""
    sender: str = ""
    since: Annotated[float, msgspec.Meta(ge=0, le=253_370_764_800)] = 0.0
    before: Number = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20


# --- saying ---


class Post(Change[bytes], frozen=True, kw_only=True):
    """Append a message to a room's outbox and return its id; an event "sent" or "send_failed" follows.

    `reply_to` names the message that it answers, if any. `typed` is the line that was typed for it: if it was
    kept by `profile.add_typed_line`, it is deleted with the message.
    """

    NAME = "message.post"
    RESULT = bytes

    room: str
    text: str
    reply_to: str = ""
    expires: Expiry = 0
    typed: str = ""


class Send(Change[SendResult], frozen=True, kw_only=True):
    """Send a message: read what waits in the room, then post it and wait until the relay has it.

    After `wait` seconds it stays in the outbox, goes out later, and the result's `seq` is 0. `told` is the
    number of the `RoomNews` that the user was shown.
    """

    NAME = "message.send"
    RESULT = SendResult

    room: str
    text: str
    reply_to: str = ""
    expires: Expiry = 0
    wait: Seconds = 30.0
    told: Number = 0


class Edit(Change[SendResult], frozen=True, kw_only=True):
    """Give one's own message another text, for all; waits as `message.send` does.

    `typed` is as in `message.post`.
    """

    NAME = "message.edit"
    RESULT = SendResult

    room: str
    text: str
    message: str = "last"
    typed: str = ""
    wait: Seconds = 30.0


class DeleteMessage(Change[SendResult], frozen=True, kw_only=True):
    """Delete one's own message for all, or as an admin another's; waits as `message.send` does.

    With `here_only` it is deleted on this device alone, at once.
    """

    NAME = "message.delete"
    RESULT = SendResult

    room: str
    message: str = "last"
    here_only: bool = False
    wait: Seconds = 30.0


class React(Change[SendResult], frozen=True, kw_only=True):
    """React to a message with an emoji, or a few letters; waits as `message.send` does."""

    NAME = "message.react"
    RESULT = SendResult

    room: str
    reaction: str
    message: str = "last"
    wait: Seconds = 30.0


class Unreact(Change[SendResult], frozen=True, kw_only=True):
    """Take a reaction back: the named one, or with "" the only one; waits as `message.send` does."""

    NAME = "message.unreact"
    RESULT = SendResult

    room: str
    message: str = "last"
    reaction: str = ""
    wait: Seconds = 30.0


# --- rooms ---


class OpenDirect(Change[RoomSummary], frozen=True, kw_only=True):
    """Find or make the room between this account and `name`, or with the own name that for own notes."""

    NAME = "rooms.direct"
    RESULT = RoomSummary

    name: str


class SetExpiry(Change[bool], frozen=True, kw_only=True):
    """Have new messages of a room disappear `seconds` after they were read, or with 0 never.

    Returns whether that counts already, as `room.remove` does.
    """

    NAME = "room.set_expiry"
    RESULT = bool

    room: str
    seconds: Expiry


class SetReadReceipts(Method[None], frozen=True, kw_only=True):
    """Tell the others of a room what was read from now on, or tell them no longer."""

    NAME = "room.set_read_receipts"

    room: str
    on: bool


class Archive(Method[None], frozen=True, kw_only=True):
    """Leave a room out of lists until somebody says something there, or with False take it in again."""

    NAME = "room.archive"

    room: str
    archived: bool = True


class GetDraft(Method[str], frozen=True, kw_only=True):
    """Return what was typed in a room and not sent."""

    NAME = "room.draft"
    RESULT = str

    room: str


class SetDraft(Method[None], frozen=True, kw_only=True):
    """Keep what was typed in a room and not sent; an empty text deletes it."""

    NAME = "room.set_draft"

    room: str
    text: str


# --- people ---


class Block(Method[BlockedPerson], frozen=True, kw_only=True):
    """Block a person: nothing of theirs is shown, and their invitations are refused unseen."""

    NAME = "people.block"
    RESULT = BlockedPerson

    name: str


class Unblock(Method[BlockedPerson], frozen=True, kw_only=True):
    """Block a person no longer, by name or fingerprint."""

    NAME = "people.unblock"
    RESULT = BlockedPerson

    name: str


class ListBlocked(Method[list[BlockedPerson]], frozen=True, kw_only=True):
    """Return the blocked people."""

    NAME = "people.blocked"
    RESULT = list[BlockedPerson]


MESSAGE_METHODS: Final = (
    *(GetHistory, GetUnread, MarkShown, ListPending, GetMessage, Search),
    *(Post, Send, Edit, DeleteMessage, React, Unreact),
    *(OpenDirect, SetExpiry, SetReadReceipts, Archive, GetDraft, SetDraft),
    *(Block, Unblock, ListBlocked),
)
"""All methods of this module."""
