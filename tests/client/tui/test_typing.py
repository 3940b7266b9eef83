"""What is written: sent in its turn, completed, called back, in answer to a message, kept as a draft."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client.testing import MemoryRelay
from client.tui.screenkit import in_a_room, screen_of


async def test_an_answer_and_an_edit_typed_ahead_are_about_the_right_message(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await blue.room(room).send("first")
        await blue.room(room).send("second")
        await red.shows("second")
        red.type_ahead(*"plain", "enter", "alt+m", "up", "r", *"to first", "enter", *"after", "enter")
        await red.shows("  after")
        lines = [line.split("▕")[-1].strip(" │▐") for line in red.lines]
        place = lines.index("plain")
        assert lines[place + 1 : place + 4] == ["> blue: first", "to first", "after"]
        found = {each.text: each.reply_to for each in blue.history(room)}
        assert found["plain"] == found["after"] == b""
        assert found["to first"]
        red.type_ahead("alt+m", "e", *" now", "enter")
        await red.shows("  after now (edited)")
        await red.until(lambda: blue.history(room)[-1].text == "after now")


async def test_one_key_answers_the_last_message_or_corrects_ones_own(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        red.type_ahead("alt+c")
        await red.shows("there is no message of yours")
        await blue.room(room).send("a question")
        await red.shows("a question")
        red.type_ahead(*"mine", "enter", "alt+r", *"an answer", "enter")
        await red.shows("> blue: a question")
        await red.shows("  an answer")
        red.type_ahead("alt+c", *" now", "enter")
        await red.shows("  an answer now (edited)")


async def test_only_ones_own_message_can_be_edited(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue, "mine")
        await red.pilot.press("alt+m", "e")
        await red.shows("only blue can edit this message")
        assert red.main.composer.text == ""


async def test_escape_ends_an_answer_and_an_edit(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await red.types("mine")
        await red.until(lambda: any(each.text == "mine" for each in blue.history(room)))
        await red.shows("  mine")
        await red.pilot.press("alt+m", "e")
        await red.shows("editing: mine")
        assert red.main.composer.text == "mine"
        await red.pilot.press("escape")
        await red.until(lambda: "editing" not in red.text)
        assert red.main.composer.text == ""
        await red.pilot.press("alt+m", "r", *"kept")
        await red.shows("answering red: mine")
        await red.pilot.press("escape")
        await red.until(lambda: "answering" not in red.text)
        assert red.main.composer.text == "kept"


async def test_names_emoji_and_commands_are_completed(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue)
        await red.pilot.press(*"hi @bl")
        await red.until(lambda: red.main.completions.display)
        await red.pilot.press("tab")
        await red.until(lambda: red.main.composer.text == "hi @blue ")
        await red.pilot.press(*":tad", "tab")
        await red.until(lambda: red.main.composer.text == "hi @blue \U0001f389")
        red.main.composer.write("")
        await red.pilot.press(*"/fing", "tab", "space", *"bl", "tab")
        await red.until(lambda: red.main.composer.text == "/fingerprint blue")


async def test_tab_while_writing_leaves_the_text_alone(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await red.opens("friends")
        red.type_ahead(*"said", "tab", *" by me", "enter")
        await red.shows("said by me")


@pytest.mark.parametrize(
    "keys", [("ctrl+p",), ("alt+s",), ("pageup", "ctrl+p"), ("f1",), ("pagedown", "alt+n")]
)
async def test_what_is_typed_behind_the_key_of_another_screen_is_not_said(
    tmp_path: Path, keys: tuple[str, ...]
) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await red.opens("friends")
        red.type_ahead(*keys, *"secret", "enter")
        await red.until(  # the palette finds something to do by these letters, and does it
            lambda: (
                not red.is_holding and (red.pilot.app.screen is not red.main or bool(red.main.panel.shows))
            )
        )
        while red.pilot.app.screen is not red.main:
            await red.pilot.press("escape")
        red.type_ahead(*" after", "enter")
        await red.shows("  after")
        assert "secret" not in red.text


async def test_what_is_typed_behind_backspace_is_there_after_it(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await red.opens("friends")
        red.type_ahead(*"firsd", "backspace", "t", "left", "left", "X", "home", "Y", "end", "enter")
        await red.shows("  YfirXst")
        red.type_ahead("ctrl+t", *"atx", "backspace", *"t", "escape", *"back")
        await red.until(lambda: red.main.composer.text == "back")


async def test_lines_typed_before_are_called_back(tmp_path: Path) -> None:
    async with MemoryRelay() as relay:
        async with screen_of(relay, tmp_path) as red:
            await red.opens("friends")
            await red.types("first")
            await red.shows("  first")
        async with screen_of(relay, tmp_path) as red:
            await red.until(lambda: bool(red.main.composer.typed))
            red.type_ahead(*"half", "up")
            await red.until(lambda: red.main.composer.text == "first")
            red.type_ahead("up")
            await red.until(lambda: red.main.composer.text == "/new friends")
            red.type_ahead("down", "down")
            await red.until(lambda: red.main.composer.text == "half")


async def test_a_link_that_was_typed_is_not_kept(tmp_path: Path) -> None:
    async with MemoryRelay() as relay:
        async with screen_of(relay, tmp_path) as red:
            await red.types("/join clave://x.example/#secret")
            await red.types("/help")
            await red.shows("/mute [ROOM]")
        async with screen_of(relay, tmp_path) as red:
            await red.until(lambda: bool(red.main.composer.typed))
            assert red.main.composer.typed == ["/help"]


async def test_ctrl_c_empties_the_line_before_what_is_typed_next(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await red.opens("friends")
        red.type_ahead(*"never", "ctrl+c", *"said", "enter")
        await red.shows("  said")
        assert "never" not in red.text
        red.type_ahead("ctrl+c")
        await red.shows("once more closes")
        red.type_ahead("ctrl+c")
        await red.until(lambda: not red.pilot.app.is_running)


async def test_a_command_that_takes_its_time_is_named_and_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await red.opens("friends")
        relay.freeze()
        await red.types("/invite blue")
        await red.shows("running: /invite blue")
        await red.pilot.press("ctrl+c")
        await red.shows("cancelled: /invite blue")
        relay.thaw()


async def test_the_cursor_of_the_terminal_is_where_one_writes(tmp_path: Path) -> None:
    """Input methods show what they compose there."""
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        await red.pilot.press(*"ab")
        composer = red.main.composer
        await red.until(lambda: red.pilot.app.cursor_position == composer.cursor_screen_offset)
        assert composer.region.contains_point(red.pilot.app.cursor_position)


async def test_the_composer_grows_to_a_third(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        assert red.main.composer.size.height == 1
        red.type_ahead(*(["x", "alt+enter"] * 20))
        await red.until(lambda: red.main.composer.text.count("\n") == 20)
        await red.until(lambda: 5 <= red.main.composer.size.height <= 8)


async def test_what_was_deleted_in_one_room_is_not_undone_in_another(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        for title in ("attic", "cellar"):
            await red.opens(title)
        cellar = red.main.talk.room
        await red.pilot.press(*"secret", "ctrl+u")
        await red.until(lambda: not red.main.composer.text)
        await red.pilot.press("alt+1")
        await red.until(lambda: red.main.talk.room != cellar)
        await red.pilot.press("alt+z", *"ok")
        await red.until(lambda: red.main.composer.text.endswith("ok"))
        assert red.main.composer.text == "ok"
