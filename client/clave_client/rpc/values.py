"""What the methods of the RPC answer with, beside the library's own values. Knows no connection."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from clave_client import events
from clave_client.events import Notice, Person
from clave_client.values import Phase

__all__ = [
    "ROOM_CHANGES",
    "AccountDevice",
    "AccountInfo",
    "EventsPage",
    "Health",
    "HistoryMessage",
    "NumberedEvent",
    "OwnerInfo",
    "PendingMessage",
    "ProfileInfo",
    "RoomNews",
    "RoomSummary",
    "SendResult",
    "SuiteCount",
]


ROOM_CHANGES: Final = (
    events.Diverged,
    events.MemberAdded,
    events.MemberLeft,
    events.MemberRemoved,
    events.RelayRestored,
    events.RoomChanged,
    events.RoomClosed,
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
    """A device of this account; `own` is the one that answers."""

    name: str
    device: bytes
    own: bool = False


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

    `muted_until` is in seconds since 1970, 0 for not muted. `similar` is the title of a joined room with a
    confusable title, or empty; `inviter` who invites, and `people` how many accounts are there besides this
    one, until it is answered.
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


class HistoryMessage(msgspec.Struct, frozen=True):
    """A message of a room's history; `sent_at` is in seconds since 1970, by the sender's clock."""

    seq: int
    sender: Person
    own: bool
    id: bytes
    text: str
    sent_at: float

    def __repr__(self) -> str:
        return f"<HistoryMessage {self.seq!r}, {len(self.text)} characters>"


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
