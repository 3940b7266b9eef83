"""What people type becomes GFM that every reader shows as it was meant, or stays plain text."""

from __future__ import annotations

import time
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from clave_client.formats.emphasis import Style
from clave_client.formats.markdown import mentioned, parse, readable
from clave_client.formats.mimi.message_id import account_uri
from clave_client.formats.typed_markdown import write

BOB, ANN, LEE = b"b" * 32, b"a" * 32, b"l" * 32
NAMES = {"bob": BOB, "ann": ANN, "ann-lee": LEE, "snake_case": b"s" * 32, "Straße": b"t" * 32}


def to(account: bytes) -> str:
    return account_uri(account)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "2*3*4 and 2 * 3 * 4",
        "snake_case_name __init__ _private",
        "a * b * c",
        "*.py and *.md, or *.py*",
        ":-* hi :-*",
        "^_^ ok ^_^ *_* -_- >_< T_T ** *** ____",
        "f(**kwargs, *args) char *p, *q",
        "*/5 * * * * run",
        "~/bin ~5 ~~~a~~~",
        r"\*not\* C:\*x*",
        "**open",
        "close**",
        "*one\ntwo*",
        '*a (*"b"*) c*',  # GFM would end the first mark at the second
        "it`s 5 o`clock",
        "` a ` and ``` b",
        "```\nnot closed",
        "array[i](https://x.org)",
        "[words](clave:account/00) [words](javascript:x) [ ](https://x.org)",
        "https://x.org/*a*/_b_/~~c~~",
        "bob@bob x@ann @nobody @bobby @bob-x @bob.ann \\@bob /@bob",
        "# title\n- list\n> quote\n1. one\n| a | b |\n<b>&lt;</b>",
    ],
)
def test_text_without_marks_around_words_is_plain(text: str) -> None:
    assert write(text, NAMES) is None


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("**a** *b* _c_ ~~d~~ `e`", "**a** *b* _c_ ~~d~~ `e`"),
        ("***a***", "***a***"),
        ('**wow!**, (*really?*) "**x**"', '**wow!**, (*really?*) "**x**"'),
        ("**_a_** (**_b_**)", "**_a_** (**_b_**)"),
        ("*a **b** c*", "*a **b** c*"),
        ("*a _b* c_", r"*a \_b* c\_"),
        ("\U0001f389**a**\U0001f389", "\U0001f389**a**\U0001f389"),
        ("这是**重点**内容", "这是**重点**内容"),
        ("*a* 2*3*4 \\ ` [x] ~", r"*a* 2\*3\*4 \\ \` \[x\] \~"),
        ("*a* <b> 1 < 2 <3 &lt; R&D &", "*a* &lt;b> 1 < 2 &lt;3 &amp;lt; R&D &"),
        ("`a*b*` *c*", "`a*b*` *c*"),
        ("``a`b``", "``a`b``"),
        ("[a **b** @bob](https://x.org/a_(b)?c&lt;)", "[a **b** @bob](https://x.org/a_(b)?c&amp;lt;)"),
        ("![a](https://x.org)!", r"\![a](https://x.org)!"),
        ("hi @bob!", f"hi [@bob]({to(BOB)})!"),
        ("@ANN-lee, @ann's", f"[@ANN-lee]({to(LEE)}), [@ann]({to(ANN)})'s"),
        ("!@ann `@bob`", rf"\![@ann]({to(ANN)}) `@bob`"),
        (
            "@snake_case @STRASSE @straße",
            rf"[@snake\_case]({to(b's' * 32)}) [@STRASSE]({to(b't' * 32)}) [@straße]({to(b't' * 32)})",
        ),
        ("**@bob**, _@bob_.", f"**[@bob]({to(BOB)})**, _[@bob]({to(BOB)})_."),
        ("*a*\nb\n\nc\n", "*a*\\\nb\n\nc\n"),
        ("*a* \\\nb\\", "*a* \\\\\\\nb\\\\"),
        (
            "*a*\n# b\n> c\n- d\n+ e\n1. f\n2) g\n| h\n=\n:-:\n   - i\n---",
            "*a*\\\n\\# b\\\n\\> c\\\n\\- d\\\n\\+ e\\\n1\\. f\\\n2\\) g\\\n"
            "\\| h\\\n\\=\\\n\\:-:\\\n   \\- i\\\n\\---",
        ),
        ("a\n```py\n*b*\n\n@bob\n```\n*c", "a\n```py\n*b*\n\n@bob\n```\n\\*c"),
        ("````\n```\n````", "````\n```\n````"),
    ],
)
def test_marks_are_kept_and_all_else_is_escaped(text: str, source: str) -> None:
    assert write(text, NAMES) == source


def test_a_name_that_is_ambiguous_without_its_case_is_taken_exactly_only() -> None:
    names = {"Bob": BOB, "BOB": ANN}
    assert write("@bob", names) is None
    assert mentioned(write("@Bob @BOB", names) or "") == {BOB, ANN}
    assert mentioned(write("@BOB", names) or "") == {ANN}


class Typed(NamedTuple):
    """A text as typed, and what it means: the characters, each with its style, target and account."""

    text: str
    meant: list[tuple[str, Style, str, bytes]]


PLAIN_WORDS = [
    "word",
    "2*3",
    "snake_case",
    "a_",
    "*",
    "<b>",
    "&lt;",
    "x\\",
    "#",
    "-",
    "1.",
    ":-*",
    "~",
    "[",
    "]",
    "|",
]
words = st.sampled_from(
    ["word", "wow!", "é", "50%", "two words", "#1", "重点", "\U0001f44d", "a\\b", "x|y", "(z)"]
)
names = st.sampled_from(sorted(NAMES))


def plain_of(text: str, style: Style = Style.PLAIN, link: str = "", mention: bytes = b"") -> Typed:
    return Typed(text, [(each, style, link, mention) for each in text])


def marked(mark: str, style: Style, inner: Typed) -> Typed:
    return Typed(mark + inner.text + mark, [(each, style | old, *more) for each, old, *more in inner.meant])  # type: ignore[misc]


MARKS = {
    "**": Style.BOLD,
    "*": Style.ITALIC,
    "_": Style.ITALIC,
    "~~": Style.STRIKE,
    "***": Style.BOLD | Style.ITALIC,
}

mentions = names.map(lambda name: plain_of(f"@{name}", Style.PLAIN, to(NAMES[name]), NAMES[name]))
codes = st.sampled_from(["a", "a*b*", "@bob", "\\", "<b> &lt;"]).map(
    lambda code: marked("`", Style.CODE, plain_of(code))
)
links = words.filter(lambda word: "[" not in word).map(
    lambda word: Typed(f"[{word}](https://x.org)", plain_of(word, Style.PLAIN, "https://x.org").meant)
)
emphasized = st.builds(
    lambda mark, inner: marked(mark, MARKS[mark], inner),
    st.sampled_from(sorted(MARKS)),
    words.map(plain_of) | mentions,
)
nested = st.builds(
    lambda outer, inner: marked(outer, MARKS[outer], joined([plain_of("a"), inner, plain_of("b")], " ")),
    st.sampled_from(["**", "~~"]),
    emphasized.filter(lambda each: not each.text.startswith("**")) | mentions | codes | links,
).filter(lambda each: not each.text.startswith("~~") or "~~" not in each.text[2:-2])
atoms = (
    st.sampled_from(PLAIN_WORDS).map(plain_of)
    | words.map(plain_of)
    | emphasized
    | nested
    | mentions
    | codes
    | links
)


def joined(parts: list[Typed], between: str) -> Typed:
    text = between.join(part.text for part in parts)
    meant: list[tuple[str, Style, str, bytes]] = []
    for place, part in enumerate(parts):
        meant += plain_of(between if place else "").meant + part.meant
    return Typed(text, meant)


lines = st.lists(atoms, max_size=6).map(lambda parts: joined(parts, " "))
blocks = st.lists(st.sampled_from(["", "a", "*b*", "  # c", "@bob", "`", "\\"]), min_size=1, max_size=4).map(
    lambda code: Typed("```\n" + "\n".join(code) + "\n```", plain_of("\n".join(code), Style.CODE).meant)
)
messages = st.lists(lines | blocks, max_size=6).map(lambda parts: joined(parts, "\n"))


def read(source: str) -> list[tuple[str, Style, str, bytes]]:
    return [(each, span.style, span.link, span.mention) for span in parse(source) for each in span.text]


@given(messages)
def test_what_is_written_is_read_as_the_typed_text_means(typed: Typed) -> None:
    source = write(typed.text, NAMES)
    if source is None:
        assert all((style, link) == (Style.PLAIN, "") for _, style, link, _ in typed.meant)
        assert "".join(each for each, *_ in typed.meant) == typed.text
    else:
        assert read(source) == typed.meant
        shown = "".join(each for each, *_ in typed.meant)
        assert readable(source).replace(" <https://x.org>", "") == shown


@given(
    st.lists(
        st.sampled_from([*PLAIN_WORDS, "a", "(", "**", "`", "\n", "\n\n"])
        | mentions.map(lambda each: each.text)
    )
)
def test_text_with_mentions_only_is_read_back_as_typed(parts: list[str]) -> None:
    text = " ".join(parts)
    source = write(text, NAMES)
    if source is not None and all(span.style is Style.PLAIN for span in parse(source)):
        assert readable(source) == text


SIGNS = list("*_~`[]()!<>\\&#|-+=.:;@/\"' \n\tab1é\U0001f44d重")
SEQUENCES = ["@bob", "https://x.org", "](", "**", "~~", "```\n", "[a](https://x.org)", "&lt;", "\n```"]
texts = st.lists(st.sampled_from(SIGNS) | st.sampled_from(SEQUENCES), max_size=40).map("".join)


@given(texts | st.text(), st.dictionaries(st.text(max_size=40), st.binary(max_size=40)) | st.just(NAMES))
def test_any_text_can_be_written_and_only_marks_are_left_out(text: str, known: dict[str, bytes]) -> None:
    source = write(text, known)
    if source is not None:
        rest = iter(text)
        shown = "".join(span.text for span in parse(source))
        assert all(each in rest for each in shown)  # a subsequence
        assert len(shown.replace("\n", "")) >= sum(each.isalnum() for each in text) - _hidden(text)


def _hidden(text: str) -> int:
    """Return the most letters that links' targets and info strings of code can leave out."""
    return sum(line.isalnum() for line in text if "://" in text or "mailto:" in text or "```" in text)


READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
"""Another reader of GFM; its raw HTML is on, so that it shows what is not escaped."""

_STYLES = {"strong": Style.BOLD, "em": Style.ITALIC, "s": Style.STRIKE}


def read_by_another(source: str) -> list[tuple[str, Style, str]]:
    """Return what another reader reads, without spaces; fail if it finds more than paragraphs and code."""
    found: list[tuple[str, Style, str]] = []
    for block in READER.parse(source):
        if block.type == "fence":
            found += [(each, Style.CODE, "") for each in block.content]
        elif block.type == "inline":
            found += _read_inline(block.children or [])
        else:
            assert block.type in ("paragraph_open", "paragraph_close"), block.type
    return [each for each in found if not each[0].isspace()]


def _read_inline(tokens: list[Token]) -> list[tuple[str, Style, str]]:
    found: list[tuple[str, Style, str]] = []
    styles: list[Style] = []
    link = ""
    for token in tokens:
        kind, _, step = token.type.rpartition("_")
        if kind in _STYLES:
            styles = [*styles, _STYLES[kind]] if step == "open" else styles[:-1]
        elif kind == "link":
            link = str(token.attrs["href"]) if step == "open" else ""
        else:
            assert token.type in ("text", "code_inline", "softbreak", "hardbreak"), token.type
            style = Style.CODE if token.type == "code_inline" else Style.PLAIN
            for each in styles:
                style |= each
            found += [(each, style, link) for each in token.content]
    return found


def _without_indentation(text: str) -> str:
    """Return the text in lines that GFM does not take for code because of their indentation."""
    lines = text.replace("\r", "").replace("\0", "").split("\n")
    return "\n".join(line.strip() for line in lines)


@given(texts.map(_without_indentation))
@example('*a (*"b"*) c*, *"x"*')
@example("*https://x.org&lt;*")
@example("**a\U0001f44d**b **c**")
def test_another_reader_of_gfm_reads_the_same(text: str) -> None:
    source = write(text, NAMES)
    if source is not None:
        ours = [(each, style, link) for each, style, link, _ in read(source) if not each.isspace()]
        theirs = read_by_another(source)
        if "[" in text:  # a link is one span here, of one style
            ours = [(each, Style.PLAIN, link) for each, _, link in ours]
            theirs = [(each, Style.PLAIN, link) for each, _, link in theirs]
        assert ours == theirs


@given(messages)
def test_another_reader_of_gfm_reads_messages_as_they_are_meant(typed: Typed) -> None:
    source = write(typed.text, NAMES)
    if source is not None:
        meant = [(each, style, link) for each, style, link, _ in typed.meant if not each.isspace()]
        assert read_by_another(source) == meant


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "*",
            "_",
            "`",
            "[",
            "](",
            "~",
            ">",
            "\\",
            "@",
            "<",
            "&",
            "#",
            "(",
            "\n",
            "a*",
            "*a ",
            "_a* ",
            "*a **b ",
        ),
        *(
            "[a](https://x",
            "[a](https://(",
            "@bob ",
            "@b ",
            "`a ",
            "``a ` ",
            "```\n",
            "*a* ",
            "https://",
            "!",
            "&amp",
        ),
    ],
)
def test_time_and_size_are_linear_in_the_size_of_a_text(unit: str) -> None:
    known = {f"{'b' * (number % 32)}{number}": BOB for number in range(1000)} | NAMES

    def seconds(size: int) -> float:
        text = (unit * (size // len(unit) + 1))[:size]
        taken = []
        for _ in range(3):
            begin = time.thread_time()
            source = write(text, known)
            taken.append(time.thread_time() - begin)
        assert len(source or "") <= 32 * len(text)
        return min(taken)

    assert seconds(65536) < 16 * 4 * max(seconds(4096), 0.0002)


def test_ten_thousand_names_can_be_mentioned_at_once() -> None:
    known = {f"name{number}": number.to_bytes(32) for number in range(10_000)}
    source = write(" ".join(f"@{name}" for name in known), known)
    assert source is not None
    assert mentioned(source) == set(known.values())
