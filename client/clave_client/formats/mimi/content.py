"""The content of a message: its part, what it replies to and replaces, when it expires. Knows no clock.

draft-ietf-mimi-content-08, section 4. A content is an array in CBOR, in the one deterministic encoding: what
is decoded is encoded to the same bytes. `Rule` has what is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any

import cbor2
import msgspec

from clave_client.errors import PeerError
from clave_client.formats.mimi.cbor_structure import check_structure
from clave_client.formats.mimi.message_id import check_message_id
from clave_client.formats.mimi.parts import (
    MARKDOWN,
    MESSAGE_STATUS,
    TEXT_PLAIN,
    Disposition,
    ExternalPart,
    MultiPart,
    NestedPart,
    NullPart,
    PartSemantics,
    SinglePart,
    choose_text,
    disposition_of,
)
from clave_client.formats.mimi.rules import Rule

__all__ = [
    "MARKDOWN",
    "MESSAGE_STATUS",
    "ROOM_URI",
    "SENDER_URI",
    "TEXT_PLAIN",
    "Disposition",
    "Expiration",
    "ExternalPart",
    "MimiContent",
    "MultiPart",
    "NestedPart",
    "NullPart",
    "PartSemantics",
    "SinglePart",
    "check_origin",
    "check_times",
    "choose_text",
    "decode_mimi",
    "disposition_of",
    "encode_mimi",
]

SENDER_URI, ROOM_URI = 1, 2
"""The keys of the extensions in which a sender repeats its own URI and the room's."""

_MAX_TOPIC_BYTES = 4096
_MAX_PARTS = 1024
_SALT_BYTES = 16
_YEAR = 366 * 86_400
"""Seconds in the longest year."""


class Expiration(msgspec.Struct, frozen=True):
    """When a message asks to be deleted: at `time`, seconds since 1970, or so many after it was read."""

    relative: bool
    time: int


class MimiContent(msgspec.Struct, frozen=True):
    """One content. `salt` is 16 random bytes; `replaces` and `in_reply_to` are ids of messages, 32 bytes.

    `topic_id` is empty for none. `extensions` are raw CBOR, which nothing here interprets but the two URIs.
    """

    salt: bytes
    part: NestedPart
    replaces: bytes | None = None
    topic_id: bytes = b""
    expires: Expiration | None = None
    in_reply_to: bytes | None = None
    extensions: Mapping[int | str, bytes] = {}

    def __repr__(self) -> str:
        return f"<MimiContent of a {type(self.part).__name__}>"

    @property
    def sender_uri(self) -> str | None:
        """What the content says its sender is; None if it does not."""
        return _text_of(self.extensions.get(SENDER_URI))

    @property
    def room_uri(self) -> str | None:
        """What the content says its room is; None if it does not."""
        return _text_of(self.extensions.get(ROOM_URI))


# --- encoding ---


def encode_mimi(content: MimiContent) -> bytes:
    """Encode a content for MLS to encrypt. Raises `ValueError` if a receiver would refuse it by a `Rule`."""
    expires = content.expires and [content.expires.relative, content.expires.time]
    before = (content.salt, content.replaces, content.topic_id, expires, content.in_reply_to)
    entries = sorted((cbor2.dumps(key), value) for key, value in content.extensions.items())
    data = b"".join(
        (
            b"\x87",  # an array of seven
            *map(cbor2.dumps, before),
            _map_head(len(entries)),
            *itertools.chain.from_iterable(entries),
            cbor2.dumps(_part_fields(content.part)),
        )
    )
    try:
        decode_mimi(data)
    except PeerError as error:
        raise ValueError(str(error)) from None
    return data


def _map_head(count: int) -> bytes:
    """Return the head of a map: that of the integer `count`, of another major type."""
    initial, *rest = cbor2.dumps(count)
    return bytes((initial | 5 << 5, *rest))


def _part_fields(part: NestedPart) -> list[Any]:
    """Return a part as the array of its fields."""
    common = [int(part.disposition), part.language]
    match part:
        case NullPart():
            return [*common, 0]
        case SinglePart():
            return [*common, 1, part.content_type, part.content]
        case ExternalPart():
            return [*common, 2, *(getattr(part, name) for name in _EXTERNAL_FIELDS)]
        case MultiPart():
            return [*common, 3, int(part.semantics), [_part_fields(each) for each in part.parts]]


# --- decoding ---

_CONTENT_TYPES = frozenset(
    itertools.product(
        [bytes], [NoneType, bytes], [bytes], [NoneType, list], [NoneType, bytes], [dict], [list]
    )
)
"""The types of a content's fields, in each combination that there is."""

_PART_TYPES: tuple[list[type], ...] = (
    [int, str, int],
    [int, str, int, str, bytes],
    [int, str, int, str, str, int, int, int, bytes, bytes, bytes, int, bytes, str, str],
    [int, str, int, int, list],
)
"""The types of a part's fields, by its cardinality."""

_EXTERNAL_FIELDS = ExternalPart.__struct_fields__[:12]


def decode_mimi(data: bytes) -> MimiContent:
    """Parse what MLS decrypted. Raises `PeerError` unless `data` is a content in the one valid encoding."""
    extensions = check_structure(data)
    # What a decoder may interpret is left out: tags are only in extensions, which stay as they are.
    if extensions is None or not extensions.entries:
        fields = cbor2.loads(data)
    else:
        fields = cbor2.loads(data[: extensions.start] + b"\xa0" + data[extensions.end :])
    if type(fields) is not list or tuple(map(type, fields)) not in _CONTENT_TYPES:
        Rule.CONTENT_FIELDS.broken("its fields are not those of a content")
    salt, replaces, topic_id, expires, in_reply_to, _, part = fields
    if len(salt) != _SALT_BYTES:
        Rule.SALT_SIZE.broken(f"its salt has {len(salt)} octets")
    if replaces is not None:
        check_message_id(replaces)
    if len(topic_id) > _MAX_TOPIC_BYTES:
        Rule.TOPIC_SIZE.broken(f"its topic id has {len(topic_id)} octets")
    if in_reply_to is not None:
        check_message_id(in_reply_to)
    return MimiContent(
        salt,
        _decode_part(part, itertools.count(1)),
        replaces,
        topic_id,
        None if expires is None else _decode_expiration(expires),
        in_reply_to,
        _decode_extensions(extensions.entries) if extensions and extensions.entries else {},
    )


def _decode_expiration(fields: list[Any]) -> Expiration:
    if [*map(type, fields)] != [bool, int] or not 0 <= fields[1] < 2**32:
        Rule.EXPIRES_FIELDS.broken("its expiration is malformed")
    return Expiration(*fields)


def _decode_extensions(entries: list[tuple[bytes, bytes]]) -> dict[int | str, bytes]:
    extensions = {cbor2.loads(key): value for key, value in entries}
    for key in (SENDER_URI, ROOM_URI):
        value = extensions.get(key)
        if value is not None and value[0] >> 5 != 3:
            Rule.ORIGIN_TYPE.broken("the URI of its sender or room is no text")
    return extensions


def _decode_part(fields: Any, numbers: Iterator[int]) -> NestedPart:
    """Return the part of these fields. `numbers` counts the parts; their depth was checked before."""
    if next(numbers) > _MAX_PARTS:
        Rule.PART_COUNT.broken("it has too many parts")
    if type(fields) is not list or [*map(type, fields[:3])] != _PART_TYPES[0]:
        Rule.PART_FIELDS.broken("a part is malformed")
    disposition, language, cardinality = fields[:3]
    if not 0 <= disposition <= 255:
        Rule.PART_DISPOSITION.broken(f"a part has the disposition {disposition}")
    if not 0 <= cardinality < len(_PART_TYPES):
        Rule.PART_CARDINALITY.broken(f"a part has the cardinality {cardinality}")
    if [*map(type, fields)] != _PART_TYPES[cardinality]:
        Rule.PART_FIELDS.broken("a part is malformed")
    if cardinality == 1:
        return SinglePart(fields[3], fields[4], disposition, language)
    if cardinality == 0:
        return NullPart(disposition, language)
    if cardinality == 2:
        return _decode_external(fields)
    semantics, parts = fields[3:]
    if len(parts) < 2:
        Rule.MULTIPART_PARTS.broken("a multipart has fewer than two parts")
    try:
        semantics = PartSemantics(semantics)
    except ValueError:
        Rule.PART_SEMANTICS.broken(f"a multipart has the semantics {semantics}")
    return MultiPart(semantics, tuple(_decode_part(each, numbers) for each in parts), disposition, language)


def _decode_external(fields: list[Any]) -> ExternalPart:
    part = ExternalPart(*fields[3:], *fields[:2])
    numbers = ((part.expires, 32), (part.size, 64), (part.enc_alg, 16), (part.hash_alg, 8))
    if not all(0 <= number < 1 << bits for number, bits in numbers):
        Rule.EXTERNAL_NUMBERS.broken("a number of an external part is out of range")
    return part


def _text_of(raw: bytes | None) -> str | None:
    return None if raw is None else str(cbor2.loads(raw))


# --- against what the receiver knows ---


def check_times(content: MimiContent, now: float) -> None:
    """Check when a content expires that is received at `now`, in seconds since 1970. Raises `PeerError`."""
    expires = content.expires
    if expires is None:
        return
    ahead = expires.time if expires.relative else expires.time - now
    if ahead > _YEAR:
        Rule.EXPIRES_FUTURE.broken("it expires in more than a year")
    if ahead < -_YEAR:
        Rule.EXPIRES_PAST.broken("it expired more than a year ago")


def check_origin(content: MimiContent, sender: str, room: str) -> None:
    """Check that the URIs in a content, where given, are those of its actual sender and room; `PeerError`."""
    if content.sender_uri not in (None, sender):
        Rule.ORIGIN_SENDER.broken("it names another sender")
    if content.room_uri not in (None, room):
        Rule.ORIGIN_ROOM.broken("it names another room")
