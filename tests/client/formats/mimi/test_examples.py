"""The examples of both drafts are decoded, encoded to the same bytes, and have the ids printed with them."""

from __future__ import annotations

import re
from pathlib import Path

import cbor2
import pytest

from clave_client.formats.mimi.content import (
    MARKDOWN,
    Disposition,
    Expiration,
    ExternalPart,
    MultiPart,
    NullPart,
    PartSemantics,
    SinglePart,
    choose_text,
    decode_mimi,
    encode_mimi,
)
from clave_client.formats.mimi.message_id import message_id
from clave_client.formats.mimi.status import MessageStatus, decode_status, encode_status
from mimikit import EXAMPLES, VARIABLE, breaks

NAMES = (
    *("attachment", "conferencing", "delete", "edit", "expiring", "mention", "mention-html"),
    *("multipart-1", "multipart-2", "multipart-3", "original", "reaction", "reply", "unlike"),
)

pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason=f"the drafts' examples are not here; {VARIABLE} may name their folder"
)


def example(name: str) -> bytes:
    return Path(EXAMPLES, f"{name}.cbor").read_bytes()


def printed_id(name: str) -> str:
    """Return the first id in an example's annotated form, in hexadecimal: its own."""
    [parts] = re.findall(r"h'([0-9a-f]{32})[\s#]+([0-9a-f]{32})'", Path(EXAMPLES, f"{name}.edn").read_text())[
        :1
    ]
    return "".join(parts)


@pytest.mark.parametrize("name", NAMES)
def test_content(name: str) -> None:
    data = example(name)
    content = decode_mimi(data)
    assert encode_mimi(content) == data
    assert content.sender_uri is not None
    assert content.room_uri == "mimi://example.com/r/engineering_team"
    found = message_id(data, content.salt, sender=content.sender_uri, room=content.room_uri)
    assert found.hex() == printed_id(name)


def test_every_example_is_tested() -> None:
    others = {"implied-original", "status-status"}
    assert {path.stem for path in EXAMPLES.glob("*.cbor")} == {*NAMES, *others}


def test_fields() -> None:
    original = decode_mimi(example("original"))
    text = b"Hi everyone, we just shipped release 2.0. __Good  work__!"
    assert original.part == SinglePart(MARKDOWN, text)
    reaction = decode_mimi(example("reaction"))
    assert reaction.part.disposition == Disposition.REACTION
    assert reaction.in_reply_to is not None
    assert decode_mimi(example("unlike")).part == NullPart(Disposition.REACTION)
    assert decode_mimi(example("expiring")).expires == Expiration(False, 1_644_390_004)
    assert decode_mimi(example("conferencing")).topic_id == b"Foo 118"
    attachment = decode_mimi(example("attachment")).part
    assert isinstance(attachment, ExternalPart)
    assert (attachment.size, attachment.filename, attachment.language) == (708_234_961, "bigfile.mp4", "en")
    nested = decode_mimi(example("multipart-3")).part
    assert isinstance(nested, MultiPart)
    assert nested.semantics is PartSemantics.CHOOSE_ONE
    assert choose_text(nested) is None
    assert choose_text(decode_mimi(example("multipart-1")).part) == SinglePart(MARKDOWN, b"# Welcome!")


def test_derived_values_are_no_content() -> None:
    data = example("implied-original")
    with breaks("content-fields"):
        decode_mimi(data)
    # The id in the bytes is not that of the annotated form, which is that of the example "original".
    assert cbor2.loads(data)[0].hex() != printed_id("implied-original") == printed_id("original")


def test_report_of_status() -> None:
    data = example("status-status")
    reports = decode_status(data)
    assert [status for _, status in reports] == [
        MessageStatus.READ,
        MessageStatus.READ,
        MessageStatus.UNREAD,
        MessageStatus.EXPIRED,
    ]
    assert [message.hex() for message, _ in reports] == [
        printed_id(n) for n in ("original", "reply", "mention", "expiring")
    ]
    assert encode_status(reports) == data
