"""The chat commands about roles: who may do what in a room. Knows the conversation."""

from __future__ import annotations

import secrets
from typing import Final

from clave_client.errors import UsageError
from clave_client.rpc import methods as m
from clave_client.ui.command import Command, require
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import note, policy_lines

__all__ = ["ROLE_COMMANDS"]


async def _role(talk: Conversation, words: str) -> None:
    name, _, role = require(words, "/role NAME owner|admin|member|guest").partition(" ")
    room, key = talk.current(), secrets.token_hex(16)
    await talk.session.ask(m.SetRole(room=room, name=name, role=role.strip(), key=key))


async def _policy(talk: Conversation, words: str) -> None:
    if not words:
        info = await talk.session.ask(m.GetRoomInfo(room=talk.current()))
        for line in policy_lines(info):
            talk.show(note(line))
        return
    action, _, role = words.partition(" ")
    if not role:
        raise UsageError("say which role it takes: member, admin or owner")
    room, key = talk.current(), secrets.token_hex(16)
    await talk.session.ask(m.SetPolicy(room=room, action=action, role=role.strip(), key=key))


async def _topic(talk: Conversation, words: str) -> None:
    if not words:
        info = await talk.session.ask(m.GetRoomInfo(room=talk.current()))
        talk.show(note(f"topic: {info.topic}" if info.topic else "no topic; /topic TEXT sets one"))
        return
    topic = "" if words == "off" else words
    await talk.session.ask(m.SetTopic(room=talk.current(), topic=topic, key=secrets.token_hex(16)))


async def _ban(talk: Conversation, name: str) -> None:
    if not name:
        info = await talk.session.ask(m.GetRoomInfo(room=talk.current()))
        text = ", ".join(info.banned)
        talk.show(note(f"banned: {text}" if text else "nobody is banned; /ban NAME bans somebody"))
        return
    await talk.session.ask(m.Ban(room=talk.current(), name=name, key=secrets.token_hex(16)))


async def _unban(talk: Conversation, name: str) -> None:
    name = require(name, "/unban NAME")
    await talk.session.ask(m.Unban(room=talk.current(), name=name, key=secrets.token_hex(16)))


ROLE_COMMANDS: Final = {
    "role": Command("/role NAME ROLE", "make somebody owner, admin, member or guest", "name", _role),
    "policy": Command("/policy [ACTION ROLE]", "say who may add, remove or edit", "", _policy),
    "topic": Command("/topic [TEXT]", "say what this room is about, or off", "", _topic),
    "ban": Command("/ban [NAME]", "remove somebody for good, or list who is banned", "name", _ban),
    "unban": Command("/unban NAME", "let a banned person be invited again", "name", _unban),
}
"""The commands by name, in the order of the help."""
