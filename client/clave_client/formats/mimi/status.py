"""Reports about messages of others: delivered, read and so on. Knows no content and no transitions.

draft-mahy-mimi-message-status. A report is the content of a part of type `MESSAGE_STATUS`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import cbor2

from clave_client.errors import PeerError
from clave_client.formats.mimi.cbor_structure import check_structure
from clave_client.formats.mimi.message_id import check_message_id
from clave_client.formats.mimi.rules import Rule

__all__ = ["MAX_REPORTS", "MessageStatus", "decode_status", "encode_status"]

MAX_REPORTS = 1000
"""Most messages that one report is about."""


class MessageStatus(enum.IntEnum):
    """What the reporter did with a message; section 3. Others, up to 255, may be registered later."""

    UNREAD = 0
    DELIVERED = 1
    READ = 2
    EXPIRED = 3
    DELETED = 4
    HIDDEN = 5
    ERROR = 6


def encode_status(reports: Sequence[tuple[bytes, int]]) -> bytes:
    """Encode a report: ids of messages, 32 bytes each, with their status.

    Raises `ValueError` if a receiver would refuse it by a `Rule`.
    """
    data = cbor2.dumps([[message, int(status)] for message, status in reports])
    try:
        decode_status(data)
    except PeerError as error:
        raise ValueError(str(error)) from None
    return data


def decode_status(data: bytes) -> list[tuple[bytes, int]]:
    """Parse a report. Raises `PeerError` unless it is a report in deterministic encoding.

    A status that `MessageStatus` lacks is returned as it is.
    """
    if check_structure(data) is not None:
        Rule.STATUS_FIELDS.broken("a report of status has a map")
    pairs = cbor2.loads(data)
    if type(pairs) is not list:
        Rule.STATUS_FIELDS.broken("a report of status is no array")
    if len(pairs) > MAX_REPORTS:
        Rule.STATUS_COUNT.broken(f"a report of status is about {len(pairs)} messages")
    for pair in pairs:
        if type(pair) is not list or [*map(type, pair)] != [bytes, int]:
            Rule.STATUS_FIELDS.broken("a report of status is malformed")
        check_message_id(pair[0])
        if not 0 <= pair[1] <= 255:
            Rule.STATUS_VALUE.broken(f"a message has the status {pair[1]}")
    return [(message, status) for message, status in pairs]
