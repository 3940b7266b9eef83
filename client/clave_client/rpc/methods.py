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
from clave_client.rpc.method_base import Change, ConsumerName, Count, Method, Number, Seconds
from clave_client.rpc.values import (
    EventsPage,
    HistoryMessage,
    OwnerInfo,
    PendingMessage,
    RoomNews,
    RoomSummary,
    SendResult,
)
from clave_client.values import Fingerprint, MemberInfo, RoomInfo, SeenKey

__all__ = [
    "METHODS",
    "RPC_VERSION",
    "Accept",
    "AddTypedLine",
    "Cancel",
    "CatchUp",
    "Change",
    "CheckHealth",
    "CommitEvents",
    "CreateRoom",
    "Decline",
    "DeleteAccount",
    "FindRoom",
    "ForgetConsumer",
    "GetAccount",
    "GetFingerprint",
    "GetHistory",
    "GetProfile",
    "GetRoomInfo",
    "GetTypedLines",
    "GetUnread",
    "Hello",
    "Invite",
    "Leave",
    "ListKeys",
    "ListMembers",
    "ListMismatches",
    "ListPending",
    "ListRooms",
    "MarkShown",
    "Method",
    "Mute",
    "NoteTold",
    "Ping",
    "Post",
    "ReadEvents",
    "Remove",
    "Repin",
    "Send",
    "SetLastRoom",
    "SetTitle",
    "Subscribe",
    "Verify",
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
    """Return every member's device, with whether it is an admin's and whether it is online."""

    NAME = "room.members"
    RESULT = list[MemberInfo]

    room: str


class GetHistory(Method[list[HistoryMessage]], frozen=True, kw_only=True):
    """Return up to `limit` messages with a seq above `after` and, unless it is 0, below `before`.

    They are the first of these, or with `newest` the last; oldest first, at most 1 MiB of text.
    """

    NAME = "room.history"
    RESULT = list[HistoryMessage]

    room: str
    after: Number = 0
    before: Number = 0
    limit: Count = 100
    newest: bool = True


class GetUnread(Method[list[HistoryMessage]], frozen=True, kw_only=True):
    """Return others' messages that no window has shown yet, oldest first, at most 1,000 and 1 MiB."""

    NAME = "room.unread"
    RESULT = list[HistoryMessage]

    room: str


class MarkShown(Method[None], frozen=True, kw_only=True):
    """Note that the message at `seq` was shown; with `until`, all messages up to it."""

    NAME = "room.mark_shown"

    room: str
    seq: Number
    until: bool = False


class ListPending(Method[list[PendingMessage]], frozen=True, kw_only=True):
    """Return the first 100 messages that wait to be sent: in a room, or with "" in all."""

    NAME = "room.pending"
    RESULT = list[PendingMessage]

    room: str = ""


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


class Post(Change[bytes], frozen=True, kw_only=True):
    """Append a message to a room's outbox and return its id; an event "sent" or "send_failed" follows."""

    NAME = "message.post"
    RESULT = bytes

    room: str
    text: str


class CatchUp(Method[RoomNews], frozen=True, kw_only=True):
    """Read what waits in a room, for up to `wait` seconds, and return what to know before sending.

    It is returned again until a `message.send` says that it was shown.
    """

    NAME = "room.catch_up"
    RESULT = RoomNews

    room: str
    wait: Seconds = 30.0


class Send(Change[SendResult], frozen=True, kw_only=True):
    """Send a message: read what waits in the room, then post it and wait until the relay has it.

    After `wait` seconds it stays in the outbox, goes out later, and the result's `seq` is 0. `told` is the
    number of the `RoomNews` that the user was shown.
    """

    NAME = "message.send"
    RESULT = SendResult

    room: str
    text: str
    wait: Seconds = 30.0
    told: Number = 0


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
        *(ListRooms, FindRoom, CreateRoom, GetRoomInfo, ListMembers, GetHistory, GetUnread, MarkShown),
        *(ListPending, Mute, WaitSynced, Invite, Accept, Decline, Remove, SetTitle, Leave, Post),
        *(CatchUp, Send, NoteTold),
        *(GetFingerprint, Verify, Repin, ListKeys, ListMismatches),
        *(Subscribe, ReadEvents, CommitEvents, ForgetConsumer),
    )
}
"""All methods, by name."""
