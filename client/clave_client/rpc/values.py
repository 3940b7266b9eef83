"""What the methods of the RPC answer with, beside the library's own values. Knows no connection."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from clave_client import events
from clave_client.events import MessageKind, Notice, Person
from clave_client.values import Phase

__all__ = [
    "ROOM_CHANGES",
    "AccountDevice",
    "AccountInfo",
    "EventsPage",
    "FoundMessage",
    "Health",
    "HistoryMessage",
    "MessageDetails",
    "MessageVersion",
    "NumberedEvent",
    "OwnerInfo",
    "PendingMessage",
    "ProfileInfo",
    "Quote",
    "ReactionCount",
    "Receipt",
    "RoomNews",
    "RoomSummary",
    "SearchPage",
    "SendResult",
    "SuiteCount",
]


ROOM_CHANGES: Final = (
    events.Diverged,
    events.LinksChanged,
    events.MemberAdded,
    events.MemberJoined,
    events.MemberLeft,
    events.MemberRemoved,
    events.RelayRestored,
    events.RoomChanged,
    events.RoomClosed,
    events.SettingsChanged,
    events.TopicChanged,
    events.RoleChanged,
    events.PolicyChanged,
    events.BanChanged,
    events.PinChanged,
)
"""What whoever sends to a room, or reads it by a script, is told of."""


class OwnerInfo(msgspec.Struct, frozen=True):
    """The process that owns the profile: its versions, and its number on this machine (`process`)."""

    rpc: int
    store: int
    software: str
    process: int
    name: str


class ProfileInfo(msgspec.Struct, frozen=True):
    """The profile, its relay, and whether there is a connection to it now.

    `unusable` has one line for each stored room that cannot be used. `last_room` is the room to begin in, or
    empty. `names` are all known names of people, to complete what is typed.
    """

    name: str
    account: bytes
    fingerprint: str
    relay: str
    relay_fingerprint: str
    is_online: bool
    unusable: list[str]
    last_room: bytes
    names: list[str]


class AccountDevice(msgspec.Struct, frozen=True):
    """A device of this account; `own` is the one that answers, `primary` has the account's key."""

    name: str
    device: bytes
    own: bool = False
    primary: bool = False


class AccountInfo(msgspec.Struct, frozen=True):
    """This account and its devices, as the relay knows them; without a connection only this one.

    `other_owner` is the fingerprint of another account to which the relay has given the name, or empty.
    """

    name: str
    fingerprint: str
    devices: list[AccountDevice]
    relay: str
    relay_fingerprint: str
    is_online: bool
    other_owner: str = ""

    def __repr__(self) -> str:
        return f"<AccountInfo {self.name!r}, {len(self.devices)} devices>"


class SuiteCount(msgspec.Struct, frozen=True):
    """How many key packages of a suite, by its name in the registry, there are."""

    suite: str
    count: int

    def __repr__(self) -> str:
        return f"<SuiteCount {self.count!r}>"


class Health(msgspec.Struct, frozen=True):
    """The state of a profile in use, and of its relay.

    `relay_error` says why the relay cannot be connected to, or is empty. `key_packages` is how many of each
    suite the relay had of this device at the login. `unusable` has one line for each room that cannot be
    used, `restored` the titles of rooms to be rejoined after a restore. `clock_ahead` is by how many seconds
    this machine's clock is ahead of the relay's, None if it is not known.
    """

    relay: str
    relay_error: str
    is_online: bool
    key_packages: list[SuiteCount]
    unusable: list[str]
    restored: list[str]
    clock_ahead: float | None

    def __repr__(self) -> str:
        return f"<Health of {self.relay!r}, online {self.is_online!r}>"


class RoomSummary(msgspec.Struct, frozen=True):
    """A room this device is in or invited to. `unread` counts others' messages that no window has shown.

    `mentions` counts those of them that mention this account; `archived` says that lists leave the room out.
    `direct` says that it is between two people, or for own notes, `draft` that something was typed there and
    not sent. `muted_until` is in seconds since 1970, 0 for not muted. `similar` is the title of a joined room
    with a confusable title, or empty; `inviter` who invites, and `people` how many accounts are there besides
    this one, until it is answered.
    """

    id: bytes
    title: str
    phase: Phase
    unread: int
    waiting: int
    muted_until: float
    similar: str = ""
    inviter: Person | None = None
    people: int = 0
    mentions: int = 0
    archived: bool = False
    direct: bool = False
    draft: bool = False


class Quote(msgspec.Struct, frozen=True):
    """The message that another one answers: its number, who wrote it, and the first of its text.

    Without a `name` this device does not have it.
    """

    number: int = 0
    name: str = ""
    text: str = ""
    kind: MessageKind = MessageKind.TEXT

    def __repr__(self) -> str:
        return f"<Quote of {self.number!r}>"


class ReactionCount(msgspec.Struct, frozen=True):
    """Who reacted to a message with one reaction; `own` says that this account did."""

    reaction: str
    names: list[str]
    own: bool

    def __repr__(self) -> str:
        return f"<ReactionCount of {len(self.names)} people>"


class HistoryMessage(msgspec.Struct, frozen=True):
    """A message of a room's history.

    `sent_at` and `accepted_at` are in seconds since 1970, as in the event `Message`. `number` is what a
    person types to name it. `edits` counts how often it was edited; `removed_by` is the admin that removed
    it. It disappears at `expires_at` (seconds since 1970), or `expires_after` seconds after it was read; 0
    for never. Of one's own message, `delivered` and `read` of `others` are known to have got and read it.
    """

    seq: int
    sender: Person
    own: bool
    id: bytes
    text: str
    sent_at: float
    number: int = 0
    kind: MessageKind = MessageKind.TEXT
    markup: str = ""
    reply_to: bytes = b""
    quote: Quote | None = None
    accepted_at: float = 0.0
    edits: int = 0
    removed_by: str = ""
    expires_at: float = 0.0
    expires_after: int = 0
    mentions_me: bool = False
    reactions: list[ReactionCount] = []
    delivered: int = 0
    read: int = 0
    others: int = 0

    def __repr__(self) -> str:
        return f"<HistoryMessage {self.seq!r}, {len(self.text)} characters>"


class MessageVersion(msgspec.Struct, frozen=True):
    """A former version of a message; `sent_at` is in seconds since 1970."""

    text: str
    markup: str
    sent_at: float

    def __repr__(self) -> str:
        return f"<MessageVersion, {len(self.text)} characters>"


class Receipt(msgspec.Struct, frozen=True):
    """What became of one's own message at a person: "delivered", "read", or "" if that is not known."""

    name: str
    state: str


class MessageDetails(msgspec.Struct, frozen=True):
    """A message with its former versions, oldest first, and of one's own message the receipts."""

    message: HistoryMessage
    versions: list[MessageVersion]
    receipts: list[Receipt]

    def __repr__(self) -> str:
        return f"<MessageDetails of {self.message!r}>"


class FoundMessage(msgspec.Struct, frozen=True):
    """A message that a search found, in the room `room` called `title`.

    `marks` are the places of what was searched for in `text`: (start, end) in characters.
    """

    room: bytes
    title: str
    message: HistoryMessage
    marks: list[tuple[int, int]]

    def __repr__(self) -> str:
        return f"<FoundMessage {self.message!r}>"


class SearchPage(msgspec.Struct, frozen=True):
    """Found messages, newest first; `next` is what to give as `before` for more, 0 if there are none."""

    found: list[FoundMessage]
    next: int

    def __repr__(self) -> str:
        return f"<SearchPage of {len(self.found)}>"


class PendingMessage(msgspec.Struct, frozen=True):
    """A message of this device that waits to be sent; `sent_at` is in seconds since 1970."""

    room: bytes
    id: bytes
    text: str
    sent_at: float

    def __repr__(self) -> str:
        return f"<PendingMessage {self.id!r}, {len(self.text)} characters>"


class SendResult(msgspec.Struct, frozen=True):
    """What became of a message: in the log as `seq`, or with 0 still in the outbox."""

    id: bytes
    seq: int


class NumberedEvent(msgspec.Struct, frozen=True):
    """A stored event, as JSON, and its number."""

    number: int
    event: Any

    def __repr__(self) -> str:
        return f"<NumberedEvent {self.number!r}>"


class RoomNews(msgspec.Struct, frozen=True):
    """What to know before sending to a room, and its title by then.

    `notices` are of members whose name is pinned to another key; `changes` are what others did in the room,
    other than messages, that nobody was told of; `number` is that of the last event looked at.
    """

    title: str
    notices: list[Notice]
    changes: list[NumberedEvent]
    number: int


class EventsPage(msgspec.Struct, frozen=True):
    """Stored events, oldest first; `next` is what to give as `after` the next time.

    Events from the number `gap` on, unless 0, were deleted before they were read.
    """

    events: list[NumberedEvent]
    next: int
    gap: int
