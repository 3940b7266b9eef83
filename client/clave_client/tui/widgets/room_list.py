"""The rooms at the left, with what is new in each."""

from __future__ import annotations

import time
from collections.abc import Iterable

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from clave_client.rpc.values import RoomSummary
from clave_client.tui.messages import RoomChosen
from clave_client.values import Phase

__all__ = ["RoomList"]


class RoomList(OptionList):
    """The rooms; choosing one posts `RoomChosen`."""

    def show(self, rooms: Iterable[RoomSummary], current: bytes | None) -> None:
        """Show these rooms; `current` is the one that is open."""
        self.clear_options()
        for place, room in enumerate(rooms):
            self.add_option(Option(_words(room), id=room.id.hex()))
            if room.id == current:
                self.highlighted = place

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Tell which room was chosen."""
        event.stop()
        if event.option_id is not None:
            self.post_message(RoomChosen(bytes.fromhex(event.option_id)))


def _words(room: RoomSummary) -> Content:
    """Return the line of a room; a title is never markup."""
    words = [Content.styled(room.title, "bold" if room.unread else "")]
    if room.phase is Phase.INVITED:
        words.append(Content.styled(" invited", "$text-warning"))
    if room.unread:
        mentions = f" @{room.mentions}" if room.mentions else ""
        words.append(Content.styled(f" {room.unread}{mentions}", "$text-accent"))
    if room.muted_until > time.time():
        words.append(Content.styled(" muted", "$text-muted"))
    return Content.assemble(*words)
