"""Zero-width joiners stay in texts where they shape letters or join emoji, and are spelled out elsewhere."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth.table_grapheme import EXTENDED_PICTOGRAPHIC

from clave_wire import joiners
from clave_wire.errors import BadName
from clave_wire.text import check_name, sanitize

ZWNJ, ZWJ = "\u200c", "\u200d"
SPELLED = {ZWNJ: "<U+200C>", ZWJ: "<U+200D>"}

BELONGS = {
    "family": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "couple with hearts": "\U0001f469\u200d\u2764\ufe0f\u200d\U0001f48b\u200d\U0001f468",
    "skin tones": "\U0001f469\U0001f3fd\u200d\U0001f91d\u200d\U0001f468\U0001f3fb",
    "rainbow flag": "\U0001f3f3\ufe0f\u200d\U0001f308",
    "detective": "\U0001f575\ufe0f\u200d\u2642\ufe0f",
    "broken chain": "\u26d3\ufe0f\u200d\U0001f4a5",
    "shaking head": "\U0001f642\u200d\u2194\ufe0f",
    "Persian": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Persian plural": "\u06a9\u062a\u0627\u0628\u200c\u0647\u0627\u06cc\u0645",
    "Arabic with a vowel": "\u0645\u064e\u200c\u062e",
    "Hindi, half form": "\u0915\u094d\u200d\u0937",
    "Hindi, visible virama": "\u0915\u094d\u200c\u0937",
    "Marathi, eyelash ra": "\u0930\u094d\u200d\u092f\u093e",
    "Bengali, ra and ya": "\u09b0\u200d\u09cd\u09af\u09be",
    "Sinhala": "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
    "Kannada": "\u0cb0\u0ccd\u200c\u0c95",
    "Malayalam": "\u0d28\u0d4d\u200c\u0d2e",
    "Syriac": "\u0712\u200c\u0712",
}

WHOLE_WITHOUT = [
    "\U0001f1e9\U0001f1ea",
    "\u2764\ufe0f",
    "\u263a\ufe0e",
    "1\ufe0f\u20e3",
    "\U0001f44d\U0001f3fd",
]
"""Flags, emoji and text style, keycaps and skin tones: emoji that have no joiner."""

ARABIC, DEVANAGARI, MAN = "\u0645", "\u0915", "\U0001f468"

DOES_NOT_BELONG = [
    *(
        "{}",
        "{}" + ARABIC,
        ARABIC + "{}",
        "a{}b",
        "1{}2",
        " {} ",
        "\u05d0{}\u05d1",
        "\u65e5{}\u672c",
        "\uac00{}\ub098",
    ),
    *(
        ARABIC + "{}" + DEVANAGARI,
        "a{}" + ARABIC,
        ARABIC + "{}a",
        ARABIC + "{} " + ARABIC,
        ARABIC + "\n{}" + ARABIC,
    ),
    *(
        ARABIC + "{0}{0}" + ARABIC,
        MAN + "{0}{0}" + MAN,
        ARABIC + "\u200b{}" + ARABIC,
        ARABIC + "{}\u200b" + ARABIC,
    ),
    *(
        "{}" + MAN,
        MAN + "{}",
        "a{}" + MAN,
        MAN + "{}a",
        MAN + "{}" + ARABIC,
        MAN + " {}" + MAN,
        MAN + "{} " + MAN,
    ),
    *(
        "\ufe0f{}" + MAN,
        "a\ufe0f{}" + MAN,
        "\U0001f3fd{}" + MAN,
        MAN + "\ufe0f\ufe0f{}" + MAN,
        MAN + "{}\ufe0f" + MAN,
    ),
    *(
        "\U0001f1e9{}\U0001f1ea",
        "\u0967{}\u0968",
        "\u1780{}\u17b4\u1780",
        "\u0301{}\u0301",
        ARABIC + "\u064e" * 4 + "{}\u064e b",
    ),
    *("<U+200D>{}" + MAN, "\ud83d{}" + MAN, MAN + "{}\U0001fffd", "\u0645{}\U000108e0"),
]


@pytest.mark.parametrize("text", BELONGS.values(), ids=BELONGS)
def test_joiners_stay_where_they_belong(text: str) -> None:
    for around in ("{}", "a {} b", "{0}{0}", "{0}\n{0}"):
        said = around.format(text)
        assert sanitize(said, multiline=True, joiners=True) == said


@pytest.mark.parametrize("text", WHOLE_WITHOUT)
def test_emoji_without_joiners_are_whole(text: str) -> None:
    assert sanitize(text) == sanitize(text, joiners=True) == text


@pytest.mark.parametrize("joiner", [ZWNJ, ZWJ], ids=["ZWNJ", "ZWJ"])
@pytest.mark.parametrize("around", DOES_NOT_BELONG, ids=ascii)
def test_joiners_are_spelled_out_elsewhere(around: str, joiner: str) -> None:
    shown = sanitize(around.format(joiner), multiline=True, joiners=True)
    assert SPELLED[joiner] in shown
    assert not set(shown) & {ZWNJ, ZWJ}


def test_a_non_joiner_does_not_belong_into_emoji() -> None:
    assert sanitize(MAN + ZWNJ + MAN, joiners=True) == f"{MAN}<U+200C>{MAN}"


@pytest.mark.parametrize("joiner", [ZWNJ, ZWJ], ids=["ZWNJ", "ZWJ"])
def test_marks_do_not_stack_higher_with_joiners_between(joiner: str) -> None:
    mark = "\u064e"
    for stack in ((mark + joiner) * 100, mark + (joiner + mark) * 3 + mark * 96):
        shown = sanitize(ARABIC + stack + ARABIC, joiners=True)
        assert max(run.count(mark) for run in re.findall(f"[{mark}{joiner}]+", shown)) == 4


@pytest.mark.parametrize("text", BELONGS.values(), ids=BELONGS)
def test_names_and_what_is_no_message_keep_no_joiners(text: str) -> None:
    assert not set(sanitize(text)) & {ZWNJ, ZWJ}
    assert not set(sanitize(text, multiline=True)) & {ZWNJ, ZWJ}
    with pytest.raises(BadName):
        check_name(text)


def assigned(point: int) -> bool:
    return unicodedata.category(chr(point)) != "Cn"


def test_pictographs_are_those_of_unicode() -> None:
    """Those of Unicode 14.0 include those of later versions, which left out some symbols."""
    known = {point for first, last in EXTENDED_PICTOGRAPHIC for point in range(first, last + 1)}
    found = {point for point in range(sys.maxunicode + 1) if joiners._is_pictograph(chr(point))}
    assert set(filter(assigned, known)) <= found
    assert {unicodedata.category(chr(point)) for point in found - known if assigned(point)} == {"So", "Sm"}


SCRIPTS = (
    "ADLAM|ARABIC|BENGALI|DEVANAGARI|GUJARATI|GURMUKHI|KANNADA|KHMER|MALAYALAM|MONGOLIAN|MYANMAR|NKO|ORIYA"
)
NAMED = re.compile(f"(?P<script>{SCRIPTS}|SINHALA|SYRIAC|TAMIL|TELUGU) ")
EMOJI = re.compile("(.)[\ufe0f\U0001f3fb-\U0001f3ff]?$", re.DOTALL)


def belongs(text: str, index: int) -> bool:
    """Return whether the joiner at `index` is between letters or marks of one script, or inside an emoji."""
    before, after = text[index - 1 : index], text[index + 1 : index + 2]
    scripts = [
        found["script"]
        for each in (before, after)
        if each
        and unicodedata.category(each)[0] in "LM"
        and (found := NAMED.match(unicodedata.name(each, "")))
    ]
    if len(scripts) == 2 and len(set(scripts)) == 1:
        return True
    emoji = EMOJI.search(text[:index])
    return text[index] == ZWJ and emoji is not None and all(map(joiners._is_pictograph, (emoji[1], after)))


ALPHABET = "".join(BELONGS.values()) + "a 1\n\u064e\u0301\u093f\u17b4\u1780\u200b\u202e\ufe0e\U0001f1e9<>"
TEXTS = st.text(
    st.one_of(st.sampled_from(ALPHABET), st.sampled_from(ZWNJ + ZWJ), st.characters()), max_size=30
)


@given(TEXTS)
def test_no_joiner_is_left_where_none_belongs(text: str) -> None:
    shown = sanitize(text, joiners=True)
    for index, character in enumerate(shown):
        assert character not in (ZWNJ, ZWJ) or belongs(shown, index)
    assert sanitize(shown, joiners=True) == shown
    without = shown.replace(ZWNJ, "").replace(ZWJ, "")
    assert sanitize(without) == without
    for kept in (ZWNJ, ZWJ):
        assert shown.count(kept) + shown.count(SPELLED[kept]) == text.count(kept) + text.count(SPELLED[kept])
