"""Messages that are refused with another error than `ValidationError`, with nothing changed."""

from __future__ import annotations

import pytest

from clave_crypto.mls import (
    Add,
    GroupClosedError,
    MalformedError,
    ReInit,
    Remove,
    UnsupportedError,
    WrongGroupError,
    decode_key_package,
    encode_message,
)
from clave_crypto.mls.framing import ProposalContent, decode_message
from clave_crypto.mls.proposal_types import ProposalType
from forgekit import forged, public
from groupkit import NOW, SUITE, Party, form
from rulekit import refused

VERSION, WIRE_FORMAT = slice(0, 2), slice(2, 4)


def with_number(message: bytes, where: slice, number: int) -> bytes:
    return message[: where.start] + number.to_bytes(where.stop - where.start, "big") + message[where.stop :]


@pytest.mark.parametrize("where", [VERSION, WIRE_FORMAT])
@pytest.mark.parametrize("number", [0, 0x0A0A, 0xF000])
def test_unknown_version_and_wire_format(where: slice, number: int) -> None:
    red, blue = form("red", "blue")
    refused(blue, with_number(red.group.encrypt(b"hi"), where, number), UnsupportedError)


def test_unknown_content_and_sender_type() -> None:
    red, blue, _ = form("red", "blue", "green")
    in_clear = encode_message(public(red, ProposalContent(Remove(2))))
    sender_type = 4 + len(b"\x04room") + 8
    content_type = sender_type + 1 + 4 + 1
    for at in (sender_type, content_type):
        assert in_clear[at] in {1, 2}
        refused(blue, with_number(in_clear, slice(at, at + 1), 9), UnsupportedError)


class FromTheFuture(Remove):
    """A proposal of a type that has no meaning yet."""

    __slots__ = ()
    tag = (0x0A0A).to_bytes(2, "big")


def test_unknown_proposal() -> None:
    red, blue, _ = form("red", "blue", "green")
    assert 0x0A0A not in set(ProposalType)
    unreadable = FromTheFuture(0xFFFFFFFF)
    refused(blue, forged(red, ProposalContent(unreadable)), UnsupportedError)
    refused(blue, encode_message(public(red, ProposalContent(unreadable))), UnsupportedError)


def test_unknown_credential() -> None:
    message = encode_message(Party("green").offer().key_package)
    at = message.index(b"\x05green") - 2
    with pytest.raises(UnsupportedError):
        decode_key_package(with_number(message, slice(at, at + 2), 0x0A0A))


def test_length_that_is_not_minimal() -> None:
    red, blue = form("red", "blue")
    message = red.group.encrypt(b"hi")
    refused(blue, message.replace(b"\x04room", b"\x40\x04room", 1), MalformedError)


def test_messages_that_are_not_group_messages() -> None:
    red, blue = form("red", "blue")
    pending = red.group.commit([Add(Party("green").offer().key_package)], now=NOW)
    for message in (pending.welcome, red.group.group_info(), encode_message(blue.offer().key_package)):
        assert message is not None
        decode_message(message)
        refused(blue, message, MalformedError)


def test_message_of_another_group() -> None:
    red, blue = form("red", "blue")
    red.create(b"another")
    refused(blue, red.group.encrypt(b"hi"), WrongGroupError)
    refused(blue, red.group.commit(now=NOW, public=True).message, WrongGroupError)


def test_handshakes_after_a_committed_reinit() -> None:
    red, blue, green = form("red", "blue", "green")
    pending = red.group.commit([ReInit(b"next", 1, SUITE.id, ())], now=NOW)
    for one in (blue, green):
        one.sees(pending.message)
    red.group.merge(pending)
    green.group._reinit = None  # as a member would who does not keep to it
    refused(blue, green.group.propose_update(now=NOW), GroupClosedError)
    refused(blue, green.group.commit(now=NOW).message, GroupClosedError)


def test_anything_after_removal() -> None:
    red, blue, _ = form("red", "blue", "green")
    red.commits([Remove(1)], to=[blue])
    for message in (red.group.encrypt(b"hi"), red.group.commit(now=NOW).message, b"", red.group.group_info()):
        refused(blue, message, GroupClosedError)
