"""What `clave send` sends, with a relay in memory."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from clave_client import events
from clave_client.errors import MessageWaiting
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.rpc.values import RoomNews
from clave_client.ui.sending import Sender
from client.rpc.kit import TIMEOUT, home_at, next_of


async def send_lines(session: Session, count: int, *, wait: float) -> None:
    sender = Sender(session, room="friends", wait=wait, key="k", as_json=False)
    source, target = os.pipe()
    os.write(target, b"".join(b"%d\n" % number for number in range(count)))
    os.close(target)
    try:
        await sender.send_lines(source)
    finally:
        os.close(source)


@pytest.mark.parametrize("is_reachable", [True, False])
async def test_lines_are_posted_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_reachable: bool
) -> None:
    async with home_at(tmp_path) as home:
        red, blue = await home.friends("red", "blue")
        assert red._owner is not None
        assert red._owner.server is not None
        waits = red._owner.server._service._waits
        catch_up = waits[m.CatchUp]
        asked = 0

        async def later_for_the_first(request: m.CatchUp) -> RoomNews:
            nonlocal asked
            asked += 1
            await asyncio.sleep(0.3 if asked == 1 else 0)
            news: RoomNews = await catch_up(request)
            return news

        monkeypatch.setitem(waits, m.CatchUp, later_for_the_first)
        if not is_reachable:
            home.relay.is_reachable = False
            home.relay.disconnect_all()
            await red.subscribe()
            await next_of(red, events.Disconnected)
            with pytest.raises(MessageWaiting):
                await send_lines(red, 100, wait=0.2)
            home.relay.is_reachable = True
            assert await red.ask(m.WaitFlushed(wait=TIMEOUT))
        else:
            await send_lines(red, 100, wait=TIMEOUT)
        async with asyncio.timeout(TIMEOUT):
            while len(history := await blue.ask(m.GetHistory(room="friends"))) < 100:
                await next_of(blue, events.Message)
        assert [message.text for message in history] == [str(number) for number in range(100)]
