"""The full-screen program. Knows no sockets, no MLS and no SQL: all goes through a session."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from clave_client.rpc.session import Session
from clave_client.tui.base_app import BaseApp
from clave_client.tui.keymap import Keys
from clave_client.tui.messages import ThemeChosen
from clave_client.tui.screens.main import MainScreen
from clave_client.tui.themes import DARK

__all__ = ["ClaveApp"]

_BELL_SECONDS: Final = 1.0
"""Messages that come within this time ring once."""


class ClaveApp(BaseApp[None]):
    """One window on a profile. `room` is where to talk, or joins it first, None for the last one.

    With `rings`, messages ring the bell. `keys` are those in use. `theme` is the name of one of
    `available_themes`; `keep_theme` is called with the one that the user chooses.
    """

    TITLE = "clave"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "leave", show=False, id="main.leave")]

    def __init__(
        self,
        session: Session,
        room: str | Callable[[Session], Awaitable[str]] | None,
        *,
        rings: bool = True,
        keys: Keys | None = None,
        theme: str = DARK.name,
        keep_theme: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(theme)
        self._session = session
        self._room = room
        self._rings = rings
        self._rang_at = 0.0
        self._keep_theme = keep_theme
        self.keys = keys or Keys()
        self.main: MainScreen | None = None
        """The main screen, once it is open."""
        self.set_keymap(self.keys.changed)

    def on_mount(self) -> None:
        """Open the main screen."""
        self.main = MainScreen(self._session, self._room, self._fail, self._alert, self.keys)
        self.push_screen(self.main)

    def action_leave(self) -> None:
        """Leave as `exit` does, also from another screen than the main one."""
        if self.main is not None:
            self.main.do("leave")

    def _alert(self) -> None:
        now = time.monotonic()
        if self._rings and now - self._rang_at >= _BELL_SECONDS:
            self._rang_at = now
            self.bell()

    def on_theme_chosen(self, event: ThemeChosen) -> None:
        """Keep the theme that the user chose."""
        self.theme = event.name
        self._keep_theme(event.name)

    def _fail(self, error: Exception) -> None:
        """End because of an error; whoever runs the app raises it."""
        self.failure = error
        self.exit(return_code=1)
