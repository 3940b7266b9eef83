"""The full-screen program. Knows no sockets, no MLS and no SQL: all goes through a session."""

from __future__ import annotations

from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from clave_client.rpc.session import Session
from clave_client.tui.screens.main import MainScreen

__all__ = ["ClaveApp"]


class ClaveApp(App[None]):
    """One window on a profile. `room` is where to talk, None for the last one.

    With `rings`, messages ring the bell. `failure` is what ended it, for whoever runs it to raise.
    """

    TITLE = "clave"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "leave", "quit", priority=True)]

    def __init__(self, session: Session, room: str | None, *, rings: bool = True) -> None:
        super().__init__()
        self._session = session
        self._room = room
        self._rings = rings
        self.failure: Exception | None = None

    def on_mount(self) -> None:
        """Open the main screen."""
        self.push_screen(MainScreen(self._session, self._room, self._fail, self._alert))

    def _alert(self) -> None:
        if self._rings:
            self.bell()

    def _handle_exception(self, error: Exception) -> None:
        """End because of a defect, without Textual's traceback: that shows the values of variables."""
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        self.failure = self.failure or error
        self._return_code = 1
        self._close_messages_no_wait()

    def _fail(self, error: Exception) -> None:
        """End because of an error; whoever runs the app raises it."""
        self.failure = error
        self.exit(return_code=1)

    async def action_leave(self) -> None:
        """Leave as `exit` does."""
        if isinstance(self.screen, MainScreen):
            await self.screen.leave()
