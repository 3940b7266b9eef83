"""Whatever is typed after a command is answered in a line, and the conversation goes on."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from clave_client.ui.chat_commands import COMMANDS, run_input
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import plain
from scenarios.stage import gather_in, people_at, relay_at
from sessionkit import session_on

NUMBERS = [
    "0",
    "-1",
    "+1",
    "1_0",
    "1e9",
    "0x10",
    "9" * 19,
    "9" * 5000,
    "-" + "9" * 5000,
    "²",
    "½",
    "٣",
    "߃" * 5000,
]
WORDS = [
    *("", " ", "\t \t", "\0", "\0\0 \0", "\x1b[31m", "\ud800", "blue\udcff", "\u202e", "e" + "\u0301" * 50),
    *("/", "//", "-", ".", "'", '"', "%s{}", "0" * 32, "f" * 200, "x" * 100_000, "x " * 50_000),
    *("blue", "blue blue blue", "red", "red yes", "friends", "friends friends", "nobody", "BLUE", "b1ue"),
]
ANSWERS = ["yes", "no", "yes yes", *NUMBERS, "\0", "\ud800", "x" * 100_000, "1 " * 50_000]


@pytest.mark.parametrize("command", COMMANDS)
async def test_whatever_follows_a_command_the_conversation_goes_on(tmp_path: Path, command: str) -> None:
    home = tmp_path / "home"
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, home, "red", "blue") as (red, blue),
        AsyncExitStack() as stack,
    ):
        room = await gather_in("friends", red, blue)
        lines: list[str] = []
        session = await stack.enter_async_context(session_on(red.client))
        talk = Conversation(session, lambda line: lines.append(plain(line)))
        for argument in [*WORDS, *NUMBERS, *(f"blue {answer}" for answer in ANSWERS)]:
            talk.room = room if room in red.client.rooms else None
            await run_input(talk, f"/{command} {argument}")
            assert talk.finished is (command == "exit")
        assert red.ended_by is None
        red.client.sync.check()
        lines.clear()
        await run_input(talk, "/help")
        assert len(lines) == len(COMMANDS) + 2


@pytest.mark.parametrize("command", ["new", "revoke", "join", "verify", "trust", "title", "remove"])
async def test_a_command_without_what_it_needs_says_so_in_a_line(tmp_path: Path, command: str) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red") as (red,),
        AsyncExitStack() as stack,
    ):
        lines: list[str] = []
        session = await stack.enter_async_context(session_on(red.client))
        talk = Conversation(session, lambda line: lines.append(plain(line)))
        talk.room = (await red.client.create_room("friends")).id
        await run_input(talk, f"/{command}")
        assert [line for line in lines if "say " in line and f"/{command} " in line] == lines
        assert len(lines) == 1


@pytest.mark.parametrize("count", ["9" * 5000, "9" * 8, "²", "-1", "1 2"])
async def test_the_history_takes_a_number(tmp_path: Path, count: str) -> None:
    async with (
        relay_at(tmp_path / "relay") as relay,
        people_at(relay, tmp_path / "home", "red") as (red,),
        AsyncExitStack() as stack,
    ):
        lines: list[str] = []
        session = await stack.enter_async_context(session_on(red.client))
        talk = Conversation(session, lambda line: lines.append(plain(line)))
        talk.room = (await red.client.create_room("friends")).id
        await run_input(talk, f"/history {count}")
        assert len(lines) == 1
        assert "/history takes a number" in lines[0]
