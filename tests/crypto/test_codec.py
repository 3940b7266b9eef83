"""The codec is strict: one encoding per value, and nothing else decodes."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clave_crypto.codec import (
    Enum8,
    Enum16,
    KeptStruct,
    Struct,
    decode_vector,
    encode_vector,
    struct,
    u8,
    u16,
    u32,
    u64,
    vector_header,
)
from clave_crypto.errors import DecodeError
from clave_crypto.keys import Secret
from clave_crypto.mls import KeyPackage
from clave_crypto.mls.framing import AuthenticatedContent, PublicMessage
from clave_crypto.mls.proposals import Commit
from clave_crypto.mls.ratchet_tree import TreeNodes
from clave_crypto.mls.welcome import GroupInfo, GroupSecrets, Welcome


class Colour(Enum8):
    RED = 1
    BLUE = 2


class Shape(Enum16):
    ROUND = 0x0102


@struct(tag=Colour.RED)
class Red(Struct):
    depth: u8


@struct(tag=Colour.BLUE)
class Blue(Struct):
    name: bytes


@struct()
class Everything(Struct):
    small: u8
    two: u16
    four: u32
    eight: u64
    shape: Shape
    text: bytes
    hidden: Secret
    numbers: tuple[u16, ...]
    maybe: u16 | None
    either: Red | Blue
    either_or_none: Red | Blue | None
    many: tuple[Red | Blue | None, ...]
    inner: Red


VALUE = Everything(
    1,
    2,
    3,
    4,
    Shape.ROUND,
    b"text",
    Secret(b"hidden"),
    (5, 6),
    7,
    Red(8),
    Blue(b"b"),
    (None, Red(9)),
    Red(10),
)
ENCODED = bytes.fromhex(
    "01 0002 00000003 0000000000000004 0102 04 74657874 06 68696464656e 04 00050006 01 0007"
    "01 08 01 02 01 62 04 00 01 01 09 0a"
)


def test_one_declaration_encodes_and_decodes() -> None:
    assert VALUE.encode() == ENCODED
    assert Everything.decode(ENCODED) == VALUE


def test_secret_fields_come_back_as_secrets() -> None:
    assert isinstance(Everything.decode(ENCODED).hidden, Secret)
    assert "hidden'" not in repr(Everything.decode(ENCODED))


@pytest.mark.parametrize("length", range(len(ENCODED)))
def test_truncation_is_refused(length: int) -> None:
    with pytest.raises(DecodeError):
        Everything.decode(ENCODED[:length])


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(DecodeError, match="after the end"):
        Everything.decode(ENCODED + b"\0")


@pytest.mark.parametrize(
    ("kind", "encoded"),
    [
        (Everything, ENCODED.replace(b"\x01\x02\x04text", b"\x01\x03\x04text")),
        (Everything, ENCODED[:-10] + b"\x03" + ENCODED[-9:]),
    ],
)
def test_unknown_values_are_refused(kind: type[Struct], encoded: bytes) -> None:
    with pytest.raises(DecodeError):
        kind.decode(encoded)


@pytest.mark.parametrize("length", [0, 1, 63, 64, 16383, 16384, 70_000])
def test_vectors_of_every_size(length: int) -> None:
    assert decode_vector(encode_vector(bytes(length))) == bytes(length)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\x01",
        b"\x40\x01a",
        b"\x40",
        b"\x80\x00\x00\x01a",
        b"\x80\x00\x00\x40" + bytes(64),
        b"\xc0" + bytes(8),
    ],
)
def test_bad_vector_headers_are_refused(encoded: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_vector(encoded)


def test_vector_followed_by_more_is_refused() -> None:
    with pytest.raises(DecodeError):
        decode_vector(b"\x00a")


def test_vectors_have_a_limit() -> None:
    assert vector_header(2**30 - 1) == b"\xbf\xff\xff\xff"
    with pytest.raises(ValueError, match="2\\*\\*30"):
        vector_header(2**30)


def test_item_may_not_run_over_its_vector() -> None:
    @struct()
    class Texts(Struct):
        items: tuple[bytes, ...]
        after: bytes

    assert Texts.decode(b"\x02\x01a\x01b") == Texts((b"a",), b"b")
    with pytest.raises(DecodeError):
        Texts.decode(b"\x02\x02ab\x00")


@struct()
class Numbers(Struct):
    small: tuple[u8, ...]
    two: tuple[u16, ...]
    four: tuple[u32, ...]
    eight: tuple[u64, ...]


def test_lists_of_numbers() -> None:
    value = Numbers((1, 255), (2, 65535), (3, 2**32 - 1), (4, 2**64 - 1))
    encoded = bytes.fromhex("02 01ff 04 0002ffff 08 00000003ffffffff 10 0000000000000004ffffffffffffffff")
    assert value.encode() == encoded
    assert Numbers.decode(encoded) == value
    assert Numbers.decode(bytes(4)) == Numbers((), (), (), ())
    many = Numbers((), tuple(range(1000)), (), ())
    assert Numbers.decode(many.encode()) == many


@pytest.mark.parametrize("encoded", ["00 01 00 00 00", "00 00 03 000000 00", "00 00 00 07 00000000000000"])
def test_list_that_ends_within_a_number_is_refused(encoded: str) -> None:
    with pytest.raises(DecodeError, match="truncated"):
        Numbers.decode(bytes.fromhex(encoded))


@struct(tag=Colour.RED)
class Kept(KeptStruct):
    depth: u8
    name: bytes


@struct()
class Around(Struct):
    before: u8
    either: Kept | Blue
    after: tuple[Kept, ...]


def test_kept_encoding_is_the_encoding() -> None:
    made = Around(1, Kept(2, b"two"), (Kept(3, b""), Kept(4, b"four")))
    encoded = bytes.fromhex("01 01 02 03 74776f 08 03 00 04 04 666f7572")
    assert made.encode() == made.encode() == encoded
    read = Around.decode(encoded)
    assert read == made
    assert [read.either.encode(), *(one.encode() for one in read.after)] == [
        encoded[2:7],
        encoded[8:10],
        encoded[10:],
    ]
    assert read.either.encode() is read.either.encode()
    assert read.encode() == encoded
    assert Kept.decode(encoded[2:7]).encode() == encoded[2:7]


def test_kept_encoding_does_not_pass_to_a_changed_copy() -> None:
    kept = Kept.decode(b"\x01\x01a")
    changed = dataclasses.replace(kept, depth=2)
    assert changed.encode() == b"\x02\x01a"
    assert changed != kept


WIRE = [KeyPackage, Welcome, GroupInfo, GroupSecrets, Commit, TreeNodes, AuthenticatedContent, PublicMessage]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.sampled_from([*WIRE, Everything]), st.binary(max_size=200))
def test_what_decodes_encodes_to_the_same_bytes(kind: type[Struct], data: bytes) -> None:
    try:
        value = kind.decode(data)
    except DecodeError:
        return
    assert value.encode() == data


@settings(derandomize=True, deadline=None)
@given(
    st.integers(0, 255),
    st.binary(max_size=100),
    st.lists(st.integers(0, 65535), max_size=50),
    st.none() | st.integers(0, 65535),
)
def test_round_trip(small: int, text: bytes, numbers: list[int], maybe: int | None) -> None:
    value = Everything(
        small,
        2,
        3,
        4,
        Shape.ROUND,
        text,
        Secret(text),
        tuple(numbers),
        maybe,
        Blue(text),
        None,
        (),
        Red(small),
    )
    assert Everything.decode(value.encode()) == value


def test_base_struct_has_no_encoding() -> None:
    with pytest.raises(NotImplementedError):
        Struct().encode()
    with pytest.raises(NotImplementedError):
        Struct.decode(b"")


@struct()
class Outer(Struct):
    inner: Later


@struct()
class Later(Struct):
    """Declared after the struct that holds it, whose methods are compiled when it is first used."""

    depth: u8


def test_methods_are_compiled_when_a_struct_is_first_used() -> None:
    assert Outer.decode(b"\x07").encode() == b"\x07"
    assert Outer(Later(7)) == Outer.decode(b"\x07")


def test_a_struct_is_a_value() -> None:
    one, other = Red(1), Red(2)
    assert (one, hash(one)) == (Red(1), hash(Red(1)))
    assert len({one, other, Red(depth=1)}) == 2
    others: list[object] = [Blue(b""), 1]
    assert one not in others
    assert repr(Outer(Later(7))) == "Outer(inner=Later(depth=7))"
    assert dataclasses.replace(one, depth=2) == other
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.depth = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del one.depth
    with pytest.raises(AttributeError):
        object.__setattr__(one, "other", 1)
    with pytest.raises(TypeError):
        Red()  # type: ignore[call-arg]
