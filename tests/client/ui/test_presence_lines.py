from __future__ import annotations

import asyncio

import pytest

from clave_client.events import Person, PresenceChanged
from clave_client.ui import presence_lines
from clave_client.ui.presence_lines import PresenceLines

SECONDS = 0.02


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_lines, "LAST_SECONDS", SECONDS)


def changed(name: str, *, online: bool) -> PresenceChanged:
    return PresenceChanged(b"r" * 16, name, online, "")


async def settled() -> None:
    """Wait until whatever lasts has lasted long enough: a later timer of the same length has run."""
    later: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(2 * SECONDS, later.set_result, None)
    await later


async def test_who_stays_is_announced_once() -> None:
    shown: list[PresenceChanged] = []
    lines = PresenceLines(shown.append)
    lines.changed(changed("blue", online=True))
    assert shown == []
    await settled()
    lines.changed(changed("blue", online=True))
    await settled()
    assert [(event.name, event.online) for event in shown] == [("blue", True)]
    lines.changed(changed("blue", online=False))
    await settled()
    assert [(event.name, event.online) for event in shown] == [("blue", True), ("blue", False)]


async def test_who_comes_and_goes_for_one_message_is_not_announced() -> None:
    shown: list[PresenceChanged] = []
    lines = PresenceLines(shown.append)
    lines.changed(changed("blue", online=True))
    lines.changed(changed("blue", online=False))
    await settled()
    assert shown == []


async def test_who_is_there_at_the_beginning_is_not_announced_and_who_leaves_is() -> None:
    shown: list[PresenceChanged] = []
    lines = PresenceLines(shown.append)
    lines.begin()
    lines.changed(changed("blue", online=True))
    await settled()
    assert shown == []
    lines.changed(changed("blue", online=False))
    await settled()
    assert [(event.name, event.online) for event in shown] == [("blue", False)]


async def test_nothing_is_announced_after_the_end() -> None:
    shown: list[PresenceChanged] = []
    lines = PresenceLines(shown.append)
    lines.changed(changed("blue", online=True))
    lines.stop()
    await settled()
    assert shown == []


async def test_two_people_of_one_name_are_two() -> None:
    shown: list[PresenceChanged] = []
    lines = PresenceLines(shown.append)
    people = [
        Person("blue", bytes([number]) * 32, "laptop", bytes([number]) * 32, False) for number in (1, 2)
    ]
    for person in people:
        lines.changed(PresenceChanged(b"r" * 16, "blue", True, "", person))
    await settled()
    assert [event.person for event in shown] == people
