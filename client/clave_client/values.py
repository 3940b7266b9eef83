"""What the library answers with, beside events: for a screen or for JSON. Knows no room and no store."""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec

from clave_client.events import Person

__all__ = [
    "ERA_BITS",
    "MOST_NUMBER",
    "AuditFinding",
    "BlockedPerson",
    "DeviceInfo",
    "DeviceOffer",
    "Fingerprint",
    "LinkInfo",
    "MadeLink",
    "MemberInfo",
    "PairingInfo",
    "Phase",
    "RelayView",
    "RoomInfo",
    "RoutedDevice",
    "SeenKey",
]

ERA_BITS = 40
"""Bits of a seq in a history seq; above them is the era, so that lost entries sort before later ones."""

MOST_NUMBER = (1 << ERA_BITS) - 1
"""The highest number that a message has in its era."""


class Phase(enum.IntEnum):
    """This device's membership of a room."""

    INVITED = 1
    JOINED = 2
    LEAVING = 3
    CLOSED = 4
    BEHIND = 5


class AuditFinding(msgspec.Struct, frozen=True):
    """What one check of a stored room found; `check` is its name, `text` says what holds or what does not."""

    check: str
    ok: bool
    text: str

    def __repr__(self) -> str:
        return f"<AuditFinding {self.check!r} ok={self.ok!r}>"


class BlockedPerson(msgspec.Struct, frozen=True):
    """An account that is blocked, with the name it was blocked under."""

    name: str
    account: bytes
    fingerprint: str


class Fingerprint(msgspec.Struct, frozen=True):
    """What two people compare: the fingerprint of `account`, and their safety number (empty for oneself).

    `source` says where the key comes from. Pass `account` to `Client.verify` once it was compared.
    """

    name: str
    account: bytes
    fingerprint: str
    safety_number: str
    verified: bool
    source: str


class RoutedDevice(msgspec.Struct, frozen=True):
    """A device that the relay sends a room's entries, and whether it is connected now, as the relay says."""

    name: str
    device_name: str
    device: bytes
    online: bool

    def __repr__(self) -> str:
        return f"<RoutedDevice online={self.online!r}>"


class RelayView(msgspec.Struct, frozen=True):
    """What the relay could learn of one message, and what there was that it could not.

    None stands for what this profile has not kept; the relay may have. `number` is that of the entry. `name`
    is the account's registered name; the relay knows also `account`, `device` and `device_name`, which is
    empty if not known here. `way` is "direct", "proxy" or "onion" for how this client reaches the relay now,
    and with that which network address it sees; empty for messages of others. `accepted_at` is the relay's
    time (s since 1970), 0 if not known. An entry has `entry_bytes`, of which `ciphertext_bytes` follow the
    header, after padding to `padded_bytes`. `head`, `seen` and `count` stand in the header, in clear: the id
    of the epoch, the last entry that the sender had seen, and the sender's count of messages. `devices` are
    those that the relay sends the room's entries to; `devices_then` says that nobody came or went since.

    Hidden from the relay: the number of `characters` of the text, which message it answers (`reply_to`, 0
    for none), how many `reactions` and `edits` it got, whether it disappears, the room's `title`, and the
    sender's `role`, empty if it is in the room no more.
    """

    room: bytes
    number: int
    own: bool
    name: str
    account: bytes
    device: bytes
    device_name: str
    way: str
    accepted_at: float
    entry_bytes: int | None
    ciphertext_bytes: int | None
    padded_bytes: int | None
    head: bytes | None
    seen: int | None
    count: int | None
    devices: list[RoutedDevice]
    devices_then: bool
    characters: int
    reply_to: int
    reactions: int
    edits: int
    disappears: bool
    title: str
    role: str

    def __repr__(self) -> str:
        return f"<RelayView of entry {self.number!r}>"


class SeenKey(msgspec.Struct, frozen=True):
    """An account that goes by a name, where it was seen (in words), and whether the name is pinned to it."""

    account: bytes
    source: str
    bound: bool = False


class LinkInfo(msgspec.Struct, frozen=True):
    """A link of a room: `by` is the name of who made it, `uses` how many more devices it lets in.

    It ends at `not_after`, in seconds since 1970; `is_expired` says that by this machine's clock it has.
    """

    id: str
    by: str
    not_after: int
    uses: int
    is_expired: bool


class MadeLink(msgspec.Struct, frozen=True):
    """A link that was just made; whoever has its `text` can join. `counts` as for other changes of a room."""

    text: str
    id: str
    not_after: int
    uses: int
    counts: bool

    def __repr__(self) -> str:
        return f"<MadeLink {self.id}>"


class DeviceInfo(msgspec.Struct, frozen=True):
    """A device of the own account. `is_online` and `is_primary` are what it said last, or the relay says.

    `since` is when it was paired, in seconds since 1970, 0 for the first one or if that is not known. `rooms`
    is in how many of this device's rooms it is.
    """

    name: str
    device: bytes
    is_own: bool
    is_primary: bool
    is_online: bool
    since: int
    rooms: int


class PairingInfo(msgspec.Struct, frozen=True):
    """A code by which a new device is added within `seconds`; whoever has it can come in its place.

    `pairing` names this attempt in what follows.
    """

    pairing: str
    code: str
    seconds: int

    def __repr__(self) -> str:
        return "<PairingInfo>"


class DeviceOffer(msgspec.Struct, frozen=True):
    """A new device that asks to be added in a `pairing`, and the words that both have to show."""

    pairing: str
    name: str
    words: tuple[str, ...]


class MemberInfo(NamedTuple):
    """A member's device; `is_online` is what the relay says.

    `role` is "owner", "admin", "member" or "guest"; `is_admin` says that it is one of the first two.
    """

    person: Person
    is_admin: bool
    is_online: bool
    role: str = "member"


class RoomInfo(msgspec.Struct, frozen=True):
    """A summary of a room as this device knows it.

    `people`, `devices` and `unverified` are counts; `epoch` is the MLS epoch number. `suite` is the cipher
    suite's number, `suite_name` its name in the registry and `encryption` its description. Messages disappear
    `expiry` seconds after they were read; 0 for never. `direct` says that the room is between two people, or
    for own notes. `outdated` are members that read only the former content format. `receipts` says whether it
    is told what was received, `read_receipts` also what was read. `may_add`, `may_remove`
    and `may_edit` are the roles that it takes to do so, `banned` the names of who cannot be added.
    `may_link` is the role that making links takes, `links` how many there are; `may_pin` and `pinned` are the
    same of pinned messages. `joining` is the name of who
    made the link by which this device joined, until that person, or somebody verified, has spoken there;
    `unconfirmed` says that no member has let this device in yet.
    `code` are the words that all members see in this epoch, and nobody in another one; empty while this
    device cannot follow the room, or was not let in.
    """

    id: bytes
    title: str
    phase: Phase
    epoch: int
    people: int
    devices: int
    unverified: int
    admin: bool
    suite: int
    suite_name: str
    encryption: str
    post_quantum: bool
    expiry: int = 0
    direct: bool = False
    outdated: tuple[str, ...] = ()
    receipts: bool = False
    read_receipts: bool = False
    role: str = "member"
    topic: str = ""
    may_add: str = "member"
    may_remove: str = "admin"
    may_edit: str = "admin"
    banned: tuple[str, ...] = ()
    may_link: str = "admin"
    links: int = 0
    joining: str = ""
    unconfirmed: bool = False
    code: tuple[str, ...] = ()
    may_pin: str = "admin"
    pinned: int = 0
