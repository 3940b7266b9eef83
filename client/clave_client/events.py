"""What happens in the rooms and on the connection, as plain values fit for a screen. Knows no screen."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

__all__ = [
    "Advice",
    "BanChanged",
    "Connected",
    "Disconnected",
    "Diverged",
    "Event",
    "Inconsistency",
    "InvitationAccepted",
    "Invited",
    "LinkEnd",
    "LinksChanged",
    "MemberAdded",
    "MemberJoined",
    "MemberLeft",
    "MemberRemoved",
    "Message",
    "MessageDeleted",
    "MessageEdited",
    "MessageKind",
    "MessagesExpired",
    "Notice",
    "OutboxChanged",
    "Person",
    "PinChanged",
    "PolicyChanged",
    "PresenceChanged",
    "ReactionChanged",
    "RelayRestored",
    "RoleChanged",
    "RoomChanged",
    "RoomClosed",
    "SendFailed",
    "Sent",
    "SettingsChanged",
    "StatusChanged",
    "TopicChanged",
]


@dataclass(frozen=True)
class Person:
    """A member's device and its account: the account is proven, the name is its own claim.

    `verified` says that this account was compared under this name. `known` is the account that the name is
    bound to, if it is another one than `account`, else empty.
    """

    name: str
    account: bytes
    device_name: str
    device: bytes
    verified: bool
    known: bytes = b""


@dataclass(frozen=True)
class Event:
    """Base of all events. `room` is the id of the room it is about, empty for none."""

    room: bytes


# --- of the connection ---


@dataclass(frozen=True)
class Connected(Event):
    """The relay accepted the login; rooms are being brought up to date.

    `registered` says that the name is new at the relay, `first_use` that its certificate was not pinned
    before, `vouched` that a certificate authority's signature is accepted for the relay's address.
    """

    room: bytes = field(default=b"", init=False)
    relay: str
    fingerprint: str
    registered: bool
    first_use: bool
    vouched: bool


@dataclass(frozen=True)
class Disconnected(Event):
    """The connection is lost; the next attempt follows in `retry_in` seconds."""

    room: bytes = field(default=b"", init=False)
    reason: str
    retry_in: float


# --- of messages ---


class MessageKind(enum.IntEnum):
    """What there is of a message: its text, something this version cannot show, or that it is gone.

    It was deleted by its author, removed by an admin, deleted on time, or deleted on this device only.
    """

    TEXT = 1
    UNKNOWN = 2
    DELETED = 3
    REMOVED = 4
    EXPIRED = 5
    HIDDEN = 6


@dataclass(frozen=True)
class Message(Event):
    """A message of another device.

    `sent_at` is the time to show, in seconds since 1970: by the sender's clock in the former content format,
    else by the relay's, which is `accepted_at` (0 if not known). `kind` may say that this version cannot show
    it. `markup` is the Markdown that `text` comes from, if any; `reply_to` the id of the message that it
    answers. `mentions_me` says that it mentions this account, `disappears` that it will be deleted some time.
    """

    seq: int
    sender: Person
    id: bytes
    text: str = field(repr=False)
    sent_at: float
    kind: MessageKind = MessageKind.TEXT
    markup: str = field(default="", repr=False)
    reply_to: bytes = b""
    accepted_at: float = 0.0
    mentions_me: bool = False
    disappears: bool = False


@dataclass(frozen=True)
class MessageEdited(Event):
    """`person` gave its message `id`, at history seq `seq`, another text; `sent_at` as in `Message`."""

    seq: int
    person: Person
    id: bytes
    text: str = field(repr=False)
    sent_at: float
    markup: str = field(default="", repr=False)


@dataclass(frozen=True)
class MessageDeleted(Event):
    """`person` deleted the message `id`, or as an admin removed it; `author` is the name of who wrote it."""

    seq: int
    person: Person
    id: bytes
    author: str


@dataclass(frozen=True)
class MessagesExpired(Event):
    """The messages at these history seqs were deleted on this device as their time was over."""

    seqs: tuple[int, ...]


@dataclass(frozen=True)
class ReactionChanged(Event):
    """`person` reacted to the message `id`, at history seq `seq`, or took that back."""

    seq: int
    person: Person
    id: bytes
    reaction: str = field(repr=False)
    added: bool


@dataclass(frozen=True)
class StatusChanged(Event):
    """More members received or read this account's message `id`."""

    id: bytes


@dataclass(frozen=True)
class Sent(Event):
    """This device's message `id` is in the room's log as entry `seq`.

    `text` is empty for the note that an invitation was accepted. `sent_at` is in seconds since 1970.
    """

    seq: int
    id: bytes
    text: str = field(default="", repr=False)
    sent_at: float = 0.0


@dataclass(frozen=True)
class SendFailed(Event):
    """This device's message `id` will not be sent; `text` is what it said."""

    id: bytes
    reason: str
    text: str = field(default="", repr=False)


@dataclass(frozen=True)
class OutboxChanged(Event):
    """A message of this device waits to be sent, or waits no longer."""


# --- of members ---


@dataclass(frozen=True)
class Invited(Event):
    """`inviter` added this device to a room; the user has to accept or decline."""

    title: str
    inviter: Person
    members: tuple[str, ...]


@dataclass(frozen=True)
class InvitationAccepted(Event):
    """`person`, an invited member, accepted."""

    person: Person


@dataclass(frozen=True)
class MemberAdded(Event):
    """`by` added `person` to the group."""

    person: Person
    by: Person


@dataclass(frozen=True)
class MemberJoined(Event):
    """`person` joined by a link that the account called `inviter` made."""

    person: Person
    inviter: str


@dataclass(frozen=True)
class MemberLeft(Event):
    """`person` proposed its own removal; the group rekeys."""

    person: Person


@dataclass(frozen=True)
class MemberRemoved(Event):
    """`by` removed `person` from the group."""

    person: Person
    by: Person


@dataclass(frozen=True)
class PresenceChanged(Event):
    """The relay says that a member's device connected or disconnected; the group does not prove it."""

    name: str
    online: bool
    reason: str
    person: Person | None = None


# --- of the room ---


@dataclass(frozen=True)
class RoomChanged(Event):
    """`by` changed the title."""

    title: str
    by: Person


@dataclass(frozen=True)
class TopicChanged(Event):
    """`by` changed what the room is about; an empty text says nothing."""

    topic: str
    by: Person


@dataclass(frozen=True)
class RoleChanged(Event):
    """`by` made the account called `name` an owner, admin, member or guest, as `role` says.

    `by` is None for who became an owner as the last one left.
    """

    account: bytes
    name: str
    role: str
    by: Person | None


@dataclass(frozen=True)
class PolicyChanged(Event):
    """`by` changed which `role` it takes to do something: `action` is "add", "remove", "edit" or "link"."""

    action: str
    role: str
    by: Person


@dataclass(frozen=True)
class BanChanged(Event):
    """`by` banned the account called `name`, or with `banned` False lets it be added again."""

    account: bytes
    name: str
    banned: bool
    by: Person


@dataclass(frozen=True)
class PinChanged(Event):
    """`by` pinned the message `id` of `author`, or with `pinned` False took the pin away.

    `seq` is 0 and `author` empty if that message is not here.
    """

    id: bytes
    seq: int
    author: str
    pinned: bool
    by: Person


class LinkEnd(enum.StrEnum):
    """Why links ended.

    Somebody revoked them, or was removed; whoever made them may make none now; their time is over; or
    somebody left who was the last that they let in.
    """

    REVOKED = "revoked"
    REMOVAL = "removal"
    MAKER = "maker"
    EXPIRED = "expired"
    USED_UP = "used up"


@dataclass(frozen=True)
class LinksChanged(Event):
    """`by` made `made` links to join by, or `ended` links ended, and why."""

    made: int
    ended: int
    why: LinkEnd | None
    by: Person


@dataclass(frozen=True)
class SettingsChanged(Event):
    """`by` changed when messages disappear: `expiry` seconds after they were read, 0 for never."""

    expiry: int
    by: Person


@dataclass(frozen=True)
class RoomClosed(Event):
    """This device is no longer a member: it left, or `by` removed it."""

    title: str
    by: Person | None


class Inconsistency(enum.Enum):
    """In which way the relay contradicted itself, a member or this device."""

    HISTORY = "history"
    """A member has another log hash than this device at the same entry."""

    IMPOSSIBLE = "impossible"
    """A member claims to have seen entries that follow its own."""

    ORDER = "order"
    """A member's messages come twice, or in another order than they were sent in."""

    BEHIND = "behind"
    """A member was not shown a commit that precedes what it sent."""

    AHEAD = "ahead"
    """A member sends in an epoch whose commit this device was not shown."""

    PLACE = "place"
    """The commit that added this device is another entry than the relay said."""

    INVENTED = "invented"
    """An entry that this device did not send is in the log under its name."""

    STORED = "stored"
    """An entry that the relay refused is in the log."""


@dataclass(frozen=True)
class Diverged(Event):
    """The relay does not show everybody the same log, as an entry of `person`, if any, shows."""

    person: Person | None
    inconsistency: Inconsistency


@dataclass(frozen=True)
class RelayRestored(Event):
    """The relay was restored from a backup and lost the last `count` entries that this device had read."""

    title: str
    count: int


class Advice(enum.Enum):
    """What a user can do about a notice."""

    COMPARE_KEYS = "compare keys"
    DECIDE_KEYS = "decide keys"
    LEAVE_ROOM = "leave room"
    READ_HISTORY = "read history"


@dataclass(frozen=True)
class Notice(Event):
    """Something went wrong that the program need not act on; one line for the user.

    `advice` is what the user can do about it, `subject` the name of the person concerned, if any.
    """

    text: str
    advice: Advice | None = None
    subject: str = ""
