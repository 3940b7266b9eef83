"""Alt with a key, as terminals without the Kitty protocol send it."""

from __future__ import annotations

import pytest
from textual._xterm_parser import XTermParser
from textual.events import Key

from clave_client.tui.alt_keys import take_alt_at_once


def _keys(data: str) -> list[tuple[str, str | None]]:
    take_alt_at_once()
    return [(event.key, event.character) for event in XTermParser().feed(data) if isinstance(event, Key)]


@pytest.mark.parametrize(
    ("data", "key"),
    [("\x1ba", "alt+a"), ("\x1b1", "alt+1"), ("\x1b\r", "alt+enter"), ("\x1bA", "alt+shift+a")],
)
def test_alt_is_taken_at_once_and_writes_nothing(data: str, key: str) -> None:
    assert _keys(data) == [(key, None)]


def test_what_is_typed_behind_alt_stays_text() -> None:
    typed = "what I say to you is longer than what Textual waits for"
    assert _keys(f"\x1ba{typed}") == [("alt+a", None)] + [
        (event.key, event.character) for event in XTermParser().feed(typed) if isinstance(event, Key)
    ]


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ("\x1b[A", "up"),
        ("\x1bOP", "f1"),
        ("\x1b[1;3A", "alt+up"),
        ("\x1bf", "ctrl+right"),
        ("\x1b[97;3u", "alt+a"),
    ],
)
def test_longer_sequences_are_what_they_were(data: str, key: str) -> None:
    assert [each for each, _ in _keys(data)] == [key]
