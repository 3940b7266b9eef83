"""Whatever comes to an owner's socket is answered in a line, in bounded memory, and disturbs nobody else."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import cast

import pytest

from clave_client.events import Notice
from clave_client.rpc import methods as m
from clave_client.rpc import server as server_module
from clave_client.rpc.jsonrpc import MAX_REQUEST_BYTES, ErrorCode
from clave_client.store.folders import SOCKET_NAME
from clave_host.local_sockets import Peer
from client.rpc.kit import TIMEOUT, RawWindow, home_at

GARBAGE = [
    (b"\x00\xff\xfe garbage\n", ErrorCode.PARSE_ERROR),
    (b"GET / HTTP/1.1\r\n", ErrorCode.PARSE_ERROR),
    (b"[" * 200_000 + b"\n", ErrorCode.INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1,"method":"rooms.list","params":{"a":' + b'{"a":' * 50_000 + b"\n", None),
    (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]\n', ErrorCode.INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1,"method":"no.such"}\n', ErrorCode.METHOD_NOT_FOUND),
    (b'{"jsonrpc":"2.0","id":1,"method":"rooms.list","params":{"x":1}}\n', ErrorCode.INVALID_PARAMS),
    (b'{"jsonrpc":"2.0","id":1,"method":"message.post","params":{"room":1}}\n', ErrorCode.INVALID_PARAMS),
    (
        b'{"jsonrpc":"2.0","id":1,"method":"message.send","params":{"room":"r","text":"t","wait":"a"}}\n',
        ErrorCode.INVALID_PARAMS,
    ),
    (
        b'{"jsonrpc":"2.0","id":1,"method":"message.send","params":{"room":"r","text":"t","wait":1'
        + b"0" * 400
        + b"}}\n",
        ErrorCode.INVALID_PARAMS,
    ),
    (
        b'{"jsonrpc":"2.0","id":1,"method":"events.commit","params":{"consumer":"","number":0}}\n',
        ErrorCode.FAILED,
    ),
    (b'{"jsonrpc":"2.0","id":1,"method":"room.info","params":{"room":"none"}}\n', ErrorCode.FAILED),
]


@pytest.mark.parametrize(("data", "code"), GARBAGE)
async def test_bad_input_has_one_error_and_the_window_goes_on(
    tmp_path: Path, data: bytes, code: ErrorCode | None
) -> None:
    async with home_at(tmp_path) as home:
        await home.session("red")
        window = await RawWindow.at(home.socket("red"))
        window.writer.write(data)
        error = (await window.answer())["error"]
        assert error["code"] == (code or ErrorCode.PARSE_ERROR)
        assert "\n" not in error["message"]
        assert (await window.call("ping"))["result"] is None
        await window.close()


async def test_a_line_without_end_is_dropped_in_bounded_memory(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        await home.session("red")
        window = await RawWindow.at(home.socket("red"))
        for _ in range(100):
            window.writer.write(bytes(MAX_REQUEST_BYTES))
            await window.writer.drain()
        window.writer.write(b"\n")
        error = (await window.answer())["error"]
        assert error["code"] == ErrorCode.INVALID_REQUEST
        assert "this one was dropped" in error["message"]
        assert (await window.call("ping"))["result"] is None
        await window.close()


async def test_nothing_is_answered_before_the_versions_are_exchanged(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        await home.session("red")
        window = await RawWindow.at(home.socket("red"), greet=False)
        assert 'begin with "hello"' in (await window.call("rooms.list"))["error"]["message"]
        owner = (await window.call("hello", rpc=1))["result"]
        assert (owner["process"], owner["name"], owner["rpc"]) == (os.getpid(), "red", m.RPC_VERSION)
        assert (await window.call("rooms.list"))["result"] == []
        await window.close()


async def test_a_window_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with home_at(tmp_path) as home:
        await home.session("red")
        monkeypatch.setattr(server_module, "peer_of", lambda _: Peer(os.geteuid() + 1, 1))
        window = await RawWindow.at(home.socket("red"), greet=False)
        assert "belongs to another user" in (await window.answer())["error"]["message"]
        assert await window.reader.read() == b""
        await window.close()


async def test_the_socket_is_for_its_owner_only_and_replaces_a_stale_one(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        path = home.socket("red")
        first = await home.session("red")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await first.close()
        assert not path.exists()
        path.write_text("left over")
        second = await home.session("red")
        third = await home.session("red")
        assert (second.is_owner, third.is_owner) == (True, False)


async def test_a_path_too_long_for_a_socket_is_reached(tmp_path: Path) -> None:
    async with home_at(tmp_path / ("x" * 100) / ("y" * 100)) as home:
        first = await home.session("red")
        second = await home.session("red")
        assert (first.is_owner, second.is_owner) == (True, False)
        assert await second.ask(m.ListRooms()) == []


async def test_an_owner_that_cannot_make_its_socket_goes_on_alone(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        await (await home.session("red")).close()
        (home.profile("red").folder / SOCKET_NAME).mkdir()
        session = await home.session("red")
        assert session.is_owner
        assert "directory" in session.serving_failed.lower()
        assert await session.ask(m.ListRooms()) == []


async def test_two_hundred_windows_at_once(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        windows = await asyncio.gather(*(RawWindow.at(home.socket("red")) for _ in range(200)))
        for number, window in enumerate(windows):
            window.writer.write(
                json.dumps(
                    {
                        "jsonrpc": "2.0",
                        "id": number,
                        "method": "message.post",
                        "params": {"room": "friends", "text": f"text {number}"},
                    }
                ).encode()
                + b"\n"
            )
        answers = await asyncio.gather(*(window.answer() for window in windows))
        assert sorted(answer["id"] for answer in answers) == list(range(200))
        assert await red.ask(m.WaitFlushed(wait=TIMEOUT))
        history = await red.ask(m.GetHistory(room="friends", limit=1000))
        assert {message.text for message in history} == {f"text {number}" for number in range(200)}
        for window in windows:
            await window.close()


async def test_more_windows_than_allowed_are_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_WINDOWS", 3)
    async with home_at(tmp_path) as home:
        await home.session("red")
        windows = [await RawWindow.at(home.socket("red")) for _ in range(2)]
        refused = await RawWindow.at(home.socket("red"), greet=False)
        assert "close some" in (await refused.answer())["error"]["message"]
        await windows.pop().close()
        async with asyncio.timeout(TIMEOUT):
            while "error" in await (again := await RawWindow.at(home.socket("red"), greet=False)).call(
                "hello", rpc=1
            ):
                await again.close()
        for window in (*windows, refused, again):
            await window.close()


async def test_windows_that_never_read_cost_the_others_nothing(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        for _ in range(10):
            await red.ask(m.Send(room="friends", text="x" * 60_000))
        deaf = [await RawWindow.at(home.socket("red")) for _ in range(20)]
        request = {"jsonrpc": "2.0", "id": 1, "method": "room.history", "params": {"room": "friends"}}
        for window in deaf:
            await window.call("events.subscribe", after=0, live=False)
            cast(asyncio.Transport, window.writer.transport).pause_reading()
            for _ in range(500):
                window.writer.write(json.dumps(request).encode() + b"\n")
        sent = await red.ask(m.Send(room="friends", text="still here"))
        assert sent.seq
        owner = red._owner
        assert owner is not None
        assert owner.server is not None
        held = [each._writer.transport.get_write_buffer_size() for each in owner.server._windows]
        assert max(held) < 2 * 2**20, "no more than an answer and a page of events"
        escaped: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: escaped.append(context))
        for window in deaf:
            window.writer.transport.abort()
        await red.ask(m.Ping())
        async with asyncio.timeout(TIMEOUT):
            while owner.server.others:
                await red.ask(m.Ping())
        assert escaped == []


async def test_a_window_that_does_not_read_costs_no_memory_and_gets_every_message_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_MOST_UNSENT", 3)
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        window = await RawWindow.at(home.socket("red"))
        transport = cast(asyncio.Transport, window.writer.transport)
        await window.call("events.subscribe")
        transport.pause_reading()
        for number in range(40):
            await blue.ask(m.Send(room="friends", text=f"{number} " + "x" * 60_000))
        while (await red.ask(m.GetHistory(room="friends", limit=1)))[-1].text.partition(" ")[0] != "39":
            await red.ask(m.ReadEvents(wait=1))
        assert red._owner is not None
        assert red._owner.server is not None
        served = next(each for each in red._owner.server._windows if not each.is_own)
        assert served._pushing is not None
        for _ in range(10):
            red._owner.server._client.sync.emit(Notice(b"", "something"))
        await red.ask(m.Ping())
        assert red._owner.server._client.sync.events.waiting <= 1
        transport.resume_reading()
        found: list[str] = []
        while not found or found[-1] != "39":
            event = (await window.answer())["params"]["event"]
            if event["type"] == "message":
                found.append(event["text"].partition(" ")[0])
        assert found == [str(number) for number in range(40)]
        assert [(await window.answer())["params"]["event"]["type"] for _ in range(2)] == ["notice"] * 2
        assert (await window.call("ping"))["result"] is None, "the other notices were dropped"
        await window.close()


async def test_a_defect_is_an_error_and_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with home_at(tmp_path) as home:
        red = await home.session("red")
        owner = red._owner
        assert owner is not None
        assert owner.server is not None

        def fail(_: object) -> None:
            raise ZeroDivisionError("secret")

        monkeypatch.setitem(owner.server._service._queries, m.ListRooms, fail)
        window = await RawWindow.at(home.socket("red"))
        error = (await window.call("rooms.list"))["error"]
        assert error["code"] == ErrorCode.INTERNAL_ERROR
        assert error["message"] == "clave made a mistake in rooms.list: ZeroDivisionError"
        assert (await window.call("ping"))["result"] is None
        await window.close()


async def test_a_window_has_one_subscription(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        window = await RawWindow.at(home.socket("red"))
        for _ in range(20):
            assert (await window.call("events.subscribe", live=False))["result"] == 0
        await red.ask(m.Send(room="friends", text="hello"))
        event = await window.answer()
        assert event["params"]["event"]["text"] == "hello"
        assert (await window.call("ping"))["result"] is None, "nothing came twice before this answer"
        await window.close()


async def test_subscriptions_that_are_replaced_at_once_leave_nothing(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        red = await home.session("red")
        assert red._owner is not None
        assert red._owner.server is not None
        streams = red._owner.server._client.sync.events._streams
        before = len(streams)
        window = await RawWindow.at(home.socket("red"))
        subscribe = {"jsonrpc": "2.0", "method": "events.subscribe", "params": {}}
        window.writer.write((json.dumps(subscribe).encode() + b"\n") * 20)
        answer = await window.call("ping")
        while "id" not in answer:  # an event
            answer = await window.answer()
        assert len(streams) == before + 1
        await window.close()
        async with asyncio.timeout(TIMEOUT):
            while len(streams) > before:
                await red.ask(m.Ping())


async def test_many_quick_requests_of_one_window_leave_the_others_their_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with home_at(tmp_path) as home:
        red = await home.session("red")
        assert red._owner is not None
        assert red._owner.server is not None
        executed: list[int] = []
        turn = 0

        async def count_turns() -> None:
            nonlocal turn
            while True:
                turn += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count_turns())
        monkeypatch.setitem(red._owner.server._service._queries, m.Ping, lambda _: executed.append(turn))
        window = await RawWindow.at(home.socket("red"))
        ping = {"jsonrpc": "2.0", "method": "ping", "params": {}}
        window.writer.write((json.dumps(ping).encode() + b"\n") * 100)
        await window.call("ping")
        counting.cancel()
        assert len(set(executed)) == 101
        await window.close()


@pytest.mark.parametrize("id_", [5, "five"])
async def test_a_request_is_cancelled_by_its_id(tmp_path: Path, id_: int | str) -> None:
    async with home_at(tmp_path) as home:
        await home.session("red")
        window = await RawWindow.at(home.socket("red"))
        request = {"jsonrpc": "2.0", "id": id_, "method": "events.read", "params": {"wait": 60}}
        cancel = {"jsonrpc": "2.0", "method": "cancel", "params": {"id": id_}}
        for each in (request, cancel):
            window.writer.write(json.dumps(each).encode() + b"\n")
        answer = await window.answer()
        assert (answer["id"], answer["error"]["code"]) == (id_, ErrorCode.CANCELLED)
        await window.close()


async def test_cancelling_does_not_wait_for_what_it_cancels(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        await home.session("red")
        window = await RawWindow.at(home.socket("red"))
        for number in range(64):
            request = {"jsonrpc": "2.0", "id": number, "method": "events.read", "params": {"wait": 600}}
            window.writer.write(json.dumps(request).encode() + b"\n")
        cancel = {"jsonrpc": "2.0", "method": "cancel", "params": {"id": 17}}
        window.writer.write(json.dumps(cancel).encode() + b"\n")
        answer = await window.answer()
        assert (answer["id"], answer["error"]["code"]) == (17, ErrorCode.CANCELLED)
        await window.close()
