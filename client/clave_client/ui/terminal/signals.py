"""Handles signals on the event loop, and stops the process group as a shell's job. Knows no terminal."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from signal import Signals

__all__ = ["handle_signals", "stop_process_group"]


@contextmanager
def handle_signals(handlers: Mapping[Signals, Callable[[], None]]) -> Iterator[None]:
    """Have the running loop call these handlers, then restore the former. Ignored signals stay ignored."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in handlers}
    taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in taken:
        loop.add_signal_handler(number, handlers[number])
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])


def stop_process_group() -> None:
    """Stop this process and its group until they are continued, without calling handlers.

    Does nothing if SIGTSTP is ignored or no shell could continue them.
    """
    if signal.getsignal(signal.SIGTSTP) is signal.SIG_IGN:
        return
    numbers = (signal.SIGTSTP, signal.SIGCONT)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # None may come as the handlers change.
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    try:
        os.kill(0, signal.SIGTSTP)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # Here it stops.
        for number, handler in before.items():
            signal.signal(number, handler)
            signal.siginterrupt(number, False)
