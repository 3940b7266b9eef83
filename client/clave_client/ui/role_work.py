"""What the subcommands about roles do. Knows no options."""

from __future__ import annotations

from clave_client.errors import UsageError
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.ui.display import plain, policy_lines
from clave_client.ui.json_output import line_json, message_fields
from clave_client.ui.message_lines import message_lines
from clave_client.ui.room_work import change_room
from clave_client.ui.warnings import print_out

__all__ = ["ban", "pin", "set_policy", "set_role", "set_topic", "unban", "unpin"]


async def set_role(session: Session, room: str, name: str, role: str, key: str, *, as_json: bool) -> None:
    """Give a member a role. Raises `UsageError`."""
    counts = await change_room(session, m.SetRole(room=room, name=name, role=role, key=key))
    if as_json:
        print_out(line_json(room=room, name=name, role=role, counts=counts))


async def set_policy(session: Session, room: str, action: str, role: str, key: str, *, as_json: bool) -> None:
    """Have an action take a role, or without one print which it takes. Raises `UsageError`."""
    if action:
        if not role:
            raise UsageError("say which role it takes: member, admin or owner")
        policy = m.SetPolicy(room=room, action=action, role=role, key=key)
        await change_room(session, policy)
    info = await session.ask(m.GetRoomInfo(room=room))
    if as_json:
        fields = {"add": info.may_add, "remove": info.may_remove, "edit": info.may_edit}
        print_out(line_json(room=info.title, **fields, link=info.may_link, pin=info.may_pin))
        return
    for line in policy_lines(info):
        print_out(line)


async def set_topic(session: Session, room: str, topic: str | None, key: str, *, as_json: bool) -> None:
    """Set what a room is about, or with None print that. Raises `UsageError`."""
    if topic is not None:
        await change_room(session, m.SetTopic(room=room, topic=topic, key=key))
    info = await session.ask(m.GetRoomInfo(room=room))
    if as_json:
        print_out(line_json(room=info.title, topic=info.topic))
    elif info.topic:
        print_out(info.topic)


async def pin(session: Session, room: str, message: str, key: str, *, as_json: bool) -> None:
    """Pin a message, or with none print those that are pinned. Raises `UsageError`."""
    if message:
        counts = await change_room(session, m.PinMessage(room=room, message=message, key=key))
        if as_json:
            print_out(line_json(room=room, message=message, counts=counts))
        return
    found = await session.ask(m.FindRoom(room=room))
    profile = await session.ask(m.GetProfile())
    members = await session.ask(m.ListMembers(room=room))
    names = {each.person.account: each.person.name for each in members}
    for each in await session.ask(m.ListPinned(room=room)):
        if as_json:
            print_out(line_json(**message_fields(each, found.title)))
            continue
        for line in message_lines(each, me=profile.account, names=names, numbered=True):
            print_out(plain(line))


async def unpin(session: Session, room: str, message: str, key: str, *, as_json: bool) -> None:
    """Take the pin of a message away. Raises `UsageError`."""
    counts = await change_room(session, m.UnpinMessage(room=room, message=message, key=key))
    if as_json:
        print_out(line_json(room=room, message=message, counts=counts))


async def ban(session: Session, room: str, name: str, key: str, *, as_json: bool) -> None:
    """Remove somebody for good, or without a name print who is banned. Raises `UsageError`."""
    if name:
        await change_room(session, m.Ban(room=room, name=name, key=key))
    info = await session.ask(m.GetRoomInfo(room=room))
    if as_json:
        print_out(line_json(room=info.title, banned=list(info.banned)))
        return
    for each in info.banned:
        print_out(each)


async def unban(session: Session, room: str, name: str, key: str, *, as_json: bool) -> None:
    """Let a banned person be invited again. Raises `UsageError`."""
    counts = await change_room(session, m.Unban(room=room, name=name, key=key))
    if as_json:
        print_out(line_json(room=room, name=name, counts=counts))
