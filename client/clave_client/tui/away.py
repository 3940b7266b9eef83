"""Leaves the terminal to something else for a while: an editor, plain text to copy, a question, a shell.

The program goes on meanwhile: as the owner of a profile it serves other windows and the relay.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from textual.app import App, SuspendNotSupported

from clave_client.errors import UsageError
from clave_client.tui.base_app import program_of
from clave_client.ui.display import Line, plain
from clave_client.ui.terminal.secret import SecretQuestion
from clave_client.ui.warnings import encoded

__all__ = ["ask_secret", "edit_text", "show_bare"]

_EDITOR: Final = "vi"
_END: Final = "--- Enter goes back to clave ---"


@asynccontextmanager
async def _away(app: App[Any]) -> AsyncIterator[None]:
    """Give the terminal back; nothing is drawn meanwhile. Raises `UsageError` without a terminal."""
    failure: BaseException | None = None
    async with program_of(app).away:  # an editor and a question must not both read the terminal
        try:
            with app.batch_update(), app.suspend():
                try:
                    yield
                except BaseException as error:  # noqa: BLE001  (raised below, once Textual is back)
                    failure = error
        except SuspendNotSupported:
            raise UsageError("this takes a terminal") from None
        app.refresh(layout=True)
    if failure is not None:
        raise failure


async def edit_text(app: App[Any], text: str) -> str:
    """Have the user edit a text in $VISUAL or $EDITOR, and return it. Raises `UsageError`.

    The text is in a file that only the user can read, in memory where the system has a folder for that.
    """
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or _EDITOR)
    runtime = os.environ.get("XDG_RUNTIME_DIR") or None  # in memory
    with tempfile.TemporaryDirectory(prefix="clave-", dir=runtime) as place:
        file = Path(place) / "message.md"
        file.write_text(text, encoding="utf-8")
        async with _away(app):
            try:
                process = await asyncio.create_subprocess_exec(*command, str(file))
            except OSError as error:
                raise UsageError(
                    f"cannot run the editor {command[0]}: {error.strerror}; set EDITOR"
                ) from None
            status = await process.wait()
        if status:
            raise UsageError(f"the editor {command[0]} ended with status {status}; the text is as before")
        try:
            edited = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise UsageError("what the editor wrote cannot be read as UTF-8; the text is as before") from None
    return edited.removesuffix("\n")


async def show_bare(app: App[Any], lines: Sequence[Line]) -> None:
    """Show lines without anything beside them, not wrapped, until Enter. Raises `UsageError`."""
    async with _away(app):
        target = sys.stdout.fileno()
        text = b"".join(encoded(plain(line)) for line in lines) + encoded(_END)
        _write_all(target, text)
        with contextlib.suppress(OSError):
            await _line_read()


async def ask_secret(app: App[Any], question: str) -> str:
    """Ask for a text that is not shown; "" if none is given. Raises `UsageError`."""
    async with _away(app):
        return await SecretQuestion(question, source=sys.stdin.fileno(), target=sys.stdout.fileno()).ask()


def _write_all(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]


async def _line_read() -> None:
    """Wait until a line was typed."""
    loop = asyncio.get_running_loop()
    source, ready = sys.stdin.fileno(), asyncio.Event()
    loop.add_reader(source, ready.set)
    try:
        await ready.wait()
        os.read(source, 4096)
    finally:
        loop.remove_reader(source)
