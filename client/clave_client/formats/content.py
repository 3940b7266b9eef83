"""What a message does, read from either content format. Knows no room state and no display rules.

MIMI content is in `formats.mimi`, the format before it in `former_content`. A peer's text is made safe here,
at the boundary where it was decrypted: nothing beyond holds it as it came.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from clave_client.errors import PeerError
from clave_client.formats.former_content import MAX_BODY_BYTES, FormerContent, decode_former
from clave_client.formats.markdown import is_bounded, readable
from clave_client.formats.mimi.content import (
    MARKDOWN,
    MESSAGE_STATUS,
    Disposition,
    Expiration,
    MimiContent,
    MultiPart,
    NestedPart,
    NullPart,
    PartSemantics,
    SinglePart,
    check_origin,
    check_times,
    choose_text,
    decode_mimi,
    disposition_of,
)
from clave_client.formats.mimi.message_id import account_uri, legacy_message_id, message_id, room_uri
from clave_client.formats.mimi.status import decode_status
from clave_client.formats.own_settings import OWN_SETTINGS, SettingsMessage, decode_settings
from clave_wire.text import sanitize

__all__ = [
    "JOINED_EXTENSION",
    "MAX_BODY_BYTES",
    "MAX_CONTENT_BYTES",
    "SPEAKING",
    "Content",
    "ContentKind",
    "is_reaction",
    "of_former",
    "read_content",
]

MAX_CONTENT_BYTES: Final = 2 * MAX_BODY_BYTES
"""Most bytes of a content: its text and what stands beside it."""

JOINED_EXTENSION: Final = "clave joined"
"""The content extension by which an invited member says that it accepted; its value is true."""

MAX_REACTION_BYTES: Final = 64
MAX_REACTION_CHARACTERS: Final = 16
"""Most of one reaction: a family of five with skin tones has nine code points."""

_MOST_REACTIONS: Final = 20
"""Most reactions in one message."""

_CBOR_ARRAY_OF_7: Final = 0x87
"""The first byte of MIMI content; the format before it begins with 0x95."""


class ContentKind(enum.IntEnum):
    """What a message does. The numbers are stored; the first two are those of the former format."""

    TEXT = 1
    JOINED = 2
    EDIT = 3
    DELETION = 4
    REACTION = 5
    STATUS = 6
    UNKNOWN = 7
    SETTINGS = 8


SPEAKING: Final = frozenset(
    {
        ContentKind.TEXT,
        ContentKind.EDIT,
        ContentKind.DELETION,
        ContentKind.REACTION,
        ContentKind.UNKNOWN,
    }
)
"""What guests cannot do."""


class Content(msgspec.Struct, frozen=True):
    """One application message by what it does; its text is safe to show.

    `id` are 32 bytes. `text` is what to read, `markup` the Markdown that it comes from, empty for plain text.
    `target` is the id of the message that is edited, deleted or reacted to; `replaces` that of the reaction
    that this one replaces. `reply_to` and `target` may name what nobody has. `sent_at` is in milliseconds
    since 1970 by the sender's clock, None where the format does not tell it.
    """

    id: bytes
    kind: ContentKind
    text: str = ""
    markup: str = ""
    target: bytes = b""
    replaces: bytes = b""
    reply_to: bytes = b""
    reactions: tuple[str, ...] = ()
    statuses: tuple[tuple[bytes, int], ...] = ()
    expires: Expiration | None = None
    sent_at: int | None = None
    settings: SettingsMessage | None = None

    def __repr__(self) -> str:
        return f"<Content {self.id!r}, {self.kind!r}, {len(self.text)} characters>"


def read_content(data: bytes, *, room: bytes, account: bytes, now: float) -> Content:
    """Return what MLS decrypted of `account` in `room`; `now` is in seconds since 1970.

    A content that is valid but beyond this version is of the kind UNKNOWN. Raises `PeerError`; by the clock
    only for a message of its own, so that members decide alike about all that changes one.
    """
    if data[:1] != bytes([_CBOR_ARRAY_OF_7]):
        return of_former(decode_former(data), room, account)
    if len(data) > MAX_CONTENT_BYTES:
        raise PeerError(f"a member sent a message of more than {MAX_CONTENT_BYTES} bytes")
    content = decode_mimi(data)
    sender, where = account_uri(account), room_uri(room)
    check_origin(content, sender, where)
    found = _of_mimi(content, message_id(data, content.salt, sender=sender, room=where))
    if found.kind in (ContentKind.TEXT, ContentKind.UNKNOWN):
        check_times(content, now)
    return found


def of_former(former: FormerContent, room: bytes, account: bytes) -> Content:
    """Return a content of the former format; its id is the one that all members derive from its own."""
    reply_to = legacy_message_id(room, account, former.reply_to) if former.reply_to else b""
    text = sanitize(former.body, multiline=True, joiners=True)
    found = legacy_message_id(room, account, former.id)
    return Content(found, ContentKind(former.kind), text, reply_to=reply_to, sent_at=former.sent_at)


def _of_mimi(content: MimiContent, found: bytes) -> Content:
    """Return what a MIMI content with the id `found` does."""
    unknown = Content(found, ContentKind.UNKNOWN, expires=content.expires)
    part, replaces = content.part, content.replaces or b""
    if isinstance(part, NullPart):
        if replaces:
            return Content(found, ContentKind.DELETION, target=replaces)
        joined = content.extensions.get(JOINED_EXTENSION) == b"\xf5"
        return Content(found, ContentKind.JOINED) if joined else unknown
    if isinstance(part, SinglePart) and _is_type(part.content_type, MESSAGE_STATUS):
        return Content(found, ContentKind.STATUS, statuses=tuple(decode_status(part.content)))
    if isinstance(part, SinglePart) and _is_type(part.content_type, OWN_SETTINGS):
        return Content(found, ContentKind.SETTINGS, settings=decode_settings(part.content))
    if disposition_of(part) is Disposition.REACTION or _has_reactions(part):
        reactions = _reactions(part)
        if not reactions or not content.in_reply_to:
            return unknown
        target = content.in_reply_to
        return Content(found, ContentKind.REACTION, target=target, replaces=replaces, reactions=reactions)
    shown = choose_text(part)
    if shown is None or len(shown.content) > MAX_BODY_BYTES:
        return unknown
    source = sanitize(shown.content.decode(), multiline=True, joiners=True)
    if len(source.encode()) > MAX_CONTENT_BYTES:  # it is mostly characters that are spelled out
        return unknown
    is_markdown = _is_type(shown.content_type, MARKDOWN) and is_bounded(source)
    return Content(
        found,
        ContentKind.EDIT if replaces else ContentKind.TEXT,
        readable(source) if is_markdown else source,
        source if is_markdown else "",
        target=replaces,
        reply_to=content.in_reply_to or b"",
        expires=content.expires,
    )


def _is_type(content_type: str, wanted: str) -> bool:
    """Return whether two media types are the same, whatever their parameters."""
    return content_type.partition(";")[0].strip().lower() == wanted.partition(";")[0]


def _has_reactions(part: NestedPart) -> bool:
    """Return whether a part is several reactions, each a part of its own."""
    return (
        isinstance(part, MultiPart)
        and part.semantics is PartSemantics.PROCESS_ALL
        and all(disposition_of(each) is Disposition.REACTION for each in part.parts)
    )


def _reactions(part: NestedPart) -> tuple[str, ...]:
    """Return the reactions that can be shown, each once."""
    parts = part.parts if isinstance(part, MultiPart) else (part,)
    found = (choose_text(each) for each in parts[:_MOST_REACTIONS])
    texts = (each.content.decode() for each in found if each is not None)
    return tuple(dict.fromkeys(text for text in texts if is_reaction(text)))


def is_reaction(text: str) -> bool:
    """Return whether a text can be one reaction: short, in one line, and shown as it is."""
    return (
        0 < len(text) <= MAX_REACTION_CHARACTERS
        and len(text.encode(errors="replace")) <= MAX_REACTION_BYTES
        and not any(character.isspace() for character in text)
        and sanitize(text, joiners=True) == text
    )
