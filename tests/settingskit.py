"""Devices of one account that share settings at once, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from clave_client import events
from clave_client.client import Client
from clave_client.rooms.settings_entries import ASKED_PART
from clave_client.sync import own_settings
from devicekit import SECONDS

KEY = b"\xb1" * 32


def share_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have settings sent as soon as they change."""
    monkeypatch.setattr(own_settings, "_GATHER_SECONDS", 0.0)
    monkeypatch.setattr(own_settings, "_LEFT_TO_OTHERS_SECONDS", 0.05)


def notes(client: Client) -> bytes:
    """Return the id of the account's own room, which must be the only one."""
    (room,) = [room for room in client.sync.rooms.values() if room.is_notes]
    return room.id


def has_notes(client: Client) -> Callable[[], bool]:
    """Return whether a client has its own room and has asked there for all settings."""

    def found() -> bool:
        rooms = client.sync.devices.settings.rooms
        return bool(rooms) and all(room.may_send and room.part(ASKED_PART) is not None for room in rooms)

    return found


async def told_at_either(text: str, *clients: Client) -> None:
    """Wait until one of two clients is told something."""

    async def told_at(client: Client) -> None:
        async for notice in client.stream(events.Notice):
            if text in notice.text:
                return

    waiting = [asyncio.ensure_future(told_at(each)) for each in clients]
    try:
        async with asyncio.timeout(SECONDS):
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
