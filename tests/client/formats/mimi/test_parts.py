from __future__ import annotations

import pytest

from clave_client.formats.mimi.parts import (
    MARKDOWN,
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

PLAIN = SinglePart(TEXT_PLAIN, b"hello")
RICH = SinglePart(MARKDOWN, b"*hello*")
PICTURE = SinglePart("image/png", b"\x89PNG")
OUTSIDE = ExternalPart(TEXT_PLAIN, "https://x.example", 0, 0, 0, b"", b"", b"", 0, b"", "", "")


def choice(*parts: NestedPart) -> MultiPart:
    return MultiPart(PartSemantics.CHOOSE_ONE, parts)


def unit(*parts: NestedPart) -> MultiPart:
    return MultiPart(PartSemantics.SINGLE_UNIT, parts)


def each_of(*parts: NestedPart) -> MultiPart:
    return MultiPart(PartSemantics.PROCESS_ALL, parts)


@pytest.mark.parametrize(
    ("part", "chosen"),
    [
        (PLAIN, PLAIN),
        (RICH, RICH),
        (NullPart(), None),
        (PICTURE, None),
        (OUTSIDE, None),
        (choice(PLAIN, RICH), RICH),
        (choice(PICTURE, PLAIN), PLAIN),
        (choice(PICTURE, NullPart()), None),
        (choice(each_of(PICTURE, PLAIN), each_of(RICH, PICTURE)), RICH),
        (each_of(PICTURE, PLAIN, RICH), PLAIN),
        (each_of(OUTSIDE, NullPart()), None),
        (unit(PLAIN, RICH), PLAIN),
        (unit(PLAIN, PICTURE), None),
        (unit(PLAIN, NullPart()), None),
        (unit(choice(PICTURE, RICH), PLAIN), RICH),
        (choice(unit(RICH, PICTURE), PLAIN), PLAIN),
    ],
)
def test_the_text_to_show(part: NestedPart, chosen: SinglePart | None) -> None:
    assert choose_text(part) is chosen


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "TEXT/Plain ; Charset=UTF-8",
        'text/plain;charset="utf-8"',
        "text/plain; charset=us-ascii",
        "text/plain;format=flowed;charset=utf-8",
        "text/markdown; variant=GFM-MIMI",
        "text/markdown;variant=CommonMark;charset=utf-8",
    ],
)
def test_content_types_that_are_shown(content_type: str) -> None:
    part = SinglePart(content_type, "é".encode())
    assert choose_text(part) is part


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        ";",
        "text",
        "text/html;charset=utf-8",
        "text/plain;charset=latin-1",
        "text/plain;charset",
        "text/plainly",
        "text/plain" + ";a=b" * 70,
    ],
)
def test_content_types_that_are_not_shown(content_type: str) -> None:
    assert choose_text(SinglePart(content_type, b"hello")) is None


def test_what_is_not_utf8_is_not_shown() -> None:
    broken = SinglePart(TEXT_PLAIN, b"\xff")
    assert choose_text(broken) is None
    assert choose_text(choice(SinglePart(MARKDOWN, b"\xff"), PLAIN)) is PLAIN


def test_unknown_dispositions_are_to_be_rendered() -> None:
    assert disposition_of(NullPart(2)) is Disposition.REACTION
    assert disposition_of(NullPart(0)) is Disposition.UNSPECIFIED
    assert {disposition_of(NullPart(value)) for value in range(9, 256)} == {Disposition.RENDER}
