"""Searching through a session: who, where, since when; and that nothing comes that is not to be seen."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from pathlib import Path

import pytest

from clave_client import events
from clave_client.errors import MemberNotFound, UsageError
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.rpc.values import SearchPage
from clave_client.ui.searching import parse_since, print_found
from client.rpc.kit import TIMEOUT, home_at, next_of

BEIJING = "\u5317\u4eac"


async def say(session: Session, *texts: str, room: str = "friends") -> None:
    for text in texts:
        await session.ask(m.Send(room=room, text=text))


async def heard(session: Session, count: int, room: str = "friends") -> None:
    """Wait until a room has so many messages here."""
    async with asyncio.timeout(TIMEOUT):
        history = await session.ask(m.GetHistory(room=room))
        while len(history) < count:
            await next_of(session, events.Message)
            history = await session.ask(m.GetHistory(room=room))


def texts(page: SearchPage) -> list[str]:
    return [found.message.text for found in page.found]


async def test_messages_are_found_by_room_person_and_time(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await say(blue, "the build is green")
        await say(red, "green is good", f"{BEIJING} is far")
        await heard(blue, 3)
        own = await blue.ask(m.CreateRoom(title="own"))
        await say(blue, "my green notes", room="own")
        page = await blue.ask(m.Search(words="GREEN"))
        assert texts(page) == ["my green notes", "green is good", "the build is green"]
        assert [found.title for found in page.found] == ["own", "friends", "friends"]
        assert [found.marks for found in page.found] == [[(3, 8)], [(0, 5)], [(13, 18)]]
        assert page.next == 0
        assert page.found[0].room == own.id
        (_, last, *_) = await blue.ask(m.GetHistory(room="friends"))
        assert page.found[1].message == last, "as the history has it"
        assert texts(await blue.ask(m.Search(words="green", room="own"))) == ["my green notes"]
        assert texts(await blue.ask(m.Search(words="green", sender="red"))) == ["green is good"]
        assert texts(await blue.ask(m.Search(words="green", sender="RED"))) == ["green is good"]
        assert texts(await blue.ask(m.Search(words="is far"))) == [f"{BEIJING} is far"]
        assert texts(await blue.ask(m.Search(words=BEIJING[1]))) == [f"{BEIJING} is far"]
        now = time.time()
        assert texts(await blue.ask(m.Search(words="green", since=now - 3600))) == texts(page)
        assert texts(await blue.ask(m.Search(words="green", since=now + 3600))) == []
        with pytest.raises(MemberNotFound, match="nobody called green"):
            await blue.ask(m.Search(words="green", sender="green"))
        for words in ("", "  ", "...", "\0"):
            with pytest.raises(UsageError, match="say what to search for"):
                await blue.ask(m.Search(words=words))
        with pytest.raises(UsageError, match="50 words at most"):
            await blue.ask(m.Search(words=" ".join(map(str, range(1000)))))


async def test_pages_are_gone_through(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        await say(red, *(f"word {number}" for number in range(5)))
        first = await red.ask(m.Search(words="word", limit=2))
        second = await red.ask(m.Search(words="word", limit=2, before=first.next))
        third = await red.ask(m.Search(words="word", limit=2, before=second.next))
        assert [texts(page) for page in (first, second, third)] == [
            ["word 4", "word 3"],
            ["word 2", "word 1"],
            ["word 0"],
        ]
        assert third.next == 0


async def test_a_page_has_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clave_client.rpc.message_views.MOST_TEXT_BYTES", 2500)
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        for number in range(5):
            await say(red, f"word {number} {'x' * 1000}")
        found, before = [], 0
        for _ in range(3):
            page = await red.ask(m.Search(words="word", before=before))
            assert 0 < len(page.found) < 3
            found += [text[:6] for text in texts(page)]
            before = page.next
        assert found == ["word 4", "word 3", "word 2", "word 1", "word 0"]
        assert not before


async def test_what_was_edited_deleted_hidden_or_blocked_is_not_found(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await say(red, "word first", "word second", "word third", "word fourth")
        await heard(blue, 4)
        last = (await red.ask(m.GetHistory(room="friends")))[-1]
        await red.ask(m.Edit(room="friends", text="sentence", message=str(last.number)))
        await next_of(blue, events.MessageEdited)
        assert texts(await blue.ask(m.Search(words="fourth"))) == []
        assert texts(await blue.ask(m.Search(words="sentence"))) == ["sentence"]
        first, second, *_ = await red.ask(m.GetHistory(room="friends"))
        await red.ask(m.DeleteMessage(room="friends", message=str(first.number)))
        await next_of(blue, events.MessageDeleted)
        assert texts(await blue.ask(m.Search(words="word"))) == ["word third", "word second"]
        await blue.ask(m.DeleteMessage(room="friends", message=second.id.hex(), here_only=True))
        assert texts(await blue.ask(m.Search(words="word"))) == ["word third"]
        await blue.ask(m.Block(name="red"))
        assert texts(await blue.ask(m.Search(words="word"))) == []
        await blue.ask(m.Unblock(name="red"))
        assert texts(await blue.ask(m.Search(words="word"))) == ["word third"]


async def test_what_is_due_is_not_found(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        await say(red, "word gone", "word here")
        assert red._owner is not None
        assert red._owner._client is not None
        store = red._owner._client.sync.store
        store.run("UPDATE messages SET expires_at = 1 WHERE text = 'word gone'")
        assert texts(await red.ask(m.Search(words="word"))) == ["word here"]


async def test_the_command_prints_what_is_found(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        await say(red, "the word", *(f"word {number}" for number in range(130)))
        options = {"room": "", "sender": "", "since": "1d"}
        await print_found(red, "word", **options, limit=125, as_json=True)
        lines = [json.loads(line) for line in capsysbinary.readouterr().out.splitlines()]
        assert [line["text"] for line in lines] == [f"word {number}" for number in range(129, 4, -1)]
        assert (lines[0]["v"], lines[0]["room"], lines[0]["from"]) == (1, "friends", "red")
        assert lines[0]["marks"] == [[0, 4]]
        await print_found(red, "the word", **options, limit=20, as_json=False)
        (line,) = capsysbinary.readouterr().out.decode().splitlines()
        assert line.startswith("1. friends, ")
        assert line.endswith("red: the word")
        await print_found(red, "nowhere", **options, limit=20, as_json=False)
        assert capsysbinary.readouterr().out == b"nothing was found\n"
        await print_found(red, "nowhere", **options, limit=20, as_json=True)
        assert capsysbinary.readouterr().out == b""


def test_since_is_a_day_or_how_long_ago() -> None:
    assert parse_since("7d", 1e9) == 1e9 - 7 * 86_400
    assert parse_since("99999w", 1e9) == 0
    assert parse_since("2026-11-28", 0) == datetime(2026, 11, 28).astimezone().timestamp()
    for text in ("yesterday", "2026-13-01", "7", "", "0001-01-01"):
        with pytest.raises(UsageError, match="takes a day"):
            parse_since(text, 0)
