"""Stories of people at the full screen on real terminals: the first minutes, talking, and odd sizes."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from clave_client import events
from scenarios.fullscreen import (
    BACKSPACE,
    CTRL_C,
    CTRL_Q,
    DOWN,
    ENTER,
    ESCAPE,
    F1,
    LEFT,
    SHIFT_TAB,
    UP,
    alt,
    composer,
    is_open,
    pasted,
    ready,
    said,
    says,
    two_friends,
    until_pressed,
    window,
)
from scenarios.stage import people_at, relay_at
from scenarios.terminal import Terminal
from scenarios.test_bad_input import clave

FORM = "Your account is made on this machine"


# --- the first run ---


def at_field(screen: Terminal, question: str) -> bool:
    """Return whether the cursor is below a question of the form."""
    above = screen.text.splitlines()[: screen.line_of_cursor]
    return bool(above) and question in above[-1]


async def fill_in(screen: Terminal, name: str) -> None:
    """Say the name, and go on to the next question."""
    screen.press(name)
    await screen.until(lambda: f" {name}\n" in screen.text, f"the name {name}")
    screen.press(ENTER)
    await screen.until(lambda: at_field(screen, "Where: "), "the second question")


async def test_the_form_says_what_is_wrong_until_it_is_mended(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "others", "blue") as (_,),
        window(tmp_path / "home") as screen,
    ):
        await screen.shows(FORM)
        screen.press(ENTER)
        await screen.shows("say what others are to call you")
        await fill_in(screen, "blue")
        screen.press(ENTER)
        await screen.shows("say where: whoever invited you")
        screen.press("127.0.0.1:1" + ENTER)
        await screen.shows("no relay at 127.0.0.1:1")
        await screen.shows(FORM)
        screen.press(relay.address)  # which replaces what was wrong
        await screen.until(lambda: f" {relay.address}\n" in screen.text, "the address")
        screen.press(ENTER)
        await screen.shows("if it is yours, restore your backup")
        screen.press(SHIFT_TAB)
        await screen.until(lambda: at_field(screen, "Your name"), "the first question")
        screen.press("red")
        await screen.until(lambda: " red\n" in screen.text, "the name")
        screen.press(ENTER)
        await screen.shows("[x] you are red at your relay")
        screen.press(CTRL_Q)
        assert await screen.ended() == 0
        assert "Traceback" not in screen.text
        assert [each.name for each in (tmp_path / "home").iterdir() if each.name == "blue"] == []


async def test_a_mistyped_link_is_mended_and_joins_and_the_checklist_ticks_itself(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "others", "blue") as (blue,),
        window(tmp_path / "home") as screen,
    ):
        room = (await blue.client.create_room("friends")).id
        link = (await blue.client.make_link(room, seconds=3600, uses=3)).text
        await screen.shows(FORM)
        await fill_in(screen, "red")
        screen.press(pasted(link[:-9]) + ENTER)
        await screen.shows("this link is cut off")
        screen.press(pasted(link[:-2] + ("AA" if link[-2:] != "AA" else "BB")) + ENTER)
        await screen.shows("this link is mistyped")
        screen.press(pasted(f"clave join {link}") + ENTER)
        await ready(screen)
        await screen.shows("[x] open a room")
        await screen.shows("[x] bring somebody in")
        assert "[ ] say something" in screen.text
        await says(screen, "hello by link")
        await screen.shows("[x] say something")
        await blue.reads("hello by link")


async def test_the_checklist_goes_once_somebody_is_verified(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "others", "blue") as (blue,),
        window(tmp_path / "home") as screen,
    ):
        room = (await blue.client.create_room("friends")).id
        link = (await blue.client.make_link(room, seconds=3600, uses=3)).text
        await screen.shows(FORM)
        await fill_in(screen, "red")
        screen.press(pasted(link) + ENTER)
        await ready(screen)
        await says(screen, "/verify blue")
        await screen.shows("compare it, then /verify blue yes")
        await says(screen, "/verify blue yes")
        await screen.shows("blue is verified")
        await says(screen, "said")
        await screen.until(lambda: "say something" not in screen.text, "no first steps")
        await blue.client.send(room, "an answer")
        await screen.until(lambda: "an answer" in said(screen), "an answer")
        assert "[ ] compare keys" not in screen.text


async def test_one_of_several_profiles_is_chosen(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay:
        for name in ("green", "red"):
            words = ("chat", "--relay", relay.address, "--name", name)
            assert (await clave(*words, home=home, given=f"/new of {name}\nexit\n")).status == 0
        async with window(home) as screen:
            await screen.shows("Go on as")
            screen.press(DOWN + UP + DOWN + ENTER)
            await ready(screen, "of red")
            screen.press(CTRL_Q)
            assert await screen.ended() == 0
        async with window(home, CLAVE_NAME="green") as screen:
            await ready(screen, "of green")
        async with window(home) as screen:
            await screen.shows("Go on as")
            screen.press("\t")
            await screen.until(lambda: at_field(screen, "or begin anew. Your name"), "the first question")
            await fill_in(screen, "red")
            screen.press(ENTER)
            await ready(screen, "of red")


async def test_chat_with_screen_makes_a_profile(tmp_path: Path) -> None:
    async with relay_at(tmp_path / "relay") as relay:
        words = ("chat", "--screen", "--relay", relay.address, "--name", "red")
        async with window(tmp_path / "home", *words) as screen:
            await screen.shows("red is registered at")
            await screen.shows(relay.fingerprint[:29])
            await says(screen, "/new friends")
            await ready(screen)


# --- talking ---


async def test_two_people_talk(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as red:
        await ready(red)
        for number in range(3):
            await says(red, f"from red {number}")
            await there.blue.reads(f"from red {number}")
            await there.blue.client.send(there.room, f"from blue {number}")
            await red.shows(f"  from blue {number}")
        lines = [line for line in said(red) if line.startswith("from ")]
        assert lines == [f"from {who} {number}" for number in range(3) for who in ("red", "blue")]
        red.press("one\ntwo".replace("\n", alt(ENTER)) + ENTER)
        await there.blue.reads("one\ntwo")
        red.press(pasted("three\nfour\n") + ENTER)
        await there.blue.reads("three\nfour")


async def test_what_is_typed_ahead_ends_in_the_right_room_and_order(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as red:
        await red.until(lambda: "1049" in red.modes)  # nothing is shown yet
        red.press("typed before it opened" + ENTER)
        await there.blue.reads("typed before it opened")
        red.press(
            f"/new two{ENTER}in two{ENTER}draft of two{alt('1')}in one{ENTER}{alt('2')}sent in two{ENTER}"
            f"{alt('1')}last{ENTER}{UP}{UP}{UP} again{ENTER}half"
        )
        await there.blue.reads("in one again")
        await red.until(lambda: "half" in composer(red), "what is not finished")
        assert there.blue.texts(there.room) == ["typed before it opened", "in one", "last", "in one again"]
        red.press(alt("2"))
        await red.shows("> two")
        await red.until(
            lambda: [line for line in said(red) if line.endswith("in two")] == ["in two", "sent in two"],
            "what was sent in the second room, which waits no more",
        )
        await red.until(lambda: "draft of two" in composer(red), "the draft")
        red.press(alt("1"))
        await red.until(lambda: "half" in composer(red), "what is not finished")


async def test_words_typed_behind_the_key_of_the_search_are_not_said(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as red:
        await ready(red)
        red.press(f"{alt('s')}secret{ENTER}")
        await red.shows("Search")
        red.press(ESCAPE)
        await red.until(lambda: "Search" not in red.text, "the main screen")
        await says(red, "said")
        await there.blue.reads("said")
        assert there.blue.texts(there.room) == ["said"]


async def test_a_line_typed_while_the_program_starts_is_sent(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as red:
        red.press(f"first{ENTER}")
        await ready(red)
        red.press(f"second{ENTER}")
        await there.blue.sees(events.Message)
        assert there.blue.texts(there.room)[0] == "first"


async def test_keys_that_edit_are_taken_in_their_turn(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as red:
        await ready(red)
        red.press(f"x{BACKSPACE}" * 20 + f"helo{BACKSPACE}lo{LEFT}{LEFT}X{ENTER}end{ENTER}")
        await there.blue.reads("end")
        assert there.blue.texts(there.room) == ["helXlo", "end"]


async def test_keys_that_edit_the_form_are_taken_in_their_turn(tmp_path: Path) -> None:
    async with window(tmp_path / "home") as screen:
        await screen.shows(FORM)
        screen.press(f"x{BACKSPACE}" * 20 + f"red{ENTER}127.0.0.1:1{ENTER}")
        async with asyncio.timeout(10.0):  # after which what is known to fail has failed
            await screen.shows("no relay at 127.0.0.1:1 ")
        assert " red\n" in screen.text


async def test_wide_and_joined_characters_are_drawn_and_sent_whole(tmp_path: Path) -> None:
    texts = (
        "\u4f60\u597d\u4e16\u754c",
        "\u05e9\u05dc\u05d5\u05dd",
        "e\u0301te\u0301",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    )
    async with two_friends(tmp_path) as there, there.window() as red:
        await ready(red)
        for text in texts:
            red.press(text + ENTER)
            await there.blue.reads(text)
            await there.blue.client.send(there.room, f"{text} back")
            await red.shows("back")
        await says(red, "after them")
        await there.blue.reads("after them")
        await red.until(lambda: "after them" in said(red), "what was said last")


# --- sizes ---

SIZES = ((40, 15), (5, 3), (300, 80), (1, 1), (80, 24), (20, 5), (2, 60), (200, 4), (101, 31))


async def test_any_size_while_messages_come_and_side_screens_are_open(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as red:
        await ready(red)
        for number, (columns, rows) in enumerate(SIZES):
            red.press((F1, ESCAPE, alt("p"), alt("s"), ESCAPE, alt("o"), ESCAPE, "", alt("p"))[number])
            await there.blue.client.send(there.room, f"at {columns}x{rows}, " + "long " * 30)
            red.resize(columns, rows)
            await there.blue.client.send(there.room, f"after {number}")
            if columns > 1:  # the first column is empty in places
                await red.until(lambda: bool(red.text.strip()), "something")
        await red.until(lambda: len(red.text.splitlines()) == SIZES[-1][1], "the last size")
        last = f"after {len(SIZES) - 1}"
        # What is written stands there once all keys before it have done what they do.
        await until_pressed(
            red, "%" + ESCAPE, lambda: not is_open(red) and last in said(red) and "%" in composer(red)
        )
        red.press(CTRL_C)
        await red.until(lambda: "%" not in composer(red), "an empty line")
        shown = [line for line in said(red) if line.startswith("after")]
        assert shown == [f"after {number}" for number in range(len(SIZES))][-len(shown) :]
        await says(red, "still here")
        await there.blue.reads("still here")
        red.resize(40, 15)
        await red.until(lambda: "still here" in said(red) and "rooms" not in red.text, "the narrow screen")
        assert max(map(len, red.text.splitlines())) <= 40
        red.press(CTRL_Q)
        assert await red.ended() == 0


async def test_it_opens_on_a_tiny_terminal(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as red:
        red.resize(5, 3)
        await red.until(lambda: "1049" in red.modes, "the second screen")
        await there.blue.client.send(there.room, "sent to a tiny screen")
        red.press("answer" + ENTER)
        await there.blue.reads("answer")
        red.resize(80, 24)
        await ready(red)
        await red.shows("  answer")
        assert Counter(said(red))["sent to a tiny screen"] == 1


# --- where it is not the screen ---


async def test_line_mode_where_the_terminal_cannot_show_the_screen(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there:
        async with there.window(TERM="dumb") as red:
            await red.shows("friends")
            red.press("from a dumb one\n")
            await there.blue.reads("from a dumb one")
            assert "\x1b" not in red.text
            assert b"\x1b[?1049h" not in red.written
        async with there.window("--line") as red:
            await red.prompts("friends>")
            assert b"\x1b[?1049h" not in red.written
        piped = await clave("chat", "--name", "red", home=there.home, given="from a pipe\nexit\n")
        assert (piped.status, "\x1b" in piped.out) == (0, False), piped.err
        await there.blue.reads("from a pipe")


async def test_clave_without_a_profile_on_a_pipe_prints_help(tmp_path: Path) -> None:
    helped = await clave("--help", home=tmp_path)
    assert helped.status == 0
    assert "Exit status:" in helped.out
    piped = await clave(home=tmp_path / "home")
    assert piped.status == 2
    assert "Usage: " in piped.out
