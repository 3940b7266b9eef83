"""What can be done to a message that is chosen, and how one gets to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client.client import Client
from clave_client.testing import MemoryRelay
from clave_client.tui.screens.choice import ChoiceScreen
from clave_client.tui.screens.jump import JumpScreen
from clave_client.tui.screens.text import TextScreen
from client.tui.screenkit import Screen, in_a_room, screen_of


async def _said(red: Screen, blue: Client, *texts: str) -> bytes:
    room = await in_a_room(red, blue)
    for text in texts:
        await blue.room(room).send(text)
    await red.shows(texts[-1])
    return room


async def test_one_message_or_several_are_copied(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await _said(red, blue, "one **bold** word", "two", "three")
        await red.pilot.press("alt+m", "up", "up", "y")
        await red.shows("copied 13 characters")
        assert red.pilot.app.clipboard == "one bold word"
        await red.pilot.press("v", "down", "y")
        await red.until(lambda: "two" in red.pilot.app.clipboard)
        first, second = red.pilot.app.clipboard.split("\n")
        assert first.endswith("blue: one bold word")
        assert second.endswith("blue: two")


async def test_a_link_is_numbered_and_copied(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await blue.room(room).send("see [the page](https://example.org/a) and https://example.org/b")
        await red.shows("the page[1] and https://example.org/b")
        await red.shows("[1] <https://example.org/a>")
        await red.pilot.press("alt+m", "o")
        await red.until(lambda: isinstance(red.pilot.app.screen, ChoiceScreen))
        await red.shows("https://example.org/a")
        await red.pilot.press("enter")
        await red.until(lambda: red.pilot.app.clipboard == "https://example.org/a")


async def test_a_reaction_is_given_and_taken_back(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await _said(red, blue, "well done")
        await red.pilot.press("alt+m", "+")
        await red.shows("react with")
        await red.pilot.press("enter")
        await red.shows("\U0001f44d 1")
        await red.pilot.press("+")
        await red.shows("take \U0001f44d back")
        await red.pilot.press("enter")
        await red.until(lambda: "\U0001f44d" not in red.text)


@pytest.mark.parametrize(("answer", "gone"), [(0, False), (1, True)])
async def test_a_message_is_deleted_here_after_a_question(tmp_path: Path, answer: int, *, gone: bool) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await _said(red, blue, "to forget")
        await red.pilot.press("alt+m", "d")
        await red.shows("delete this message?")
        await red.pilot.press(*["down"] * answer, "enter")
        await red.until(lambda: not isinstance(red.pilot.app.screen, ChoiceScreen))
        await red.until(lambda: ("to forget" not in red.text) is gone)


async def test_own_messages_are_deleted_for_all(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await red.types("said too early")
        await red.until(lambda: any(each.text == "said too early" for each in blue.history(room)))
        await red.shows("  said too early")
        await red.pilot.press("alt+m", "d", "down", "down", "enter")
        await red.shows("deleted this message")
        await red.until(lambda: all(each.text != "said too early" for each in blue.history(room)))


async def test_details_and_the_relays_view_are_shown(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await _said(red, blue, "look at me")
        await red.pilot.press("alt+m", "s")
        await red.shows("the relay says it took it")
        await red.pilot.press("escape")
        await red.until(lambda: not isinstance(red.pilot.app.screen, TextScreen))
        await red.pilot.press("w")
        await red.shows("what the relay could learn")
        await red.shows("the text (10 characters)")


async def test_a_message_is_pinned_and_the_pin_taken_away(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await _said(red, blue, "the plan")
        await red.pilot.press("alt+m", "p")
        await red.shows("pinned message")
        await red.pilot.press("p")
        await red.shows("took the pin of")


async def test_what_a_message_answers_is_gone_to(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await _said(red, blue, "the question")
        for number in range(150):
            blue.post(room, f"message {number}.")
        await blue.wait_flushed()
        await red.shows("message 149.")
        question = next(each for each in blue.history(room) if each.text == "the question")
        await blue.room(room).send("the answer", reply_to=question.id)
        await red.shows("> blue: the question")
        await red.pilot.press("alt+m", "g")
        await red.until(lambda: "  the question" in red.text and "message 149." not in red.text)
        assert [each.text for each in red.main.messages.chosen] == ["the question"]
        await red.pilot.press("r", *"late", "enter")
        await red.shows("  late")
        assert red.main.messages.is_at_end, "what one says is shown, at the end"


async def test_a_letter_jumps_to_a_message_or_a_room(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await _said(red, blue, "the older one", "the newest one")
        await red.opens("attic")
        await red.pilot.press("alt+j")
        await red.until(lambda: isinstance(red.pilot.app.screen, JumpScreen))
        await red.until(lambda: any(line[2:9] == "friends" and line[0] != " " for line in red.lines))
        letter = next(line[0] for line in red.lines if line[2:9] == "friends")
        await red.pilot.press(letter)
        await red.until(lambda: red.main.talk.title(red.main.talk.room) == "friends")
        await red.shows("the newest one")
        await red.pilot.press("alt+j", "d")
        await red.until(lambda: [each.text for each in red.main.messages.chosen] == ["the older one"])
        await red.pilot.press("alt+j", "a")
        await red.until(lambda: red.main.composer.has_focus)


async def test_text_is_selected_by_the_mouse_and_copied_without_the_margin(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await _said(red, blue, "alpha beta", "gamma delta")
        messages = red.main.messages
        y = next(n for n, line in enumerate(red.lines) if "alpha beta" in line) - messages.region.y
        await red.pilot.mouse_down(messages, offset=(3, y))
        await red.pilot.hover(messages, offset=(8, y + 1))
        await red.pilot.mouse_up(messages, offset=(8, y + 1))
        await red.pilot.press("ctrl+c")
        await red.until(lambda: red.pilot.app.clipboard.startswith("alpha beta\n"))
        assert red.pilot.app.clipboard.rstrip() == "alpha beta\n  gamma"


async def test_only_the_rows_that_are_loaded_are_selected_and_stay_so_as_others_come(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        for number in range(250):
            blue.post(room, f"message {number}.")
        await blue.wait_flushed()
        await red.shows("message 249.")
        await red.types("/room friends")
        messages = red.main.messages
        await red.until(lambda: messages.has_older)
        messages.text_select_all()
        selected = red.main.get_selected_text() or ""
        assert "message 249." in selected
        assert "message 0." not in selected


async def test_an_answer_quotes_no_message_that_was_deleted_or_edited(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = blue.room(await in_a_room(red, blue))
        await room.send("the first secret")
        await room.send("a tpyo")
        secret, other = (each.id for each in blue.history(room.id)[-2:])
        await room.send("answer one", reply_to=secret)
        await room.send("answer two", reply_to=other)
        await red.shows("answer two")
        assert "> blue (unverified): the first secret" in red.text or "> blue: the first secret" in red.text
        room.delete(secret)
        room.edit(other, "a typo")
        await red.until(lambda: "secret" not in red.text and "tpyo" not in red.text)
        assert red.text.count("a typo") == 2


async def test_what_was_read_says_when_it_disappears(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = blue.room(await in_a_room(red, blue))
        await room.send("soon gone", expires_after=3600)
        await red.shows("soon gone (disappears ")
