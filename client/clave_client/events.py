"""What a session tells its user: plain facts, already fit for a screen. Knows no screen."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

__all__ = [
    "Connected",
    "Disconnected",
    "Diverged",
    "Event",
    "Inconsistency",
    "InvitationAccepted",
    "Invited",
    "MemberAdded",
    "MemberLeft",
    "MemberRemoved",
    "Message",
    "Notice",
    "Person",
    "PresenceChanged",
    "RelayRestored",
    "RoomChanged",
    "RoomClosed",
    "SendFailed",
    "Sent",
]


@dataclass(frozen=True)
class Person:
    """A member as the group knows it: the account is proven, the name is its own claim.

    `verified` says that this very account was compared under this name. `known` is the account that the name
    is bound to when that is another one than `account`, else empty.
    """

    name: str
    account: bytes
    device_name: str
    device: bytes
    verified: bool
    known: bytes = b""


@dataclass(frozen=True)
class Connected:
    """The relay answers; rooms are being brought up to date.

    `vouched` says that a certificate authority's word for the relay's address is taken.
    """

    relay: str
    fingerprint: str
    registered: bool
    first_use: bool
    vouched: bool


@dataclass(frozen=True)
class Disconnected:
    """The relay is gone; the session tries again in `retry_in` seconds."""

    reason: str
    retry_in: float


@dataclass(frozen=True)
class Message:
    """Somebody else's message. `sent_at` is in seconds since 1970, by the sender's clock."""

    room: bytes
    seq: int
    sender: Person
    id: bytes
    text: str = field(repr=False)
    sent_at: float


@dataclass(frozen=True)
class Sent:
    """One's own message `id` is in the room's log as entry `seq`."""

    room: bytes
    seq: int
    id: bytes


@dataclass(frozen=True)
class SendFailed:
    """One's own message `id` will not be sent."""

    room: bytes
    id: bytes
    reason: str


@dataclass(frozen=True)
class Invited:
    """`inviter` has added this device to a room; it waits for accept or decline."""

    room: bytes
    title: str
    inviter: Person
    members: tuple[str, ...]


@dataclass(frozen=True)
class InvitationAccepted:
    """An invited member said yes."""

    room: bytes
    person: Person


@dataclass(frozen=True)
class MemberAdded:
    """`by` added `person` to the group."""

    room: bytes
    person: Person
    by: Person


@dataclass(frozen=True)
class MemberLeft:
    """`person` gave up its membership; the group rekeys."""

    room: bytes
    person: Person


@dataclass(frozen=True)
class MemberRemoved:
    """`by` removed `person` from the group."""

    room: bytes
    person: Person
    by: Person


@dataclass(frozen=True)
class RoomChanged:
    """`by` changed what the room is called or who may do what."""

    room: bytes
    title: str
    by: Person


@dataclass(frozen=True)
class RoomClosed:
    """This device is no longer a member: it left, or `by` removed it."""

    room: bytes
    title: str
    by: Person | None


@dataclass(frozen=True)
class PresenceChanged:
    """The relay says that a member's device came or went. It is not proven by the group."""

    room: bytes
    name: str
    online: bool
    reason: str


class Inconsistency(enum.Enum):
    """What a relay shows that cannot be true, as this device noticed it."""

    HISTORY = "history"
    """Somebody has seen another log up to some entry than this device."""

    IMPOSSIBLE = "impossible"
    """Somebody claims to have seen entries that come only after what they sent."""

    ORDER = "order"
    """Somebody's messages come again, or in another order than they were sent in."""

    BEHIND = "behind"
    """Somebody was not shown a change of the room that came before what they sent."""

    AHEAD = "ahead"
    """Somebody speaks in an epoch that this device was not shown the beginning of."""

    PLACE = "place"
    """The entry by which this device came in stands elsewhere than the relay said."""

    INVENTED = "invented"
    """Something that this device did not send is in the log under its name."""

    STORED = "stored"
    """A message that the relay refused is in the log all the same."""


@dataclass(frozen=True)
class Diverged:
    """The relay does not show everybody the same log: what `person` sent tells so, or one's own entries."""

    room: bytes
    person: Person | None
    inconsistency: Inconsistency


@dataclass(frozen=True)
class RelayRestored:
    """The relay was restored from a backup and has lost the last `count` entries this device read."""

    room: bytes
    title: str
    count: int


@dataclass(frozen=True)
class Notice:
    """Something went wrong that needs no action of the program; one line. `room` is empty for none."""

    room: bytes
    text: str


Event = (
    InvitationAccepted
    | Connected
    | Disconnected
    | Diverged
    | Invited
    | MemberAdded
    | MemberLeft
    | MemberRemoved
    | Message
    | Notice
    | PresenceChanged
    | RelayRestored
    | RoomChanged
    | RoomClosed
    | SendFailed
    | Sent
)
