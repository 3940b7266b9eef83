"""Makes the contents that this device sends, in the format that a room's members read. Knows no room.

A content is made once, when its user has decided: its id is a hash of its bytes, so it keeps that when it is
encrypted again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import msgspec

from clave_client.formats.content import JOINED_EXTENSION, ContentKind
from clave_client.formats.former_content import FormerContent, FormerKind, encode_former
from clave_client.formats.markdown import is_bounded, readable
from clave_client.formats.mimi.content import (
    MARKDOWN,
    MESSAGE_STATUS,
    TEXT_PLAIN,
    Disposition,
    Expiration,
    MimiContent,
    NestedPart,
    NullPart,
    SinglePart,
    encode_mimi,
)
from clave_client.formats.mimi.message_id import account_uri, legacy_message_id, message_id, room_uri
from clave_client.formats.mimi.status import encode_status
from clave_client.formats.own_settings import OWN_SETTINGS, SettingsMessage, encode_settings
from clave_client.formats.typed_markdown import write

__all__ = ["Composer", "Outgoing"]


class Outgoing(msgspec.Struct, frozen=True):
    """A content to send: its id, what it does, and its encoding.

    `text` is what to show of it while it waits, empty unless it says something; `target` is the message that
    it changes or reacts to.
    """

    id: bytes
    kind: ContentKind
    data: bytes
    text: str = ""
    target: bytes = b""

    def __repr__(self) -> str:
        return f"<Outgoing {self.id!r}, {self.kind!r}, {len(self.data)} bytes>"


class Composer:
    """Makes the contents of one account in one room; `names` are the accounts of members by name."""

    def __init__(self, room: bytes, account: bytes, names: Mapping[str, bytes] | None = None) -> None:
        self._room = room
        self._account = account
        self._names = names or {}

    def text(
        self, text: str, *, reply_to: bytes = b"", replaces: bytes = b"", expires: Expiration | None = None
    ) -> Outgoing:
        """Return a message, or with `replaces` the edit of one; names with @ become mentions."""
        markup = write(text, self._names)
        if markup is not None and not is_bounded(markup):  # others would not read its marks
            markup = None
        part = (
            SinglePart(TEXT_PLAIN, text.encode()) if markup is None else SinglePart(MARKDOWN, markup.encode())
        )
        kind = ContentKind.EDIT if replaces else ContentKind.TEXT
        shown = text if markup is None else readable(markup)
        return self._make(kind, part, shown, replaces=replaces, reply_to=reply_to, expires=expires)

    def deletion(self, target: bytes) -> Outgoing:
        """Return the deletion of a message or of a reaction."""
        return self._make(ContentKind.DELETION, NullPart(), replaces=target)

    def reaction(self, target: bytes, reaction: str) -> Outgoing:
        """Return a reaction to a message."""
        part = SinglePart(TEXT_PLAIN, reaction.encode(), disposition=Disposition.REACTION)
        return self._make(ContentKind.REACTION, part, reply_to=target)

    def statuses(self, found: Sequence[tuple[bytes, int]]) -> Outgoing:
        """Return a report of what became of messages of others."""
        part = SinglePart(MESSAGE_STATUS, encode_status(found), disposition=Disposition.UNSPECIFIED)
        return self._make(ContentKind.STATUS, part)

    def settings(self, message: SettingsMessage) -> Outgoing:
        """Return settings for the other devices of this account."""
        part = SinglePart(OWN_SETTINGS, encode_settings(message), disposition=Disposition.UNSPECIFIED)
        return self._make(ContentKind.SETTINGS, part)

    def joined(self) -> Outgoing:
        """Return the note that an invited member accepted."""
        return self._make(ContentKind.JOINED, NullPart(), extensions={JOINED_EXTENSION: b"\xf5"})

    def former(self, kind: FormerKind, text: str, sent_at: int) -> Outgoing:
        """Return a text or the note of joining for a room in which a member reads the former format only.

        `sent_at` is in milliseconds since 1970.
        """
        own = os.urandom(16)
        data = encode_former(FormerContent(own, kind, text, b"", sent_at))
        found = legacy_message_id(self._room, self._account, own)
        return Outgoing(found, ContentKind(kind), data, text)

    def _make(
        self,
        kind: ContentKind,
        part: NestedPart,
        shown: str = "",
        *,
        replaces: bytes = b"",
        reply_to: bytes = b"",
        expires: Expiration | None = None,
        extensions: Mapping[int | str, bytes] | None = None,
    ) -> Outgoing:
        salt = os.urandom(16)
        content = MimiContent(
            salt,
            part,
            replaces=replaces or None,
            expires=expires,
            in_reply_to=reply_to or None,
            extensions=extensions or {},
        )
        data = encode_mimi(content)
        sender, where = account_uri(self._account), room_uri(self._room)
        target = replaces or (reply_to if kind is ContentKind.REACTION else b"")
        found = message_id(data, salt, sender=sender, room=where)
        return Outgoing(found, kind, data, shown, target)
