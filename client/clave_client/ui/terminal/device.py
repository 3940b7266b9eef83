"""The terminal device: raw mode, bytes in and out, its size, and whether it is still there. Draws nothing."""

from __future__ import annotations

import asyncio
import math
import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from prompt_toolkit.data_structures import Size
from prompt_toolkit.input.posix_utils import PosixStdinReader
from prompt_toolkit.input.vt100 import Vt100Input, raw_mode
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from clave_client.ui.warnings import encode

__all__ = ["TerminalInput", "TerminalOutput", "reflows"]

_LAST_SECONDS = 1.0
"""How long a terminal that takes nothing is waited for at the end."""

_BELL_SECONDS = 1.0
"""Least time between two bells."""

_REFLOWING = (
    "ALACRITTY_WINDOW_ID",
    "GHOSTTY_RESOURCES_DIR",
    "ITERM_SESSION_ID",
    "KITTY_WINDOW_ID",
    "KONSOLE_VERSION",
    "VTE_VERSION",
    "WEZTERM_PANE",
    "WT_SESSION",
)
"""Variables set by terminals that break rows anew when their window becomes narrower."""


def reflows() -> bool:
    """Return whether the terminal is known to break rows anew when its window becomes narrower."""
    if os.environ.get("TERM", "").startswith(("screen", "tmux")):
        return "TMUX" in os.environ and "STY" not in os.environ
    return "XTERM_VERSION" not in os.environ and any(os.environ.get(name) for name in _REFLOWING)


class _Reader(PosixStdinReader):
    """Reads without blocking; a lost terminal reads as closed, and bytes that are no text as U+FFFD."""

    def __init__(self, stdin: TextIO) -> None:
        super().__init__(stdin.fileno(), "replace", stdin.encoding)

    def read(self, count: int = 1024) -> str:
        if self.closed:
            return ""
        try:
            if not select.select([self.stdin_fd], [], [], 0)[0]:
                return ""
            data = os.read(self.stdin_fd, count)
        except BlockingIOError:
            return ""
        except OSError:  # EIO: the terminal is gone
            data = b""
        self.closed = not data
        return self._stdin_decoder.decode(data)


class TerminalInput(Vt100Input):
    """What is typed. Raw mode can be left for a while."""

    def __init__(self, stdin: TextIO) -> None:
        super().__init__(stdin)
        self.stdin_reader = _Reader(stdin)
        self._mode = raw_mode(stdin.fileno())

    def raw_mode(self) -> raw_mode:
        """Return the context manager of raw mode, which restores what was there when this object was made."""
        return self._mode


class TerminalOutput(Vt100_Output):
    """What is written, one update at a time, without waiting for a terminal that does not take it.

    `drained` is called when it has taken all after a while. Once it is gone, `lost` is called and nothing
    written. Asks for no cursor positions, and leaves bracketed paste alone when the prompt is erased.
    """

    def __init__(self, stdout: TextIO, drained: Callable[[], None], lost: Callable[[], None]) -> None:
        depth = ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else ColorDepth.DEPTH_4_BIT
        super().__init__(stdout, self._measure, default_color_depth=depth, enable_cpr=False)
        self._drained = drained
        self._lost = lost
        self._descriptor = _open_nonblocking(stdout.fileno())
        self._unsent = bytearray()
        self._rang_at = -math.inf
        self._is_begun = self._is_held = self._is_lost = False

    def _measure(self) -> Size:
        try:
            columns, rows = os.get_terminal_size(self.fileno())
        except OSError:
            columns = rows = 0
        return Size(rows=rows or 24, columns=columns or 80)

    def is_full(self) -> bool:
        """Return whether the terminal has not taken all that was written yet."""
        return bool(self._unsent)

    def begin(self) -> None:
        """Have the terminal mark what is pasted; clear what it echoed of the text typed before."""
        self._is_begun = True
        self.write_raw("\r\x1b[K")
        super().enable_bracketed_paste()

    def end(self) -> None:
        """Undo `begin`, show the cursor, and write what is left, for `_LAST_SECONDS` at most."""
        if self._is_begun:
            self._is_begun = False
            asyncio.get_running_loop().remove_writer(self._descriptor)
        super().disable_bracketed_paste()
        self.reset_attributes()
        self.show_cursor()
        self.flush()

    def enable_bracketed_paste(self) -> None:
        """Do nothing: `begin` did."""

    def disable_bracketed_paste(self) -> None:
        """Do nothing: `end` will."""

    def bell(self) -> None:
        """Ring the bell, once a second at most; not while the terminal is full."""
        now = time.monotonic()
        if now - self._rang_at >= _BELL_SECONDS:
            self._rang_at = now
            self.write_sequence("\a")

    def write_sequence(self, sequence: str) -> None:
        """Write a sequence that moves nothing; drop it while the terminal is full, as many would pile up."""
        if not self.is_full():
            self.write_raw(sequence)
            self.flush()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep what is written for a later flush."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False

    def flush(self) -> None:
        """Write everything at once, with "?" for what `encode` replaces; later if the terminal is full."""
        if self._is_held:
            return
        was_full = self.is_full()
        self._unsent += encode("".join(self._buffer), self.encoding())
        self._buffer.clear()
        if not self._is_begun:
            self._send_last()
        elif not was_full:
            self._send()
            if self.is_full():
                asyncio.get_running_loop().add_writer(self._descriptor, self._send_more)

    def _send(self) -> None:
        try:
            while self._unsent and not self._is_lost:
                del self._unsent[: os.write(self._descriptor, self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            self._is_lost = True
            self._lost()
        self._unsent.clear()

    def _send_more(self) -> None:
        self._send()
        if not self.is_full():
            asyncio.get_running_loop().remove_writer(self._descriptor)
            self._drained()

    def _send_last(self) -> None:
        self._send()
        while self.is_full() and select.select([], [self._descriptor], [], _LAST_SECONDS)[1]:
            self._send()
        self._unsent.clear()


def _open_nonblocking(descriptor: int) -> int:
    """Return a descriptor of its own for the terminal, as others share the mode of the given one."""
    try:
        return os.open(os.ttyname(descriptor), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:  # it has no name here
        return descriptor
