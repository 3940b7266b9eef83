"""Runs the full screen on a session. Knows no options."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable

from clave_client.errors import ClientError, UsageError
from clave_client.rpc.session import Session
from clave_client.tui.app import ClaveApp
from clave_client.tui.screens.main import MainScreen

__all__ = ["run_screen"]


async def run_screen(
    make_session: Callable[..., Session], room: str | None, *, rings: bool, must_own: bool
) -> int:
    """Talk on the whole terminal until the user leaves; return the exit status.

    `room` is where to talk, None for the last one; with `rings`, messages ring the bell. With `must_own`,
    another process may not hold the profile, as that one has connected already. Raises `ClientError` when it
    cannot go on.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("--screen takes a terminal; without it clave chat reads and prints lines")
    window = _Window()
    session = make_session(patient=True, on_stall=window.stalled, on_attached=window.attached)
    async with session:
        if must_own and not session.is_owner:
            raise UsageError(
                f"process {session.info.process} holds this profile and is connected already; end it,"
                " then give --proxy again"
            )
        window.app = ClaveApp(session, room, rings=rings)
        await window.app.run_async()
        if window.app.failure is not None:
            raise window.app.failure
        return window.app.return_code or 0


class _Window:
    """What the session tells an app that is made after it."""

    def __init__(self) -> None:
        self.app: ClaveApp | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def _screen(self) -> MainScreen | None:
        screen = self.app.screen if self.app is not None and self.app.is_running else None
        return screen if isinstance(screen, MainScreen) else None

    def stalled(self, process: int) -> None:
        screen = self._screen()
        if screen is not None:
            screen.talk.owner_stalled(process)

    def attached(self) -> None:
        screen = self._screen()
        if screen is not None:
            task = asyncio.create_task(self._refresh(screen))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _refresh(self, screen: MainScreen) -> None:
        with contextlib.suppress(ClientError):  # which whoever waits for the next event is told of
            await screen.talk.refresh()
