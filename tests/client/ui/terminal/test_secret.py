"""A secret is asked for on a pseudo-terminal without showing it, and the prompt comes back after it."""

from __future__ import annotations

import signal

import pytest

from client.ui.terminal.window import Window, window


def ask(shown: Window) -> None:
    """Have a secret asked for."""
    shown.press("secret\r")
    shown.shows("secret:")
    shown.until(lambda: not shown.is_raw, "the usual mode")


def test_a_secret_is_asked_for_without_showing_it() -> None:
    with window() as shown:
        ask(shown)
        shown.press("hidden\n")
        shown.shows("the secret is 'hidden'")
        shown.press("typed")
        shown.prompts("typed")
        assert "hidden" not in shown.text.replace("is 'hidden'", "")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_it_while_a_secret_is_asked_for(number: signal.Signals, status: int) -> None:
    with window() as shown:
        shown.press("secret\r")
        shown.shows("secret:")
        shown.send(number)
        assert shown.ended() == status
        assert shown.is_restored


def test_an_interrupt_gives_no_secret() -> None:
    with window() as shown:
        ask(shown)
        shown.press("\x03")
        shown.shows("the secret is ''")
        shown.press("typed")
        shown.prompts("typed")


def test_a_question_for_a_secret_can_be_suspended(shell: Window) -> None:
    ask(shell)
    shell.press("\x1a")
    shell.ends_with("$")
    shell.press("echo $((6 * 7))\n")
    shell.shows("42")
    shell.press("fg\n")
    shell.ends_with("secret:")
    shell.press("hidden\n")
    shell.shows("the secret is 'hidden'")
