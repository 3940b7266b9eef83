"""The methods of the RPC about roles: who may do what in a room. `methods` has them all."""

from __future__ import annotations

from typing import Final

from clave_client.rpc.method_base import Change, Method
from clave_client.rpc.values import HistoryMessage

__all__ = [
    "ROLE_METHODS",
    "Ban",
    "ListPinned",
    "PinMessage",
    "SetPolicy",
    "SetRole",
    "SetTopic",
    "Unban",
    "UnpinMessage",
]


class SetRole(Change[bool], frozen=True, kw_only=True):
    """Make the member `name` an "owner", an "admin", a "member" or a "guest", who only reads.

    Returns whether that counts already, as `room.remove` does.
    """

    NAME = "room.set_role"
    RESULT = bool

    room: str
    name: str
    role: str


class SetPolicy(Change[bool], frozen=True, kw_only=True):
    """Have an action take a role: to "add" people, "remove" or ban them, "edit" the room, "link" or "pin".

    To edit is to change title, topic and expiry; to link is to make links to join by, to pin is to pin
    messages.
    Returns whether that counts already, as `room.remove` does.
    """

    NAME = "room.set_policy"
    RESULT = bool

    room: str
    action: str
    role: str


class SetTopic(Change[bool], frozen=True, kw_only=True):
    """Say what a room is about; an empty text says nothing. Returns whether that counts already."""

    NAME = "room.set_topic"
    RESULT = bool

    room: str
    topic: str


class Ban(Change[bool], frozen=True, kw_only=True):
    """Remove a member and have nobody add that account again. Returns whether that counts already."""

    NAME = "room.ban"
    RESULT = bool

    room: str
    name: str


class Unban(Change[bool], frozen=True, kw_only=True):
    """Let a banned account, by its name or fingerprint, be added again; returns as `room.ban` does."""

    NAME = "room.unban"
    RESULT = bool

    room: str
    name: str


class PinMessage(Change[bool], frozen=True, kw_only=True):
    """Pin a message, by its number or "last", for all members. Returns whether that counts already."""

    NAME = "room.pin"
    RESULT = bool

    room: str
    message: str = "last"


class UnpinMessage(Change[bool], frozen=True, kw_only=True):
    """Take the pin of a message away. Returns whether that counts already."""

    NAME = "room.unpin"
    RESULT = bool

    room: str
    message: str = "last"


class ListPinned(Method[list[HistoryMessage]], frozen=True, kw_only=True):
    """Return the pinned messages of a room that are here, oldest first."""

    NAME = "room.pinned"
    RESULT = list[HistoryMessage]

    room: str


ROLE_METHODS: Final = (SetRole, SetPolicy, SetTopic, Ban, Unban, PinMessage, UnpinMessage, ListPinned)
"""The methods of this module."""
