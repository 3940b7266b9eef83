"""The history on the screen: loaded whole and in its order, read only where it was in sight."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from clave_client.client import Client
from clave_client.errors import UsageError
from clave_client.rpc import methods as m
from clave_client.rpc.values import HistoryMessage
from clave_client.testing import MemoryRelay
from clave_client.tui.rows import Row
from client.tui.screenkit import Screen, in_a_room, screen_of


async def _unread(red: Screen, room: bytes) -> int:
    unread: list[HistoryMessage] = await red.main.talk.session.ask(m.GetUnread(room=room.hex(), limit=100))
    return len(unread)


async def _elsewhere(red: Screen, blue: Client, texts: list[str]) -> bytes:
    """Have blue say something in a room while red is in another one; return the first."""
    room = await in_a_room(red, blue)
    await red.opens("attic")
    for text in texts:
        blue.post(room, text)
    await blue.wait_flushed()
    await red.shows(f"friends {len(texts)}")
    return room


def _loaded(red: Screen) -> list[str]:
    return [each.text for each in red.main.messages.rows.messages()]


async def test_what_a_side_screen_covers_was_not_read(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await red.pilot.press("alt+s")
        await red.shows("words to find")
        await blue.room(room).send("behind the search")
        await red.until(lambda: "behind the search" in _loaded(red))
        await red.pilot.pause(0.2)
        assert await _unread(red, room) == 1
        await red.pilot.press("escape")
        async with asyncio.timeout(10):
            while await _unread(red, room):
                await red.pilot.pause(0.05)


async def test_a_panel_on_a_narrow_screen_takes_no_text(tmp_path: Path) -> None:
    async with (
        MemoryRelay() as relay,
        relay.client("blue") as blue,
        screen_of(relay, tmp_path, (60, 24)) as red,
    ):
        room = await in_a_room(red, blue)
        await red.pilot.press("alt+p")
        await red.shows("* blue member")
        red.type_ahead(*"hidden", "enter")
        await blue.room(room).send("covered")
        await red.until(lambda: "covered" in _loaded(red))
        await red.pilot.pause(0.2)
        assert await _unread(red, room) == 1
        await red.pilot.press("alt+p")
        await red.shows("covered")
        await red.until(lambda: red.main.composer.has_focus)
        assert "hidden" not in [each.text for each in blue.history(room)]


async def test_what_is_deleted_at_once_is_not_shown(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = blue.room(await in_a_room(red, blue))
        await room.send("a secret")
        room.delete(blue.history(room.id)[-1].id)
        await room.send("after it")
        await red.shows("after it")
        await red.until(lambda: "a secret" not in red.text)


async def test_long_messages_are_loaded_to_the_last(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        texts = [f"{number} " + "long " * 12_000 for number in range(20)]
        room = await _elsewhere(red, blue, [*texts, "the last one"])
        await red.types("/room friends")
        await red.shows("--- new ---")
        assert red.main.messages.has_newer, "the owner gives at most 1 MiB at once"
        await red.pilot.press("ctrl+end")
        await red.shows("the last one")
        await red.until(lambda: red.main.messages.is_at_end)
        assert len(_loaded(red)) < 21
        await red.main.talk.load(older=True)
        assert [each.split()[0] for each in _loaded(red)][-3:] == ["18", "19", "the"]
        assert room == red.main.talk.room


async def test_a_line_more_to_write_moves_no_unread_messages(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await _elsewhere(red, blue, [f"new {number}." for number in range(60)])
        await red.types("/room friends")
        await red.shows("new 3.")
        top, before = red.main.messages.scroll_offset.y, red.lines
        await red.pilot.press("x", "alt+enter", "y")
        await red.until(lambda: red.main.composer.text == "x\ny")
        await red.pilot.pause(0.2)
        assert red.main.messages.scroll_offset.y == top, before
        assert await _unread(red, room) > 40


async def test_above_a_found_message_is_what_was_said_before(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await _elsewhere(red, blue, [f"message {number}." for number in range(100)])
        red.main.go(room, blue.history(room)[-1].seq)
        await red.shows("message 99.")
        await red.until(lambda: len(_loaded(red)) > 20)
        for _ in range(12):
            await red.pilot.press("pageup")
            await red.pilot.pause(0.05)
        await red.until(lambda: "message 0." in _loaded(red))


async def test_a_change_while_a_page_is_loaded_stops_no_loading(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await _elsewhere(red, blue, [f"message {number}." for number in range(150)])
        await red.types("/room friends")
        await red.shows("--- new ---")
        await red.pilot.press("ctrl+end")
        await red.shows("message 149.")
        talk, ask = red.main.talk, red.main.talk.session.ask
        messages = red.main.messages
        await red.until(lambda: not messages._asked)
        first = messages.rows.first
        assert first is not None

        async def ask_slowly(asked: m.Method[object]) -> object:
            found = await ask(asked)
            if isinstance(asked, m.GetHistory):
                await talk.show_changed(first.id)
            return found

        talk.session.ask = ask_slowly  # type: ignore[method-assign, assignment]
        count = len(_loaded(red))
        await talk.load(older=True)
        talk.session.ask = ask  # type: ignore[method-assign]
        assert len(_loaded(red)) > count
        assert room == talk.room


async def test_a_page_is_not_put_into_a_list_that_is_shown_anew(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await _elsewhere(red, blue, [f"message {number}." for number in range(200)])
        await red.types("/room friends")
        await red.shows("--- new ---")
        await red.pilot.pause(0.2)
        talk, ask = red.main.talk, red.main.talk.session.ask

        async def ask_newest_between(asked: m.Method[object]) -> object:
            found = await ask(asked)
            if isinstance(asked, m.GetHistory) and asked.after:
                talk.session.ask = ask  # type: ignore[method-assign]
                await talk.show_newest()
            return found

        talk.session.ask = ask_newest_between  # type: ignore[method-assign, assignment]
        await talk.load(older=False)
        talk.session.ask = ask  # type: ignore[method-assign]
        numbers = [int(each.split()[1].rstrip(".")) for each in _loaded(red)]
        assert numbers == list(range(numbers[0], 200))


async def test_a_reaction_asks_for_one_message_however_many_answer_it(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = blue.room(await in_a_room(red, blue))
        await room.send("a question")
        question = blue.history(room.id)[-1].id
        for number in range(20):
            room.post(f"answer {number}.", reply_to=question)
        await blue.wait_flushed()
        await red.shows("answer 19.")
        ask, count = red.main.talk.session.ask, 0

        async def counted(asked: m.Method[object]) -> object:
            nonlocal count
            count += isinstance(asked, m.GetMessage)
            return await ask(asked)

        red.main.talk.session.ask = counted  # type: ignore[method-assign, assignment]
        room.react(question, "\U0001f44d")
        room.edit(question, "a better question")
        await red.until(lambda: red.text.count("a better question") > 3)
        assert count <= 4


async def test_a_tall_window_is_read_page_by_page(tmp_path: Path) -> None:
    async with (
        MemoryRelay() as relay,
        relay.client("blue") as blue,
        screen_of(relay, tmp_path, (90, 170)) as red,
    ):
        await _elsewhere(red, blue, [f"message {number}." for number in range(700)])
        await red.types("/room friends")
        await red.shows("--- new ---")
        await red.pilot.press("ctrl+end")
        await red.shows("message 699.")
        tops = []
        for _ in range(3):
            await red.pilot.press("pageup")
            await red.until(lambda: not red.main.messages._asked)
            first = red.main.messages.first_in_sight
            assert first is not None
            tops.append(int(first.text.split()[1].rstrip(".")))
        assert tops == sorted(tops, reverse=True)
        assert all(100 < one - other < 190 for one, other in itertools.pairwise(tops)), tops


async def test_a_room_whose_history_fails_says_why_and_is_loaded_again(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await _elsewhere(red, blue, [f"message {number}." for number in range(100)])
        ask, fails = red.main.talk.session.ask, True

        async def ask_failing(asked: m.Method[object]) -> object:
            nonlocal fails
            if fails and isinstance(asked, m.GetHistory) and not asked.newest:
                fails = False
                raise UsageError("the disk is slow today")
            return await ask(asked)

        red.main.talk.session.ask = ask_failing  # type: ignore[method-assign, assignment]
        await red.types("/room friends")
        await red.shows("the disk is slow today")
        await red.until(lambda: "message 99." in _loaded(red))
        for _ in range(12):
            await red.pilot.press("pageup")
            await red.pilot.pause(0.05)
        await red.until(lambda: "message 0." in _loaded(red))
        await red.pilot.press("ctrl+end")
        await blue.room(room).send("later")
        await red.shows("later")


async def test_a_failure_at_the_newest_leaves_nothing_out(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await _elsewhere(red, blue, [f"message {number}." for number in range(150)])
        await red.types("/room friends")
        await red.shows("--- new ---")
        talk, ask = red.main.talk, red.main.talk.session.ask

        async def ask_failing(asked: m.Method[object]) -> object:
            if isinstance(asked, m.GetHistory) and asked.newest and not asked.before:
                raise UsageError("not now")
            return await ask(asked)

        talk.session.ask = ask_failing  # type: ignore[method-assign, assignment]
        await red.pilot.press("ctrl+end")
        talk.session.ask = ask  # type: ignore[method-assign]
        await talk.load(older=False)
        assert red.main.messages.has_newer
        await blue.room(room).send("just now")
        await red.shows("SCROLLED")
        assert await _unread(red, room) > 50


async def test_a_message_is_gone_to_while_something_is_written(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        for number in range(35):
            blue.post(room, f"message {number}.")
        await blue.wait_flushed()
        await red.shows("message 34.")
        seq = next(each.seq for each in blue.history(room) if each.text == "message 1.")
        red.type_ahead(*"written")
        await red.until(lambda: red.main.composer.text == "written")
        red.main.go(room, seq)
        await red.shows("message 1.")
        assert red.main.composer.has_focus


DRAFT = "seven\nlines\nof\na\nlong\ndraft\n."


async def test_what_is_new_stays_in_sight_above_a_long_draft(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue, *(f"former {number}." for number in range(40)))
        await red.opens("attic")
        await red.main.talk.session.ask(m.SetDraft(room=room.hex(), text=DRAFT))
        for number in range(11):
            await blue.room(room).send(f"fresh {number}.")
        await red.until(lambda: red.main.talk.rooms[room].unread == 11)
        await red.pilot.press("alt+a")
        await red.until(lambda: red.main.composer.size.height > 3)
        await red.shows("fresh 0.")
        await red.pilot.pause(0.3)
        assert "fresh 0." in red.text
        assert "fresh 10." not in red.text
        assert await _unread(red, room), "what is below was not in sight"


@pytest.mark.parametrize("back", [1, 3, 12, 14])
async def test_a_hit_stays_in_sight_above_a_long_draft(tmp_path: Path, back: int) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue, *(f"message {number}." for number in range(60)))
        await red.opens("attic")
        await red.main.talk.session.ask(m.SetDraft(room=room.hex(), text=DRAFT))
        found = next(each for each in blue.history(room) if each.text == f"message {60 - back}.")
        red.main.go(room, found.seq)
        await red.until(lambda: red.main.composer.size.height > 3)
        await red.pilot.pause(0.3)
        assert found.text in red.text


async def test_what_was_entered_at_stays_in_sight_while_older_messages_come(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, screen_of(relay, tmp_path) as red:
        messages = red.main.messages
        rows = [Row([[("", f"line {number}.")]]) for number in range(40)]
        messages.show(rows[10:], has_older=False, top=rows[24])
        await red.shows("line 24.")
        messages.add_older(rows[:10], has_older=False)
        red.main.composer.write(DRAFT)
        await red.until(lambda: red.main.composer.size.height > 3)
        await red.until(lambda: messages.region.bottom <= red.main.composer.region.y)
        await red.pilot.pause()
        assert "line 24." in red.text


async def test_a_hit_that_changes_stays_in_sight(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue, *(f"message {number}." for number in range(60)))
        found = next(each for each in blue.history(room) if each.text == "message 30.")
        await red.opens("attic")
        red.main.go(room, found.seq)
        await red.shows("message 30.")
        blue.room(room).react(found.id, "🎉")
        await red.shows("🎉 1")
        red.main.composer.write(DRAFT)
        await red.until(lambda: red.main.composer.size.height > 3)
        await red.until(lambda: red.main.messages.region.bottom <= red.main.composer.region.y)
        await red.pilot.pause(0.1)
        assert "message 30." in red.text


async def test_the_newest_stay_in_sight_in_a_short_room(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        room = await in_a_room(red, blue)
        await red.opens("attic")
        await blue.room(room).send("fresh 0.")
        await red.until(lambda: red.main.talk.rooms[room].unread == 1)
        await red.pilot.press("alt+a")
        await red.shows("fresh 0.")
        for number in range(1, 9):
            await blue.room(room).send(f"fresh {number}.")
        await red.shows("fresh 8.")
        red.main.composer.write(DRAFT)
        await red.until(lambda: red.main.composer.size.height > 3)
        await red.until(lambda: red.main.messages.region.bottom <= red.main.composer.region.y)
        await red.shows("fresh 8.")
