"""The terminal as Textual uses it, mended where it loses modes or sizes. Knows no app."""

from __future__ import annotations

import os
from typing import Final

from textual.drivers.linux_driver import LinuxDriver

__all__ = ["TerminalDriver"]

_COLUMNS: Final = 80
_ROWS: Final = 24
"""The size of a terminal that does not say it."""


class TerminalDriver(LinuxDriver):
    """A driver that can be stopped by any signal, and asks the terminal itself for its size.

    Textual believes COLUMNS and LINES, which a program that exports them does not change at a resize.
    Textual restarts itself at SIGCONT, also when SIGSTOP, which nobody can handle, has stopped it while it
    had the terminal: then it would keep its own modes as those to go back to.
    """

    def _get_terminal_size(self) -> tuple[int, int]:
        try:
            columns, rows = os.get_terminal_size(self.fileno)
        except OSError:
            return super()._get_terminal_size()
        return columns or _COLUMNS, rows or _ROWS

    def _sigcont_application(self, *_: object) -> None:
        if self._auto_restart:
            if not self._must_signal_resume:  # no SIGTSTP came before: it has the terminal still
                self.suspend_application_mode()
            self.resume_application_mode()
