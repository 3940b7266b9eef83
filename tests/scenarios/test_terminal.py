"""Stories of people at real terminals."""

from __future__ import annotations

import asyncio
import re
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from clave_client import events
from scenarios.stage import Relay, people_at, relay_at
from scenarios.terminal import Terminal, terminal
from scenarios.test_bad_input import clave
from scenarios.test_windows import holds, running


def chat(relay: Relay, home: Path, name: str, **environment: str) -> AbstractAsyncContextManager[Terminal]:
    words = ("-m", "clave_client", "chat", "--relay", relay.address, "--name", name)
    return terminal(*words, CLAVE_HOME=str(home), **environment)


async def test_the_first_minutes_of_two_people(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay, chat(relay, home, "red") as red:
        await red.shows("red is registered at")
        await red.shows(relay.fingerprint[:29])
        async with chat(relay, home, "blue") as blue:
            await blue.shows("no rooms yet")
            await red.prompts(">")
            await red.enter("/new friends")
            await red.shows("friends>")
            await red.enter("/invite blue")
            await red.shows("red invited blue (unverified)")
            await blue.shows("red (unverified) invites you to friends")
            blue.press("/acc\t")
            await blue.shows("> /accept")
            blue.press("\r")
            await blue.shows("friends>")
            await red.shows("blue (unverified) joined")
            await blue.enter("hello from blue")
            await red.shows("blue (unverified): hello from blue")
            await red.prompts("friends>")
            red.press("/fing")
            await red.prompts("friends> /fing")
            red.press("\t")
            await red.shows("> /fingerprint")
            red.press(" bl\t")
            await red.shows("> /fingerprint blue")
            red.press("\r")
            await red.shows("safety number with you")
            await red.enter("/verify blue")
            await red.shows("blue is verified")
            await blue.enter("trusted now")
            await red.shows("blue: trusted now")
            await blue.enter("exit")
            assert await blue.ended() == 0
        red.press("\x04")
        assert await red.ended() == 0
        assert "Traceback" not in red.text


async def test_a_bracketed_paste_never_sends_and_text_can_have_lines(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, home, "blue") as (blue,),
        chat(relay, home, "red") as red,
    ):
        await red.prompts(">")
        await red.enter("/new friends")
        await red.shows("friends>")
        await red.enter("/invite blue")
        invited = await blue.sees(events.Invited)
        await blue.client.accept(invited.room)
        await red.shows("joined")
        red.press("\x1b[200~first\nsecond\nthird\x1b[201~")
        await red.shows("third")
        assert blue.shown() == []
        red.press("\r")
        await blue.reads("first\nsecond\nthird")
        red.press("four\x1b\rfive")
        await red.shows("five")
        red.press("\r")
        await blue.reads("four\nfive")
        assert blue.shown() == ["first\nsecond\nthird", "four\nfive"]


async def test_lines_typed_ahead_are_taken_one_by_one_in_order(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, home, "blue") as (blue,),
        chat(relay, home, "red") as red,
    ):
        await red.prompts(">")
        red.press("/new friends\r/invite blue\rone\rtwo\r/members\rthree\r")
        invited = await blue.sees(events.Invited)
        await blue.client.accept(invited.room)
        await blue.reads("three")
        assert blue.shown() == ["one", "two", "three"]
        await red.prompts("friends>")


async def test_an_interrupt_clears_the_line_then_asks_and_then_leaves(tmp_path: Path) -> None:
    async with relay_at(tmp_path / "relay") as relay, chat(relay, tmp_path / "home", "red") as red:
        await red.prompts(">")
        await red.enter("/new friends")
        await red.shows("friends is open")
        red.press("do not send this")
        await red.shows("do not send this")
        red.press("\x03")
        await red.enter("/members")
        await red.shows("red on")
        await red.prompts("friends>")
        red.press("\x03")
        await red.shows("Ctrl-C once more quits")
        red.press("\x03")
        assert await red.ended() == 130
        assert "Traceback" not in red.text


HOSTILE = (
    "\x1b]52;c;aGVsbG8=\x07",
    "\x1b[2J\x1b[1;1H12:00 red: forged",
    "\x9b31mC1 colour",
    "\u202eright to left",
    "zero\u200bwidth",
    "a" + "\u0301" * 200,
    "fake\r12:00 red: line",
    "\x07bell",
)


@pytest.mark.parametrize("colour", ["", "1"])
async def test_hostile_text_is_inert_and_visible(tmp_path: Path, colour: str) -> None:
    home = tmp_path / "home"
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, home, "blue") as (blue,),
        chat(relay, home, "red", NO_COLOR=colour) as red,
    ):
        await red.prompts(">")
        await red.enter("/new friends")
        await red.shows("friends>")
        await red.enter("/invite blue")
        invited = await blue.sees(events.Invited)
        await blue.client.accept(invited.room)
        await red.shows("joined")
        for number, text in enumerate(HOSTILE):
            await blue.client.send(invited.room, f"{text} end{number}")
            await red.shows(f" end{number}")
        for shown in ("<U+001B>]52;c;", "<U+009B>31m", "<U+202E>right", "zero<U+200B>width", "<U+000D>12:00"):
            assert shown in red.text
        assert b"\x1b]52" not in red.written
        assert "\u0301" * 5 not in red.written.decode()
        assert not any(line.startswith("12:00 red:") for line in red.text.splitlines())
        colours = re.findall(rb"\x1b\[[0-9;]*3[0-7][0-9;]*m|\x1b\[[0-9;]*9[0-7][0-9;]*m", red.written)
        assert bool(colours) is not bool(colour), "colours, unless NO_COLOR says otherwise"
        await red.enter("exit")
        assert await red.ended() == 0


async def test_the_demo_on_a_terminal_lets_one_type_along(tmp_path: Path) -> None:
    async with demo(tmp_path) as screen:
        await screen.shows("you are red now")
        await screen.shows("what the relay could learn of message")
        screen.press("typed by hand\r")
        await screen.shows("red: typed by hand")
        await screen.shows("red (unverified): typed")
        screen.press("exit\r")
        assert await screen.ended() == 0
        assert "Traceback" not in screen.text


async def test_the_demo_in_lines_lets_one_type_along(tmp_path: Path) -> None:
    async with demo(tmp_path, TERM="dumb") as screen:
        await screen.shows("you are red now; exit ends")
        screen.press("typed by hand\r")
        await screen.shows("reads: typed by hand")
        assert b"\x1b" not in screen.written
        screen.press("exit\r")
        assert await screen.ended() == 0
        assert "Traceback" not in screen.text


async def test_a_demo_whose_terminal_goes_away_leaves_no_relay(tmp_path: Path) -> None:
    async with demo(tmp_path) as screen:
        await screen.shows("registered")
        assert f"{tmp_path}/clave-demo-" in await processes()
        screen.hang_up()
        assert await screen.ended() == 129
        assert f"{tmp_path}/clave-demo-" not in await processes()
    assert not folders_of_demos(tmp_path)


def demo(folder: Path, **environment: str) -> AbstractAsyncContextManager[Terminal]:
    return terminal("-m", "clave_client", "demo", HOME=str(folder), TMPDIR=str(folder), **environment)


def folders_of_demos(folder: Path) -> list[Path]:
    return list(folder.glob("clave-demo-*"))


async def processes() -> str:
    """Return the commands of all processes of this machine."""
    ps = await asyncio.create_subprocess_exec("ps", "-A", "-ww", "-o", "args", stdout=asyncio.subprocess.PIPE)
    return (await ps.communicate())[0].decode(errors="replace")


async def test_what_is_typed_before_the_prompt_is_there_goes_to_the_room_that_it_will_be_in(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay, people_at(relay, home, "red") as (red,):
        room = (await red.client.create_room("friends")).id
        await red.go()
        async with chat(relay, home, "red") as window:
            window.press("typed ahead\rnot finished")
            await window.prompts("friends> not finished")
            window.press("\x15exit\r")
            assert await window.ended() == 0
        await red.come()
        assert red.texts(room) == ["typed ahead"]


async def test_a_window_without_the_key_asks_for_the_passphrase_when_the_owner_ends(tmp_path: Path) -> None:
    home, passphrase = tmp_path / "home", tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    async with relay_at(tmp_path / "relay") as relay:
        words = ("chat", "--relay", relay.address, "--name", "red", "--passphrase")
        options = ("--passphrase-file", str(passphrase))
        made = await clave(*words, *options, home=home, given="/new friends\nexit\n")
        assert made.status == 0, made.err
        async with running("daemon", *options, home=home) as daemon:
            await holds(home, daemon)
            async with chat(relay, home, "red") as window:
                await window.prompts("friends>")
                window.press("a draft")
                await window.shows("a draft")
                daemon.kill()
                await window.shows("the process that held this profile has ended; passphrase:")
                window.press("wrong horse\r")
                await window.until(lambda: window.text.count("passphrase:") == 2)
                window.press("correct horse\r")
                await window.prompts("friends> a draft")
                window.press("\r")
                await window.shows("red: a draft")
                assert b"horse" not in window.written


async def test_leaving_asks_on_a_terminal(tmp_path: Path) -> None:
    async with relay_at(tmp_path / "relay") as relay, chat(relay, tmp_path / "home", "red") as red:
        await red.prompts(">")
        await red.enter("/new friends")
        await red.prompts("friends>")
        await red.enter("/leave")
        await red.shows("to do it, type /leave yes")
        await red.prompts("friends>")
        await red.enter("/leave yes")
        await red.shows("you left friends")
        await red.prompts(">")


async def test_a_refused_line_stays_in_the_prompt(tmp_path: Path) -> None:
    async with relay_at(tmp_path / "relay") as relay, chat(relay, tmp_path / "home", "red") as red:
        await red.prompts(">")
        await red.enter("hello?")
        await red.shows("you are in no room")
        await red.prompts("> hello?")


async def test_the_input_history_outlives_the_window(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay:
        async with chat(relay, home, "red") as red:
            await red.prompts(">")
            await red.enter("/new friends")
            await red.prompts("friends>")
            await red.enter("said before")
            await red.shows("red: said before")
            await red.enter("exit")
            assert await red.ended() == 0
        async with chat(relay, home, "red") as red:
            await red.prompts("friends>")
            red.press("\x1b[A\x1b[A")
            await red.prompts("friends> said before")


async def test_drafts_are_kept_by_room_also_when_the_terminal_goes_away(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with relay_at(tmp_path / "relay") as relay:
        async with chat(relay, home, "red") as red:
            await red.prompts(">")
            await red.enter("/new one")
            await red.prompts("one>")
            await red.enter("/new two")
            await red.prompts("two>")
            red.press("for the second")
            await red.prompts("two> for the second")
            red.press("\x1b1")
            await red.prompts("one>")
            red.press("for the first")
            await red.prompts("one> for the first")
            red.press("\x1b2")
            await red.prompts("two> for the second")
            red.hang_up()
            assert await red.ended() == 129
        kept = await clave("draft", "--name", "red", "two", home=home)
        assert kept.out == "for the second\n"
        async with chat(relay, home, "red") as red:
            await red.prompts("two> for the second")
            red.press("\r")
            await red.shows("red: for the second")
            await red.prompts("two>")
            red.press("\x1b1")
            await red.prompts("one> for the first")
            red.press("\x1b2")
            await red.prompts("two>")
