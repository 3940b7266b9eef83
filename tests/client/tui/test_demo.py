"""The demo on the whole screen, with a real relay process: who sees what, the receipt, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from clave_client.errors import RelayUnreachable
from clave_client.tui.demo import DemoApp, playing
from client.tui.screenkit import Screen


@asynccontextmanager
async def demo(size: tuple[int, int] = (120, 40)) -> AsyncIterator[Screen]:
    app = DemoApp(pace=0.0)
    async with app.run_test(size=size) as pilot, playing(app):
        yield Screen(pilot)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.subprocess.Process]:
    """What the demo has started."""
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def started_too(*words: str, **options: Any) -> asyncio.subprocess.Process:
        started.append(await start(*words, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", started_too)
    return started


def pane(screen: Screen, name: str) -> str:
    """Return all text of a pane, also what is not in sight, in one line."""
    widget = screen.pilot.app.query_one(f"#{name} Static")
    return " ".join(str(widget.render()).split())


async def test_everybody_sees_their_own_part_and_the_relay_no_text() -> None:
    async with demo() as screen:
        await screen.shows("you are red now")
        assert pane(screen, "red").startswith("> /new friends > /invite blue")
        assert "hello, both of you" in pane(screen, "blue")
        assert "> /leave" in pane(screen, "blue")
        for name in ("red", "green"):
            assert "hi! can the relay read this?" in pane(screen, name)
            assert "blue cannot read this one" in pane(screen, name)
        assert "blue cannot read this one" not in pane(screen, "blue")
        rows = pane(screen, "relay")
        assert {"registered", "commit", "application", "rekey"} <= set(rows.split())
        assert "hello" not in rows


async def test_the_receipt_is_of_the_last_message_and_of_what_is_typed_then() -> None:
    async with demo() as screen:
        await screen.shows("what the relay could learn of message 11:")
        receipt = pane(screen, "receipt")
        assert "from: account green" in receipt
        assert "the text (25 characters)" in receipt
        await screen.pilot.press(*"[b]hi[/b]", "enter")
        await screen.until(lambda: "from: account red" in pane(screen, "receipt"))
        assert "red: [b]hi[/b]" in pane(screen, "red")
        assert "red (unverified): [b]hi[/b]" in pane(screen, "green")
        assert "[b]hi[/b]" not in pane(screen, "blue")
        number = pane(screen, "receipt").partition(" of message ")[2].partition(":")[0]
        await screen.until(lambda: f"seq {number} application" in pane(screen, "relay"))
        assert "blue has left" in screen.text


async def test_nobody_writes_before_the_script_is_over() -> None:
    async with demo() as screen:
        app = screen.pilot.app
        await screen.pilot.press("f2", *"ab", "enter")
        assert app.query_one("#people").display
        await screen.shows("you are red now")
        assert "red: ab" not in pane(screen, "red")


async def test_f2_shows_the_whole_receipt_and_all_again() -> None:
    async with demo((80, 24)) as screen:
        await screen.shows("you are red now")
        assert "what it could not:" not in screen.text
        await screen.pilot.press("f2")
        await screen.shows("what it could not:")
        assert "what green sees" not in screen.text
        await screen.pilot.press("f2")
        await screen.shows("what green sees")


async def test_people_stand_side_by_side_only_where_there_is_room() -> None:
    async with demo((40, 15)) as screen:
        await screen.shows("you are red now")
        titles = [line for line in screen.lines if "sees" in line and line.startswith("─")]
        assert len(titles) == 4
        assert {len(line) for line in screen.lines} == {40}
        await screen.pilot.resize_terminal(100, 24)
        await screen.until(lambda: any("red sees" in line and "green sees" in line for line in screen.lines))


async def test_escapes_in_what_is_typed_are_shown_and_not_sent_to_the_terminal() -> None:
    async with demo((300, 40)) as screen:
        app = screen.pilot.app
        assert isinstance(app, DemoApp)
        app.wrote("red", "a\x1b]52;c;QUJD\x07b\u202ec")
        await screen.until(lambda: "a<U+001B>]52;c;QUJD<U+0007>b<U+202E>c" in pane(screen, "red"))


@pytest.mark.parametrize("keys", [["escape"], ["ctrl+q"], ["ctrl+c"], [*"exit", "enter"]])
async def test_leaving_ends_the_relay(keys: list[str], processes: list[asyncio.subprocess.Process]) -> None:
    async with demo() as screen:
        await screen.shows("you are red now")
        await screen.pilot.press(*keys)
        await screen.until(lambda: not screen.pilot.app.is_running)
    (relay,) = processes
    assert relay.returncode is not None


async def test_leaving_in_the_midst_of_the_script_ends_the_relay(
    processes: list[asyncio.subprocess.Process],
) -> None:
    async with demo() as screen:
        await screen.shows("registered")
        await screen.pilot.press("escape")
        await screen.until(lambda: not screen.pilot.app.is_running)
    (relay,) = processes
    assert relay.returncode is not None


async def test_a_relay_that_does_not_start_is_told_with_its_own_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLAVE_RELAY_LOG_LEVEL", "nonsense")
    async with demo() as screen:
        app = screen.pilot.app
        assert isinstance(app, DemoApp)
        await screen.until(lambda: app.failure is not None)
    assert isinstance(app.failure, RelayUnreachable)
    assert "nonsense" in str(app.failure)
