"""The demo in lines, for pipes and plain terminals: prints the chat beside what the relay sees of it."""

from __future__ import annotations

import shutil
import sys

from clave_client.formats.content import MAX_BODY_BYTES
from clave_client.ui.demo_script import Play, played
from clave_client.ui.input_lines import read_byte_lines

__all__ = ["run_demo"]

_CHAT_WIDTH = 36


class _Columns:
    """Prints two columns: the chat, and what the relay shows its operator."""

    def __init__(self) -> None:
        self._on_terminal = sys.stdout.isatty()
        self.pace = 0.7 if self._on_terminal else 0.0

    def wrote(self, name: str, text: str) -> None:
        self._row(f"{name:>6}  {text}", "")

    def mirrored(self, row: str) -> None:
        self._row("", row)

    def _row(self, left: str, right: str) -> None:
        row = f"{left:<{_CHAT_WIDTH}} | {right}".rstrip()
        if self._on_terminal:
            row = row[: shutil.get_terminal_size().columns]
        print(row, flush=True)  # noqa: T201 (printing is its purpose)


async def run_demo() -> None:
    """Run the scripted conversation; on a terminal, let the user type afterwards."""
    columns = _Columns()
    columns.wrote("", "what people say")
    async with played(columns) as play:
        await play.converse()
        if sys.stdin.isatty() and sys.stdout.isatty():
            columns.wrote("", "you are red now; exit ends")
            await _type_along(play, columns)


async def _type_along(play: Play, columns: _Columns) -> None:
    async for line in read_byte_lines(sys.stdin.fileno(), MAX_BODY_BYTES):
        text = (line or b"").decode(errors="replace")
        if text.strip() == "exit":
            return
        if text.strip():
            for heard in await play.send("red", text):
                columns.wrote("green", f"reads: {heard}")
