"""Devices in a window: a code, the words in a notice, yes and no, and lists."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from clave_client.errors import UsageError
from clave_client.testing import MemoryRelay
from clave_client.ui.chat_commands import run_input
from clave_client.ui.conversation import Conversation
from clave_client.ui.device_text import device_lines, joined_text, left_text
from clave_client.ui.display import plain
from clave_client.values import DeviceInfo
from devicekit import Newcomer, device_at
from sessionkit import session_on


async def test_a_device_is_added_listed_and_removed_in_a_window(tmp_path: Path) -> None:
    async with MemoryRelay() as relay, relay.client("red") as red, AsyncExitStack() as stack:
        lines: list[str] = []
        session = await stack.enter_async_context(session_on(red))
        talk = Conversation(session, lambda line: lines.append(plain(line)))

        async def code() -> str:
            await run_input(talk, "/device add")
            return next(line for line in reversed(lines) if line.startswith("clave device join clave://"))

        async def shown() -> str:
            assert talk.offer is not None
            await talk.offer
            assert lines[-1] == "* say /device yes if it does, else /device no"
            return lines[-2]

        await run_input(talk, "/device yes")
        assert lines[-1] == "* this window has shown no words of a new device; begin with /device add"
        newcomer = Newcomer(relay, tmp_path, await code(), "laptop")
        assert await shown() == f"*     {' '.join(await newcomer.shown())}"
        await run_input(talk, "/device no")
        assert lines[-1] == "* nothing was added"
        newcomer = Newcomer(relay, tmp_path, await code(), "laptop")
        assert await shown() == f"*     {' '.join(await newcomer.shown())}"
        await run_input(talk, "/device yes")
        assert lines[-1] == "* laptop is your device now, and is being added to your rooms"
        await newcomer.task
        await run_input(talk, "/devices")
        assert lines[-2:] == ["* main    this one, primary, online, in 0 rooms", lines[-1]]
        assert lines[-1].startswith("* laptop  away, since 20")
        async with device_at(relay, tmp_path, "red"):
            await run_input(talk, "/device remove laptop")
            assert lines[-1] == "* laptop is removed, and is being taken out of your rooms"
        for wrong in ("/device", "/device remove", "/device add laptop", "/device sell laptop"):
            await run_input(talk, wrong)
            assert lines[-1] == "* say what to do: /device add, yes, no, remove NAME or primary NAME"
        await run_input(talk, "/device primary laptop")
        assert lines[-1] == "* you have no other device called laptop; clave devices lists them"
        await run_input(talk, "/device yes")
        assert "no device is being added" in lines[-1] or "words were compared" in lines[-1]


def test_what_is_said_of_devices() -> None:
    desk = DeviceInfo("desk", b"", is_own=True, is_primary=False, is_online=True, since=0, rooms=1)
    assert device_lines([desk]) == ["desk  this one, online, in 1 room"]
    assert joined_text("red", "desk", 1) == "this is desk, a device of red now, in 1 room"
    assert joined_text("red", "desk", 0).endswith("in 0 rooms; its rooms come once clave is open on both")
    assert left_text(0) == ""
    assert left_text(1).startswith("1 room to go: that goes on")
    assert left_text(2).startswith("2 rooms to go")


async def test_a_window_answers_only_for_the_words_that_it_has_shown(tmp_path: Path) -> None:
    """A code that is made in another window, and whoever comes with it, take no yes of this one."""
    async with MemoryRelay() as relay, relay.client("red") as red, AsyncExitStack() as stack:
        first: list[str] = []
        second: list[str] = []
        sessions = [await stack.enter_async_context(session_on(red)) for _ in range(2)]
        one = Conversation(sessions[0], lambda line: first.append(plain(line)))
        two = Conversation(sessions[1], lambda line: second.append(plain(line)))
        await run_input(one, "/device add")
        laptop = Newcomer(relay, tmp_path / "1", next(each for each in first if "clave://" in each), "laptop")
        assert one.offer is not None
        await one.offer
        await run_input(two, "/device add")
        spy = Newcomer(relay, tmp_path / "2", next(each for each in second if "clave://" in each), "spy")
        assert two.offer is not None
        await two.offer
        for answer in ("/device yes", "/device no"):
            await run_input(one, answer)
            assert first[-1].startswith("* that pairing is over: another code was made")
        assert not red.sync.devices.known.others()
        await run_input(two, "/device yes")
        assert second[-1] == "* spy is your device now, and is being added to your rooms"
        await spy.task
        with pytest.raises(UsageError, match="another code was made"):
            await laptop.task
