"""The device reads without waiting, and a lost terminal as one that is closed."""

from __future__ import annotations

import os

import pytest

from clave_client.ui.terminal.device import TerminalInput, reflows


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
