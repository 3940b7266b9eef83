"""What the subcommands about roles do. Knows no options."""

from __future__ import annotations

from clave_client.errors import UsageError
from clave_client.rpc import methods as m
from clave_client.rpc.method_base import Change
from clave_client.rpc.session import Session
from clave_client.ui.display import policy_text
from clave_client.ui.json_output import line_json
from clave_client.ui.role_words import ACTIONS, POLICY_ROLES, ROLES, waiting_text
from clave_client.ui.warnings import print_out, print_warning

__all__ = ["ban", "set_policy", "set_role", "set_topic", "unban"]


async def _change(session: Session, request: Change[bool]) -> bool:
    counts = await session.ask(request)
    if not counts:
        print_warning(waiting_text())
    return counts


async def set_role(session: Session, room: str, name: str, role: str, key: str, *, as_json: bool) -> None:
    """Give a member a role. Raises `UsageError`."""
    counts = await _change(session, m.SetRole(room=room, name=name, role=ROLES[role], key=key))
    if as_json:
        print_out(line_json(room=room, name=name, role=role, counts=counts))


async def set_policy(session: Session, room: str, action: str, role: str, key: str, *, as_json: bool) -> None:
    """Have an action take a role, or without one print which it takes. Raises `UsageError`."""
    if action:
        if not role:
            raise UsageError("say which role it takes: member, admin or owner")
        policy = m.SetPolicy(room=room, action=ACTIONS[action], role=POLICY_ROLES[role], key=key)
        await _change(session, policy)
    info = await session.ask(m.GetRoomInfo(room=room))
    if as_json:
        print_out(line_json(room=info.title, policies=info.policies))
        return
    for each, needed in info.policies.items():
        print_out(policy_text(each, needed))


async def set_topic(session: Session, room: str, topic: str | None, key: str, *, as_json: bool) -> None:
    """Set what a room is about, or with None print that. Raises `UsageError`."""
    if topic is not None:
        await _change(session, m.SetTopic(room=room, topic=topic, key=key))
    info = await session.ask(m.GetRoomInfo(room=room))
    if as_json:
        print_out(line_json(room=info.title, topic=info.topic))
    elif info.topic:
        print_out(info.topic)


async def ban(session: Session, room: str, name: str, key: str, *, as_json: bool) -> None:
    """Remove somebody for good, or without a name print who is banned. Raises `UsageError`."""
    if name:
        await _change(session, m.Ban(room=room, name=name, key=key))
    info = await session.ask(m.GetRoomInfo(room=room))
    if as_json:
        print_out(line_json(room=info.title, banned=list(info.banned)))
        return
    for each in info.banned:
        print_out(each)


async def unban(session: Session, room: str, name: str, key: str, *, as_json: bool) -> None:
    """Let a banned person be invited again. Raises `UsageError`."""
    counts = await _change(session, m.Unban(room=room, name=name, key=key))
    if as_json:
        print_out(line_json(room=room, name=name, counts=counts))
