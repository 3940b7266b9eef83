"""A window stays attached whatever becomes of the owner: nothing is lost, done twice or shown twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clave_client import events
from clave_client.errors import (
    ClientError,
    OwnerOutdated,
    PassphraseNeeded,
    ProfileLocked,
    RoomNotFound,
    StoreFull,
)
from clave_client.rpc import methods as m
from clave_client.rpc import session as session_module
from clave_client.rpc.session import Session
from clave_client.store import journal as journal_module
from clave_client.store.profile import Profile
from clave_host.local_sockets import bind_private
from client.rpc.kit import TIMEOUT, Home, RawWindow, crash, home_at, next_of


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
    monkeypatch.setattr(session_module, "_MOST_UNREAD", 3)
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


async def test_a_consumer_that_does_not_read_keeps_few_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_MOST_UNREAD", 3)
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        for number in range(200):
            await red.ask(m.Send(room="friends", text=f"{number} " + "x" * 20_000))
        attached = await home.session("red")
        await attached.subscribe(after=0)
        await red.ask(m.Send(room="friends", text="the last"))
        for _ in range(200):
            await red.ask(m.Ping())  # turns of the loop in which more could be read
        assert 3 < len(attached._events._waiting) < 100
        while (await next_of(attached, events.Sent)).event.text != "the last":  # type: ignore[union-attr]  # a Sent
            pass


# --- owners that do not answer ---


async def silent(home: Home, name: str, answer: Callable[[dict[str, Any]], bytes]) -> asyncio.Server:
    """Hold a profile's lock, and answer requests by a function."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            async for line in reader:
                writer.write(answer(json.loads(line)))
        writer.close()

    path = home.socket(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return await asyncio.start_unix_server(serve, sock=bind_private(path, 10))


def greeting(request: dict[str, Any], **changed: Any) -> bytes:
    owner = {"rpc": 1, "store": 99, "software": "clave 9.9", "process": 17, "name": "red", **changed}
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": owner}).encode() + b"\n"


async def test_an_owner_that_does_not_greet_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "STALL_SECONDS", 0.1)
    async with home_at(tmp_path) as home:
        await (await home.session("red")).close()
        with home.profile("red"):
            server = await silent(home, "red", lambda _: b"")
            async with server:
                with pytest.raises(ProfileLocked, match=r"process \d+ holds the profile red"):
                    await home.session("red")


async def test_a_holder_without_a_socket_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "STALL_SECONDS", 0.1)
    async with home_at(tmp_path) as home:
        await (await home.session("red")).close()
        with home.profile("red"), pytest.raises(ProfileLocked):
            await home.session("red")


@pytest.mark.parametrize("patient", [False, True])
async def test_an_owner_that_stops_answering_is_named_and_not_robbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patient: bool
) -> None:
    monkeypatch.setattr(session_module, "STALL_SECONDS", 0.2)
    async with home_at(tmp_path) as home:
        await (await home.session("red")).close()
        stopped = asyncio.Event()
        named: asyncio.Queue[int] = asyncio.Queue()

        def answer(request: dict[str, Any]) -> bytes:
            if request["id"] == "hello":
                return greeting(request)
            if stopped.is_set():
                return b""
            return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": None}).encode() + b"\n"

        with home.profile("red"):
            async with await silent(home, "red", answer):
                session = await home.session("red", patient=patient, on_stall=named.put_nowait)
                await session.ask(m.Ping())
                stopped.set()
                asked = asyncio.create_task(session.ask(m.Ping()))
                if patient:
                    assert await asyncio.wait_for(named.get(), TIMEOUT) == 17
                    assert not asked.done()
                    assert not session.is_owner
                    asked.cancel()
                else:
                    with pytest.raises(ProfileLocked, match="process 17 holds the profile red"):
                        await asked
                await session.close()


async def test_owners_that_do_not_greet_are_reported_once_and_so_is_one_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "STALL_SECONDS", 0.1)
    async with home_at(tmp_path) as home:
        await (await home.session("red")).close()
        greeted = 0
        named: asyncio.Queue[int] = asyncio.Queue()

        def answer(request: dict[str, Any]) -> bytes:
            nonlocal greeted
            if request["id"] == "hello":
                greeted += 1
                return b"" if 1 < greeted < 6 else greeting(request)
            return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": None}).encode() + b"\n"

        with home.profile("red"):
            async with await silent(home, "red", answer):
                session = await home.session("red", patient=True, on_stall=named.put_nowait)
                assert session._writer is not None
                session._writer.transport.abort()
                first = await asyncio.wait_for(named.get(), TIMEOUT)
                second = await asyncio.wait_for(named.get(), TIMEOUT)
                assert first > 0
                assert (second, greeted) == (0, 6)
                await session.ask(m.Ping())
                await session.close()
                assert named.empty()


@pytest.mark.parametrize("changed", [{"rpc": 2}, {"rpc": 0}, {"store": 1}])
async def test_an_owner_of_another_version_is_named_with_what_to_do(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    async with home_at(tmp_path) as home:
        await (await home.session("red")).close()
        with home.profile("red"):
            async with await silent(home, "red", lambda request: greeting(request, **changed)):
                with pytest.raises(OwnerOutdated, match=r"process 17, clave 9\.9, .* end that one"):
                    await home.session("red")


async def test_an_owner_that_speaks_nonsense_is_of_another_version(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        await (await home.session("red")).close()
        with home.profile("red"):
            async with await silent(home, "red", lambda _: b"what?\n"):
                with pytest.raises(OwnerOutdated):
                    await home.session("red")


async def test_a_request_that_ends_every_owner_is_given_up(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        await (await home.session("red")).close()
        asked = 0

        def answer(request: dict[str, Any]) -> bytes:
            nonlocal asked
            if request["id"] == "hello":
                return greeting(request)
            asked += 1
            raise ConnectionError  # as an owner that ends

        with home.profile("red"):
            async with await silent(home, "red", answer):
                session = await home.session("red", patient=True)
                with pytest.raises(ClientError, match="every process that took over"):
                    await session.ask(m.Ping())
                await asyncio.sleep(4 * session_module._POLL_SECONDS)  # time enough for one more owner
                assert asked == session_module._MOST_OWNERS
                await session.close()


async def test_owners_that_end_in_order_are_not_blamed_on_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with home_at(tmp_path) as home:
        await home.friends("red")
        home.relay.is_reachable = False
        home.relay.disconnect_all()
        attached = await home.session("red", patient=True)

        async def never(**_: object) -> None:
            """Leave the profile to others."""

        monkeypatch.setattr(attached, "_own", never)
        sending = asyncio.create_task(attached.ask(m.Send(room="friends", text="once", wait=TIMEOUT)))
        for _ in range(session_module._MOST_OWNERS + 2):
            await attached.ask(m.Ping())
            assert not sending.done()
            owner = next(each for each in home.open if each.is_owner)
            following = await home.session("red")
            assert not following.is_owner
            await owner.close()
            home.open.remove(owner)
            async with asyncio.timeout(TIMEOUT):
                while not any(each.is_owner for each in home.open):
                    await following.ask(m.Ping())
        home.relay.is_reachable = True
        assert (await asyncio.wait_for(sending, TIMEOUT)).seq


async def test_a_repeated_request_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        await (await home.session("red")).close()
        waits: list[float] = []

        def answer(request: dict[str, Any]) -> bytes:
            if request["id"] == "hello":
                return greeting(request)
            waits.append(request["params"]["wait"])
            if len(waits) < 3:
                raise ConnectionError  # as an owner that ends
            return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": True}).encode() + b"\n"

        with home.profile("red"):
            async with await silent(home, "red", answer):
                session = await home.session("red", patient=True)
                await session.ask(m.WaitFlushed(wait=0.06))
                await session.close()
        assert 0.06 == waits[0] > waits[1] >= waits[2] == 0


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
        with pytest.raises(ClientError, match=r"cannot be taken over: .*Read-only"):
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
