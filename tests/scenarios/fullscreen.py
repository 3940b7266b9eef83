"""The full screen on a terminal of its own, as stories use it. Knows no story."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from scenarios.stage import Relay, Somebody
from scenarios.terminal import MODES_OF_A_SHELL, Terminal, controlled_terminal
from scenarios.test_windows import friends

CTRL_C, CTRL_Q, CTRL_Z, ENTER, ESCAPE = "\x03", "\x11", "\x1a", "\r", "\x1b"
DOWN, LEFT, UP, BACKSPACE, SHIFT_TAB = "\x1b[B", "\x1b[D", "\x1b[A", "\x7f", "\x1b[Z"
F1 = "\x1bOP"


def alt(key: str) -> str:
    """Return what a terminal sends for Alt with a key."""
    return ESCAPE + key


def pasted(text: str) -> str:
    """Return what a terminal sends for a paste."""
    return f"\x1b[200~{text}\x1b[201~"


def window(home: Path, *words: str, **environment: str) -> AbstractAsyncContextManager[Terminal]:
    """Run `clave WORDS` on a terminal that controls it."""
    command = (sys.executable, "-m", "clave_client", *words)
    return controlled_terminal(*command, CLAVE_HOME=str(home), NO_COLOR="", **environment)


def shell(home: Path, **environment: str) -> AbstractAsyncContextManager[Terminal]:
    """Run an interactive shell with job control, in which `clave` is the command."""
    found = ":".join((str(Path(sys.executable).parent), os.environ.get("PATH", "/bin:/usr/bin")))
    return controlled_terminal(
        *("/bin/bash", "--norc", "--noprofile", "-i"),
        CLAVE_HOME=str(home),
        NO_COLOR="",
        PS1="shell> ",
        PATH=found,
        HISTFILE="",
        **environment,
    )


@dataclass
class Friends:
    """Red, whose window is opened on a terminal, and blue, who is in the room "friends" with red."""

    relay: Relay
    blue: Somebody
    room: bytes
    home: Path

    def window(self, *words: str, **environment: str) -> AbstractAsyncContextManager[Terminal]:
        """Open red's window: the full screen, unless `words` say another command."""
        return window(self.home, *words, **{"CLAVE_NAME": "red", **environment})


@asynccontextmanager
async def two_friends(tmp_path: Path) -> AsyncIterator[Friends]:
    """Enter red's profile, which no process holds, and blue, who is in a room with red."""
    async with friends(tmp_path) as (relay, blue, room, home):
        yield Friends(relay, blue, room, home)


async def ready(screen: Terminal, room: str = "friends") -> None:
    """Wait until a room is open on the screen and the relay has accepted the login."""
    await screen.shows(f"> {room}")
    await screen.shows("online")


async def says(screen: Terminal, text: str) -> None:
    """Write a text, see it where one writes, and send it."""
    screen.press(text)
    await screen.until(lambda: text in composer(screen), f"{text!r} where one writes")
    screen.press(ENTER)


async def until_pressed(screen: Terminal, key: str, condition: Callable[[], bool]) -> None:
    """Press a key until what the screen shows fits, as one does who does not know what is open."""
    for _ in range(20):
        screen.press(key)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                await screen.until(condition)
                return
    raise AssertionError(f"it did not come to that on:\n{screen.text}")


def is_open(screen: Terminal) -> bool:
    """Return whether another screen is over the main one."""
    return "Esc close" in screen.text


def composer(screen: Terminal) -> str:
    """Return what stands below the last rule of the screen, where one writes."""
    return screen.text.rpartition("\N{BOX DRAWINGS LIGHT HORIZONTAL}" * 3)[2]


def said(screen: Terminal) -> list[str]:
    """Return the lines of the messages on the screen, without what is beside them and what became of them."""
    above = screen.text.rpartition("\N{BOX DRAWINGS LIGHT HORIZONTAL}" * 3)[0]
    lines = [line.rpartition("\N{RIGHT ONE EIGHTH BLOCK}")[2] for line in above.splitlines()]
    lines = [line.partition("\N{LEFT ONE EIGHTH BLOCK}")[0] for line in lines]
    stripped = [line.strip(" \N{RIGHT HALF BLOCK}\N{BOX DRAWINGS LIGHT VERTICAL}") for line in lines]
    return [line.partition("  ")[0] for line in stripped]


def is_sane(screen: Terminal, before: list[object]) -> bool:
    """Return whether a terminal is as it was: its attributes, cursor, mouse, paste marks and keys."""
    return screen.attributes == before and screen.modes == MODES_OF_A_SHELL
