"""A window stays attached whatever becomes of the owner: nothing is lost, done twice or shown twice."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from clave_client import events
from clave_client.errors import (
    ClientError,
    PassphraseNeeded,
    RoomNotFound,
    StoreFull,
    UsageError,
)
from clave_client.rpc import event_buffer as event_buffer_module
from clave_client.rpc import methods as m
from clave_client.rpc import session as session_module
from clave_client.rpc.jsonrpc import MAX_REQUEST_BYTES
from clave_client.rpc.session import Session
from clave_client.store import journal as journal_module
from clave_client.store.profile import Profile
from client.rpc.kit import TIMEOUT, RawWindow, crash, home_at, next_of


async def texts(session: Session) -> list[str]:
    history = await session.ask(m.GetHistory(room="friends", limit=1000))
    return [message.text for message in history]


async def test_the_first_window_owns_the_profile_and_the_next_ones_attach(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        first, second, third = [await home.session("red") for _ in range(3)]
        assert [each.is_owner for each in (first, second, third)] == [True, False, False]
        await second.ask(m.CreateRoom(title="friends"))
        await third.ask(m.Send(room="friends", text="hello"))
        assert await texts(first) == ["hello"]


async def test_every_window_sees_what_the_others_say(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        first, second = [await home.session("red") for _ in range(2)]
        await first.subscribe()
        await second.subscribe()
        await first.ask(m.CreateRoom(title="friends"))
        await first.ask(m.Send(room="friends", text="hello"))
        for session in (first, second):
            sent = (await next_of(session, events.Sent)).event
            assert isinstance(sent, events.Sent)
            assert sent.text == "hello"


@pytest.mark.parametrize("how", ["close", "crash"])
async def test_another_window_takes_over_when_the_owner_ends(tmp_path: Path, how: str) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        attached = await home.session("red")
        await attached.subscribe()
        await (red.close() if how == "close" else crash(red))
        async with asyncio.timeout(1):
            sent = await attached.ask(m.Post(room="friends", text="after"))
        assert attached.is_owner
        assert sent
        await next_of(blue, events.Message)
        await blue.ask(m.Send(room="friends", text="answer"))
        heard = (await next_of(attached, events.Message)).event
        assert isinstance(heard, events.Message)
        assert heard.text == "answer"


async def test_of_many_windows_exactly_one_takes_over(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        windows = [await home.session("red") for _ in range(10)]
        await crash(red)
        await asyncio.gather(
            *(each.ask(m.Post(room="friends", text=str(n))) for n, each in enumerate(windows))
        )
        assert sum(each.is_owner for each in windows) == 1
        assert await windows[0].ask(m.WaitFlushed(wait=TIMEOUT))
        assert sorted(await texts(windows[3])) == sorted(map(str, range(10)))


async def test_what_an_owner_did_not_answer_is_asked_again_and_done_once(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        attached = await home.session("red")
        asked = [
            asyncio.create_task(attached.ask(m.Send(room="friends", text=f"text {n}"))) for n in range(20)
        ]
        await next_of(blue, events.Message)
        await crash(red)
        results = await asyncio.gather(*asked)
        assert len({result.seq for result in results}) == 20
        assert sorted(await texts(attached)) == sorted(f"text {n}" for n in range(20))
        assert len(await texts(blue)) == 20


async def test_events_go_on_after_the_last_one_seen(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        attached = await home.session("red")
        await attached.subscribe()
        heard: list[str] = []
        numbers: list[int] = []
        for round_ in range(3):
            for n in range(5):
                await blue.ask(m.Send(room="friends", text=f"text {round_}.{n}"))
            for _ in range(2):
                number, event = await next_of(attached, events.Message)
                assert isinstance(event, events.Message)
                heard.append(event.text)
                numbers.append(number)
            if round_ == 0:
                await crash(red)
        while len(heard) < 15:
            number, event = await next_of(attached, events.Message)
            assert isinstance(event, events.Message)
            heard.append(event.text)
            numbers.append(number)
        assert heard == [f"text {round_}.{n}" for round_ in range(3) for n in range(5)]
        assert numbers == sorted(set(numbers))


async def test_a_consumer_goes_on_where_it_stopped_after_a_restart(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        begun = await red.ask(m.ReadEvents(consumer="bot"))
        await blue.ask(m.Send(room="friends", text="one"))
        await blue.ask(m.Send(room="friends", text="two"))
        page = await red.ask(m.ReadEvents(consumer="bot", limit=1, wait=TIMEOUT))
        assert page.events[0].event["text"] == "one"
        await red.ask(m.CommitEvents(consumer="bot", number=page.next))
        await red.close()
        again = await home.session("red")
        await again.subscribe(consumer="bot")
        heard = (await next_of(again, events.Message)).event
        assert isinstance(heard, events.Message)
        assert heard.text == "two"
        assert begun.events == []


async def test_reading_waits_for_the_next_event(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        start = (await red.ask(m.ReadEvents())).next
        reading = asyncio.create_task(red.ask(m.ReadEvents(after=start, wait=TIMEOUT)))
        await blue.ask(m.Send(room="friends", text="hello"))
        page = await reading
        assert page.events[-1].event["text"] == "hello"


async def test_an_error_is_raised_as_the_one_that_the_owner_had(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        await home.session("red")
        attached = await home.session("red")
        with pytest.raises(RoomNotFound, match="no room called nowhere"):
            await attached.ask(m.GetRoomInfo(room="nowhere"))


async def test_a_cancelled_request_is_cancelled_at_the_owner(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        owner = await home.session("red")
        attached = await home.session("red")
        waiting = asyncio.create_task(attached.ask(m.ReadEvents(wait=TIMEOUT)))
        await attached.ask(m.Ping())
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await attached.ask(m.Ping())
        assert owner._owner is not None
        assert owner._owner.server is not None
        windows = owner._owner.server._windows
        async with asyncio.timeout(TIMEOUT):
            while any(len(window._running) > 1 for window in windows):
                await attached.ask(m.Ping())


async def test_a_consumer_may_ask_while_many_events_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_buffer_module, "_MOST_UNREAD", 3)
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        for number in range(40):
            await red.ask(m.Send(room="friends", text=f"{number} " + "x" * 20_000))
        attached = await home.session("red")
        await attached.subscribe(after=0)
        found: list[str] = []
        async with asyncio.timeout(TIMEOUT):
            while not found or found[-1] != "39":
                event = (await attached.next_event()).event
                await attached.ask(m.Ping())
                if isinstance(event, events.Sent):
                    found.append(event.text.partition(" ")[0])
        assert found == [str(number) for number in range(40)]


async def test_a_window_that_does_not_read_keeps_few_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_buffer_module, "_MOST_UNREAD", 3)
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        attached = await home.session("red")
        await attached.subscribe(after=0)
        for number in range(50):
            await red.ask(m.Send(room="friends", text=str(number)))
        waiting = asyncio.create_task(attached.ask(m.ReadEvents(after=10**9, wait=TIMEOUT)))
        await attached.ask(m.Ping())
        assert len([each for each in attached._events._waiting if each.number]) == 3
        found: list[str] = []
        async with asyncio.timeout(TIMEOUT):
            while not found or found[-1] != "49":
                event = (await attached.next_event()).event
                if isinstance(event, events.Sent):
                    found.append(event.text)
        assert found == [str(number) for number in range(50)]
        assert not waiting.done(), "another request was answered, or ended, by asking for events again"
        waiting.cancel()
        assert blue


# --- passphrases ---


async def test_attaching_needs_no_passphrase_and_taking_over_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_HANDOVER_SECONDS", 0.1)
    async with home_at(tmp_path) as home:

        def protected() -> Session:
            profile = Profile(home.folder, "red", ask=lambda: "correct horse", new_passphrase=True)
            return Session(profile, home.client)

        async with protected() as owner:
            await owner.ask(m.CreateRoom(title="friends"))
            silent_window = await home.session("red")
        with pytest.raises(PassphraseNeeded):
            await silent_window.ask(m.Post(room="friends", text="lost"))
        asked: list[str] = []

        async def ask() -> str:
            asked.append("passphrase")
            return "correct horse"

        async with protected():
            asking = await home.session("red", ask=ask)
            await asking.ask(m.ListRooms())
            assert asked == []
        await asking.ask(m.Post(room="friends", text="kept"))
        assert (asking.is_owner, asked) == (True, ["passphrase"])
        assert await asking.ask(m.WaitFlushed(wait=TIMEOUT))


async def test_a_wrong_passphrase_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_HANDOVER_SECONDS", 0.1)
    async with home_at(tmp_path) as home:
        owner = Session(
            Profile(home.folder, "red", ask=lambda: "correct horse", new_passphrase=True), home.client
        )
        await owner.open()
        answers = iter(["wrong", "correct horse"])

        async def ask() -> str:
            return next(answers)

        window = await home.session("red", ask=ask, tries=3)
        await owner.close()
        await window.ask(m.ListRooms())
        assert window.is_owner


async def test_what_one_window_cancels_goes_on_for_another_with_its_key(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        home.relay.is_reachable = False
        home.relay.disconnect_all()
        second = await home.session("red")
        post = m.Send(room="friends", text="once", key="k", wait=TIMEOUT)
        asked = [asyncio.create_task(session.ask(post)) for session in (red, second)]
        await red.ask(m.Ping())
        await second.ask(m.Ping())
        asked[0].cancel()
        await asyncio.gather(asked[0], return_exceptions=True)
        await red.ask(m.Ping())
        home.relay.is_reachable = True
        assert (await asyncio.wait_for(asked[1], TIMEOUT)).seq
        await next_of(blue, events.Message)
        assert await texts(blue) == ["once"]


async def test_a_session_that_did_not_open_leaves_the_profile_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with home_at(tmp_path) as home:
        session = Session(home.profile("red"), home.client)

        async def fail(*_: object) -> None:
            raise ClientError("no greeting")

        with monkeypatch.context() as patch:
            patch.setattr(session, "_greet", fail)
            with pytest.raises(ClientError, match="no greeting"):
                await session.open()
        assert (await home.session("red")).is_owner


async def test_a_request_that_is_too_long_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red = await home.session("red")
        with pytest.raises(UsageError, match="has more than"):
            await red.ask(m.AddTypedLine(line="x" * MAX_REQUEST_BYTES))
        await red.ask(m.AddTypedLine(line="kept"))
        await red.ask(m.AddTypedLine(line="x" * 100_000))
        assert await red.ask(m.GetTypedLines()) == ["kept"]


async def test_a_closed_session_says_so(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        session = await home.session("red")
        await session.close()
        with pytest.raises(ClientError, match="closed"):
            await session.ask(m.Ping())


async def test_the_goodbye_goes_out_with_the_last_window(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        attached = await home.session("red")
        await red.close()
        gone = (await next_of(blue, events.PresenceChanged)).event
        assert isinstance(gone, events.PresenceChanged)
        while gone.online:
            gone = (await next_of(blue, events.PresenceChanged)).event
            assert isinstance(gone, events.PresenceChanged)
        assert "left" not in gone.reason
        await attached.ask(m.WaitSettled())
        back = (await next_of(blue, events.PresenceChanged)).event
        assert isinstance(back, events.PresenceChanged)
        assert back.online
        await attached.close()
        left = (await next_of(blue, events.PresenceChanged)).event
        assert isinstance(left, events.PresenceChanged)
        assert (left.online, left.reason) == (False, "left")


async def test_a_full_disk_fails_requests_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        attached = await home.session("red")
        await attached.subscribe()
        assert red._owner is not None
        assert red._owner._client is not None
        store = red._owner._client.sync.store
        rows = store.rows

        def fail_to_write(sql: str, *values: Any) -> Any:
            if not sql.startswith(("SELECT", "ROLLBACK")):
                raise StoreFull("the profile's disk is full; free some space, nothing is lost")
            return rows(sql, *values)

        with monkeypatch.context() as patch:
            patch.setattr(store, "rows", fail_to_write)
            for session in (attached, red):
                with pytest.raises(StoreFull, match="disk is full"):
                    await session.ask(m.Post(room="friends", text="not taken"))
            await blue.ask(m.Send(room="friends", text="arrives later"))
            lost = (await next_of(attached, events.Disconnected)).event
            assert isinstance(lost, events.Disconnected)
            assert "disk is full" in lost.reason
        heard = (await next_of(attached, events.Message)).event
        assert isinstance(heard, events.Message)
        assert heard.text == "arrives later"
        assert (await attached.ask(m.Send(room="friends", text="taken again"))).seq
        assert red.is_owner
        assert await texts(blue) == ["arrives later", "taken again"]


async def test_a_consumer_goes_on_at_the_next_owner_before_its_first_event(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        await blue.ask(m.Send(room="friends", text="before"))
        while not await red.ask(m.GetHistory(room="friends")):
            await red.ask(m.ReadEvents(wait=1))
        attached = await home.session("red")
        await attached.subscribe(consumer="bot")
        await crash(red)
        await blue.ask(m.Send(room="friends", text="after"))
        heard = (await next_of(attached, events.Message)).event
        assert isinstance(heard, events.Message)
        assert heard.text == "after"


async def test_a_healthy_owner_is_not_called_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "STALL_SECONDS", 0.2)
    async with home_at(tmp_path) as home:
        await home.session("red")
        named: list[int] = []
        attached = await home.session("red", on_stall=named.append)
        page = await attached.ask(m.ReadEvents(wait=1.0))  # five times as long as a stall
        assert (page.events, named) == ([], [])


async def test_deleted_events_are_told_of_also_at_the_next_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "KEPT_EVENTS", 5)
    monkeypatch.setattr(journal_module, "_DELETE_EVERY", 1)
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        start = (await red.ask(m.ReadEvents())).next
        for n in range(20):
            await blue.ask(m.Send(room="friends", text=str(n)))
        while (await red.ask(m.GetHistory(room="friends", limit=1)))[-1].text != "19":
            await red.ask(m.ReadEvents(wait=1))
        await red.subscribe(after=start)
        first = await red.next_event()
        assert first.event is None
        second = await red.next_event()
        assert isinstance(second.event, events.Message)
        assert second.event.text == "15"


async def test_a_window_is_told_when_it_cannot_take_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with home_at(tmp_path) as home:
        red = await home.session("red")
        attached = await home.session("red")

        def fail(_: Profile) -> Profile:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(Profile, "open", fail)
        await crash(red)
        with pytest.raises(ClientError, match=r"cannot go on: .*Read-only"):
            await attached.ask(m.ListRooms())


async def test_an_owner_that_closes_does_not_wait_for_what_windows_wait_for(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        home.relay.is_reachable = False
        home.relay.disconnect_all()
        window = await RawWindow.at(home.socket("red"))
        for number in range(150):
            params = {"room": "friends", "text": str(number), "wait": 600}
            request = {"jsonrpc": "2.0", "id": number, "method": "message.send", "params": params}
            window.writer.write(json.dumps(request).encode() + b"\n")
        await window.writer.drain()
        await red.ask(m.Ping())
        async with asyncio.timeout(TIMEOUT):
            await red.close()
        await window.close()
