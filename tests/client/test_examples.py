"""Examples in docstrings and in docs/library.md parse, and run against a relay in memory."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import clave_client
from clave_client import Client, Invited, client, room, testing
from clave_client.testing import MemoryRelay

PAGE = Path(__file__).parents[2] / "docs" / "library.md"
SECONDS = 30.0


def example_of(docstring: str | None) -> str:
    """Return the indented lines that follow the line that begins with "Example"."""
    _, found, rest = inspect.cleandoc(docstring or "").partition("\nExample")
    assert found
    lines = rest.partition(":\n")[2].splitlines()
    kept = []
    for line in lines:
        if line and not line.startswith("    "):
            break
        kept.append(line)
    return textwrap.dedent("\n".join(kept))


def code_blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


async def run(source: str, names: dict[str, Any]) -> None:
    """Run code that may await; a last line `asyncio.run(main())` is left out."""
    tree = ast.parse(source)
    if ast.unparse(tree.body[-1]) == "asyncio.run(main())":
        tree.body.pop()
    code = compile(tree, "<example>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result: Awaitable[None] | None = eval(code, names)  # noqa: S307  (the project's own examples)
    if result is not None:
        await result


async def greet(client: Client) -> None:
    """Accept every invitation, and say hello."""
    async for event in client.events():
        if isinstance(event, Invited):
            await client.room(event.room).accept()
            await client.room(event.room).send("hello")


@pytest.fixture
async def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, Any]]:
    """Return the names of an example: the relay in memory, with blue, that every client connects to."""
    monkeypatch.setenv("CLAVE_HOME", str(tmp_path / "home"))
    async with MemoryRelay() as relay, relay.client("blue") as blue:
        monkeypatch.setattr(clave_client, "Client", partial(Client, connect=relay.connect))
        greeting = asyncio.create_task(greet(blue))
        yield {"relay": relay}
        greeting.cancel()


@asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[asyncio.Future[None]]:
    """Run what does not end by itself."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool], task: asyncio.Future[None]) -> None:
    """Wait until a condition holds; raise the error that ended `task`, if one did."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            if task.done():
                task.result()
            await asyncio.sleep(0.02)


async def test_the_example_of_the_package_runs(names: dict[str, Any]) -> None:
    await run(example_of(clave_client.__doc__), names)


async def test_the_example_of_the_client_runs(
    names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = ""

    def prints_hello() -> bool:
        nonlocal shown
        shown += capsys.readouterr().out
        return "Connected(" in shown and "InvitationAccepted(" in shown and "Message(" in shown

    async with running(run(example_of(client.__doc__), names)) as task:
        await until(prints_hello, task)


async def test_the_example_of_a_room_runs(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    async with (
        names["relay"].client("red") as names["client"],
        running(run(example_of(room.Room.__doc__), names)) as task,
    ):
        await until(lambda: capsys.readouterr().out == "blue hello\n", task)


async def test_the_example_of_the_tests_runs(names: dict[str, Any]) -> None:
    await run(example_of(testing.__doc__), names)


async def test_the_code_of_the_page_runs(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    relay: MemoryRelay = names["relay"]
    bot, rooms, events, errors, tests = code_blocks()
    await run(bot, names)
    async with running(names["main"]()) as task, relay.client("red") as red:
        await until(
            lambda: any(d.name == "echo" and d.packages for d in relay.directory.devices.values()), task
        )
        friends = await red.create_room("friends")
        messages = friends.messages()
        await friends.invite("echo")
        await friends.send("hello")
        async with asyncio.timeout(SECONDS):
            assert (await anext(messages)).text == "red said: hello"
    async with relay.client("green") as names["client"]:
        await run(rooms, names)
        assert "green admin True" in capsys.readouterr().out
        async with asyncio.timeout(SECONDS):
            await run(events, names)
        assert capsys.readouterr().out == "blue hello\n"
        await run(errors, names)
        assert capsys.readouterr().out == "nobody has this name here\n"
    await run(tests, names)
    async with asyncio.timeout(SECONDS):
        await names["test_the_bot_repeats_what_it_is_told"]()
