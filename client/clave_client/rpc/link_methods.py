"""The methods of the RPC about links by which others join. `methods` has them all."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from clave_client.rpc.method_base import Change, Method
from clave_client.rpc.values import RoomSummary
from clave_client.values import LinkInfo, MadeLink

__all__ = ["LINK_METHODS", "JoinLink", "ListLinks", "MakeLink", "RevokeLinks"]

_LinkSeconds = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
_LinkUses = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class MakeLink(Change[MadeLink], frozen=True, kw_only=True):
    """Make a link by which `uses` devices can join a room within `seconds`, while nobody is there.

    Whoever has its text can join, so keep it as you would a key. It works once the change counts.
    """

    NAME = "room.make_link"
    RESULT = MadeLink

    room: str
    seconds: _LinkSeconds
    uses: _LinkUses


class ListLinks(Method[list[LinkInfo]], frozen=True, kw_only=True):
    """Return the links of a room, without what it takes to join by them."""

    NAME = "room.links"
    RESULT = list[LinkInfo]

    room: str


class RevokeLinks(Change[bool], frozen=True, kw_only=True):
    """Revoke the link whose id begins with `link`, or "all"; returns as `room.remove` does."""

    NAME = "room.revoke_links"
    RESULT = bool

    room: str
    link: str


class JoinLink(Change[RoomSummary], frozen=True, kw_only=True):
    """Join the room of a link, while nobody is there; others read what is said once a member confirms it."""

    NAME = "room.join_link"
    RESULT = RoomSummary

    link: str


LINK_METHODS: Final = (MakeLink, ListLinks, RevokeLinks, JoinLink)
"""The methods of this module."""
