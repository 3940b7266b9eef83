"""The parts of a content, and which of them this version can show. Knows no encoding.

draft-ietf-mimi-content-08, sections 4.4 and 4.5.
"""

from __future__ import annotations

import enum
from typing import Final, TypeAlias

import msgspec

__all__ = [
    "MARKDOWN",
    "MESSAGE_STATUS",
    "TEXT_PLAIN",
    "Disposition",
    "ExternalPart",
    "MultiPart",
    "NestedPart",
    "NullPart",
    "PartSemantics",
    "SinglePart",
    "choose_text",
    "disposition_of",
]

TEXT_PLAIN = "text/plain;charset=utf-8"
MARKDOWN = "text/markdown;variant=GFM-MIMI"
MESSAGE_STATUS = "application/mimi-message-status"

_MOST_TYPE: Final = 255
"""Most characters of a content type that is looked into."""

_CHARSETS: Final = ("utf-8", "us-ascii")


class Disposition(enum.IntEnum):
    """What a part is meant for; section 8.2.2. What is registered later is read as `RENDER`."""

    UNSPECIFIED = 0
    RENDER = 1
    REACTION = 2
    PROFILE = 3
    INLINE = 4
    ICON = 5
    ATTACHMENT = 6
    SESSION = 7
    PREVIEW = 8


class PartSemantics(enum.IntEnum):
    """What the receiver of a multipart processes: the part it likes best, all or none, all that it can."""

    CHOOSE_ONE = 0
    SINGLE_UNIT = 1
    PROCESS_ALL = 2


class NullPart(msgspec.Struct, frozen=True):
    """No part: what a message is replaced by that its sender deletes.

    Of each part, `disposition` is 0 to 255, and `language` empty or language tags (RFC 5646) between commas.
    """

    disposition: int = Disposition.RENDER
    language: str = ""

    def __repr__(self) -> str:
        return "<NullPart>"


class SinglePart(msgspec.Struct, frozen=True):
    """A part that the message holds. `content_type` is a media type with its parameters."""

    content_type: str
    content: bytes
    disposition: int = Disposition.RENDER
    language: str = ""

    def __repr__(self) -> str:
        return f"<SinglePart, {len(self.content)} bytes>"


class ExternalPart(msgspec.Struct, frozen=True):
    """A part that lies at `url`, for a service or encrypted by the AEAD `enc_alg`; section 4.5.

    `expires` is in seconds since 1970 and `size` in bytes, 0 for not given; so are `enc_alg` (IANA's AEAD
    algorithms) and `hash_alg` (IANA's named information hash algorithms).
    """

    content_type: str
    url: str
    expires: int
    size: int
    enc_alg: int
    key: bytes
    nonce: bytes
    aad: bytes
    hash_alg: int
    content_hash: bytes
    description: str
    filename: str
    disposition: int = Disposition.RENDER
    language: str = ""

    def __repr__(self) -> str:
        return "<ExternalPart>"


class MultiPart(msgspec.Struct, frozen=True):
    """Two parts or more."""

    semantics: PartSemantics
    parts: tuple[NestedPart, ...]
    disposition: int = Disposition.RENDER
    language: str = ""

    def __repr__(self) -> str:
        return f"<MultiPart of {len(self.parts)}>"


NestedPart: TypeAlias = NullPart | SinglePart | ExternalPart | MultiPart


def disposition_of(part: NestedPart) -> Disposition:
    """Return what a part is meant for; an unknown disposition is `RENDER` (section 9.1)."""
    try:
        return Disposition(part.disposition)
    except ValueError:
        return Disposition.RENDER


def choose_text(part: NestedPart) -> SinglePart | None:
    """Return the part that this version shows as text; None if it can show none.

    A part is showable if it is UTF-8 and of type text/markdown or text/plain. Of a choice, Markdown is taken
    before plain text; of parts to process one by one, the first; of a unit its first, if all are showable.
    """
    if isinstance(part, SinglePart):
        return part if _is_showable(part) else None
    if not isinstance(part, MultiPart):
        return None
    chosen = [choose_text(each) for each in part.parts]
    if part.semantics is PartSemantics.SINGLE_UNIT and None in chosen:
        return None
    showable = [each for each in chosen if each is not None]
    if part.semantics is PartSemantics.CHOOSE_ONE:
        showable.sort(key=lambda each: _media_type(each.content_type)[0] != "text/markdown")
    return showable[0] if showable else None


def _is_showable(part: SinglePart) -> bool:
    if len(part.content_type) > _MOST_TYPE:
        return False
    kind, parameters = _media_type(part.content_type)
    if kind not in ("text/markdown", "text/plain") or parameters.get("charset", "utf-8") not in _CHARSETS:
        return False
    try:
        part.content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _media_type(content_type: str) -> tuple[str, dict[str, str]]:
    """Return the type and the parameters of a content type, in lower case."""
    kind, *rest = (each.strip() for each in content_type.lower().split(";"))
    pairs = (each.partition("=") for each in rest)
    return kind, {name.strip(): value.strip().strip('"') for name, _, value in pairs}
