"""The messages between client and relay: one msgpack array each, which begins with the message's number.

Knows names and types only: framing is in `framing`, the order of messages in `connection`. `docs/protocol.md`
describes them in prose; numbers are never reused.

A *device* is identified by its 32-byte Ed25519 public key, a *room* by a random 16-byte id. A *seq* numbers
the entries of one room from 1, without gaps. A *submission* numbers what one device submits to one room, and
makes resubmission idempotent. A *suite* is the number of an MLS cipher suite, opaque to the relay, which
stores key packages by it.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from clave_wire.device_messages import (
    FindRevocations,
    OpenPairing,
    Passed,
    PassOn,
    RemoveDevice,
    Revocations,
)
from clave_wire.limits import (
    MAX_KEY_PACKAGES,
    MAX_LINKS,
    MAX_RESTORES,
    MAX_SEALED_KEY_BYTES,
    MAX_SIGNATURE_BYTES,
    MAX_SUITES,
    MAX_VERSIONS,
)
from clave_wire.message_types import (
    Code,
    Count,
    Device,
    Devices,
    Digest,
    Identity,
    Incarnation,
    KeyPackageBytes,
    Kind,
    Name,
    Nonce,
    RoomId,
    Signature,
    Suite,
    Text,
    Version,
    WireMessage,
)

__all__ = [
    "PING",
    "Accepted",
    "AcceptedAt",
    "Account",
    "ClaimKeyPackages",
    "Closing",
    "Code",
    "Count",
    "CreateRoom",
    "DeleteAccount",
    "Device",
    "Digest",
    "Done",
    "Entry",
    "FindLink",
    "FindRevocations",
    "Goodbye",
    "Greeting",
    "Hello",
    "Identity",
    "Invitation",
    "KeyPackages",
    "Kind",
    "LinkOffer",
    "LoggedIn",
    "Login",
    "Lookup",
    "Mend",
    "Name",
    "NextCertificate",
    "Nonce",
    "Offer",
    "OfferedLink",
    "OpenPairing",
    "PassOn",
    "Passed",
    "Presence",
    "PublishKeyPackages",
    "Refused",
    "Rejected",
    "RemoveDevice",
    "Resume",
    "Resumed",
    "Revocations",
    "Signature",
    "Submit",
    "TakeInvitation",
    "Text",
    "ToClient",
    "ToRelay",
]

PING: Final = ""
"""A name that nobody has: every relay since protocol 4 refuses its `Lookup` with `Code.NO_SUCH_NAME`."""


# --- before login --------------------------------------------------------------------------------------


class Hello(WireMessage, frozen=True, tag=1):
    """Client, first message: the protocol versions it supports, best first."""

    versions: Annotated[list[Version], msgspec.Meta(min_length=1, max_length=MAX_VERSIONS)]
    software: Name


class Greeting(WireMessage, frozen=True, tag=2):
    """Relay: the version chosen, a nonce for the login, and the largest frame (bytes) after it."""

    version: Version
    nonce: Nonce
    software: Name
    max_frame: Count


class Login(WireMessage, frozen=True, tag=3):
    """Client: its identity, with a signature bound to this channel (`clave_wire.login.transcript`).

    `identity` is an encoded `clave_crypto.identity.Identity`, or empty at a login by the key of a pairing
    (`OpenPairing`). A new name is registered; `token` is the registration token, "" for none.
    """

    device: Device
    identity: Identity
    signature: Signature
    token: Name


class LoggedIn(WireMessage, frozen=True, tag=4):
    """Relay: the login succeeded. `key_packages` has (suite, number not yet claimed) of this device.

    A client whose connection breaks without a `Closing` reconnects after a random part of `spread`
    milliseconds, so that not all clients do so at once. `incarnation` changes when the relay is restored from
    a backup. `published` counts this device's `PublishKeyPackages`; if the client's own count differs, one of
    the two was restored, and the client publishes anew. `time` is the relay's clock, in milliseconds since
    1970, by which a client can say whose clock is off; 0 if it is not told.
    """

    name: Name
    registered: bool
    key_packages: Annotated[list[tuple[Suite, Count]], msgspec.Meta(max_length=MAX_SUITES)]
    spread: Count
    incarnation: Incarnation
    published: Count = 0
    time: Count = 0


class NextCertificate(WireMessage, frozen=True, tag=5):
    """Relay, after `LoggedIn`: the SHA-256 of the certificate that will follow this channel's.

    `signature` is by the present certificate's key over `clave_wire.login.succession`.
    """

    digest: Digest
    signature: Annotated[bytes, msgspec.Meta(max_length=MAX_SIGNATURE_BYTES)]


# --- answers -------------------------------------------------------------------------------------------


class Done(WireMessage, frozen=True, tag=10):
    """Relay: request `id` is done and on disk."""

    id: Count


class Refused(WireMessage, frozen=True, tag=11):
    """Relay: request `id` is refused and changed nothing.

    It may also follow the `Resumed` of the same id, and ends that stream: with `Code.STORAGE` if the room's
    log cannot be read, with `Code.NOT_MEMBER` if other members ended this device's membership by `Mend`.
    """

    id: Count
    code: Code
    text: Text


class Closing(WireMessage, frozen=True, tag=12):
    """Relay, last message: why it closes the connection; `retry_after` is ms to wait, 0 for the default."""

    code: Code
    text: Text
    retry_after: Count = 0


# --- directory -----------------------------------------------------------------------------------------


class PublishKeyPackages(WireMessage, frozen=True, tag=20):
    """Client: adds one-time key packages of a suite; `last_resort` (or b"") is for when none is left.

    With `replace`, the device's earlier packages of that suite and its last resort are deleted first, in the
    same transaction. The relay hands none of `packages` out after `not_after`, in seconds since 1970; 0 if
    that is not told.
    """

    id: Count
    suite: Suite
    packages: Annotated[list[KeyPackageBytes], msgspec.Meta(max_length=MAX_KEY_PACKAGES)]
    last_resort: KeyPackageBytes
    replace: bool = False
    not_after: Count = 0


class Lookup(WireMessage, frozen=True, tag=21):
    """Client: asks for the devices of `name`. With the name `PING` it asks whether the relay answers."""

    id: Count
    name: Name


class Account(WireMessage, frozen=True, tag=22):
    """Relay: the devices of a name with their encoded identities, whose signatures the client verifies."""

    id: Count
    devices: list[tuple[Device, Identity]]


class ClaimKeyPackages(WireMessage, frozen=True, tag=23):
    """Client: asks for a key package of a suite of each device of `name` that has any.

    Each is given out once, except a last-resort one. With a `device` it asks for that device only; not before
    version 7.
    """

    id: Count
    name: Name
    suite: Suite
    device: Annotated[bytes, msgspec.Meta(max_length=32)] = b""


class KeyPackages(WireMessage, frozen=True, tag=24):
    """Relay: the key packages claimed."""

    id: Count
    packages: list[KeyPackageBytes]


class DeleteAccount(WireMessage, frozen=True, tag=25):
    """Client: has its account deleted and its name freed; not in version 4.

    The key can no longer log in then, on any device, and anybody can register the name with another one.
    """

    id: Count


# --- rooms ---------------------------------------------------------------------------------------------


class CreateRoom(WireMessage, frozen=True, tag=30):
    """Client: creates a room with this device as its only member, at seq 0; `Resume` opens it."""

    id: Count
    room: RoomId


class Resume(WireMessage, frozen=True, tag=31):
    """Client: asks for this room's entries above `after`, and for new ones as they come."""

    id: Count
    room: RoomId
    after: Count


class Resumed(WireMessage, frozen=True, tag=32):
    """Relay: entries up to `seq` follow, then new ones.

    `handshake` is the last of them that is not an application message. `submission` is the highest of this
    device that was accepted in this room; the next one is one higher, and a client that remembers a lower one
    has a state too old to send from. Entries up to `legacy` are of protocol 3.

    `restores` has (former incarnation, last entry of the backup) for each restore, the latest last: entries
    that a client has above it, from that incarnation, are not in this log. `members` is whom the relay routes
    to, as (device, name), to be compared with the group's roster. A device that is no longer a member gets
    its last seq and no members. If `seq` is below `Resume.after`, the relay has lost entries.
    """

    id: Count
    room: RoomId
    seq: Count
    handshake: Count
    submission: Count
    legacy: Count
    restores: Annotated[list[tuple[Incarnation, Count]], msgspec.Meta(max_length=MAX_RESTORES)]
    members: list[tuple[Device, Name]]


class Submit(WireMessage, frozen=True, tag=33):
    """Client: appends an entry to a room's log.

    `payload` begins with a header (`clave_wire.header`) of the same kind. `read` is the seq of the last
    handshake (an entry that is not an application message) that this device has read; if the log has a later
    one, the answer is `stale`. `submission` is one higher than the device's last accepted one in this room.
    `welcome` is sent to each device that the header adds, in an `Invitation`. In a `REKEY` it is what lets a
    device join by a link (`clave_wire.links`): the relay routes the room to it from that entry on.
    """

    room: RoomId
    submission: Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
    read: Count
    kind: Kind
    payload: bytes
    welcome: bytes = b""


class Accepted(WireMessage, frozen=True, tag=34):
    """Relay: the submission is on disk as entry `seq`; sent in the stream in place of the entry."""

    room: RoomId
    submission: Count
    seq: Count


class Rejected(WireMessage, frozen=True, tag=35):
    """Relay: the submission is not in the log and never will be with this number."""

    room: RoomId
    submission: Count
    code: Code
    text: Text


class Entry(WireMessage, frozen=True, tag=36):
    """Relay: one entry of a room's log, the same bytes for all members.

    `epoch` is 0, except in entries of protocol 3, whose payloads have no header.
    """

    room: RoomId
    seq: Count
    sender: Device
    submission: Count
    kind: Kind
    epoch: Count
    payload: bytes


class Invitation(WireMessage, frozen=True, tag=37):
    """Relay: a welcome or sealed group info that came with entry `seq`; sent at each login until taken."""

    id: Count
    room: RoomId
    seq: Count
    sender: Device
    welcome: bytes


class TakeInvitation(WireMessage, frozen=True, tag=38):
    """Client: the welcome is on its disk or of no use; the relay deletes the invitation."""

    id: Count
    invitation: Count


class Presence(WireMessage, frozen=True, tag=39):
    """Relay: a member's device went online or offline; `text` says why ("left", "connection lost")."""

    room: RoomId
    device: Device
    name: Name
    online: bool
    text: Text


class Mend(WireMessage, frozen=True, tag=41):
    """Client: corrects whom the relay routes to, after comparing that with the group's roster.

    The relay routes to `add` from now on, if one member says so. It stops routing to `remove` once members of
    two accounts have said so; to the sender's own device at once.
    """

    id: Count
    room: RoomId
    add: Devices
    remove: Devices


class Goodbye(WireMessage, frozen=True, tag=42):
    """Client, last message: it disconnects on purpose; other members are told so."""


class AcceptedAt(WireMessage, frozen=True, tag=43):
    """Relay: when it accepted what follows; not before version 6.

    The entries and acknowledgements of this room that follow on this connection, until its next `AcceptedAt`,
    were accepted at `at`, in ms since 1970 by the relay's clock; 0 if that is not known.
    """

    room: RoomId
    at: Count


class OfferedLink(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A link of a room: its Ed25519 public key, and the key of the offer's group info, sealed to its holders.

    The relay lets `uses` more devices in by it, until `not_after`, in seconds since 1970.
    """

    key: Device
    not_after: Count
    uses: Count
    sealed: Annotated[bytes, msgspec.Meta(max_length=MAX_SEALED_KEY_BYTES)]


class Offer(WireMessage, frozen=True, tag=44):
    """Client: the room's live links, and a sealed group info by which their holders join; since version 7.

    The relay keeps the last one of each account. With a `submission` it is one with that submission of this
    device, which follows: it is kept if that is accepted, in the same transaction, and dropped otherwise.
    With 0 it is kept at once. There is no answer.
    """

    room: RoomId
    submission: Count
    links: Annotated[list[OfferedLink], msgspec.Meta(max_length=MAX_LINKS)]
    group_info: bytes


class FindLink(WireMessage, frozen=True, tag=45):
    """Client: asks for the offer at `place`, from 0, of the room with a link of this key; since version 7."""

    id: Count
    link: Device
    place: Count


class LinkOffer(WireMessage, frozen=True, tag=46):
    """Relay: one of `offers` offers of the room with a link; those that came with a new epoch come first.

    `sealed` is of the link asked for. `handshake` is the room's last entry that is not an application
    message, `submission` the highest of this device that was accepted there.
    """

    id: Count
    room: RoomId
    handshake: Count
    submission: Count
    offers: Count
    sealed: bytes
    group_info: bytes


ToRelay = (
    Hello
    | Login
    | PublishKeyPackages
    | Lookup
    | ClaimKeyPackages
    | DeleteAccount
    | CreateRoom
    | Resume
    | Submit
    | TakeInvitation
    | Mend
    | Offer
    | FindLink
    | PassOn
    | OpenPairing
    | RemoveDevice
    | FindRevocations
    | Goodbye
)
ToClient = (
    Greeting
    | LoggedIn
    | NextCertificate
    | Done
    | Refused
    | Closing
    | Account
    | KeyPackages
    | Resumed
    | Accepted
    | Rejected
    | Entry
    | Invitation
    | Presence
    | AcceptedAt
    | LinkOffer
    | Passed
    | Revocations
)
