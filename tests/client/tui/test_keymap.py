"""The table of keys: complete, without two meanings for one key, and changed by a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client.errors import UsageError
from clave_client.tui.keymap import AT_ONCE, KEYMAP, SWITCHING, Keys, load_keys
from clave_client.tui.shortcuts import ACTIONS, SWITCHES


def test_every_key_of_the_main_screen_does_something() -> None:
    assert {each.id for each in KEYMAP["main"]} == set(ACTIONS) | set(SWITCHES)
    assert set(SWITCHES) == SWITCHING
    assert set(ACTIONS) >= AT_ONCE


def test_no_key_has_two_meanings_in_one_place() -> None:
    keys = Keys()
    for place in KEYMAP:
        places = {place, "main"} if place == "composer" else {place}
        used = [key for each in places for action in KEYMAP[each] for key in keys.of(each, action.id)]
        assert len(used) == len(set(used)), place


def test_keys_are_shown_as_they_stand_on_the_keyboard() -> None:
    keys = Keys()
    assert keys.shown("main", "next_unread") == "Alt-a"
    assert keys.shown("composer", "newline") == "Alt-Enter or Shift-Enter or Ctrl-j"
    assert keys.shown("messages", "react") == "+"
    assert keys.shown("main", "older") == "PageUp"


def test_a_file_gives_actions_other_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    assert load_keys(file).changed == {}
    file.write_text('next_unread = "alt+n, f2"\ninvite = "f3"\n"messages.newest" = "end,f4"\n')
    keys = load_keys(file)
    assert keys.of("main", "next_unread") == ("alt+n", "f2")
    assert keys.action("main", "f2") == "next_unread"
    assert keys.action("main", "alt+a") is None
    assert keys.action("messages", "f4") == "newest"
    assert keys.action("main", "ctrl+end") == "newest"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fly = 'f2'", "there is no action fly"),
        ("newest = 'f2'", 'say which newest: "main.newest" or "messages.newest"'),
        ("invite = 'alt+a'", "alt+a is given to both next_unread and invite"),
        ("invite = 'x'", "x is needed to write"),
        ("invite = ''", "takes keys"),
        ("invite = 3", "takes keys"),
        ("invite = 'alt-x'", "'alt-x' is not the name of a key"),
        ("send = 'alt+a'", "alt+a is given to both"),
        ("'links.revoke' = 'escape'", "escape is given to both"),
        ("'verify.same' = 'y'", "y is needed to write"),
        ("invite", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_keys(file)
    assert words in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
