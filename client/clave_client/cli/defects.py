"""Where a defect of `clave` is reported: one line on standard error, and a file in the profile's folder.

Knows no command.
"""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clave_host.program import run_program

if TYPE_CHECKING:
    import asyncio

__all__ = ["Program", "note_folder", "watch_loop"]


class Program(click.Group):
    """The group as a program, which ends without a traceback."""

    def main(self, *arguments: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run it, and exit if it is a program by itself."""
        folders: list[Path] = []
        run = partial(super().main, *arguments, standalone_mode=standalone_mode, obj=folders, **extra)
        return run_program("clave", run, folders, prefix="clave: ") if standalone_mode else run()


def note_folder(folder: Path) -> None:
    """Have a report of what goes wrong from here on written to a profile's folder."""
    _folders().append(folder)


def watch_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Report what fails in a task or thread that nobody waits for: once, the first."""
    told: list[BaseException] = []

    def tell(error: BaseException | None) -> None:
        if error is not None and not told:
            from clave_client.ui.warnings import print_warning
            from clave_host.crash_report import crash_line

            told.append(error)
            print_warning(crash_line("clave", error, folders))

    folders = _folders()
    loop.set_exception_handler(lambda _, context: tell(context.get("exception")))
    threading.excepthook = lambda arguments: tell(arguments.exc_value)


def _folders() -> list[Path]:
    context = click.get_current_context(silent=True)
    found = None if context is None else context.find_root().obj
    return found if isinstance(found, list) else []
