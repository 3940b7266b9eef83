"""The methods of the RPC: their parameters, results and what they do, declared once for both ends.

A parameter `room` is a room's title, its id or the start of that (8 or more hexadecimal digits). The service
that executes them is in `service`; docs/rpc.md is generated from here. Knows no connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from clave_client.events import Notice, Person
from clave_client.rpc import RPC_VERSION
from clave_client.rpc.account_methods import (
    AddTypedLine,
    CheckHealth,
    DeleteAccount,
    GetAccount,
    GetProfile,
    GetTypedLines,
    SetLastRoom,
    WaitFlushed,
    WaitSettled,
)
from clave_client.rpc.device_methods import (
    DEVICE_METHODS,
    FinishPairing,
    GetPairingOffer,
    ListDevices,
    OpenPairing,
    RemoveDevice,
    SetPrimary,
    StopPairing,
    WaitDevices,
)
from clave_client.rpc.inspection_methods import INSPECTION_METHODS, AuditRoom, GetRelayView
from clave_client.rpc.link_methods import LINK_METHODS, JoinLink, ListLinks, MakeLink, RevokeLinks
from clave_client.rpc.message_methods import (
    MESSAGE_METHODS,
    Archive,
    Block,
    DeleteMessage,
    Edit,
    GetDraft,
    GetHistory,
    GetMessage,
    GetUnread,
    ListBlocked,
    ListPending,
    MarkShown,
    OpenDirect,
    Post,
    React,
    Search,
    Send,
    SetDraft,
    SetExpiry,
    SetReadReceipts,
    Unblock,
    Unreact,
)
from clave_client.rpc.method_base import Change, ConsumerName, Method, Number, Seconds
from clave_client.rpc.role_methods import (
    ROLE_METHODS,
    Ban,
    ListPinned,
    PinMessage,
    SetPolicy,
    SetRole,
    SetTopic,
    Unban,
    UnpinMessage,
)
from clave_client.rpc.values import EventsPage, OwnerInfo, RoomNews, RoomSummary
from clave_client.values import Fingerprint, MemberInfo, RoomInfo, SeenKey

__all__ = [
    "METHODS",
    "RPC_VERSION",
    "Accept",
    "AddTypedLine",
    "Archive",
    "AuditRoom",
    "Ban",
    "Block",
    "Cancel",
    "CatchUp",
    "Change",
    "CheckHealth",
    "CommitEvents",
    "CreateRoom",
    "Decline",
    "DeleteAccount",
    "DeleteMessage",
    "Edit",
    "FindRoom",
    "FinishPairing",
    "ForgetConsumer",
    "GetAccount",
    "GetDraft",
    "GetFingerprint",
    "GetHistory",
    "GetMessage",
    "GetPairingOffer",
    "GetProfile",
    "GetRelayView",
    "GetRoomInfo",
    "GetTypedLines",
    "GetUnread",
    "Hello",
    "Invite",
    "JoinLink",
    "Leave",
    "ListBlocked",
    "ListDevices",
    "ListKeys",
    "ListLinks",
    "ListMembers",
    "ListMismatches",
    "ListPending",
    "ListPinned",
    "ListRooms",
    "MakeLink",
    "MarkShown",
    "Method",
    "Mute",
    "NoteTold",
    "OpenDirect",
    "OpenPairing",
    "PinMessage",
    "Ping",
    "Post",
    "React",
    "ReadEvents",
    "Remove",
    "RemoveDevice",
    "Repin",
    "RevokeLinks",
    "Search",
    "Send",
    "SetDraft",
    "SetExpiry",
    "SetLastRoom",
    "SetPolicy",
    "SetPrimary",
    "SetReadReceipts",
    "SetRole",
    "SetTitle",
    "SetTopic",
    "StopPairing",
    "Subscribe",
    "Unban",
    "Unblock",
    "UnpinMessage",
    "Unreact",
    "Verify",
    "VerifyRoom",
    "WaitDevices",
    "WaitFlushed",
    "WaitSettled",
    "WaitSynced",
]

# --- the connection ---


class Hello(Method[OwnerInfo], frozen=True, kw_only=True):
    """Exchange versions. The first request of a connection; others are refused before it.

    An owner that ends sends a notification "closing": whoever takes over can be asked again.
    """

    NAME = "hello"
    RESULT = OwnerInfo

    rpc: int
    software: str = ""


class Ping(Method[None], frozen=True, kw_only=True):
    """Answer at once."""

    NAME = "ping"


class Cancel(Method[None], frozen=True, kw_only=True):
    """Stop waiting for the request with this JSON-RPC id; what it has changed by then stays.

    A window's requests are read while at most 64 of them are being executed: cancel before there are more.
    """

    NAME = "cancel"

    id: str | int


# --- rooms ---


class ListRooms(Method[list[RoomSummary]], frozen=True, kw_only=True):
    """Return the rooms this device is in or invited to."""

    NAME = "rooms.list"
    RESULT = list[RoomSummary]


class FindRoom(Method[RoomSummary], frozen=True, kw_only=True):
    """Return the room that `room` names; with `invited`, look at open invitations only."""

    NAME = "rooms.find"
    RESULT = RoomSummary

    room: str
    invited: bool = False


class CreateRoom(Change[RoomSummary], frozen=True, kw_only=True):
    """Create a room with this device as its only member and its admin."""

    NAME = "rooms.create"
    RESULT = RoomSummary

    title: str


class GetRoomInfo(Method[RoomInfo], frozen=True, kw_only=True):
    """Return a room's summary, as of what this device has read."""

    NAME = "room.info"
    RESULT = RoomInfo

    room: str


class ListMembers(Method[list[MemberInfo]], frozen=True, kw_only=True):
    """Return every member's device, with its role and whether it is online."""

    NAME = "room.members"
    RESULT = list[MemberInfo]

    room: str


class Mute(Method[None], frozen=True, kw_only=True):
    """Ring no bell for a room until then, in seconds since 1970; 0 ends it."""

    NAME = "room.mute"

    room: str
    until: Annotated[float, msgspec.Meta(ge=0, le=253_370_764_800)]


class WaitSynced(Method[bool], frozen=True, kw_only=True):
    """Wait until all that the relay has of a room is read; return whether it is within `wait` seconds."""

    NAME = "room.wait_synced"
    RESULT = bool

    room: str
    wait: Seconds = 5.0


# --- membership ---


class Invite(Change[Person], frozen=True, kw_only=True):
    """Add the devices of a person, who has to accept. Returns one of them."""

    NAME = "room.invite"
    RESULT = Person

    room: str
    name: str


class Accept(Change[bool], frozen=True, kw_only=True):
    """Accept an invitation; return whether the relay knows. Without a connection it is done later."""

    NAME = "room.accept"
    RESULT = bool

    room: str


class Decline(Change[bool], frozen=True, kw_only=True):
    """Decline an invitation; return whether that is done. Without a connection it is done later."""

    NAME = "room.decline"
    RESULT = bool

    room: str


class Remove(Change[bool], frozen=True, kw_only=True):
    """Remove every device of a person and rekey the room; return whether that counts already.

    It does once another account confirms it, whose client does that by itself.
    """

    NAME = "room.remove"
    RESULT = bool

    room: str
    name: str


class SetTitle(Change[bool], frozen=True, kw_only=True):
    """Change a room's title for all members; return whether that counts already, as `room.remove` does."""

    NAME = "room.set_title"
    RESULT = bool

    room: str
    title: str


class Leave(Change[bool], frozen=True, kw_only=True):
    """Leave a room; return whether that is done. Without a connection it is done later."""

    NAME = "room.leave"
    RESULT = bool

    room: str


# --- messages ---


class CatchUp(Method[RoomNews], frozen=True, kw_only=True):
    """Read what waits in a room, for up to `wait` seconds, and return what to know before sending.

    It is returned again until a `message.send` says that it was shown.
    """

    NAME = "room.catch_up"
    RESULT = RoomNews

    room: str
    wait: Seconds = 30.0


# --- keys of people ---


class GetFingerprint(Method[Fingerprint], frozen=True, kw_only=True):
    """Return what to compare with a person, and pin the name to that key; `room` is looked at first."""

    NAME = "keys.fingerprint"
    RESULT = Fingerprint

    name: str
    room: str = ""


class Verify(Change[None], frozen=True, kw_only=True):
    """Mark an account as verified under a name: the user compared its fingerprint."""

    NAME = "keys.verify"

    name: str
    account: bytes


class VerifyRoom(Change[list[str]], frozen=True, kw_only=True):
    """Mark the accounts of all members of a room as verified: each of them read the room's code to the user.

    `code` are the words that were compared; other ones, as those of an earlier epoch, are refused. Returns
    the names of the others.
    """

    NAME = "room.verify"
    RESULT = list[str]

    room: str
    code: list[str]


class Repin(Change[None], frozen=True, kw_only=True):
    """Pin a name to another account, as the user decided."""

    NAME = "keys.repin"

    name: str
    account: bytes


class ListKeys(Method[list[SeenKey]], frozen=True, kw_only=True):
    """Return the accounts that go by a name: the pinned one first, then those in all rooms."""

    NAME = "keys.list"
    RESULT = list[SeenKey]

    name: str
    room: str = ""


class ListMismatches(Method[list[Notice]], frozen=True, kw_only=True):
    """Return a notice for each member of a room whose name is pinned to another account."""

    NAME = "keys.mismatches"
    RESULT = list[Notice]

    room: str


# --- events ---


class Subscribe(Method[int], frozen=True, kw_only=True):
    """Have events sent as notifications "event" from now on; return the number of the last stored one.

    Stored events with a number above `after` come first; without `after` or a `consumer`, what happens next.
    With `consumer`, those after what it has read up to. With `live`, also events that are not stored: the
    connection, presence, notices. Deleted events are told by a notification "gap" with the first number. A
    connection has one subscription; another one replaces it.
    """

    NAME = "events.subscribe"
    RESULT = int

    after: Number | None = None
    consumer: ConsumerName = ""
    live: bool = True


class ReadEvents(Method[EventsPage], frozen=True, kw_only=True):
    """Return stored events: after a number, or after what a consumer has read up to.

    If there are none, wait up to `wait` seconds for one. A consumer's place moves only by `events.commit`.
    """

    NAME = "events.read"
    RESULT = EventsPage

    after: Number | None = None
    consumer: ConsumerName = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    wait: Seconds = 0.0


class NoteTold(Method[None], frozen=True, kw_only=True):
    """Note that a person was shown all events up to a number, so that `room.catch_up` tells none of them."""

    NAME = "events.told"

    number: Number


class CommitEvents(Method[None], frozen=True, kw_only=True):
    """Note that a consumer has read the events up to a number."""

    NAME = "events.commit"

    consumer: ConsumerName
    number: Number


class ForgetConsumer(Method[None], frozen=True, kw_only=True):
    """Delete a consumer. One of that name begins anew, with what happens next."""

    NAME = "events.forget_consumer"

    consumer: ConsumerName


METHODS: Final[Mapping[str, type[Method[Any]]]] = {
    method.NAME: method
    for method in (
        *(
            Hello,
            Ping,
            Cancel,
            GetProfile,
            SetLastRoom,
            GetTypedLines,
            AddTypedLine,
            WaitFlushed,
            WaitSettled,
        ),
        *(GetAccount, DeleteAccount, CheckHealth),
        *(ListRooms, FindRoom, CreateRoom, GetRoomInfo, ListMembers, Mute, WaitSynced),
        *(Invite, Accept, Decline, Remove, SetTitle, Leave, CatchUp, NoteTold),
        *ROLE_METHODS,
        *LINK_METHODS,
        *DEVICE_METHODS,
        *MESSAGE_METHODS,
        *INSPECTION_METHODS,
        *(GetFingerprint, Verify, VerifyRoom, Repin, ListKeys, ListMismatches),
        *(Subscribe, ReadEvents, CommitEvents, ForgetConsumer),
    )
}
"""All methods, by name."""
