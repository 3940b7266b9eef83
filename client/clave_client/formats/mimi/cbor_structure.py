"""The structure of CBOR (RFC 8949) as MIMI restricts it, checked in one pass before a decoder sees the bytes.

Knows maps as extensions only, and no other field of a content. No memory is taken by what a head announces.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from clave_client.formats.mimi.rules import Rule

__all__ = ["Extensions", "check_structure"]

_MAX_PART_DEPTH = 4
_MAX_ARRAY_DEPTH = 2 * _MAX_PART_DEPTH
"""A part at depth n is in 2n arrays, itself one: the content, and each part above with its list of parts."""

_MAX_EXTENSION_DEPTH = 4
_MAX_KEY_BYTES = 255
_MAX_INTEGER = 2**53 - 1

_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)

_LEAST = (24, 2**8, 2**16, 2**32)
"""The least argument that takes 1, 2, 4 or 8 bytes after the initial byte."""

_FALSE, _TRUE, _NULL = 20, 21, 22
_BIGNUMS = (2, 3)
_INTEGER_BYTES = 8
_FLOATS = {25: ">e", 26: ">f", 27: ">d"}
_NAN = b"\xf9\x7e\x00"


class Extensions(NamedTuple):
    """Where the map of extensions lies: from `start` to `end`, its entries as (key, value) of raw CBOR."""

    start: int
    end: int
    entries: list[tuple[bytes, bytes]]

    def __repr__(self) -> str:
        return f"<Extensions, {len(self.entries)}>"


def check_structure(data: bytes) -> Extensions | None:
    """Check that `data` is one item in deterministic encoding, within MIMI's limits; raises `PeerError`.

    Return the only map that is in no other map; None if there is none. Outside it are only arrays, integers,
    byte strings, texts, floats, false, true and null. draft-ietf-mimi-content-08, sections 6.1 to 6.3.
    """
    found: list[Extensions] = []
    try:
        end = _check_item(data, 0, 0, found)
    except IndexError:
        Rule.CBOR_COMPLETE.broken("it ends too early")
    if end != len(data):
        Rule.CBOR_SINGLE.broken("something follows it")
    return found[0] if found else None


def _check_item(data: bytes, start: int, depth: int, found: list[Extensions] | None) -> int:
    """Check the item at `start`, which is in `depth` others; return where it ends.

    In extensions `found` is None and `depth` begins anew. Raises `PeerError`; `IndexError` where data ends.
    """
    initial = data[start]
    major, argument = initial >> 5, initial & 31
    at = start + 1
    if argument >= 24:
        if argument == 31:
            Rule.CBOR_DEFINITE.broken("a length is indefinite")
        if argument >= 28:
            Rule.CBOR_RESERVED.broken("a head is reserved")
        if major == _SIMPLE:
            return _check_float(data, start, argument)
        width = argument - 24
        at += 1 << width
        argument = int.from_bytes(data[start + 1 : at])
        if at > len(data):
            Rule.CBOR_COMPLETE.broken("it ends within a head")
        if argument < _LEAST[width]:
            Rule.CBOR_SHORTEST.broken("a head is longer than it need be")
    if major <= _NEGATIVE:
        return at
    if major <= _TEXT:
        end = at + argument
        if end > len(data):
            Rule.CBOR_COMPLETE.broken("it ends within a string")
        if major == _TEXT:
            _check_utf8(data[at:end])
        return end
    if major == _SIMPLE:
        if not _FALSE <= argument <= _NULL:
            Rule.CBOR_SIMPLE.broken("it has an unknown simple value")
        return at
    if found is None and depth == _MAX_EXTENSION_DEPTH:
        Rule.EXTENSION_DEPTH.broken("extensions are nested too deep")
    if major == _ARRAY:
        if depth == _MAX_ARRAY_DEPTH:
            Rule.PART_DEPTH.broken("parts are nested too deep")
        for _ in range(argument):
            at = _check_item(data, at, depth + 1, found)
        return at
    if major == _TAG:
        if found is not None:
            Rule.TAG_PLACE.broken("something outside the extensions has a tag")
        end = _check_item(data, at, depth + 1, None)
        if argument in _BIGNUMS:
            _check_bignum(data[at:end])
        return end
    if found is None:
        return _check_map(data, at, argument, depth + 1, None)
    if found:
        Rule.MAP_PLACE.broken("it has a second map")
    entries: list[tuple[bytes, bytes]] = []
    end = _check_map(data, at, argument, 1, entries)
    found.append(Extensions(start, end, entries))
    return end


def _check_map(
    data: bytes, at: int, count: int, depth: int, entries: list[tuple[bytes, bytes]] | None
) -> int:
    """Check `count` entries from `at` on; return where they end. Append them to `entries`, if it is given.

    The map whose entries are wanted is that of the extensions, which may have other keys than maps in it.
    """
    previous = b""
    for _ in range(count):
        major = data[at] >> 5
        if entries is not None and major not in (_UINT, _NEGATIVE, _TEXT):
            Rule.EXTENSION_KEY.broken("the key of an extension is neither an integer nor a text")
        if major > _TEXT:
            Rule.CBOR_KEY_TYPE.broken("a key is of a type that none may have")
        value_at = _check_item(data, at, depth, None)
        key = data[at:value_at]
        if major <= _NEGATIVE:
            _check_key_range(key)
        elif entries is not None:
            _check_key_size(key)
        if key == previous:
            Rule.EXTENSION_UNIQUE.broken("a key is there twice")
        if key < previous:
            Rule.CBOR_KEY_ORDER.broken("keys are not in order")
        previous = key
        at = _check_item(data, value_at, depth, None)
        if entries is not None:
            entries.append((key, data[value_at:at]))
    return at


def _check_key_range(key: bytes) -> None:
    """Check an integer's encoding. A negative one, -1 - n, holds n; what is shorter is in range."""
    if len(key) == 1 + _INTEGER_BYTES and int.from_bytes(key[1:]) + (key[0] >> 5) > _MAX_INTEGER:
        Rule.CBOR_KEY_RANGE.broken("a key is beyond what a double holds exactly")


def _check_key_size(key: bytes) -> None:
    """Check a text's encoding. Texts of up to 255 octets have heads of one or two."""
    head = 1 if key[0] & 31 < 24 else 2
    if not 1 <= len(key) - head <= _MAX_KEY_BYTES:
        Rule.EXTENSION_KEY.broken("the key of an extension is empty or too long")


def _check_utf8(text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError:
        Rule.CBOR_UTF8.broken("a text is not UTF-8")


def _check_bignum(content: bytes) -> None:
    """Check a bignum's content: a byte string that no integer could stand for."""
    major, info = content[0] >> 5, content[0] & 31
    if major != _BYTES or info <= _INTEGER_BYTES:
        Rule.CBOR_BIGNUM.broken("a bignum is no byte string, or would fit into an integer")
    if content[1 if info < 24 else 1 + (1 << info - 24)] == 0:
        Rule.CBOR_BIGNUM.broken("a bignum begins with zero")


def _check_float(data: bytes, start: int, info: int) -> int:
    """Check the float at `start`, whose head has `info`; return where it ends."""
    if info not in _FLOATS:
        Rule.CBOR_SIMPLE.broken("it has an unknown simple value")
    end = start + 1 + (1 << info - 24)
    if end > len(data):
        Rule.CBOR_COMPLETE.broken("it ends within a head")
    [value] = struct.unpack(_FLOATS[info], data[start + 1 : end])
    if value != value:
        if data[start:end] != _NAN:
            Rule.CBOR_NAN.broken("a NaN is another than the quiet one of 16 bits")
    elif info > min(_FLOATS) and _fits(value, _FLOATS[info - 1]):
        Rule.CBOR_SHORTEST.broken("a float is longer than it need be")
    return end


def _fits(value: float, kind: str) -> bool:
    """Return whether a float of that kind of `struct` has exactly this value."""
    try:
        return struct.unpack(kind, struct.pack(kind, value)) == (value,)
    except OverflowError:
        return False
