"""Text from other people: no control characters, no invisible ones, and no confusable names."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import unicodedata
from collections.abc import Iterator

import pyte
import pytest
from confusable_homoglyphs import categories
from hypothesis import given
from hypothesis import strategies as st

from clave_wire import name_tables, text
from clave_wire.errors import BadName
from clave_wire.text import check_name, fold, sanitize, skeleton
from importkit import imported_by
from nametables import MODULE, UNICODE_VERSION
from nametables import name_tables as tables_of_unicode

TABLES = "6288f8bf086a0cdda7ef740507f7b341d701fd219f695688b139dccaaa17ae5e"
"""SHA-256 of the tables of letters, marks and digits."""

JUDGEMENTS = "050af6c013817e09096516f9f7e07f5dd774395a26ad906c0e100292bb82412b"
"""SHA-256 of what `judged` yields."""

HARMLESS = ["", "hello", "Grüße", "日本語", "नमस्ते", "👍🏽", "e\u0301", "שלום", "a b", "<U+202E>"]


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert sanitize(text) == text


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("\x1b", "<U+001B>"),
        ("\x00", "<U+0000>"),
        ("\x7f", "<U+007F>"),
        ("\x9b", "<U+009B>"),
        ("\r", "<U+000D>"),
        ("\n", "<U+000A>"),
        ("\t", "<U+0009>"),
        ("\u202e", "<U+202E>"),
        ("\u2066", "<U+2066>"),
        ("\u200b", "<U+200B>"),
        ("\u200d", "<U+200D>"),
        ("\ufeff", "<U+FEFF>"),
        ("\u2028", "<U+2028>"),
        ("\u00ad", "<U+00AD>"),
        ("\u3164", "<U+3164>"),
        ("\U000e0041", "<U+E0041>"),
        ("\ud800", "<U+D800>"),
        ("\ue000", "<U+E000>"),
        ("\uffff", "<U+FFFF>"),
    ],
)
def test_control_and_invisible_characters_are_escaped(character: str, shown: str) -> None:
    assert sanitize(f"a{character}b") == f"a{shown}b"


def test_newlines_and_tabs_stay_where_they_are_wanted() -> None:
    assert sanitize("a\n\tb\r", multiline=True) == "a\n\tb<U+000D>"


def test_stacked_marks_are_cut() -> None:
    assert sanitize("e" + "\u0301" * 100 + "x") == "e" + "\u0301" * 4 + "x"


@given(st.text())
def test_no_control_characters_are_left(text: str) -> None:
    shown = sanitize(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
    assert sanitize(shown) == shown


@given(st.text(alphabet=st.sampled_from("ab\x1b[]0;52c\x07\x9b\x9d\\?hlmJH\n\r\u202e"), max_size=40))
def test_text_stays_on_one_line_and_leaves_the_terminal_state(text: str) -> None:
    screen = pyte.Screen(600, 3)
    stream = pyte.Stream(screen)
    stream.feed("name: " + sanitize(text) + "|end")
    assert screen.display[0].rstrip() == "name: " + sanitize(text) + "|end"
    assert not screen.display[1].strip()
    assert screen.title == ""


@pytest.mark.parametrize(
    "name",
    [
        "red",
        "Blue",
        "b",
        "x" * 32,
        "anna-lena",
        "r2_d.2",
        "Jürgen",
        "\u0395\u03bb\u03bb\u03b7",
        "日本の",
        "김철수",
        "7",
    ],
)
def test_names_people_have(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 33,
        "a b",
        " a",
        "a\n",
        "a\x1b[31m",
        "a\u202eb",
        "a\u200bb",
        "a\u3164",
        "a/b",
        "a@b",
        "a:b",
        "-a",
        ".a",
        "_a",
        "e\u0301",
        "\u0301a",
        "bl\u0443e",
        "\U0001f600",
        "a\u2028b",
        "\ud800",
        "q" + "\u0323\u0300\u0301\u0302\u0303",
    ],
)
def test_names_nobody_may_have(name: str) -> None:
    with pytest.raises(BadName) as caught:
        check_name(name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("b1ue", "blue"),
        ("bIue", "blue"),
        ("BLUE", "blue"),
        ("b0b", "bob"),
        ("rnodern", "modern"),
        ("\u0440\u0430\u0443\u0440\u0430\u043b", "paypa\u043b"),
        ("\u0455\u0441\u043e\u0440\u0435", "scope"),
        ("\u0391\u0392\u0395", "ABE"),
        ("\uff42lue", "blue"),
    ],
)
def test_names_that_look_alike_share_a_skeleton(name: str, other: str) -> None:
    assert skeleton(name) == skeleton(other)


@pytest.mark.parametrize(
    ("name", "other"), [("red", "red2"), ("blue", "blues"), ("anna", "hanna"), ("ali", "alf")]
)
def test_names_that_differ_do_not(name: str, other: str) -> None:
    assert skeleton(name) != skeleton(other)


def test_fold_removes_case_and_compatibility_forms() -> None:
    assert fold("Straße") == fold("STRASSE")
    assert fold("\uff42lue") == "blue"


def accepted(name: str) -> bool:
    try:
        check_name(name)
    except BadName:
        return False
    return True


@pytest.mark.parametrize(
    ("character", "version"),
    [
        ("\U00031350", "15.0"),
        ("\u0cf3", "15.0"),
        ("\U0001e4f0", "15.0"),
        ("\U0002ebf0", "15.1"),
        ("\u1c89", "16.0"),
    ],
)
def test_characters_assigned_after_unicode_14_are_refused(character: str, version: str) -> None:
    for name in (character, f"\u0c95{character}", f"a{character}"):
        assert not accepted(name), version


@pytest.mark.skipif(unicodedata.unidata_version != UNICODE_VERSION, reason="needs Unicode 14.0 (Python 3.11)")
def test_tables_are_what_the_script_writes() -> None:
    assert MODULE.read_text(encoding="utf-8") == tables_of_unicode(), "run `make name-tables`"


def test_tables_do_not_change() -> None:
    """A different table accepts different names: members of one group would disagree."""
    tables = f"{name_tables.LETTERS}|{name_tables.MARKS}|{name_tables.DIGITS}"
    assert hashlib.sha256(tables.encode()).hexdigest() == TABLES


def judged() -> Iterator[str]:
    """Yield whether each character is valid alone and after a letter, and 20,000 names of similar ones."""
    valid = []
    for point in range(sys.maxunicode + 1):
        for name in (chr(point), f"a{chr(point)}"):
            if accepted(name):
                valid.append(point)
                yield f"{name!a} {fold(name)} {skeleton(name)}"
    number = 1
    for _ in range(20_000):
        number = (number * 6_364_136_223_846_793_005 + 1) % (1 << 64)
        first = valid[(number >> 32) % len(valid)]
        name = "".join(map(chr, (first, first + (number >> 40) % 64, first + (number >> 50) % 64)))
        yield f"{name!a} {fold(name)} {skeleton(name)}" if accepted(name) else ascii(name)


def test_every_version_of_python_judges_names_alike() -> None:
    """The digest is that of Python 3.11, 3.12 and 3.13, with the pinned confusable-homoglyphs."""
    digest = hashlib.sha256()
    for line in judged():
        digest.update(line.encode() + b"\n")
    assert digest.hexdigest() == JUDGEMENTS


@given(st.text(max_size=40))
def test_any_string_can_be_checked_as_a_name(name: str) -> None:
    skeleton(name)
    fold(name)
    with contextlib.suppress(BadName):
        check_name(name)


ASCII = [chr(point) for point in range(128)]


@pytest.mark.parametrize("character", ASCII)
def test_what_is_known_of_ascii_is_what_the_tables_say(character: str) -> None:
    assert text._prototype(character) == text._listed_prototype(character)
    assert categories.unique_aliases(character) <= text._scripts(character)
    kinds = {kind for first, last, kind in text._ranges()[1] if first <= ord(character) <= last}
    assert {text._kind_of(character)} - {None} == kinds


def test_tables_are_read_for_names_that_are_not_in_ascii() -> None:
    script = (
        "from clave_wire.text import check_name, fold, skeleton\nfor use in check_name, fold, skeleton: use"
    )
    assert "confusable_homoglyphs" not in imported_by(f"{script}('red-0')")
    assert "confusable_homoglyphs" in imported_by(f"{script}('røde')")
