"""CBOR that is not deterministic, or beyond MIMI's limits, is refused before a decoder sees it."""

from __future__ import annotations

import tracemalloc

import cbor2
import pytest

from clave_client.errors import PeerError
from clave_client.formats.mimi.cbor_structure import check_structure
from clave_client.formats.mimi.content import decode_mimi
from clave_client.formats.mimi.status import decode_status
from mimikit import HELLO, SALT, Raw, breaks, case_name, content_bytes, nested, with_extension
from rulekit import proves

PLAIN = content_bytes()

_LONG_HEADS = (
    Raw(b"\x18\x17"),
    Raw(b"\x19\x00\xff"),
    Raw(b"\x1a\x00\x00\xff\xff"),
    Raw(b"\x1b\x00\x00\x00\x00\xff\xff\xff\xff"),
    Raw(b"\x38\x00"),
    Raw(b"\x58\x00"),
    Raw(b"\x78\x00"),
    Raw(b"\x98\x00"),
    Raw(b"\xb8\x00"),
)

BROKEN = [
    *(("cbor-complete", PLAIN[:length]) for length in range(len(PLAIN))),
    ("cbor-complete", content_bytes(topic_id=Raw(b"\x5b" + (2**60).to_bytes(8)))),
    ("cbor-complete", content_bytes(part=Raw(b"\x9b" + (2**60).to_bytes(8)))),
    ("cbor-complete", content_bytes(extensions=b"\xa1\x03\xf9\x7e", part=Raw(b""))),
    ("cbor-single", PLAIN + b"\x00"),
    ("cbor-single", PLAIN + PLAIN),
    *(("cbor-reserved", content_bytes(topic_id=Raw(bytes([head])))) for head in (0x1C, 0x5D, 0x9E, 0xFC)),
    ("cbor-definite", content_bytes(topic_id=Raw(b"\x5f\x41\x00\xff"))),
    ("cbor-definite", content_bytes(part=Raw(b"\x83\x01\x7f\x60\xff\x00"))),
    ("cbor-definite", b"\x9f" + PLAIN[1:] + b"\xff"),
    ("cbor-definite", content_bytes(extensions=b"\xbf\xff")),
    ("cbor-definite", with_extension(b"\x9f\xff")),
    ("cbor-definite", with_extension(b"\xbf\xff")),
    *(("cbor-shortest", content_bytes(topic_id=head)) for head in _LONG_HEADS),
    *(("cbor-shortest", with_extension(head)) for head in _LONG_HEADS),
    ("cbor-shortest", with_extension(b"\xd8\x01\x00")),
    ("cbor-shortest", with_extension(b"\x00", b"\x18\x03")),
    ("cbor-shortest", with_extension(cbor2.dumps(1.5))),
    ("cbor-shortest", with_extension(b"\xfa\x3f\xc0\x00\x00")),
    ("cbor-shortest", with_extension(b"\xfa\x7f\x80\x00\x00")),
    ("cbor-shortest", with_extension(b"\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00")),
    ("cbor-shortest", with_extension(b"\xfb\x3f\xb9\x99\x99\xa0\x00\x00\x00")),
    ("cbor-bignum", with_extension(b"\xc2\x48" + b"\xff" * 8)),
    ("cbor-bignum", with_extension(b"\xc3\x41\x01")),
    ("cbor-bignum", with_extension(b"\xc2\x49\x00" + b"\xff" * 8)),
    ("cbor-bignum", with_extension(b"\xc2\x58\x18\x00" + b"\xff" * 23)),
    ("cbor-bignum", with_extension(b"\xc2\x01")),
    ("cbor-bignum", with_extension(b"\xc2\x61\x30")),
    ("cbor-key-order", content_bytes(extensions=b"\xa2\x20\x00\x18\x18\x00")),
    ("cbor-key-order", content_bytes(extensions=b"\xa2\x04\x00\x03\x00")),
    ("cbor-key-order", content_bytes(extensions=b"\xa2\x61b\x00\x61a\x00")),
    ("cbor-key-order", with_extension(b"\xa2\x20\x00\x18\x18\x00")),
    ("extension-unique", content_bytes(extensions=b"\xa2\x03\x00\x03\x00")),
    ("extension-unique", with_extension(b"\xa2\x61a\x00\x61a\x01")),
    ("extension-key", with_extension(b"\x00", b"\x41a")),
    ("extension-key", with_extension(b"\x00", b"\x80")),
    ("extension-key", with_extension(b"\x00", b"\xf6")),
    ("extension-key", with_extension(b"\x00", b"\x60")),
    ("extension-key", with_extension(b"\x00", cbor2.dumps("é" * 128))),
    *(("cbor-key-type", with_extension(b"\xa1" + key + b"\x00")) for key in (b"\x80", b"\xa0", b"\xf5")),
    ("cbor-key-type", with_extension(b"\xa1\xc2\x49\x01" + bytes(8) + b"\x00")),
    ("cbor-key-range", with_extension(b"\x00", cbor2.dumps(2**53))),
    ("cbor-key-range", with_extension(b"\x00", cbor2.dumps(-(2**53)))),
    ("cbor-key-range", with_extension(b"\xa1" + cbor2.dumps(2**64 - 1) + b"\x00")),
    ("cbor-utf8", content_bytes(part=Raw(b"\x83\x01\x61\xff\x00"))),
    ("cbor-utf8", with_extension(b"\x63\xed\xa0\x80")),
    ("cbor-utf8", with_extension(b"\x00", b"\x61\xff")),
    ("cbor-nan", with_extension(b"\xf9\x7e\x01")),
    ("cbor-nan", with_extension(b"\xf9\xfe\x00")),
    ("cbor-nan", with_extension(b"\xfa\x7f\xc0\x00\x00")),
    ("cbor-nan", with_extension(b"\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00")),
    *(("cbor-simple", with_extension(value)) for value in (b"\xe0", b"\xf3", b"\xf7", b"\xf8\x20")),
    ("cbor-simple", content_bytes(replaces=Raw(b"\xf7"))),
    *(
        ("tag-place", content_bytes(topic_id=Raw(tag + b"\x41a")))
        for tag in (b"\xc2", b"\xd8\x1c", b"\xd8\x1d", b"\xd8\x23", b"\xd9\xd9\xf7")
    ),
    ("tag-place", b"\xd9\xd9\xf7" + PLAIN),
    ("map-place", content_bytes(part={})),
    ("map-place", content_bytes(part=[1, "", 1, HELLO[3], {}])),
    ("part-depth", content_bytes(part=nested(5))),
    ("part-depth", content_bytes(part=nested(200))),
    ("part-depth", b"\x81" * 65_536),
    ("extension-depth", with_extension(b"\x81\x81\xc1\x80")),
    ("extension-depth", with_extension(b"\xa1\x00" * 4 + b"\x00")),
    ("extension-depth", with_extension(b"\xc1" * 65_536)),
]

_DRAFTS_EXAMPLE = cbor2.dumps(
    [[b"\x12\x34", cbor2.CBORTag(32, "http://example.com")], [b"\x34\x56", 5771]],
)

WITHIN_EXTENSIONS = (
    _DRAFTS_EXAMPLE,
    b"\xf9\x7e\x00",
    b"\xf9\x3e\x00",
    b"\xf9\x7c\x00",
    b"\xf9\x00\x01",
    b"\xfa\x3d\xcc\xcc\xcd",
    b"\xfa\x7f\x7f\xff\xff",
    cbor2.dumps(0.1),
    cbor2.dumps(1e300),
    cbor2.dumps(2**64 - 1),
    cbor2.dumps(-(2**64)),
    cbor2.dumps(2**64),
    cbor2.dumps(-(2**64) - 1),
    cbor2.dumps(2**200),
    b"\xf4",
    b"\xf5",
    b"\xf6",
    b"\xd8\x1c\x81\xd8\x1d\x00",
    b"\xd8\x1d\x19\xff\xff",
    b"\xd8\x23\x61(",
    b"\xd8\x23\x66(a*)*$",
    b"\xd8\x50\x42\x7e\x01",
    b"\xdb" + b"\xff" * 8 + b"\x00",
    b"\xa3\x00\x00\x41a\x00\x61a\x00",
    b"\xa2\x18\x18\x00\x20\x00",
    b"\xa1" + cbor2.dumps(2**53 - 1) + b"\x00",
    b"\xa1" + cbor2.dumps(1 - 2**53) + b"\x00",
    b"\xa1\x60\x00",
    b"\x59\xff\xff" + bytes(65_535),
)


@proves(*sorted({rule_id for rule_id, _ in BROKEN}))
@pytest.mark.parametrize(("rule_id", "data"), BROKEN, ids=case_name)
def test_what_is_not_deterministic_or_beyond_the_limits_is_refused(rule_id: str, data: bytes) -> None:
    with breaks(rule_id):
        decode_mimi(data)


@pytest.mark.parametrize("value", WITHIN_EXTENSIONS, ids=case_name)
def test_the_value_of_an_extension_is_kept_as_it_is_and_not_interpreted(value: bytes) -> None:
    assert decode_mimi(with_extension(value)).extensions == {3: value}


@pytest.mark.parametrize(
    "key",
    [0, 23, 24, 2**53 - 1, -1, 1 - 2**53, "a", "é" * 127, "x" * 23, "x" * 24, "x" * 255],
)
def test_keys_of_extensions(key: int | str) -> None:
    assert decode_mimi(with_extension(b"\x00", cbor2.dumps(key))).extensions == {key: b"\x00"}


def test_extensions_are_found_in_any_place() -> None:
    found = check_structure(b"\x82\x00\xa2\x01\x02\x61a\x81\x03")
    assert found is not None
    assert (found.start, found.end) == (2, 9)
    assert found.entries == [(b"\x01", b"\x02"), (b"\x61a", b"\x81\x03")]
    assert check_structure(b"\x82\x00\x01") is None


def test_nothing_that_is_announced_takes_memory_or_recursion() -> None:
    size = 65_536
    floods = [
        b"\x81" * size,
        b"\xa1" * size,
        b"\xc1" * size,
        (b"\x9b" + b"\xff" * 8) * (size // 9),
        with_extension((b"\xbb" + b"\xff" * 8) * (size // 9)),
        with_extension(b"\xbb" + b"\xff" * 8 + b"\x00" * size),
        with_extension(b"\x9b" + b"\xff" * 8 + b"\x00" * size),
        content_bytes(topic_id=Raw(b"\x5b" + b"\xff" * 8)) + bytes(size),
        content_bytes(part=Raw(b"\x9b" + b"\xff" * 8 + b"\x00" * size)),
        content_bytes(part=[1, "", 3, 2, [[1, "", 0]] * (size // 4)]),
        content_bytes(salt=SALT, extensions=b"\xb9\xff\xff" + b"\x00" * size),
    ]
    for flood in floods:
        for decode in (decode_mimi, decode_status):
            tracemalloc.start()
            try:
                with pytest.raises(PeerError):
                    decode(flood)
                assert tracemalloc.get_traced_memory()[1] < 40 * size
            finally:
                tracemalloc.stop()
