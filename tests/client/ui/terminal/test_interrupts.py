"""Ctrl-C cancels, then clears, then asks, then quits."""

from __future__ import annotations

from clave_client.ui.terminal.interrupts import CONFIRM_SECONDS, Interrupt, Interrupts


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_each_press_does_the_next_thing() -> None:
    interrupts = Interrupts(Clock())
    assert interrupts.press(running=True, has_text=True) is Interrupt.CANCEL
    assert interrupts.press(running=False, has_text=True) is Interrupt.CLEAR
    assert not interrupts.is_asking()
    assert interrupts.press(running=False, has_text=False) is Interrupt.ASK
    assert interrupts.is_asking()
    assert interrupts.press(running=False, has_text=False) is Interrupt.QUIT


def test_the_question_is_forgotten_after_a_while() -> None:
    clock = Clock()
    interrupts = Interrupts(clock)
    assert interrupts.press(running=False, has_text=False) is Interrupt.ASK
    clock.seconds += CONFIRM_SECONDS
    assert not interrupts.is_asking()
    assert interrupts.press(running=False, has_text=False) is Interrupt.ASK


def test_clearing_or_cancelling_takes_the_question_back() -> None:
    for running, has_text in ((True, False), (False, True)):
        interrupts = Interrupts(Clock())
        interrupts.press(running=False, has_text=False)
        interrupts.press(running=running, has_text=has_text)
        assert interrupts.press(running=False, has_text=False) is Interrupt.ASK
