"""Names of emoji are those that people know, and cost nothing until one is typed."""

from __future__ import annotations

import pytest

from clave_client.formats.content import is_reaction
from clave_client.formats.emoji_names import complete, emoji_of
from importkit import imported_by


@pytest.mark.parametrize(
    ("name", "emoji"),
    [
        ("tada", "\U0001f389"),
        (":tada:", "\U0001f389"),
        (":+1:", "\U0001f44d"),
        ("thumbsup", "\U0001f44d"),
        ("-1", "\U0001f44e"),
        ("heart", "\u2764\ufe0f"),
        ("cat", "\U0001f431"),
        ("party_popper", "\U0001f389"),
        ("Tada", ""),
        ("tad", ""),
        (":tada", ""),
        ("", ""),
        (":", ""),
        ("::", ""),
    ],
)
def test_a_name_has_its_emoji(name: str, emoji: str) -> None:
    assert emoji_of(name) == emoji


def test_names_are_completed_in_order_and_no_more_than_asked() -> None:
    assert complete(":tad") == complete("tad") == [":tada:"]
    assert complete("heart", 2) == [":heart:", ":heart_decoration:"]
    assert len(complete("")) == 20
    assert complete("nothing_begins_so") == []
    assert ":+1:" in complete("+")


def test_every_name_is_that_of_a_possible_reaction() -> None:
    names = complete("", 10_000)
    assert len(names) > 4000
    assert [name for name in names if not is_reaction(emoji_of(name))] == []


def test_the_package_is_loaded_by_the_first_name_only() -> None:
    assert "emoji" not in imported_by("import clave_client.formats.emoji_names, clave_client.formats.content")
    assert "emoji" in imported_by("from clave_client.formats.emoji_names import emoji_of; emoji_of('tada')")
