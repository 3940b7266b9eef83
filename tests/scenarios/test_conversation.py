"""Stories of people who answer, correct, delete and react, by chat commands and by subcommands."""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial
from pathlib import Path

import pytest

from clave_client import events
from clave_client.sync import reporting
from clave_client.ui.message_commands import MESSAGE_COMMANDS
from scenarios.conversing import Table, commands, friends_talk, served, window_of
from scenarios.stage import TIMEOUT, gather_in, people_at, relay_at
from scenarios.test_windows import line_of, running


@pytest.fixture(autouse=True)
def _receipts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "_GATHER_SECONDS", 0.01)


def number_of(table: Table, text: str) -> int:
    """Return the number of the message of the room that begins with a text."""
    (seq,) = [line.seq for line in table.people[0].client.history(table.room) if line.text.startswith(text)]
    return seq


async def test_chat_commands_about_messages_are_seen_by_both(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue") as table:
        red, blue = table.windows
        await red.says("are you *there* tonight, @blue?")
        assert (await blue.shows("there")).endswith("red (unverified): are you there tonight, @blue?")
        assert "with their numbers" in (await blue.says("/numbers"))[0]
        first = number_of(table, "are you")
        assert blue.lines[-1].startswith(f"[{first}] ")

        await blue.says("/reply of curse I am")
        assert (await red.shows("      > ")).endswith("> red: are you there tonight, @blue?")
        assert (await red.shows("of curse I am")).endswith("blue (unverified): of curse I am")
        second = number_of(table, "of curse")
        await blue.says("/edit of course I am")
        assert (await red.shows("edited")) == f"* blue (unverified) edited message {second}: of course I am"
        assert (await blue.shows("edited")) == f"* blue edited message {second}: of course I am"
        await red.says(f"/reply {first} say when")
        assert (await blue.shows("say when")).startswith("[")

        await red.says("/react :tada:")
        assert (
            await blue.shows("reacted")
            == "* red (unverified) reacted with 🎉 to your message: of course I am"
        )
        await red.says(f"/react +1 {second}")
        await red.shows("+1")
        assert await red.says("/unreact") == ["* say which reaction: +1 🎉"]
        await red.says("/unreact +1")
        assert await blue.shows("took") == "* red (unverified) took back +1 from your message: of course I am"
        shown = await blue.says(f"/show {second}")
        assert shown[-1] == "of course I am"
        for words in (
            "before, ",
            "edited once",
            "🎉 1: red",
            "at the relay; delivered to 1 of 1",
            "red: delivered",
        ):
            assert any(words in line for line in shown), (words, shown)

        await blue.says("/delete")
        assert await red.shows("deleted") == f"* blue (unverified) deleted message {second}"
        await blue.shows("deleted")
        assert (await red.says(f"/show {second}"))[-1] == "* deleted"
        assert any(
            line.endswith("blue (unverified) deleted this message") for line in await red.says("/history 3")
        )
        await blue.says("something rude")
        await red.shows("rude")
        third = number_of(table, "something rude")
        await red.says(f"/delete {third}")
        assert await blue.shows("removed") == f"* red (unverified) removed message {third} of blue"
        assert (await blue.says(f"/show {third}"))[-1] == "* removed by red"
        assert await blue.says("/delete here") == ["* deleted on this device only"]
        assert any(line.text == "say when" for line in table.people[0].client.history(table.room))
        assert not any(line.text == "say when" for line in table.people[1].client.history(table.room))


async def test_what_a_chat_command_cannot_do_is_one_line(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue") as table:
        red, blue = table.windows
        await red.says("of red")
        await blue.shows("of red")
        await blue.says("of blue")
        await red.shows("of blue")
        await blue.says("gone")
        await red.shows("gone")
        await blue.says("/delete")
        await red.shows("deleted")
        reds, blues = number_of(table, "of red"), number_of(table, "of blue")
        gone = next(line.seq for line in table.people[0].client.history(table.room) if not line.text)
        await blue.says(f"/react :tada: {reds}")
        await blue.shows("reacted")
        long = "x" * 70_000
        for line, words in (
            ("/reply 99 hello", "there is no such message in friends"),
            (f"/reply {gone} hello", "that message was deleted"),
            ("/reply", "/reply [N] TEXT"),
            (f"/reply {reds}", "/reply [N] TEXT"),
            (f"/reply {reds} {long}", "at most 65536 bytes"),
            ("/edit 99 hello", "there is no such message in friends"),
            (f"/edit {reds} hello", "only red can edit that"),
            (f"/edit {gone} hello", "that message was deleted"),
            (f"/edit {blues}", "/edit [N] TEXT"),
            (f"/edit {blues} {long}", "at most 65536 bytes"),
            (long, "at most 65536 bytes"),
            ("/delete 99", "there is no such message in friends"),
            (f"/delete {reds}", "only red or an admin can delete that"),
            (f"/delete {gone}", "that message was deleted"),
            (f"/delete {blues} there", "/delete [N] here"),
            ("/react", "/react EMOJI [N]"),
            ("/react :tada: 99", "there is no such message in friends"),
            (f"/react :tada: {gone}", "that message was deleted"),
            (f"/react :tada: {reds}", "you have reacted with 🎉 already"),
            (f"/react :nosuch: {reds}", "there is no emoji called :nosuch:"),
            (f"/react {'x' * 17} {reds}", "a reaction is one emoji, or a few letters"),
            (f"/unreact {blues}", "you have not reacted to that"),
            (f"/unreact {reds} +1", "you have not reacted to that with +1"),
            ("/show 99", "there is no such message in friends"),
            ("/show who", "/show takes the number of a message"),
            ("/timed", "say how long it is seen"),
            ("/timed 1y hello", "say how long it is seen"),
            ("/timed 0s hello", "say how long it is seen"),
            ("/timed 366d hello", "a message disappears after a year (365d) at most"),
            ("/timed 1h", "/timed 1h TEXT"),
            ("/disappear soon", "say after how long"),
            ("/disappear 366d", "messages disappear after a year (365d) at most"),
            ("/disappear 1d", "only an admin may change the room here"),
            ("/receipts", "/receipts on"),
            ("/dm", "/dm NAME"),
            ("/dm nobody", "nobody has this name here"),
            ("/block nobody", "nobody you know goes by nobody"),
            ("/block blue", "you cannot block yourself"),
            ("/unblock red", "red is not blocked; /block lists who is"),
            ("/archive nowhere", "no room called nowhere"),
        ):
            assert words in await blue.refuses(line), line
        await blue.says("and on we go")
        await red.shows("and on we go")
        assert not any("hello" in line for line in red.lines)


async def test_subcommands_do_the_same_and_tell_it_as_json_too(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue") as table:
        red, blue = table.windows
        await blue.says("who comes?")
        await red.shows("who comes?")
        asked = number_of(table, "who comes?")
        lines = {
            "reply friends last I do": "",
            f"reply --json friends {asked} me too": "state",
            "edit friends last me too, at nine": "",
            "edit --json friends last me too, at ten": "state",
            "react friends last :tada:": "",
            f"react --json friends {asked} +1": "state",
            "show friends last": "me too, at ten",
            "show --bare friends last": "me too, at ten",
            "show --json friends last": "versions",
            f"unreact friends {asked} +1": "",
            "unreact --json friends last": "state",
            "send --expires 1h friends soon gone": "",
            "delete friends last": "",
            "delete --json --here-only friends last": "state",
            "disappear friends": "messages of friends are kept",
            "disappear friends 1d": "new messages of friends disappear 1 day after they are read",
            "disappear --json friends off": "expiry",
            "receipts friends on": "",
            "receipts --json friends off": "read_receipts",
            "draft friends not sent yet": "",
            "draft friends": "not sent yet",
            "draft --json friends": "draft",
            "block blue": "blue  ",
            "block": "blue  ",
            "block --json": "fingerprint",
            "unblock blue": "blue  ",
            "block --json blue": "account",
            "unblock --json blue": "account",
            "archive friends": "",
            "rooms": "",
            "rooms --all": "friends  ",
            "archive --json friends": "archived",
            "archive --undo friends": "",
            "dm red": "notes to self  ",
            "dm red the milk": "",
            "dm --json red": "direct",
            "dm --json red and eggs": "state",
            "export friends": "# friends",
            "export --format json friends": "seq",
        }  # fmt: skip
        told = dict(zip(lines, await commands(*lines, home=table.home), strict=True))
        for line, words in lines.items():
            assert (told[line].status, told[line].err) == (0, ""), (line, told[line].err)
            first = told[line].out.partition("\n")[0]
            if "json" in line:
                assert words in json.loads(first), (line, first)
            elif words:
                assert words in told[line].out, (line, told[line].out)
            else:
                assert first == "", line
        assert [each["text"] for each in json.loads(told["show --json friends last"].out)["versions"]] == [
            "me too",
            "me too, at nine",
        ]
        for words in ("reacted with +1", "took back 🎉", "soon gone (disappears)", "deleted message"):
            await blue.shows(words)
        assert "> blue: who comes?" in told["export friends"].out.replace("\\", "")
        assert told["show --bare friends last"].out == "me too, at ten\n"


async def test_what_a_subcommand_cannot_do_is_one_line_and_a_status(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue") as table:
        red, blue = table.windows
        await blue.says("of blue")
        await red.shows("of blue")
        blues = number_of(table, "of blue")
        await red.says("gone")
        await blue.shows("gone")
        await red.says("/delete")
        await blue.shows("deleted")
        gone = next(line.seq for line in table.people[0].client.history(table.room) if not line.text)
        await red.says(f"/react :tada: {blues}")
        await red.shows("reacted")
        lines = {
            "reply friends 99 hello": "there is no such message in friends",
            "reply friends here hello": "say which message: its number",
            "reply nowhere last hello": "no room called nowhere",
            "reply friends last ''": "an empty message says nothing",
            f"reply friends last {'x' * 70_000}": "at most 65536 bytes",
            f"edit friends {blues} hello": "only blue can edit that",
            f"edit friends {gone} hello": "that message was deleted",
            f"edit friends last {'x' * 70_000}": "there is no such message",
            "delete friends 99": "there is no such message in friends",
            f"delete friends {gone}": "that message was deleted",
            f"react friends {blues} :tada:": "you have reacted with 🎉 already",
            f"react friends {blues} :nosuch:": "there is no emoji called :nosuch:",
            f"react friends {blues} 'two words'": "a reaction is one emoji, or a few letters",
            f"unreact friends {blues} +1": "you have not reacted to that with +1",
            "show friends 99": "there is no such message in friends",
            "send --expires 366d friends hello": "a message disappears after a year (365d) at most",
            "disappear friends soon": "say after how long",
            "disappear friends 366d": "messages disappear after a year (365d) at most",
            "receipts nowhere on": "no room called nowhere",
            "block nobody": "nobody you know goes by nobody",
            "block red": "you cannot block yourself",
            "unblock blue": "blue is not blocked",
            "archive nowhere": "no room called nowhere",
            f"draft friends {'x' * 70_000}": "a draft has at most 65536 bytes",
            "export nowhere": "no room called nowhere",
        }  # fmt: skip
        for line, ran in zip(lines, await commands(*lines, home=table.home), strict=True):
            assert (ran.status, ran.out) == (2, ""), (line, ran.err)
            assert lines[line] in ran.line, line
        (unknown,) = await commands("dm nobody", home=table.home)
        assert (unknown.status, unknown.line) == (4, "nobody has this name here")
        usage = ("send --expires 1y friends x", "receipts friends maybe", "show --bare --json friends last")
        for ran in await commands(*usage, home=table.home):
            assert ran.status == 2
            assert ran.err.splitlines()[-1].startswith("Error: ")
        (bare,) = await commands(f"show --bare friends {gone}", home=table.home)
        assert (bare.status, bare.out) == (0, "\n")
        await blue.says("and on we go")
        await red.shows("and on we go")
        assert not any("hello" in line for line in blue.lines)


async def test_without_the_relay_changes_wait_and_go_out_later(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue") as table:
        red, blue = table.windows
        await red.says("first")
        await blue.shows("first")
        await blue.says("second")
        await red.shows("second")
        first, second = number_of(table, "first"), number_of(table, "second")
        await table.relay.kill()
        await red.shows("offline")
        await red.says("a mistake")
        for line in ("/edit mended", "/delete"):
            assert "cannot be changed before it is sent" in await red.refuses(line), (
                "and no other one is meant"
            )
        for line in (f"/edit {first} the first", f"/react :tada: {second}"):
            assert await red.says(line) == ["* the others hear it once the relay is back"]
        waited = await commands(
            f"reply --wait 0.1 friends {second} an answer",
            f"edit --wait 0.1 --json friends {first} the very first",
            f"unreact --wait 0.1 friends {second}",
            "edit --wait 0.1 friends last mended",
            home=table.home,
        )
        assert [ran.status for ran in waited] == [5, 5, 2, 2], [ran.err for ran in waited]
        assert waited[0].line.startswith("the message waits in the outbox")
        assert json.loads(waited[1].out)["state"] == "waiting"
        refused = await commands("disappear friends 1d", "dm blue hello", home=table.home)
        for ran in refused:
            assert ran.status == 4, ran.err
            assert ran.line
        await table.relay.start()
        for person in table.people:
            person.client.sync.connection.hurry()
        await blue.shows("a mistake")
        await blue.shows("reacted with 🎉 to your message: second")
        await blue.shows("an answer")
        await blue.shows(f"edited message {first}: the very first")
        # The first of two edits is not told of once the second is here.
        assert any(line.endswith(": the first") for line in await blue.says(f"/show {first}"))


async def test_an_archived_room_comes_back_when_somebody_speaks(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue") as table:
        red, blue = table.windows
        await red.says("/dm red")
        archived = await red.says("/archive friends")
        assert archived == ["* friends is archived until somebody says something there; /room all lists it"]
        assert (await red.says("/room"))[-1] == "* and 1 archived; /room all lists them too"
        assert any("friends" in line and "(archived)" in line for line in await red.says("/room all"))
        await red.says("/room friends")
        await red.says("I can still speak")
        await blue.shows("I can still speak")
        await red.says("/room notes to self")
        (listed,) = await commands("rooms", home=table.home)
        assert "friends" not in listed.out
        await blue.says("come back")
        await red.shows("[friends] ")
        assert not any("archived" in line for line in await red.says("/room"))
        (listed,) = await commands("rooms", home=table.home)
        assert "friends" in listed.out
        await red.says("/archive friends")
        assert await red.says("/archive friends") == ["* friends is in the list again"]


async def test_what_expired_while_the_client_was_closed_is_never_shown_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, home, "red", "blue") as (red, blue),
    ):
        await gather_in("friends", red, blue)
        async with window_of(red) as reds, window_of(blue) as blues:
            await reds.says("/timed 1h the door code is 1234")
            assert (await blues.shows("1234")).endswith("(disappears)")
            await reds.says("/disappear 30m")
            await blues.shows("disappear 30 minutes after they are read")
            told = await blues.says("/disappear")
            assert told[0].startswith("* new messages here disappear 30 minutes after they are read")
            await reds.says("that of the back door is 5678")
            assert (await blues.shows("5678")).endswith("(disappears)")
            await reds.says("/disappear off")
            await blues.shows("has messages kept")
            await reds.says("this stays")
            assert not (await blues.shows("this stays")).endswith("(disappears)")
        for passed, gone, left in (
            (1801, ("5678",), ("1234",)),
            (3601, ("1234", "5678"), ()),
        ):
            await blue.go()
            await blue.come(clock=partial(_later, passed))
            async with window_of(blue) as again:
                exported = await commands(
                    "export friends", "export --format json friends", home=home, name="blue"
                )
                await again.says("/history 50")
                for shown in (*(ran.out for ran in exported), "\n".join(again.lines)):
                    assert "this stays" in shown
                    assert all(code in shown for code in left)
                    assert not any(code in shown for code in gone)


def _later(seconds: float) -> float:
    return time.time() + seconds


async def test_two_windows_on_one_profile_see_what_each_other_change(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue") as table:
        red, blue = table.windows
        await red.says("see you at nine")
        await blue.shows("nine")
        async with running("chat", "--room", "friends", home=table.home, pipe=True) as other:
            assert other.stdin is not None
            assert "talking in friends" in await line_of(other)
            number = number_of(table, "see you")
            other.stdin.write(b"/edit see you at ten\n")
            assert await red.shows("edited") == f"* red edited message {number}: see you at ten"
            assert await line_of(other) == f"* red edited message {number}: see you at ten"
            await red.says("/react :tada: " + str(number))
            assert await line_of(other) == "* red reacted with 🎉 to your message: see you at ten"
            await red.says("/delete")
            assert await line_of(other) == f"* red deleted message {number}"
            other.stdin.write(b"exit\n")
            assert await asyncio.wait_for(other.wait(), TIMEOUT) == 0


async def test_tail_prints_edits_and_reactions(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue") as table:
        red, blue = table.windows
        await blue.says("tea, anyone?")
        await red.shows("tea")
        number = number_of(table, "tea")
        async with (
            running("tail", "friends", home=table.home) as tail,
            running("tail", "friends", "--json", home=table.home) as json_tail,
        ):
            lines: list[str] = []
            found: list[dict[str, object]] = []
            for window, text in (
                (blue, ""),
                (blue, "/edit coffee, anyone?"),
                (red, "/react :tada:"),
                (blue, "/delete"),
            ):
                await window.says(text)
                lines.append(await line_of(tail))
                found.append(json.loads(await line_of(json_tail)))
        assert lines[0].endswith("blue (unverified): tea, anyone?")
        assert lines[1:] == [
            f"* blue (unverified) edited message {number}: coffee, anyone?",
            "* red reacted with 🎉 to blue's message: coffee, anyone?",
            f"* blue (unverified) deleted message {number}",
        ]
        assert [each["number"] for each in found] == [number] * 4
        assert [each["text"] for each in found] == ["tea, anyone?", *["coffee, anyone?"] * 2, ""]
        assert found[2]["reactions"] == [{"reaction": "🎉", "from": ["red"]}]
        assert found[3]["kind"] == "deleted"


async def test_a_mention_is_of_somebody_in_the_room(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, home, "red", "blue") as (red, blue),
    ):
        await gather_in("friends", red, blue)
        async with window_of(red) as reds, served(blue):
            await reds.says("ask @blue, or @nobody")
            await blue.reads("ask @blue, or @nobody")
            listed, shown = await commands("rooms", "show --json friends last", home=home, name="blue")
            assert "(1 new) (1 mentions you)" in listed.out
            message = json.loads(shown.out)
            assert (message["text"], message["mentions_me"]) == ("ask @blue, or @nobody", True)
            assert message["markdown"].count("](clave:account/") == 1
            await reds.says("/edit ask anybody")
            await blue.sees(events.MessageEdited)
            (listed,) = await commands("rooms", home=home, name="blue")
            assert "(1 new)" in listed.out
            assert "mention" not in listed.out


async def test_receipts_count_who_received_and_who_read(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue", "green") as table:
        red, blue, green = table.windows
        await blue.says("/receipts on")
        await red.says("can you read this?")
        await blue.shows("can you")
        await green.shows("can you")
        shown = await red.repeats("/show", "delivered to 2 of 2, read by 1")
        assert shown[-3:] == ["* blue: read", "* green: delivered", "can you read this?"]
        (told,) = await commands("show --json friends last", home=table.home)
        found = json.loads(told.out)
        assert (found["delivered"], found["read"]) == (2, 1)
        assert found["receipts"] == [
            {"name": "blue", "state": "read"},
            {"name": "green", "state": "delivered"},
        ]
        assert "* the others see what you have received and read" in await blue.says("/info")
        assert "* the others see what you have received, not what you have read" in await green.says("/info")


def test_every_chat_command_about_messages_is_in_a_story() -> None:
    files = (Path(__file__), Path(__file__).with_name("test_direct_rooms.py"))
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    assert {name for name in MESSAGE_COMMANDS if f"/{name}" not in text} == {"search", "more", "jump"}
