"""What the subcommands about links do. Knows no options."""

from __future__ import annotations

from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.ui.json_output import line_json
from clave_client.ui.link_text import joined_lines, link_line, made_lines, qr_lines
from clave_client.ui.room_work import change_room
from clave_client.ui.warnings import print_out, print_warning
from clave_client.values import LinkInfo, RoomInfo

__all__ = ["join", "list_links", "make_link", "print_joined", "revoke"]


async def make_link(
    session: Session, room: str, *, seconds: int, uses: int, qr: bool, key: str, as_json: bool
) -> None:
    """Make a link to a room and print it; only the line to send goes to standard output."""
    info = await session.ask(m.GetRoomInfo(room=room))
    made = await session.ask(m.MakeLink(room=room, seconds=seconds, uses=uses, key=key))
    if as_json:
        fields = {"room": info.title, "link": made.text, "id": made.id, "not_after": made.not_after}
        print_out(line_json(**fields, uses=made.uses, counts=made.counts))
        return
    first, line, *others = made_lines(made, info.title)
    print_warning(first)
    if qr:
        for row in qr_lines(made.text):
            print_out(row)
    print_out(line)
    for each in others:
        print_warning(each)


async def list_links(session: Session, room: str, *, as_json: bool) -> None:
    """Print the links of a room."""
    for link in await session.ask(m.ListLinks(room=room)):
        print_out(_link_json(link) if as_json else link_line(link))


def _link_json(link: LinkInfo) -> str:
    return line_json(
        id=link.id, by=link.by, not_after=link.not_after, uses=link.uses, expired=link.is_expired
    )


async def revoke(session: Session, room: str, which: str, key: str, *, as_json: bool) -> None:
    """Revoke links of a room."""
    counts = await change_room(session, m.RevokeLinks(room=room, link=which, key=key))
    if as_json:
        print_out(line_json(room=room, link=which, counts=counts))


async def join(session: Session, link: str, key: str) -> RoomInfo:
    """Join a room by a link; return the summary of the room."""
    room = await session.ask(m.JoinLink(link=link, key=key))
    return await session.ask(m.GetRoomInfo(room=room.id.hex()))


def print_joined(info: RoomInfo, *, as_json: bool) -> None:
    """Print that this device joined a room."""
    if as_json:
        fields = {"room": info.title, "id": info.id.hex(), "by": info.joining}
        print_out(line_json(**fields, unconfirmed=info.unconfirmed))
        return
    for line in joined_lines(info):
        print_out(line)
