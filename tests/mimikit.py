"""Contents and reports of MIMI as bytes, valid or not, and expecting that a rule refuses one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cbor2
import pytest

from clave_client.errors import PeerError
from clave_client.formats.mimi.parts import TEXT_PLAIN

VARIABLE = "CLAVE_MIMI_EXAMPLES"
EXAMPLES = Path(os.environ.get(VARIABLE, Path(__file__).parents[1].parent / "shared" / "mimi" / "examples"))
"""The examples that belong to the drafts; not part of this project."""

SALT = bytes(range(16))
ID = b"\x01" + b"i" * 31
HELLO = [1, "", 1, TEXT_PLAIN, b"hello"]
NO_EXTENSIONS = b"\xa0"


def content_bytes(
    *,
    salt: object = SALT,
    replaces: object = None,
    topic_id: object = b"",
    expires: object = None,
    in_reply_to: object = None,
    extensions: bytes = NO_EXTENSIONS,
    part: object = HELLO,
) -> bytes:
    """Return a content of these fields; `extensions`, and fields that are a `Raw`, are encoded already."""
    before = (salt, replaces, topic_id, expires, in_reply_to)
    return b"\x87" + b"".join(map(_encoded, before)) + extensions + _encoded(part)


class Raw(bytes):
    """What is encoded already."""

    __slots__ = ()


def _encoded(field: object) -> bytes:
    return bytes(field) if isinstance(field, Raw) else cbor2.dumps(field)


def with_extension(value: bytes, key: bytes = b"\x03") -> bytes:
    """Return a content with one extension, of this raw key and value."""
    return content_bytes(extensions=b"\xa1" + key + value)


def nested(depth: int) -> object:
    """Return a part so many deep."""
    return HELLO if depth == 1 else [1, "", 3, 2, [nested(depth - 1), HELLO]]


@contextmanager
def breaks(rule_id: str) -> Iterator[None]:
    """Expect a refusal by this rule, in one line."""
    with pytest.raises(PeerError, match=rf"\A.*: {rule_id}\)\Z"):
        yield


def case_name(value: object) -> str:
    """Return a short name for one parameter of a test."""
    if isinstance(value, bytes):
        return value.hex() if len(value) <= 12 else f"{len(value)} bytes"
    return str(value)
