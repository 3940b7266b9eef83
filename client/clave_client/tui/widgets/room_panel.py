"""What is at the right, on demand: the members of a room, or what is agreed in it and its code."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from clave_client.errors import ClientError
from clave_client.rpc import methods as m
from clave_client.tui.talk import ScreenConversation
from clave_client.ui.display import room_info_lines, warning_word
from clave_client.values import MemberInfo, RoomInfo

__all__ = ["RoomPanel"]


class RoomPanel(VerticalScroll):
    """Members or info of the current room; `shows` is "members", "info" or "" for neither."""

    def __init__(self) -> None:
        super().__init__(can_focus=False)
        self.shows = ""
        self.display = False
        self._info: RoomInfo | None = None
        self._body = Static()

    def compose(self) -> ComposeResult:
        """Put the text in."""
        yield self._body

    @property
    def info(self) -> RoomInfo | None:
        """The room's info, if that is shown."""
        return self._info if self.shows == "info" else None

    def choose(self, what: str) -> None:
        """Show "members" or "info", or nothing if that is shown already."""
        self.shows = "" if what == self.shows else what
        self.display = bool(self.shows)

    async def ask(self, talk: ScreenConversation) -> None:
        """Ask for what is shown, and show it as it is now."""
        if talk.room is None or not self.shows:
            self.clear()
            return
        room = talk.room.hex()
        try:
            if self.shows == "members":
                members = await talk.session.ask(m.ListMembers(room=room))
                self.show_members(members, talk.account)
            else:
                info = await talk.session.ask(m.GetRoomInfo(room=room))
                self.show_info(info, (await talk.session.ask(m.GetProfile())).relay)
        except ClientError:
            self.clear()  # the room has ended meanwhile

    def show_members(self, members: Sequence[MemberInfo], me: bytes) -> None:
        """Show people with their roles, what is known of their keys, and their devices."""
        lines: list[Content] = [Content.styled("members", "bold")]
        people: dict[bytes, list[MemberInfo]] = {}
        for member in members:
            people.setdefault(member.person.account, []).append(member)
        for account, devices in people.items():
            person = devices[0].person
            trust = "you" if account == me else warning_word(person) or "verified"
            style = "$text-warning" if trust in ("unverified", "other key") else "$text-success"
            online = any(each.is_online for each in devices)
            lines.append(
                Content.assemble(
                    ("* " if online else "  ", "$text-success"), (person.name, "bold"), f" {devices[0].role}"
                )
            )
            lines.append(Content.assemble("  ", (trust, style), "" if online else " offline"))
            for each in devices:
                state = "online" if each.is_online else "offline"
                lines.append(Content.styled(f"  {each.person.device_name}: {state}", "$text-muted"))
        self._body.update(Content("\n").join(lines))

    def show_info(self, info: RoomInfo, relay: str) -> None:
        """Show how a room is encrypted, who may do what there, and the words to compare."""
        self._info = info
        lines = [
            Content.styled("room", "bold"),
            *map(Content, room_info_lines(info)),
            Content(f"relay: {relay}"),
        ]
        self._body.update(Content("\n\n").join(lines))

    def clear(self) -> None:
        """Show nothing, as there is no room."""
        self._info = None
        self._body.update("")
