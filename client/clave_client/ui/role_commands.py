"""The chat commands about roles: who may do what in a room. Knows the conversation."""

from __future__ import annotations

import secrets
from typing import Final

from clave_client.errors import UsageError
from clave_client.rpc import methods as m
from clave_client.ui.command import Command, require
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import note, policy_lines
from clave_client.ui.message_lines import message_lines

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


async def _pin(talk: Conversation, message: str) -> None:
    room = talk.current()
    if not message:
        pinned = await talk.session.ask(m.ListPinned(room=room))
        if not pinned:
            talk.show(note("nothing is pinned; /pin 12 pins message 12, /numbers shows the numbers"))
        names = talk.members | {talk.account: talk.name}
        for line in (
            line
            for each in pinned
            for line in message_lines(each, me=talk.account, names=names, numbered=True)
        ):
            talk.show(line)
        return
    await talk.session.ask(m.PinMessage(room=room, message=message, key=secrets.token_hex(16)))


async def _unpin(talk: Conversation, message: str) -> None:
    message = message or "last"
    await talk.session.ask(m.UnpinMessage(room=talk.current(), message=message, key=secrets.token_hex(16)))


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
    "policy": Command("/policy [ACTION ROLE]", "say who may add, remove, edit, link or pin", "", _policy),
    "topic": Command("/topic [TEXT]", "say what this room is about, or off", "", _topic),
    "pin": Command("/pin [N]", "pin a message for all, or list those that are", "", _pin),
    "unpin": Command("/unpin [N]", "take a pin away, the last one without N", "", _unpin),
    "ban": Command("/ban [NAME]", "remove somebody for good, or list who is banned", "name", _ban),
    "unban": Command("/unban NAME", "let a banned person be invited again", "name", _unban),
}
"""The commands by name, in the order of the help."""
