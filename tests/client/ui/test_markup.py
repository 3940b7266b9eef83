"""What a marked message looks like: styles are seen, targets are true, and nobody is impersonated."""

from __future__ import annotations

import pytest

from clave_client.formats.mimi.message_id import account_uri
from clave_client.ui.display import Line
from clave_client.ui.markup import bare_text, marked_pieces

BLUE, RED, STRANGER = b"b" * 32, b"r" * 32, b"s" * 32
NAMES = {BLUE: "blue", RED: "red"}


def pieces(source: str) -> Line:
    return marked_pieces(source, lambda account: NAMES.get(account, ""))


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("plain", [("", "plain")]),
        ("**a** *b* ***c***", [("bold", "a"), ("", " "), ("italic", "b"), ("", " "), ("bold italic", "c")]),
        ("~~a~~ `b`", [("strike", "~~a~~"), ("", " "), ("code", "`b`")]),
        ("`` a`b `c` ``", [("code", "`` a`b `c` ``")]),
        ("a\n```\nb\n\nc\n```\nd", [("", "a\n"), ("code", "```\nb\n\nc\n```"), ("", "\nd")]),
        ("```\na\n```\nb\n```", [("code", "`a`"), ("", "\nb")]),
        ("````\n```\na\n````", [("code", "````\n```\na\n````")]),
        ("a `b\nc`", [("", "a "), ("code", "`b\nc`")]),
        ("**[a](https://x.org)**", [("bold link", "a"), ("", " <https://x.org>")]),
        ("<https://x.org>", [("link", "https://x.org")]),
        (
            "[https://bank.example](https://evil.example)",
            [("link", "https://bank.example"), ("", " (goes to <https://evil.example>)")],
        ),
        (f"[@blue]({account_uri(BLUE)})!", [("mention", "@blue"), ("", "!")]),
        (f"*[my love]({account_uri(BLUE)})*", [("italic mention", "@blue")]),
    ],
)
def test_a_source_becomes_pieces_with_styles(source: str, line: Line) -> None:
    assert pieces(source) == line


def test_a_member_is_called_what_it_is_called_here_whatever_the_sender_says() -> None:
    assert pieces(f"[@red]({account_uri(BLUE)})") == [("mention", "@blue")]


def test_who_is_no_member_has_the_senders_words_and_is_said_not_to_be_here() -> None:
    assert pieces(f"[@blue]({account_uri(STRANGER)})") == [("", "@blue (not here)")]


def test_a_link_that_calls_itself_a_member_is_no_mention_and_shows_its_target() -> None:
    (style, words), (_, target) = pieces("[@blue](https://evil.example)")
    assert (style, words, target) == ("link", "@blue", " (goes to <https://evil.example>)")


def test_the_text_to_copy_has_no_marks() -> None:
    assert bare_text("**a** ~~b~~\n```\nc\n\nd\n```\n`e`") == "a b\nc\n\nd\ne"
