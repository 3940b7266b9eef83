"""Stories of rooms with roles, by chat commands and by subcommands: every client checks what anybody does."""

from __future__ import annotations

import json
from pathlib import Path

from scenarios.conversing import Table, Window, commands, friends_talk


async def tells(table: Table, who: Window, command: str, line: str) -> None:
    """Have somebody type a command that all see as a line, but for who is called unverified by whom."""
    await who.says(command)
    for window in table.windows:
        shown = await window.shows(line.rsplit(" ", 1)[1])
        assert shown.replace(" (unverified)", "").replace(" you ", f" {window.talk.name} ") == f"* {line}"


async def test_what_a_role_may_do_is_kept_by_all(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue", "green") as table:
        red, blue, green = table.windows
        await tells(table, red, "/topic where to meet", "red says what the room is about: where to meet")
        await tells(table, red, "/role blue admin", "red made blue an admin")
        await tells(table, blue, "/role green guest", "blue made green a guest, who can only read")
        await tells(table, red, "/policy add owner", "red has owners only invite people from now on")

        guest = "you are a guest in friends, and guests only read"
        assert await green.refuses("let me speak") == f"* {guest}"
        assert "may change the room here, and green is none" in await green.refuses("/topic mine")
        refused = "blue is an admin and may not make a guest an owner"
        assert await blue.refuses("/role green owner") == f"* {refused}"
        assert "may say who may do what" in await blue.refuses("/policy add admin")
        assert await blue.refuses("/remove red") == "* blue is an admin and may not remove an owner"
        only = "red is the only owner; make somebody else one first"
        assert await red.refuses("/role red member") == f"* {only}"
        assert any(line.startswith("* green on main: guest") for line in await red.says("/members"))
        assert "* topic: where to meet" in await green.says("/info")

        await red.says("what green reads")
        assert (await green.shows("what green reads")).endswith("red (unverified): what green reads")


async def test_messages_are_pinned_by_who_may_and_listed_by_all(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue", "green") as table:
        red, blue, green = table.windows
        assert await green.says("/pin") == [
            "* nothing is pinned; /pin 12 pins message 12, /numbers shows the numbers"
        ]
        await red.says("/topic the house")
        await green.shows("the house")
        await blue.says("the key is under the mat")
        for window in (red, green):
            await window.shows("the key is under the mat")
        assert "only an admin may pin messages here, and green is none" in await green.refuses("/pin last")
        await red.says("/pin last")
        assert "red (unverified) pinned message" in await green.shows("pinned message")
        (line,) = await green.says("/pin")
        assert line.endswith("blue (unverified): the key is under the mat")
        assert "that message is pinned already" in await red.refuses("/pin last")
        await red.says("/policy pin member")
        await green.shows("pin messages from now on")
        await green.says("/unpin")
        await blue.shows("took the pin of message")
        assert any("nothing is pinned" in line for line in await red.says("/pin"))
        pinned, listed, bare = await commands(
            "pin friends last", "pin friends", "pin friends --json", home=table.home
        )
        assert (pinned.status, listed.status) == (0, 0), pinned.err
        assert listed.out.endswith("the key is under the mat\n")
        assert json.loads(bare.out)["text"] == "the key is under the mat"


async def test_who_is_banned_is_gone_and_comes_back_only_when_unbanned(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue", "green") as table:
        red, _, green = table.windows
        listed, banned, again, unknown, bare = await commands(
            "ban friends",
            "ban friends green",
            "ban friends green",
            "unban friends blue",
            "ban friends --json",
            home=table.home,
        )
        assert (listed.status, listed.out) == (0, "")
        assert (banned.status, banned.out) == (0, "green\n"), banned.err
        assert (again.status, "green is banned from friends already" in again.err) == (2, True)
        assert (unknown.status, "blue is not banned from friends" in unknown.err) == (2, True)
        assert json.loads(bare.out) == {"v": 1, "room": "friends", "banned": ["green"]}
        await green.shows("red (unverified) removed you from friends")
        assert await red.refuses("/invite green") == "* green is banned from this room; unban them first"
        assert await red.says("/ban") == ["* banned: green"]
        assert await red.refuses("/ban green") == "* green is banned from friends already"
        await red.says("/unban green")
        assert await red.says("/ban") == ["* nobody is banned; /ban NAME bans somebody"]
        await red.says("/invite green")
        await green.shows("invites you to friends")
        await green.says("/accept")
        await red.shows("green (unverified) joined")


async def test_who_has_left_is_banned_too(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue", "green") as table:
        red, _, green = table.windows
        await green.says("/leave")
        await red.shows("green (unverified) left")
        await red.says("/ban green")
        assert await red.says("/ban") == ["* banned: green"]
        assert await red.refuses("/invite green") == "* green is banned from this room; unban them first"


async def test_the_room_of_an_owner_who_leaves_has_an_admin_for_one(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue", "green") as table:
        red, blue, green = table.windows
        await tells(table, red, "/role green admin", "red made green an admin")
        given = await commands("policy friends edit member", "topic friends", home=table.home)
        assert [each.status for each in given] == [0, 0]
        assert "everybody but guests change the room" in given[0].out
        warned = await red.says("/leave")
        assert warned[0] == (
            "* you are the only owner of friends: the next one is its first admin, or else its first member"
        )
        assert await green.shows("owner") == "* you are an owner now, as the last owner has left"
        assert await blue.shows("owner") == "* green is an owner now, as the last owner has left"
        await green.says("/role blue owner")
        assert await blue.shows("owner") == "* green (unverified) made you an owner"
