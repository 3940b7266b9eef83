"""The full-screen program. Knows no sockets, no MLS and no SQL: all goes through a session."""

from __future__ import annotations

from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from clave_client.errors import ClientError
from clave_client.rpc.session import Session
from clave_client.tui.screens.main import MainScreen

__all__ = ["ClaveApp"]


class ClaveApp(App[None]):
    """One window on a profile. `room` is where to talk, None for the last one."""

    TITLE = "clave"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "leave", "quit", priority=True)]

    def __init__(self, session: Session, room: str | None) -> None:
        super().__init__()
        self._session = session
        self._room = room
        self.failure: ClientError | None = None

    def on_mount(self) -> None:
        """Open the main screen."""
        self.push_screen(MainScreen(self._session, self._room, self._fail))

    def _fail(self, error: ClientError) -> None:
        """End because of an error; whoever runs the app raises it."""
        self.failure = error
        self.exit(return_code=1)

    async def action_leave(self) -> None:
        """Leave as `exit` does."""
        if isinstance(self.screen, MainScreen):
            await self.screen.leave()
