"""Stories of rooms between two people, of notes to oneself, and of people who are blocked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from clave_client import events
from clave_client.client import Client
from clave_client.sync import reporting
from scenarios.conversing import Window, commands, friends_talk, window_of
from scenarios.stage import people_at, relay_at


@pytest.fixture(autouse=True)
def _receipts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "_GATHER_SECONDS", 0.01)


async def compare(window: Window, name: str) -> None:
    """Compare somebody's key as people do, and mark it as verified."""
    await window.says(f"/fingerprint {name}")
    assert f"{name} is verified" in (await window.says(f"/verify {name}"))[-1]


@pytest.fixture
def both_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have two who look for a room find none, and only then make one each."""
    both, create = asyncio.Barrier(2), Client.create_room

    async def create_together(client: Client, title: str, **options: Any) -> Any:
        await both.wait()
        return await create(client, title, **options)

    monkeypatch.setattr(Client, "create_room", create_together)


@pytest.mark.usefixtures("both_make_one")
@pytest.mark.parametrize("again_at_once", [False, True])
async def test_two_who_begin_at_once_end_in_one_room(tmp_path: Path, again_at_once: bool) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
        window_of(red) as reds,
        window_of(blue) as blues,
    ):
        await asyncio.gather(reds.says("/dm blue"), blues.says("/dm red"))
        await reds.shows("invites you to @blue")
        await blues.shows("invites you to @red")
        assert reds.talk.room != blues.talk.room
        if again_at_once:
            await asyncio.gather(reds.says("/dm blue"), blues.says("/dm red"))
            await reds.shows("blue (unverified) joined")
            await blues.shows("red (unverified) joined")
            lower = min(room.id for room in red.client.rooms.values())
            await reds.says("/dm blue")
            assert reds.talk.room == lower
        else:
            await reds.says("/dm blue")
            await blues.shows("red (unverified) joined")
        await blues.says("/dm red")
        assert reds.talk.room == blues.talk.room
        assert len(red.client.rooms) == 2
        await reds.says("here we are")
        assert (await blues.shows("here we are")).endswith("red (unverified): here we are")
        await blues.says("/reply so we are")
        assert (await reds.shows("so we are")).endswith("blue (unverified): so we are")


async def test_who_declined_can_be_asked_again(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue", "green") as (red, blue, _),
        window_of(red) as reds,
        window_of(blue) as blues,
    ):
        assert (await reds.says("/dm blue"))[-1] == "* talking in @blue"
        await blues.shows("red (unverified) invites you to @red")
        await blues.says("/decline")
        await blues.shows("you declined the invitation to @red")
        await reds.shows("blue (unverified) left")
        room = reds.talk.room
        assert "between two people" in await reds.refuses("/invite green")
        await reds.says("/dm blue")
        assert reds.talk.room == room, "it is the same room"
        await blues.shows("red (unverified) invites you to @red")
        (opened,) = await commands("dm red hello again", home=red.home, name="blue")
        assert (opened.status, opened.err) == (0, "")
        await reds.shows("blue (unverified) joined")
        assert (await reds.shows("hello again")).endswith("blue (unverified): hello again")
        assert len(blue.client.rooms) == 1


async def test_in_a_direct_room_receipts_are_for_verified_people_only(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, blue),
        window_of(red) as reds,
        window_of(blue) as blues,
    ):
        await reds.says("/dm blue")
        await blues.shows("invites you to @red")
        room = reds.talk.room
        assert room is not None
        await reds.says("do you get this?")
        await reds.repeats("/show", "at the relay; delivered to 0 of 1")
        await blues.says("/dm red")
        await blues.shows("do you get this?")
        assert not blue.client.sync.store.has_due_receipts(room), "it came before the answer"
        await blues.says("/receipts on")
        await reds.shows("joined")
        await reds.says("and this?")
        await blues.shows("and this?")
        assert not blue.client.sync.store.has_due_receipts(room), "red is not verified"
        shown = await reds.says("/show")
        assert "* at the relay; delivered to 0 of 1" in shown
        assert "* blue: not known" in shown
        await compare(blues, "red")
        await reds.says("now you do")
        await blues.shows("now you do")
        assert (await reds.repeats("/show", "delivered to 1 of 1, read by 1"))[-2] == "* blue: read"
        assert red.client.sync.store.has_due_receipts(room) is False


async def test_notes_to_self_are_one_room_of_ones_own(tmp_path: Path) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red", "blue") as (red, _),
        window_of(red) as reds,
    ):
        await reds.says("/dm red")
        await reds.says("the milk")
        for _ in range(2):
            assert (await reds.says("/dm red"))[-1] == "* talking in notes to self"
        (said,) = await commands("dm red and eggs", home=red.home)
        assert (said.status, said.out) == (0, "")
        await reds.shows("red: and eggs")
        await reds.says("/edit and six eggs")
        await reds.shows("edited message")
        assert (await reds.says("/show"))[-1] == "and six eggs"
        assert len(red.client.rooms) == 1
        (room,) = red.client.rooms
        assert red.texts(room) == ["the milk", "and six eggs"]
        refused = await reds.refuses("/invite blue")
        assert "notes to self" in refused or "between" in refused


async def test_nothing_is_seen_of_who_is_blocked(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue", "green") as table:
        red, blue, green = table.windows
        for text in ("before the quarrel", "a first insult"):
            await blue.says(text)
            await red.shows(text)
        calm, insult = (line.seq for line in table.people[1].client.history(table.room))
        await blue.says(f"/react :tada: {calm}")
        await red.shows("reacted")
        assert "blue is blocked" in await red.refuses("/block blue")
        assert (await red.refuses("/block")).startswith("* blue  ")
        shown = len(red.lines)
        await blue.says("during the quarrel")
        await blue.says(f"/unreact {calm}")
        await blue.says(f"/react +1 {calm}")
        await blue.says(f"/edit {insult} a second insult")
        await blue.shows("edited")
        await blue.says(f"/delete {insult}")
        await blue.repeats("/history 1", "during the quarrel")
        await blue.says("/delete")
        await blue.repeats("/history 1", "deleted")
        await green.says("stop it, both of you")
        await red.shows("stop it")
        assert [line for line in red.lines[shown:] if "blue" in line] == []
        assert not any("quarrel" in line for line in await red.says("/history"))
        assert "blue is not blocked any more" in await red.refuses("/unblock blue")
        await blue.says("thank you")
        await red.shows("blue (unverified): thank you")
        history = await red.says("/history")
        assert any("before the quarrel" in line for line in history)
        assert not any("during the quarrel" in line or "insult" in line for line in history)


async def test_a_blocked_persons_invitation_is_never_seen_and_leaves_no_member(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue") as table:
        (red, blue), (reds, blues) = table.people, table.windows
        (blocked,) = await commands("block blue", home=table.home)
        assert blocked.status == 0
        before = len(reds.lines)
        await blues.says("/new trap")
        await blues.says("/invite red")
        await blues.shows("red (unverified) left")
        await blues.repeats("/info", "people: 1;")
        await blues.says("/dm red")
        await blues.shows("red (unverified) left")
        await blues.repeats("/info", "people: 1;")
        assert reds.lines[before:] == []
        assert not any(isinstance(event, events.Invited) for event in red.happened)
        assert [room.title for room in red.client.rooms.values()] == ["friends"]
        assert len(await reds.says("/room all")) == 1
        await reds.says("/unblock blue")
        await blues.says("/dm red")
        await reds.shows("blue (unverified) invites you to @blue")
        assert len(blue.client.rooms) == 3
