"""Owners that do not answer, of another version, or that end one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clave_client.errors import (
    ClientError,
    OwnerOutdated,
    ProfileLocked,
)
from clave_client.rpc import methods as m
from clave_client.rpc import session as session_module
from clave_host.local_sockets import bind_private
from client.rpc.kit import TIMEOUT, Home, home_at

# --- owners that do not answer ---


async def silent(home: Home, name: str, answer: Callable[[dict[str, Any]], bytes]) -> asyncio.Server:
    """Hold a profile's lock, and answer requests by a function."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            async for line in reader:
                request = json.loads(line)
                if "id" in request:
                    writer.write(answer(request))
        writer.close()

    path = home.socket(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return await asyncio.start_unix_server(serve, sock=bind_private(path, 10))


def greeting(request: dict[str, Any], **changed: Any) -> bytes:
    owner = {
        "rpc": m.RPC_VERSION,
        "store": 99,
        "software": "clave 9.9",
        "process": 17,
        "name": "red",
        **changed,
    }
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


@pytest.mark.parametrize("changed", [{"rpc": 1}, {"rpc": 3}, {"store": 1}])
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
