"""The chat commands about links by which others join. Knows the conversation."""

from __future__ import annotations

import secrets
from typing import Final

from clave_client.rpc import methods as m
from clave_client.ui.command import Command, require
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import name_with_warning, note
from clave_client.ui.link_text import DEFAULT_SECONDS, DEFAULT_USES, link_line, made_lines

__all__ = ["LINK_COMMANDS"]


async def _invite(talk: Conversation, name: str) -> None:
    if not name:
        await _make_link(talk)
        return
    person = await talk.session.ask(m.Invite(room=talk.current(), name=name))
    name = name_with_warning(person, talk.account)
    talk.show(note(f"the invitation waits for {name}; compare with /fingerprint {person.name}"))


async def _make_link(talk: Conversation) -> None:
    room, key = talk.current(), secrets.token_hex(16)
    made = await talk.session.ask(m.MakeLink(room=room, seconds=DEFAULT_SECONDS, uses=DEFAULT_USES, key=key))
    first, line, *others = made_lines(made, talk.title(talk.room))
    talk.show(note(first))
    talk.show([("", line)])
    for each in others:
        talk.show(note(each))


async def _links(talk: Conversation, _: str) -> None:
    found = await talk.session.ask(m.ListLinks(room=talk.current()))
    if not found:
        talk.show(note("no link to join by; /invite makes one"))
    for link in found:
        talk.show(note(link_line(link)))


async def _revoke(talk: Conversation, which: str) -> None:
    which = require(which, "/revoke LINK or /revoke all; /links lists them")
    await talk.session.ask(m.RevokeLinks(room=talk.current(), link=which, key=secrets.token_hex(16)))


async def _join(talk: Conversation, link: str) -> None:
    room = await talk.session.ask(m.JoinLink(link=require(link, "/join LINK"), key=secrets.token_hex(16)))
    await talk.refresh()
    await talk.enter(room.id)
    talk.show(note(f"talking in {talk.title(room.id)}"))


LINK_COMMANDS: Final = {
    "invite": Command("/invite [NAME]", "add somebody, or make a link to join by", "name", _invite),
    "links": Command("/links", "list the links to join this room by", "", _links),
    "revoke": Command("/revoke LINK|all", "end a link to join by", "", _revoke),
    "join": Command("/join LINK", "join another room by a link", "", _join),
}
"""The commands by name, in the order of the help."""
