"""Asks for a text that is not shown, on a terminal in its usual mode, without blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
from typing import Final

__all__ = ["SecretQuestion"]

_READ_BYTES: Final = 4096
_LOCAL_MODES: Final = 3
"""Where `termios.tcgetattr` has the local modes."""


class SecretQuestion:
    """A question on the terminal at the file descriptors `source` and `target`."""

    def __init__(self, question: str, *, source: int, target: int) -> None:
        self._question = question
        self._source = source
        self._target = target
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def ask(self) -> str:
        """Show the question and return the line that is typed; "" for none, and after `cancel`."""
        loop = asyncio.get_running_loop()
        self.show()
        loop.add_reader(self._source, self._read)
        try:
            return await self._answer
        finally:
            loop.remove_reader(self._source)
            self.hide()
            with contextlib.suppress(OSError):
                os.write(self._target, b"\n")

    def cancel(self) -> None:
        """Have `ask` return ""."""
        if not self._answer.done():
            self._answer.set_result("")

    def show(self) -> None:
        """Show the question, and from now on nothing of what is typed."""
        self._echo(False)
        with contextlib.suppress(OSError):
            os.write(self._target, self._question.encode())

    def hide(self) -> None:
        """Show again what is typed."""
        self._echo(True)

    def _echo(self, shown: bool) -> None:
        with contextlib.suppress(termios.error):
            modes = termios.tcgetattr(self._source)
            local = modes[_LOCAL_MODES]
            modes[_LOCAL_MODES] = local | termios.ECHO if shown else local & ~termios.ECHO
            termios.tcsetattr(self._source, termios.TCSADRAIN, modes)

    def _read(self) -> None:
        try:
            line = os.read(self._source, _READ_BYTES)  # one line: the terminal edits it
        except OSError:
            line = b""
        if not self._answer.done():
            self._answer.set_result(line.decode(errors="replace").removesuffix("\n"))
