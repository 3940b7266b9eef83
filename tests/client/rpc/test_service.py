"""Changes are done once, however often they are asked for with one key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clave_client import events
from clave_client.errors import StoreFull, UsageError
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.store.request_log import RequestLog
from clave_client.values import Phase
from client.rpc.kit import TIMEOUT, Home, crash, home_at, next_of

Check = Callable[[Session, Session], Awaitable[Any]]


async def titles(red: Session, _: Session) -> list[str]:
    return sorted(room.title for room in await red.ask(m.ListRooms()))


async def members(red: Session, _: Session) -> list[str]:
    found = await red.ask(m.ListMembers(room="friends"))
    return sorted(member.person.name for member in found)


async def said(_: Session, blue: Session) -> list[str]:
    async with asyncio.timeout(TIMEOUT):
        while not (history := await blue.ask(m.GetHistory(room="friends"))):
            await next_of(blue, events.Message)
    return [message.text for message in history]


async def blues_title(red: Session, blue: Session) -> str:
    await red.ask(m.Send(room=(await red.ask(m.ListRooms()))[0].id.hex(), text="see the title"))
    await next_of(blue, events.Message)
    return (await blue.ask(m.ListRooms()))[0].title


CHANGES: list[tuple[m.Change[Any], Check, Any]] = [
    (m.CreateRoom(title="new", key="k"), titles, ["friends", "new"]),
    (m.Invite(room="friends", name="green", key="k"), members, ["blue", "green", "red"]),
    (m.Remove(room="friends", name="blue", key="k"), members, ["red"]),
    (m.SetTitle(room="friends", title="team", key="k"), blues_title, "team"),
    (m.Leave(room="friends", key="k"), titles, []),
    (m.Post(room="friends", text="hello", key="k"), said, ["hello"]),
    (m.Send(room="friends", text="hello", key="k"), said, ["hello"]),
]


RELAYED = (m.CreateRoom, m.Invite, m.Remove, m.SetTitle)


@pytest.mark.parametrize("when", ["again", "at once", "after a crash", "after a crash in the middle"])
@pytest.mark.parametrize(("change", "check", "result"), CHANGES, ids=lambda each: type(each).__name__)
async def test_a_change_with_a_key_is_done_once(
    tmp_path: Path, change: m.Change[Any], check: Check, result: object, when: str
) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await home.session("green")
        if when == "at once":
            first, second = await asyncio.gather(red.ask(change), red.ask(change))
        else:
            first = await red.ask(change)
            if when != "again":
                if when == "after a crash in the middle" and isinstance(change, RELAYED):
                    forget_outcome(red)
                red = await crash_and_return(home, red)
            second = await red.ask(change)
        assert first == second or isinstance(change, m.CreateRoom | m.Invite)
        assert await check(red, blue) == result


def forget_outcome(session: Session) -> None:
    """Have it as if the owner had ended before what the relay did was noted."""
    assert session._owner is not None
    assert session._owner._client is not None
    store = session._owner._client.sync.store
    # What is this device's alone is noted with its outcome, in one transaction: there is no middle.
    store.run("UPDATE requests SET outcome = NULL WHERE key = 'k'")


async def crash_and_return(home: Home, session: Session) -> Session:
    await crash(session)
    return await home.session("red")


@pytest.mark.parametrize("accept", [True, False])
async def test_an_answer_to_an_invitation_is_given_once(tmp_path: Path, accept: bool) -> None:
    change: m.Change[bool] = (m.Accept if accept else m.Decline)(room="friends", key="k")
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        blue = await home.session("blue")
        await blue.subscribe()
        await red.ask(m.Invite(room="friends", name="blue"))
        await next_of(blue, events.Invited)
        assert await blue.ask(change)
        await crash(blue)
        blue = await home.session("blue")
        assert await blue.ask(change)
        rooms = [(room.title, room.phase) for room in await blue.ask(m.ListRooms())]
        assert rooms == ([("friends", Phase.JOINED)] if accept else [])


async def test_a_key_of_another_request_is_refused(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        await red.ask(m.Send(room="friends", text="one", key="k"))
        with pytest.raises(UsageError, match="'k' was used for another request"):
            await red.ask(m.Send(room="friends", text="two", key="k"))
        again = await red.ask(m.Send(room="friends", text="one", key="k", wait=1))
        assert again.seq, "how long to wait is not what is asked for"


async def test_messages_go_in_the_order_of_their_requests(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        sends = (red.ask(m.Send(room="friends", text=str(n))) for n in range(50))
        await asyncio.gather(*sends)
        history = await red.ask(m.GetHistory(room="friends"))
        assert [message.text for message in history] == [str(n) for n in range(50)]
        assert blue


# --- without the relay ---


async def offline(home: Home, name: str) -> Session:
    """Return a session that begins without the relay."""
    home.relay.is_reachable = False
    session = await home.session(name)
    await session.subscribe()
    await next_of(session, events.Disconnected)
    return session


async def online(home: Home, session: Session) -> None:
    home.relay.is_reachable = True
    await next_of(session, events.Connected)


async def test_history_and_writing_need_no_relay(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await red.ask(m.Send(room="friends", text="before"))
        await red.close()
        red = await offline(home, "red")
        assert [message.text for message in await red.ask(m.GetHistory(room="friends"))] == ["before"]
        sent = await red.ask(m.Send(room="friends", text="later", wait=0.1))
        assert sent.seq == 0
        (waiting,) = await red.ask(m.ListPending())
        assert (waiting.text, waiting.id) == ("later", sent.id)
        assert (await red.ask(m.ListRooms()))[0].waiting == 1
        await online(home, red)
        assert await red.ask(m.WaitFlushed(wait=TIMEOUT))
        assert await red.ask(m.ListPending()) == []
        while (await blue.ask(m.GetHistory(room="friends")))[-1].text != "later":
            await next_of(blue, events.Message)


@pytest.mark.parametrize("answer", ["accept", "decline", "leave"])
async def test_a_wish_is_noted_without_the_relay_and_done_later(tmp_path: Path, answer: str) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        blue = await home.session("blue")
        await blue.subscribe()
        await red.ask(m.Invite(room="friends", name="blue"))
        await next_of(blue, events.Invited)
        if answer == "leave":
            await blue.ask(m.Accept(room="friends"))
        await blue.close()
        blue = await offline(home, "blue")
        wish = {"accept": m.Accept, "decline": m.Decline, "leave": m.Leave}[answer]
        assert not await blue.ask(wish(room="friends"))
        await crash(blue)
        home.relay.is_reachable = True
        blue = await home.session("blue")
        await red.subscribe()
        if answer == "accept":
            assert await blue.ask(m.Send(room="friends", text="here"))
        else:
            async with asyncio.timeout(TIMEOUT):
                while await members(red, blue) != ["red"]:
                    await next_of(red, events.MemberLeft)
                    await red.ask(m.Ping())
            assert await blue.ask(m.ListRooms()) == []


# --- what is read ---


async def test_unread_messages_are_counted_until_they_are_shown(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await red.subscribe()
        for n in range(3):
            await blue.ask(m.Send(room="friends", text=str(n)))
        for _ in range(3):
            await next_of(red, events.Message)
        await red.ask(m.Send(room="friends", text="own"))
        assert (await red.ask(m.FindRoom(room="friends"))).unread == 3
        unread = await red.ask(m.GetUnread(room="friends"))
        assert [message.text for message in unread] == ["0", "1", "2"]
        await red.ask(m.MarkShown(room="friends", seq=unread[1].seq, until=True))
        assert (await red.ask(m.FindRoom(room="friends"))).unread == 1
        await red.ask(m.MarkShown(room="friends", seq=unread[2].seq))
        assert await red.ask(m.GetUnread(room="friends")) == []


async def test_history_is_paged_from_either_end_and_bounded(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        for n in range(5):
            await red.ask(m.Send(room="friends", text=str(n)))
        newest = await red.ask(m.GetHistory(room="friends", limit=2))
        assert [message.text for message in newest] == ["3", "4"]
        oldest = await red.ask(m.GetHistory(room="friends", limit=2, newest=False))
        assert [message.text for message in oldest] == ["0", "1"]
        for _ in range(20):
            await red.ask(m.Post(room="friends", text="x" * 60_000))
        assert await red.ask(m.WaitFlushed(wait=TIMEOUT))
        long = await red.ask(m.GetHistory(room="friends", limit=1000))
        assert 1 < len(long) < 20
        assert long[-1].seq == max(message.seq for message in long)


async def changes(session: Session) -> list[str]:
    return [each.event["type"] for each in (await session.ask(m.CatchUp(room="friends"))).changes]


async def test_what_changed_is_told_until_a_message_says_that_it_was(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await home.session("green")
        told = (await blue.ask(m.CatchUp(room="friends"))).number
        assert await changes(blue) == []
        await red.ask(m.Invite(room="friends", name="green"))
        await next_of(blue, events.MemberAdded)
        assert await changes(blue) == ["member_added"]
        await blue.ask(m.Send(room="friends", text="to those I know", told=told))
        await crash(blue)
        blue = await home.session("blue")
        await blue.subscribe()
        assert await changes(blue) == ["member_added"], "told of before it was"
        told = (await blue.ask(m.CatchUp(room="friends"))).number
        await blue.ask(m.Send(room="friends", text="welcome", told=told))
        assert await changes(blue) == []
        await red.ask(m.Remove(room="friends", name="green"))
        await next_of(blue, events.MemberRemoved)
        assert await changes(blue) == ["member_removed"]


async def test_a_window_that_shows_all_events_says_so(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await home.session("green")
        window = await home.session("blue")
        await window.subscribe()
        await red.ask(m.Invite(room="friends", name="green"))
        number = (await next_of(window, events.MemberAdded)).number
        assert await changes(blue) == ["member_added"], "not everybody who reads events shows them"
        await window.ask(m.NoteTold(number=number))
        await window.ask(m.NoteTold(number=1))
        assert await changes(blue) == []
        await window.ask(m.NoteTold(number=10**9))
        await red.ask(m.Remove(room="friends", name="green"))
        await next_of(window, events.MemberRemoved)
        assert await changes(blue) == ["member_removed"], "nobody can be told of what did not happen yet"


async def test_settings_are_kept(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        room = (await red.ask(m.FindRoom(room="friends"))).id
        await red.ask(m.SetLastRoom(room="friends"))
        await red.ask(m.Mute(room="friends", until=2e9))
        for n in range(1010):
            await red.ask(m.AddTypedLine(line=f"line {n}"))
        await red.close()
        red = await home.session("red")
        assert (await red.ask(m.GetProfile())).last_room == room
        assert (await red.ask(m.FindRoom(room="friends"))).muted_until == 2e9
        lines = await red.ask(m.GetTypedLines())
        assert (len(lines), lines[0], lines[-1]) == (1000, "line 10", "line 1009")
        await red.ask(m.SetLastRoom(room=""))
        assert (await red.ask(m.GetProfile())).last_room == b""


def test_every_method_has_a_result_that_can_be_decoded() -> None:
    for method in m.METHODS.values():
        msgspec.json.schema_components([method], ref_template="{name}")


@pytest.mark.parametrize("part", ["roster", "epoch"])
async def test_a_damaged_room_ends_no_window(tmp_path: Path, part: str) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await red.ask(m.CreateRoom(title="family"))
        assert red._owner is not None
        assert red._owner._client is not None
        store = red._owner._client.sync.store
        with store.transaction():
            room = next(each.id for each in store.rooms() if each.title == "friends")
            store.put_part(room, part, b"damaged")
        await crash(red)
        windows = [await home.session("red") for _ in range(2)]
        for window in windows:
            await window.subscribe()
        await blue.ask(m.Send(room="friends", text="hello"))
        for window in windows:
            async with asyncio.timeout(TIMEOUT):
                while not (unusable := (await window.ask(m.GetProfile())).unusable):
                    pass
            assert "friends cannot be opened" in unusable[0]
            assert (await window.ask(m.Send(room="family", text="still here"))).seq
            assert await titles(window, blue) == ["family"]


async def test_what_fails_with_its_transaction_changes_nothing_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")

        def fail(*_: object) -> None:
            raise StoreFull("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(RequestLog, "finish", fail)
            with pytest.raises(StoreFull):
                await red.ask(m.Leave(room="friends", key="k"))
        assert (await red.ask(m.FindRoom(room="friends"))).phase is Phase.JOINED
        assert (await red.ask(m.Send(room="friends", text="still here"))).seq
