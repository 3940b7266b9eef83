"""docs/screen.md has the keys there are, and says of every command and event how both modes serve it."""

from __future__ import annotations

from clave_client.tui.keymap import KEYMAP
from clave_client.ui.chat_commands import COMMANDS
from screenpage import PAGE, SHOWN, WAYS, kinds, page


def test_the_tables_are_up_to_date() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "make screen-page"


def test_ways_are_of_commands_and_keys_that_there_are() -> None:
    assert set(WAYS) <= set(COMMANDS)
    there_are = {f"{place}.{action.id}" for place, actions in KEYMAP.items() for action in actions}
    assert {way for ways in WAYS.values() for way in ways} <= there_are
    assert set(SHOWN) <= set(kinds())
