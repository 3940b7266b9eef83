"""Contents are decoded as encoded, in one way only; what the draft forbids is refused, by the rule's id."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clave_client.errors import PeerError
from clave_client.formats.mimi.content import (
    MARKDOWN,
    ROOM_URI,
    SENDER_URI,
    Expiration,
    ExternalPart,
    MimiContent,
    MultiPart,
    NestedPart,
    NullPart,
    PartSemantics,
    SinglePart,
    check_origin,
    check_times,
    decode_mimi,
    encode_mimi,
)
from mimikit import HELLO, ID, SALT, breaks, case_name, content_bytes, nested, with_extension
from rulekit import proves

YEAR = 366 * 86_400
NOW = 1_800_000_000
EXTERNAL = ["video/mp4", "https://x.example/1", 0, 5, 1, b"k", b"n", b"", 1, b"h", "what", "name"]


def external(**changes: object) -> object:
    names = ("content_type", "url", "expires", "size", "enc_alg", "key", "nonce", "aad", "hash_alg")
    fields: list[object] = [1, "", 2, *EXTERNAL]
    for name, value in changes.items():
        fields[3 + names.index(name)] = value
    return fields


BROKEN = [
    *(
        ("content-fields", data)
        for data in (b"\x00", b"\x80", b"\xa0", b"\x61a", b"\x40", b"\xf6", b"\xf9\x3c\x00")
    ),
    ("content-fields", b"\x88" + content_bytes()[1:] + b"\x00"),
    ("content-fields", b"\x86" + content_bytes()[1 : -len(cbor2.dumps(HELLO))]),
    ("content-fields", content_bytes(salt="x" * 16)),
    ("content-fields", content_bytes(salt=None)),
    ("content-fields", content_bytes(replaces="x" * 32)),
    ("content-fields", content_bytes(topic_id=None)),
    ("content-fields", content_bytes(expires=5)),
    ("content-fields", content_bytes(in_reply_to=False)),
    ("content-fields", content_bytes(extensions=b"\x80")),
    ("content-fields", content_bytes(extensions=b"\xf6")),
    ("content-fields", content_bytes(extensions=b"\x80", topic_id={})),
    ("content-fields", content_bytes(part=None)),
    ("salt-size", content_bytes(salt=bytes(15))),
    ("salt-size", content_bytes(salt=bytes(17))),
    ("id-size", content_bytes(replaces=ID[:-1])),
    ("id-size", content_bytes(replaces=b"")),
    ("id-size", content_bytes(in_reply_to=ID + b"x")),
    ("id-hash", content_bytes(replaces=bytes(32))),
    ("id-hash", content_bytes(in_reply_to=b"\x02" + ID[1:])),
    ("topic-size", content_bytes(topic_id=bytes(4097))),
    *(
        ("expires-fields", content_bytes(expires=expires))
        for expires in (
            [],
            [True],
            [False, -1],
            [False, 2**32],
            [0, 1],
            [True, True],
            [True, 1, 1],
            [True, 0.1],
        )
    ),
    ("origin-type", with_extension(b"\x41a", b"\x01")),
    ("origin-type", with_extension(b"\x00", b"\x02")),
    ("origin-type", with_extension(b"\xd8\x20\x61a", b"\x02")),
    *(
        ("part-fields", content_bytes(part=part))
        for part in (
            [],
            [1],
            [1, ""],
            [True, "", 0],
            [1, b"", 0],
            [1, "", None],
            [1, "", 0, 0],
            [1, "", 1, "text/plain"],
            [1, "", 1, "text/plain", "hello"],
            [1, "", 1, b"text/plain", b"hello"],
            [*HELLO, 1],
            [1, "", 2, *EXTERNAL[:-1]],
            external(key="k"),
            external(size=False),
            [1, "", 3, 0],
            [1, "", 3, 0, None],
            [1, "", 3, "0", [HELLO, HELLO]],
            [1, "", 3, 0, [HELLO, 1]],
            [1, "", 3, 0, [HELLO, []]],
            [0.1, "", 0],
        )
    ),
    ("part-cardinality", content_bytes(part=[1, "", 4])),
    ("part-cardinality", content_bytes(part=[1, "", -1])),
    ("part-disposition", content_bytes(part=[256, "", 0])),
    ("part-disposition", content_bytes(part=[-1, "", 0])),
    ("multipart-parts", content_bytes(part=[1, "", 3, 0, []])),
    ("multipart-parts", content_bytes(part=[1, "", 3, 0, [HELLO]])),
    ("part-semantics", content_bytes(part=[1, "", 3, 3, [HELLO, HELLO]])),
    ("part-semantics", content_bytes(part=[1, "", 3, -1, [HELLO, HELLO]])),
    ("part-count", content_bytes(part=[1, "", 3, 0, [HELLO] * 1024])),
    ("part-count", content_bytes(part=[1, "", 3, 0, [[1, "", 3, 0, [HELLO] * 511]] * 2])),
    *(
        ("external-numbers", content_bytes(part=external(**{name: value})))
        for name, bits in (("expires", 32), ("enc_alg", 16), ("hash_alg", 8))
        for value in (-1, 1 << bits)
    ),
    ("external-numbers", content_bytes(part=external(size=-1))),
]


@proves(*sorted({rule_id for rule_id, _ in BROKEN}))
@pytest.mark.parametrize(("rule_id", "data"), BROKEN, ids=case_name)
def test_what_the_draft_forbids_is_refused(rule_id: str, data: bytes) -> None:
    with breaks(rule_id):
        decode_mimi(data)


@pytest.mark.parametrize(
    "data",
    [
        content_bytes(part=[9, "", 1, "text/plain", b""]),
        content_bytes(part=[255, "x-unknown, de-CH", 1, "application/vnd.example-unknown", b"\xff"]),
        content_bytes(replaces=ID, in_reply_to=ID, topic_id=bytes(4096)),
        content_bytes(extensions=b"\xa3\x19\x30\x39\x01\x39\x30\x39\x02\x67private\xf6"),
        content_bytes(expires=[False, 2**32 - 1]),
        content_bytes(part=external(expires=2**32 - 1, size=2**64 - 1, enc_alg=2**16 - 1, hash_alg=255)),
        content_bytes(part=nested(4)),
        content_bytes(part=[1, "", 3, 0, [HELLO] * 1023]),
        content_bytes(part=[1, "", 3, 0, [[1, "", 3, 0, [HELLO] * 511], [1, "", 3, 0, [HELLO] * 510]]]),
    ],
)
def test_what_is_unknown_or_at_a_limit_is_legitimate(data: bytes) -> None:
    content = decode_mimi(data)
    check_times(content, 2**32)
    check_origin(content, "clave:account/a", "clave:room/b")
    assert encode_mimi(content) == data


def parts(depth: int) -> st.SearchStrategy[NestedPart]:
    text, binary = st.text(max_size=20), st.binary(max_size=20)
    common = {"disposition": st.integers(0, 255), "language": text}
    short = st.integers(0, 255)
    leaves = st.one_of(
        st.builds(NullPart, **common),
        st.builds(SinglePart, text, st.binary(max_size=300), **common),
        st.builds(
            ExternalPart,
            *(text, text, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**16 - 1)),
            *(binary, binary, binary, short, binary, text, text),
            **common,
        ),
    )
    if depth == 1:
        return leaves
    inner = st.lists(parts(depth - 1), min_size=2, max_size=3).map(tuple)
    return leaves | st.builds(MultiPart, st.sampled_from(PartSemantics), inner, **common)


ids = st.none() | st.binary(min_size=31, max_size=31).map(lambda rest: b"\x01" + rest)
keys = st.integers(3, 2**53 - 1) | st.integers(1 - 2**53, -1) | st.text(min_size=1, max_size=60)
values = st.one_of(st.integers(-(2**64), 2**64 - 1), st.text(), st.binary(), st.lists(st.booleans())).map(
    cbor2.dumps
)
contents = st.builds(
    MimiContent,
    st.binary(min_size=16, max_size=16),
    parts(4),
    ids,
    st.binary(max_size=40),
    st.none() | st.builds(Expiration, st.booleans(), st.integers(0, 2**32 - 1)),
    ids,
    st.dictionaries(keys, values, max_size=30),
)


@settings(derandomize=True, deadline=None)
@given(contents)
def test_contents_are_decoded_as_encoded(content: MimiContent) -> None:
    data = encode_mimi(content)
    assert decode_mimi(data) == content
    assert encode_mimi(decode_mimi(data)) == data


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        decode_mimi(data)


SMALL = (
    content_bytes(),
    content_bytes(
        in_reply_to=ID, expires=[True, 60], extensions=b"\xa2\x01\x61a\x18\x40\x82\xd8\x1c\x01\xf9\x3c\x00"
    ),
    content_bytes(
        part=[2, "de", 3, 1, [[1, "", 0], [1, "", 2, *EXTERNAL]]],
        extensions=b"\xa1\x61k\xa1\x20\xfb" + b"1234abcd",
    ),
)


@pytest.mark.parametrize("data", SMALL)
def test_every_change_is_refused_or_is_another_content_in_its_one_encoding(data: bytes) -> None:
    assert encode_mimi(decode_mimi(data)) == data
    flipped = [
        data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
        for place in range(len(data))
        for bit in range(8)
    ]
    swapped = [
        data[:place] + bytes([byte]) + data[place + skip :]
        for place in range(len(data))
        for byte in (0x00, 0x18, 0x60, 0x80, 0xA0, 0xC2, 0xF6, 0xF7, 0xFF)
        for skip in (0, 1)
    ]
    accepted = 0
    for changed in (*flipped, *swapped):
        try:
            content = decode_mimi(changed)
        except PeerError:
            continue
        assert encode_mimi(content) == changed
        accepted += 1
    assert accepted > 100
    for length in range(len(data)):
        with pytest.raises(PeerError):
            decode_mimi(data[:length])


@pytest.mark.parametrize(
    "content",
    [
        MimiContent(b"short", NullPart()),
        MimiContent(SALT, NullPart(), topic_id=bytes(4097)),
        MimiContent(SALT, NullPart(), in_reply_to=bytes(32)),
        MimiContent(SALT, NullPart(), extensions={1: b"\x00"}),
        MimiContent(SALT, NullPart(), extensions={3: b"\x00\x00"}),
        MimiContent(SALT, NullPart(), extensions={3: b""}),
        MimiContent(SALT, NullPart(language="\ud800")),
        MimiContent(SALT, MultiPart(PartSemantics.CHOOSE_ONE, (NullPart(),))),
    ],
)
def test_what_receivers_would_refuse_is_not_encoded(content: MimiContent) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        encode_mimi(content)


def test_extensions_are_encoded_in_bytewise_order() -> None:
    content = MimiContent(SALT, NullPart(), extensions={"a": b"\x01", -1: b"\x02", 24: b"\x03", 3: b"\x04"})
    assert b"\xa4\x03\x04\x18\x18\x03\x20\x02\x61a\x01" in encode_mimi(content)


RELATIVE, ABSOLUTE = True, False


@proves("expires-past", "expires-future")
@pytest.mark.parametrize(
    ("rule_id", "relative", "time"),
    [
        ("expires-past", ABSOLUTE, NOW - YEAR - 1),
        ("expires-past", ABSOLUTE, 0),
        ("expires-future", ABSOLUTE, NOW + YEAR + 1),
        ("expires-future", RELATIVE, YEAR + 1),
        ("expires-future", RELATIVE, 2**32 - 1),
    ],
)
def test_expiry_more_than_a_year_away_is_refused(rule_id: str, relative: bool, time: int) -> None:
    with breaks(rule_id):
        check_times(MimiContent(SALT, NullPart(), expires=Expiration(relative, time)), NOW)


@pytest.mark.parametrize(
    ("relative", "time"),
    [(RELATIVE, 0), (RELATIVE, YEAR), (ABSOLUTE, NOW), (ABSOLUTE, NOW - YEAR), (ABSOLUTE, NOW + YEAR)],
)
def test_expiry_within_a_year_is_accepted(relative: bool, time: int) -> None:
    check_times(MimiContent(SALT, NullPart(), expires=Expiration(relative, time)), NOW)


@proves("origin-sender", "origin-room")
@pytest.mark.parametrize(("rule_id", "key"), [("origin-sender", SENDER_URI), ("origin-room", ROOM_URI)])
def test_another_sender_or_room_than_the_actual_one_is_refused(rule_id: str, key: int) -> None:
    named: dict[int | str, bytes] = {key: cbor2.dumps("clave:other")}
    content = MimiContent(SALT, NullPart(), extensions=named)
    with breaks(rule_id):
        check_origin(content, "clave:sender", "clave:room")


def test_the_actual_sender_and_room_are_accepted() -> None:
    named: dict[int | str, bytes] = {
        SENDER_URI: cbor2.dumps("clave:sender"),
        ROOM_URI: cbor2.dumps("clave:room"),
    }
    content = decode_mimi(encode_mimi(MimiContent(SALT, NullPart(), extensions=named)))
    assert (content.sender_uri, content.room_uri) == ("clave:sender", "clave:room")
    check_origin(content, "clave:sender", "clave:room")


def test_no_repr_shows_what_people_say() -> None:
    single = SinglePart(MARKDOWN, b"hush")
    outside = ExternalPart("a", "hush", 0, 0, 0, b"hush", b"hush", b"", 0, b"hush", "hush", "hush")
    whole = MultiPart(PartSemantics.PROCESS_ALL, (single, outside, NullPart()))
    content = MimiContent(SALT, whole, topic_id=b"hush", extensions={3: b"hush"})
    shown = repr((single, outside, whole, content))
    assert "hush" not in shown
    assert "4 bytes" in shown
