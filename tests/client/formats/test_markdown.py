"""What other members' Markdown is read as, whoever wrote it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clave_client.formats.emphasis import Style
from clave_client.formats.markdown import mentioned, parse, readable
from clave_client.formats.markdown_inline import Span
from clave_client.formats.mimi.message_id import account_uri
from clave_wire.text import sanitize

B, I, S, C = Style.BOLD, Style.ITALIC, Style.STRIKE, Style.CODE  # noqa: E741 - one letter a style, in tables
RED, BLUE = b"r" * 32, b"b" * 32
TO_RED = account_uri(RED)


@pytest.mark.parametrize(
    ("source", "spans"),
    [
        ("", []),
        ("plain", [("plain",)]),
        ("*a* _b_ **c** __d__", [("a", I), (" ",), ("b", I), (" ",), ("c", B), (" ",), ("d", B)]),
        ("***a***", [("a", B | I)]),
        ("***a** b*", [("a", B | I), (" b", I)]),
        ("***a* b**", [("a", B | I), (" b", B)]),
        ("**a *b* c**", [("a ", B), ("b", B | I), (" c", B)]),
        ("*foo**bar*", [("foo**bar", I)]),
        ("**a*", [("*",), ("a", I)]),
        ("~~a~~ ~b~ ~~~c~~~", [("a", S), (" ",), ("b", S), (" ~~~c~~~",)]),
        ("a_b_c 2*3*4 * d *", [("a_b_c 2",), ("3", I), ("4 * d *",)]),
        ("*a _b* c_", [("a _b", I), (" c_",)]),
        ("**unclosed", [("**unclosed",)]),
        ("`a*b*` ``c`d`` ` e ` `f", [("a*b*", C), (" ",), ("c`d", C), (" ",), ("e", C), (" `f",)]),
        (r"\*a\* \q \\ \`b`c`", [(r"*a* \q \ `b",), ("c", C)]),
        ("a\\\nb", [("a\nb",)]),
        ("a\\", [("a\\",)]),
        ("&lt;&gt;&amp;&quot;&#39; &#60; &#x202e; &copy; &amp;lt;", [("<>&\"' &#60; &#x202e; &copy; &lt;",)]),
        ("<b>x</b> <!-- y --> <script>", [("<b>x</b> <!-- y --> <script>",)]),
        ("# one *two* ##\nthree", [("one ", B), ("two", B | I), ("\nthree",)]),
        ("#one", [("#one",)]),
        ("####### seven", [("####### seven",)]),
        ("> a *b*\n- c\n1. d\n| e |", [("> a ",), ("b", I), ("\n- c\n1. d\n| e |",)]),
        ("- 5*3\n- 6*4", [("- 5*3\n- 6*4",)]),
        ("*a\n\nb*", [("*a\n\nb*",)]),
        ("*a\nb*", [("a\nb", I)]),
        ("a\n```py\n*b*\n\n c\n```\nd", [("a\n",), ("*b*\n\n c", C), ("\nd",)]),
        ("~~~\n```\n~~~", [("```", C)]),
        ("````\n```\n````", [("```", C)]),
        ("a\n```\n```\nb", [("a\nb",)]),
        ("```\nunclosed\n", [("unclosed\n", C)]),
        ("```a``` b", [("a", C), (" b",)]),
        ("<https://x.org/a*b*>", [("https://x.org/a*b*", Style.PLAIN, "https://x.org/a*b*")]),
        ("[a *b*](https://x.org)", [("a b", Style.PLAIN, "https://x.org")]),
        ("**[*a*](https://x.org)**", [("a", B | I, "https://x.org")]),
        ("[a](<https://x.org> 'title')", [("a", Style.PLAIN, "https://x.org")]),
        ('[a](https://x.org/b_(c) "t")', [("a", Style.PLAIN, "https://x.org/b_(c)")]),
        (r"[a](https://x.org/\(?b&amp;c)", [("a", Style.PLAIN, "https://x.org/(?b&c")]),
        ("![a](https://x.org)!", [("a", Style.PLAIN, "https://x.org"), ("!",)]),
        ("[](https://x.org)", [("https://x.org", Style.PLAIN, "https://x.org")]),
        ("[a\nb](https://x.org)", [("a\nb", Style.PLAIN, "https://x.org")]),
        ("*a [b* c](https://x.org)", [("*a ",), ("b* c", Style.PLAIN, "https://x.org")]),
        (
            "[![a](https://x.org)](https://y.org)",
            [("[",), ("a", Style.PLAIN, "https://x.org"), ("](https://y.org)",)],
        ),
        ("[a](javascript:x) [b](y) [c]( ) [d]", [("[a](javascript:x) [b](y) [c]( ) [d]",)]),
        ("[a](https://x.org/<U+202E>b)", [("[a](https://x.org/<U+202E>b)",)]),
        ("<javascript:x> <data:y>", [("<javascript:x> <data:y>",)]),
        ("[a](MAILTO:b@c.org)", [("a", Style.PLAIN, "MAILTO:b@c.org")]),
        (f"[@red]({TO_RED})", [("@red", Style.PLAIN, TO_RED, RED)]),
        (f"[]({TO_RED})", [("", Style.PLAIN, TO_RED, RED)]),
        ("[a](clave:account/00)", [("a", Style.PLAIN, "clave:account/00")]),
    ],
)
def test_a_source_is_read_as_its_spans(source: str, spans: list[tuple[str]]) -> None:
    assert parse(source) == [Span(*each) for each in spans]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("**a** ~~b~~ `c`", "a b c"),
        ("[words](https://x.org)", "words <https://x.org>"),
        ("[https://x.org](https://x.org)", "https://x.org"),
        ("<https://x.org>", "https://x.org"),
        ("[x.org](https://x.org/)", "x.org <https://x.org/>"),
        (
            "[https://bank.example](https://evil.example)",
            "https://bank.example (goes to <https://evil.example>)",
        ),
        ("[https://x.org](http://x.org)", "https://x.org (goes to <http://x.org>)"),
        ("[bank.example](https://evil.example)", "bank.example (goes to <https://evil.example>)"),
        ("[bank。example](https://evil.example)", "bank。example (goes to <https://evil.example>)"),
        ("[bank\uff0eexample](https://evil.example)", "bank\uff0eexample (goes to <https://evil.example>)"),
        ("[10.0.0.1](https://evil.example)", "10.0.0.1 (goes to <https://evil.example>)"),
        ("[@blue](https://evil.example)", "@blue (goes to <https://evil.example>)"),
        (f"[@blue]({account_uri(BLUE)[:-2]})", f"@blue (goes to <{account_uri(BLUE)[:-2]}>)"),
        (f"[@red]({TO_RED})", "@red"),
        (f"[red]({TO_RED})", "@red"),
        (f"[@@ red\nrose]({TO_RED})", "@red rose"),
        (f"[]({TO_RED})", "@72727272"),
        (f"<{TO_RED}>", "@72727272"),
    ],
)
def test_the_readable_text_has_true_targets_and_names_with_one_at_sign(source: str, text: str) -> None:
    assert readable(source) == text


def test_mentions_are_found_outside_of_code_only() -> None:
    source = f"[@red]({TO_RED}) `[b]({account_uri(BLUE)})`\n```\n<{account_uri(BLUE)}>\n```"
    assert mentioned(source) == {RED}
    assert mentioned(f"<{account_uri(BLUE)}> **[x]({TO_RED})**") == {RED, BLUE}


_HOSTILE = "*_~`[]()!<>\\&#|-+=.:;/ \n\tab1\u202e\u200d\x1b\U0001f44d\u05d0\u0301"
_WORDS = ("](", "https://x.org", TO_RED, "&lt;", "&#39;", "```", "~~~", "![", "**", "](https://x.org)")
sources = st.lists(st.sampled_from(list(_HOSTILE)) | st.sampled_from(_WORDS), max_size=60).map("".join)


@given(sources | st.text())
def test_reading_adds_no_character_and_makes_no_text_longer(raw: str) -> None:
    source = sanitize(raw, multiline=True, joiners=True)
    spans = parse(source)
    assert set("".join(span.text for span in spans)) <= set(source) | set("<>&\"'")
    assert sum(len(span.text) for span in spans if not span.link) <= len(source)
    assert all(span.text or span.mention for span in spans)
    assert len(readable(source)) <= 4 * len(source)


UNITS = [
    *(
        "*",
        "_",
        "`",
        "[",
        "](",
        "~",
        ">",
        "\\",
        "!",
        "<",
        "&",
        "#",
        "(",
        "\n",
        " ",
        "a*",
        "*a ",
        "**a ",
        "_a* ",
    ),
    *("[a](", "](x ", "[](<", "![", "<a:", "``a`", "~~a ~", "> *", "[a](https://x.org)", "[`", "*[", "*a [b"),
    *(
        '[a](x "',
        "[a](x '",
        "[(\\",
        "a_*~`[](<&\\",
        "\n```\n",
        "[a](b",
        "[a](b(",
        "&amp",
        "***a_",
        "<https://",
    ),
]


def _seconds(source: str) -> float:
    """Return the least processor time, in seconds, of reading a source several times."""
    taken = []
    for _ in range(3):
        begin = time.thread_time()
        readable(source)
        taken.append(time.thread_time() - begin)
    return min(taken)


def _repeated(unit: str, size: int) -> str:
    return (unit * (size // len(unit) + 1))[:size]


@pytest.mark.parametrize("unit", UNITS)
def test_time_is_linear_in_the_size_of_a_hostile_source(unit: str) -> None:
    assert _seconds(_repeated(unit, 65536)) < 16 * 4 * max(_seconds(_repeated(unit, 4096)), 0.0002)


def test_time_is_linear_in_runs_of_growing_lengths_and_in_depth() -> None:
    for small, large in (
        (
            "".join("`" * length + " " for length in range(90)),
            "".join("`" * each + " " for each in range(360)),
        ),
        ("[" * 1000 + "a" + "](https://x.org)" * 1000, "[" * 16000 + "a" + "](https://x.org)" * 16000),
        ("*" * 4000 + "a" + "*" * 4000, "*" * 64000 + "a" + "*" * 64000),
        ("*a_b " * 400 + "b_ a*" * 400, "*a_b " * 6400 + "b_ a*" * 6400),
    ):
        assert _seconds(large) < 16 * 4 * max(_seconds(small), 0.0002)


def test_brackets_nested_a_thousand_deep_hold_one_link() -> None:
    spans = parse("[" * 1000 + "a](https://x.org)" + "]" * 999)
    assert [span.link for span in spans] == ["", "https://x.org", ""]
    assert "".join(span.text for span in spans) == "[" * 999 + "a" + "]" * 999
