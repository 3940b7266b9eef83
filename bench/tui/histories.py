"""Profiles with long histories, written into their stores directly. Knows no measurement.

Each message begins with its number, as in "m0001234", so that it can be found in what a terminal gets.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.client.chat_texts import ChatTexts
from bench.client.population import Relay, make_profiles, profile_name
from clave_client import Client, Profile
from clave_client.store.database import Store
from clave_client.store.message_tables import HistoryLine
from clave_client.values import ERA_BITS

__all__ = [
    "BIG",
    "NEEDLE",
    "QUIET",
    "ROOMS",
    "Population",
    "add_history",
    "big_profile",
    "marker",
    "rooms_profile",
]

BIG: Final = "big"
QUIET: Final = "quiet"
"""The titles of the two rooms of a profile with a long history."""

NEEDLE: Final = "needleword"
"""A word that is only in the message in the middle."""

ROOMS: Final = 100
"""Rooms of the profile to start with."""

_MADE: Final = "made-1"
"""The file that says that all is there; its name changes with what is made."""

_BATCH: Final = 5000
_SENDERS: Final = 20
_SECONDS_BETWEEN: Final = 40


def marker(number: int) -> str:
    """Return the word that message `number` begins with."""
    return f"m{number:07}"


def big_profile(count: int) -> str:
    """Return the name of the profile that has a room of so many messages."""
    return f"history-{count}"


def rooms_profile() -> str:
    """Return the name of the profile with many rooms."""
    return profile_name(ROOMS)


class Population:
    """The profiles in a folder that is kept, and the relay that they were made at."""

    def __init__(self, folder: Path, port: int) -> None:
        self.home = folder / "home"
        self.relay = Relay(folder / "relay", port)
        self._made = folder / _MADE
        self._folder = folder

    def make(self, counts: tuple[int, ...], report: Callable[[str], None]) -> None:
        """Make the profiles, unless they are there: one for each count of messages, one with many rooms."""
        words = " ".join(map(str, counts))
        if self._made.exists() and self._made.read_text() == words:
            return
        for each in (self.home, self._folder / "relay"):
            shutil.rmtree(each, ignore_errors=True)
        self._made.unlink(missing_ok=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.relay.running():
            report(f"making a profile with {ROOMS} rooms, once")
            make_profiles(self.home, self.relay, (ROOMS,))
            rooms = {count: asyncio.run(_make_rooms(self.home, self.relay, count)) for count in counts}
        for count, room in rooms.items():
            report(f"making a room of {count} messages, once")
            add_history(self.home, big_profile(count), room, count)
        self._made.write_text(words)


async def _make_rooms(home: Path, relay: Relay, count: int) -> bytes:
    """Register a profile and make its two rooms; return the id of the one that gets the history."""
    with Profile(home, big_profile(count)) as profile:
        async with Client(profile, relay.address) as client:
            big = await client.create_room(BIG)
            await (await client.create_room(QUIET)).send("nothing happens here")
            return big.id


def add_history(home: Path, profile_called: str, room: bytes, count: int) -> None:
    """Write so many messages into a room's history, before all that comes from the relay.

    They are of an earlier era of the room, so that their numbers do not meet those of the relay's entries.
    """
    texts, middle = ChatTexts(), count // 2
    with Profile(home, profile_called) as profile:
        store = Store(profile.store_path, profile.take_key())
        try:
            with store.transaction():
                store.run("UPDATE rooms SET era = 1, shown = max(shown, ?) WHERE id = ?", 1 << ERA_BITS, room)
            end = 1_780_000_000_000
            for first in range(1, count + 1, _BATCH):
                with store.unsynced(), store.transaction():
                    for number in range(first, min(first + _BATCH, count + 1)):
                        sender = bytes([1 + (number // 7) % _SENDERS]) * 32
                        words = f"{marker(number)} {NEEDLE if number == middle else ''} {texts.text()}"
                        sent_at = end - (count - number) * _SECONDS_BETWEEN * 1000
                        name = f"person {sender[0]}"
                        line = HistoryLine(number, sender, sender, name, os.urandom(32), words, sent_at)
                        store.add_message(room, line)
        finally:
            store.close()
