"""Runs the full screen on a session. Knows no options."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from clave_client.errors import ClientError, UsageError
from clave_client.rpc.session import Session
from clave_client.tui.app import ClaveApp
from clave_client.tui.away import ask_secret
from clave_client.tui.keymap import FILE_NAME, load_keys
from clave_client.tui.screens.main import MainScreen
from clave_client.tui.themes import DARK
from clave_client.ui.line_mode import OWNER_ENDED, OpenSession
from clave_host.private_files import write_private

__all__ = ["chosen_theme", "run_screen"]

_THEME_NAME: Final = "theme"
"""A file in the folder of all profiles, with the name of the theme."""

_MOST_THEME_BYTES: Final = 100
_COLLECT_AFTER: Final = (2_500, 1, 1_000_000)
"""Objects made, and not freed, between two runs of the garbage collector among young ones; and after how many
such runs one is among older ones, too: so few that each takes some 3 ms, as keys wait for it."""

_REST_SECONDS: Final = 0.3
_MUCH: Final = 20
_TOO_MUCH: Final = 100
"""All objects are looked through, which can take 0.1 s, after `_MUCH` runs among older ones once no key was
pressed for `_REST_SECONDS`, and after `_TOO_MUCH` in any case."""

_MOST_KEEP_SECONDS: Final = 1.0


async def run_screen(
    make_session: OpenSession,
    room: str | Callable[[Session], Awaitable[str]] | None,
    *,
    home: Path,
    rings: bool = True,
    must_own: bool = False,
) -> int:
    """Talk on the whole terminal until the user leaves; return the exit status.

    `room` is where to talk, or joins it first, None for the last one; with `rings`, messages ring the bell.
    `home` is the folder of all profiles, with the user's keys and theme. With `must_own`, another process may
    not hold the profile, as that one has connected already. Raises `ClientError` when it cannot go on.
    """
    keys = load_keys(home / FILE_NAME)
    window = _Window()
    session = make_session(
        patient=True, on_stall=window.stalled, on_attached=window.attached, ask=window.ask_passphrase
    )
    async with session:
        if must_own and not session.is_owner:
            raise UsageError(
                f"process {session.info.process} holds this profile and is connected already; end it,"
                " then give --proxy again"
            )
        window.app = ClaveApp(
            session,
            room,
            rings=rings,
            keys=keys,
            theme=chosen_theme(home),
            keep_theme=partial(_keep_theme, home),
        )
        gc.freeze()  # what was imported stays
        gc.set_threshold(*_COLLECT_AFTER)
        collecting = asyncio.create_task(_collect_at_rest(window.app))
        try:
            await window.app.run_to_end()
        finally:
            collecting.cancel()
            await window.keep_draft()
        return window.app.return_code or 0


async def _collect_at_rest(app: ClaveApp) -> None:
    while True:
        await asyncio.sleep(_REST_SECONDS)
        runs = gc.get_count()[2]
        if runs >= (_MUCH if app.seconds_since_key > _REST_SECONDS else _TOO_MUCH):
            gc.collect()


def chosen_theme(home: Path) -> str:
    """Return the name of the theme that the user chose, or of the dark one."""
    try:
        return (home / _THEME_NAME).read_bytes()[:_MOST_THEME_BYTES].decode(errors="replace").strip()
    except OSError:
        return DARK.name


def _keep_theme(home: Path, name: str) -> None:
    with contextlib.suppress(OSError):  # a full disk: it counts until the program ends
        write_private(home / _THEME_NAME, name.encode())


class _Window:
    """What the session tells an app that is made after it."""

    def __init__(self) -> None:
        self.app: ClaveApp | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def _main(self) -> MainScreen | None:
        return self.app.main if self.app is not None and self.app.is_running else None

    def stalled(self, process: int) -> None:
        main = self._main()
        if main is not None:
            main.talk.owner_stalled(process)

    def attached(self) -> None:
        main = self._main()
        if main is not None:
            task = asyncio.create_task(self._refresh(main))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _refresh(self, main: MainScreen) -> None:
        with contextlib.suppress(ClientError):  # which whoever waits for the next event is told of
            await main.talk.refresh()

    async def keep_draft(self) -> None:
        """Keep what was written and not sent, also when a signal ended the program."""
        main = None if self.app is None else self.app.main
        if main is not None and not main.talk.finished:
            with contextlib.suppress(ClientError, TimeoutError):
                async with asyncio.timeout(_MOST_KEEP_SECONDS):
                    await main.talk.keep_draft(main.text())

    async def ask_passphrase(self) -> str:
        return "" if self.app is None else await ask_secret(self.app, OWNER_ENDED)
