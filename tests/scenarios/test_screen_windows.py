"""Stories of the full screen when the relay is away, and when a profile has several windows."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

from scenarios.fullscreen import alt, composer, ready, said, says, two_friends, window
from scenarios.stage import relay_at
from scenarios.terminal import terminal
from scenarios.test_bad_input import clave
from scenarios.test_windows import holds, running

OFFLINE = "offline: what you write waits"


async def test_the_relay_is_away_at_the_start_and_comes(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there:
        await there.blue.go()
        await there.relay.kill()
        async with there.window() as red:
            await red.shows(OFFLINE)
            await red.shows("> friends")
            await says(red, "written meanwhile")
            await red.shows("waiting: written meanwhile")
            await red.shows("1 waiting to be sent")
            await there.relay.start()
            await there.blue.come()
            await there.blue.reads("written meanwhile")
            await red.until(lambda: "waiting to be sent" not in red.text, "nothing that waits")
            assert Counter(said(red))["written meanwhile"] == 1
            assert OFFLINE not in red.text


async def test_what_is_written_while_the_relay_is_away_waits_and_goes_out_in_order(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as red:
        await ready(red)
        await says(red, "before")
        await there.blue.reads("before")
        red.press("half written")
        await there.blue.go()
        await there.relay.kill()
        await red.shows(OFFLINE)
        red.press(" and more\rsecond\rthird\rnot finished")
        await red.shows("3 waiting to be sent")
        await red.shows("waiting: half written and more")
        await red.until(lambda: "not finished" in composer(red), "what is not finished")
        await there.relay.start()
        await there.blue.come()
        await there.blue.reads("third")
        await red.until(lambda: "waiting to be sent" not in red.text, "nothing that waits")
        sent = ["before", "half written and more", "second", "third"]
        assert there.blue.texts(there.room) == sent
        assert [line for line in said(red) if line in sent] == sent
        assert "not finished" in composer(red)


async def test_two_screens_and_a_line_window_on_one_profile(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as first:
        await ready(first)
        lines = ("-m", "clave_client", "chat", "--name", "red")
        async with there.window() as second, terminal(*lines, CLAVE_HOME=str(there.home)) as third:
            await ready(second)
            await third.prompts("friends>")
            await says(first, "from the first")
            await there.blue.reads("from the first")
            await says(second, "from the second")
            await there.blue.reads("from the second")
            await third.enter("from the third")
            await there.blue.reads("from the third")
            await there.blue.client.send(there.room, "from blue")
            sent = ["from the first", "from the second", "from the third", "from blue"]
            for each in (first, second):
                await each.until(lambda: "from blue" in said(each), "what blue says")  # noqa: B023  (awaited at once)
                assert [line for line in said(each) if line in sent] == sent
            await third.shows(": from blue")
            assert [third.text.count(f": {text}") for text in sent] == [1] * 4
            second.press("a draft")
            await second.until(lambda: "a draft" in composer(second), "a draft")
            assert "a draft" not in composer(first)
        listed = await clave("rooms", "--name", "red", home=there.home)
        assert "new" not in listed.out
        await there.blue.client.send(there.room, "after the others")
        await first.until(lambda: "after the others" in said(first), "what blue says")


async def test_a_room_opened_in_one_window_is_in_the_list_of_the_other(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as first, there.window() as second:
        await ready(first)
        await ready(second)
        await says(second, "/new other")
        await ready(second, "other")
        await there.blue.client.send(there.room, "said after it")
        await first.until(lambda: "said after it" in said(first), "what blue says")
        await first.shows("  other")


async def test_the_list_of_rooms_names_nothing_that_waits_once_it_is_sent(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there:
        await there.relay.kill()
        async with there.window() as red:
            await red.shows(OFFLINE)
            await red.shows("> friends")
            await says(red, "written meanwhile")
            await red.shows("friends 1 waiting")
            await there.relay.start()
            await there.blue.reads("written meanwhile")
            await there.blue.client.send(there.room, "said after it")
            await red.until(lambda: "said after it" in said(red), "what blue says")
            await red.until(lambda: "friends 1 waiting" not in red.text, "nothing that waits")


async def test_the_second_window_goes_on_when_the_owner_is_killed(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as owner:
        await ready(owner)
        async with there.window() as second:
            await ready(second)
            await says(second, "before")
            await there.blue.reads("before")
            second.press("half")
            owner.send(signal.SIGKILL)
            await owner.ended()
            second.press(" written\r")
            await there.blue.reads("half written")
            await there.blue.client.send(there.room, "an answer")
            await second.until(lambda: "an answer" in said(second), "what blue says")
            sent = ["before", "half written", "an answer"]
            assert [line for line in said(second) if line in sent] == sent
            second.press(alt("p"))
            await second.shows("blue")


async def test_the_passphrase_is_asked_on_the_terminal_when_the_owner_is_killed(tmp_path: Path) -> None:
    home, passphrase = tmp_path / "home", tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    async with relay_at(tmp_path / "relay") as relay:
        words = ("chat", "--relay", relay.address, "--name", "red", "--passphrase")
        options = ("--passphrase-file", str(passphrase))
        made = await clave(*words, *options, home=home, given="/new friends\nexit\n")
        assert made.status == 0, made.err
        async with running("daemon", *options, home=home) as daemon:
            await holds(home, daemon)
            async with window(home) as screen:
                await ready(screen)
                screen.press("a draft")
                await screen.until(lambda: "a draft" in composer(screen), "a draft")
                modes = screen.modes
                daemon.kill()
                await screen.shows("the process that held this profile has ended; passphrase:")
                screen.press("wrong horse\r")
                await screen.until(lambda: screen.text.count("passphrase:") == 2, "the question again")
                screen.press("correct horse\r")
                await ready(screen)
                await screen.until(lambda: "a draft" in composer(screen), "the draft")
                screen.press("\r")
                await screen.until(lambda: "a draft" in said(screen), "what was said")
                assert screen.modes == modes
                assert b"horse" not in screen.written
