"""The device reads without waiting, a lost terminal as one that is closed, and writes only what is safe."""

from __future__ import annotations

import asyncio
import os
import select
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from clave_client.ui.terminal import device
from clave_client.ui.terminal.device import TerminalInput, TerminalOutput, reflows


def is_closed(typed: TerminalInput) -> bool:
    """Whether it is closed after all that was typed has been read, which is nothing."""
    assert typed.read_keys() == []
    return typed.closed


def test_a_terminal_that_ends_or_cannot_be_read_is_closed() -> None:
    master, slave = os.openpty()
    with os.fdopen(slave, encoding="utf-8") as stdin:
        ended, failing = TerminalInput(stdin), TerminalInput(stdin)
        assert not is_closed(ended)
        os.close(master)
        assert is_closed(ended)
    assert is_closed(failing)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7000"}, True),
        ({"TERM": "xterm", "VTE_VERSION": "7000", "XTERM_VERSION": "XTerm(390)"}, False),
        ({"TERM": "tmux-256color", "TMUX": "socket"}, True),
        ({"TERM": "screen", "VTE_VERSION": "7000"}, False),
        ({"TERM": "screen", "TMUX": "socket", "STY": "1.pts"}, False),
    ],
)
def test_which_terminals_break_rows_anew(
    environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", environment)
    assert reflows() is expected


def taken(master: int) -> bytes:
    """What a terminal has been sent so far."""
    data = b""
    while select.select([master], [], [], 0)[0]:
        data += os.read(master, 65536)
    return data


@asynccontextmanager
async def terminal_output(encoding: str = "utf-8") -> AsyncIterator[tuple[int, TerminalOutput]]:
    """The terminal's side and an output for it that has begun, of which that has been taken."""
    master, slave = os.openpty()
    tty.setraw(slave)
    with os.fdopen(slave, "w", encoding=encoding) as stdout:
        output = TerminalOutput(stdout, lambda: None, lambda: None)
        output.begin()
        output.flush()
        taken(master)
        yield master, output
        output.end()
    os.close(master)


async def test_bells_are_rung_once_a_second() -> None:
    async with terminal_output() as (master, output):
        for _ in range(10):
            output.bell()
        assert taken(master) == b"\a"


async def test_bells_and_sequences_do_not_pile_up_while_the_terminal_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "_BELL_SECONDS", 0.0)
    async with terminal_output() as (master, output):
        output.write_raw("x" * 2**20)
        output.flush()
        assert output.is_full()
        for _ in range(10):
            output.bell()
            output.write_sequence("\x1b]9;news\a")
        data = b""
        while output.is_full():
            data += taken(master)
            await asyncio.sleep(0)
        assert data + taken(master) == b"x" * 2**20
        output.bell()
        output.write_sequence("\x1b]9;news\a")
        assert taken(master) == b"\a\x1b]9;news\a"


async def test_no_byte_of_a_c1_control_is_written() -> None:
    async with terminal_output("cp1252") as (master, output):
        output.write_raw("\x1b[1mcaf\u00e9 \u203a31m \u0416")
        output.flush()
        assert taken(master) == b"\x1b[1mcaf\xe9 ?31m ?"
