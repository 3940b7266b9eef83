"""The rules that a received content or status report is held to. Knows no encoding and no values.

docs/mimi-validation.md lists them with the tests that prove them.
"""

from __future__ import annotations

import enum
from typing import NoReturn

from clave_client.errors import PeerError

__all__ = ["CONTENT_DRAFT", "STATUS_DRAFT", "Rule"]

CONTENT_DRAFT = "draft-ietf-mimi-content-08"
STATUS_DRAFT = "draft-mahy-mimi-message-status"


class Rule(enum.Enum):
    """One rule: the `section` of its `draft`, and in words what must hold."""

    CONTENT_FIELDS = "4.1", "A content is an array of seven fields, each of its type."
    SALT_SIZE = "4.1", "The salt has 16 octets."
    ID_SIZE = "4.1", "The id of a message has 32 octets."
    EXPIRES_FIELDS = "4.1", "An expiration is an array of a boolean and an unsigned integer of 32 bits."
    TAG_PLACE = "4.1", "Nothing outside the extensions has a tag."
    MAP_PLACE = "4.1", "There is no map but the extensions and those in them."
    EXTENSION_UNIQUE = "4.3", "No two extensions, and no two entries of a map in one, have the same key."
    EXTENSION_KEY = "4.3", "The key of an extension is an integer or a text of 1 to 255 octets."
    ORIGIN_TYPE = "4.3", "The URIs of sender and room, if given, are texts."
    ORIGIN_SENDER = "4.3", "The URI of the sender, if given, is that of the message's sender."
    ORIGIN_ROOM = "4.3", "The URI of the room, if given, is that of the message's room."
    PART_FIELDS = "4.4", "A part is an array of the fields that its cardinality asks for, each of its type."
    PART_CARDINALITY = "4.4", "A part's cardinality is 0, 1, 2 or 3."
    PART_DISPOSITION = "4.4", "A part's disposition is 0 to 255."
    MULTIPART_PARTS = "4.4", "A multipart has two parts or more."
    EXTERNAL_NUMBERS = "4.4", "The numbers of an external part are unsigned: of 32, 64, 16 and 8 bits."
    CBOR_COMPLETE = "6.1", "What the heads announce is there."
    CBOR_SINGLE = "6.1", "Nothing follows the one CBOR data item."
    CBOR_RESERVED = "6.1", "No head has one of the reserved values 28 to 30 as its additional information."
    CBOR_DEFINITE = "6.1", "Every length is definite."
    CBOR_SHORTEST = "6.1", "Every integer, length, tag and float has its shortest encoding."
    CBOR_BIGNUM = "6.1", "A bignum has no leading zeros, and more than 64 bits."
    CBOR_KEY_ORDER = "6.1", "The keys of a map are in the bytewise order of their encodings."
    CBOR_KEY_TYPE = "6.2", "The key of a map in an extension is an integer, a text or a byte string."
    CBOR_KEY_RANGE = "6.2", "An integer that is a key lies within 2^53 - 1 of zero."
    CBOR_NAN = "6.2", "A NaN is the quiet one of 16 bits, F97E00."
    CBOR_UTF8 = "6.2", "A text is UTF-8."
    CBOR_SIMPLE = "6.2", "A simple value is false, true or null."
    PART_DEPTH = "6.3", "Parts are nested at most four deep."
    EXTENSION_DEPTH = "6.3", "Arrays, maps and tags of extensions are nested at most four deep."
    ID_HASH = "9.1", "The id of a message begins with a hash algorithm that is known: 1, SHA-256."
    TOPIC_SIZE = "9.1", "A topic id has at most 4096 octets."
    EXPIRES_PAST = "9.1", "A message does not expire more than a year before it is received."
    EXPIRES_FUTURE = "9.1", "A message does not expire more than a year after it is received or read."
    PART_COUNT = "9.1", "There are at most 1024 parts, those that hold parts included."
    PART_SEMANTICS = "9.1", "The semantics of a multipart are 0, 1 or 2."
    STATUS_FIELDS = (
        "4",
        "A report is an array of arrays, each of the id of a message and an integer.",
        STATUS_DRAFT,
    )
    STATUS_VALUE = "4", "A status is 0 to 255.", STATUS_DRAFT
    STATUS_COUNT = "4", "A report is about at most 1000 messages (a limit of this version).", STATUS_DRAFT

    def __init__(self, section: str, text: str, draft: str = CONTENT_DRAFT) -> None:
        self.section = section
        self.text = text
        self.draft = draft

    @property
    def id(self) -> str:
        """The rule's name in errors and in the documentation, such as "salt-size"."""
        return self.name.lower().replace("_", "-")

    def broken(self, found: str) -> NoReturn:
        """Refuse what breaks this rule: raise `PeerError`, which says what was `found`."""
        rule = f"{self.draft}, section {self.section}: {self.id}"
        raise PeerError(f"a member sent a message this version cannot read ({found}; {rule})")
