"""The messages a client and a relay exchange, each one msgpack array led by its number.

This module knows names and shapes only: framing is in `framing`, who may say what when is in `connection`.
`docs/protocol.md` describes the same in prose; numbers are never reused.

A *device* is named by its 32-byte Ed25519 public key. A *room* is a random 16-byte id. A *seq* counts the
entries of one room from 1 without gaps. A *submission* counts what one device submitted to one room, strictly
increasing; it makes resubmission idempotent. A *suite* is the number of an MLS cipher suite: the relay keeps
key packages apart by it and knows nothing else of it.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from clave_wire.limits import (
    MAX_BATCH_MEMBERS,
    MAX_IDENTITY_BYTES,
    MAX_KEY_PACKAGE_BYTES,
    MAX_KEY_PACKAGES,
    MAX_NAME_BYTES,
    MAX_RESTORES,
    MAX_SIGNATURE_BYTES,
    MAX_SUITES,
    MAX_TEXT_BYTES,
    MAX_VERSIONS,
)

Device = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
RoomId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Incarnation = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Nonce = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME_BYTES)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT_BYTES)]
Identity = Annotated[bytes, msgspec.Meta(max_length=MAX_IDENTITY_BYTES)]
KeyPackageBytes = Annotated[bytes, msgspec.Meta(max_length=MAX_KEY_PACKAGE_BYTES)]
Devices = Annotated[list[Device], msgspec.Meta(max_length=MAX_BATCH_MEMBERS)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Version = Annotated[int, msgspec.Meta(ge=0, lt=2**16)]
Suite = Annotated[int, msgspec.Meta(ge=0, lt=2**16)]


class Kind(enum.IntEnum):
    """What an entry is. The first three are MLS content types too (RFC 9420, section 6).

    A `PROPOSAL` says that its sender leaves. A `COMMIT` has no path and begins an epoch at its place. A
    `REKEY` is a commit with a path, which begins one when another account's `CONFIRM` names it. `LOST` says
    that its sender cannot follow, and `GROUP_INFO` goes with what lets such a device come back.
    """

    APPLICATION = 1
    PROPOSAL = 2
    COMMIT = 3
    REKEY = 4
    CONFIRM = 5
    LOST = 6
    GROUP_INFO = 7


class Code(enum.StrEnum):
    """Why the relay refused something. A client decides on the code and shows the text."""

    # About the connection; the relay closes after it.
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    UNEXPECTED = "unexpected"
    VERSION = "version"
    TIMEOUT = "timeout"
    FULL = "full"
    SLOW = "slow"
    REPLACED = "replaced"
    SHUTDOWN = "shutdown"
    # About a login or a registration.
    BAD_LOGIN = "bad-login"
    BANNED = "banned"
    BAD_NAME = "bad-name"
    NAME_TAKEN = "name-taken"
    NAME_CONFUSABLE = "name-confusable"
    CLOSED = "registration-closed"
    TOKEN = "token"  # noqa: S105  (a code, not a password)
    # About a request.
    NO_SUCH_NAME = "no-such-name"
    NO_KEY_PACKAGE = "no-key-package"
    NO_SUCH_ROOM = "no-such-room"
    NOT_MEMBER = "not-member"
    ROOM_EXISTS = "room-exists"
    STALE = "stale"
    OUT_OF_ORDER = "out-of-order"
    RENUMBER = "renumber"
    PACE = "pace"
    PRUNED = "pruned"
    BAD_REQUEST = "bad-request"
    LIMIT = "limit"
    STORAGE = "storage"


class _Message(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False, kw_only=False
):
    pass


# --- before login --------------------------------------------------------------------------------------


class Hello(_Message, frozen=True, tag=1):
    """Client, first: the protocol versions it speaks."""

    versions: Annotated[list[Version], msgspec.Meta(min_length=1, max_length=MAX_VERSIONS)]
    software: Name


class Greeting(_Message, frozen=True, tag=2):
    """Relay: the version chosen, a nonce to sign at login, and the largest frame it takes afterwards."""

    version: Version
    nonce: Nonce
    software: Name
    max_frame: Count


class Login(_Message, frozen=True, tag=3):
    """Client: who it is, signed over this channel (`clave_wire.login.transcript`).

    `identity` is the encoded `clave_crypto.identity.Identity`; a name that is new is registered, with
    `token` where the relay asks for one.
    """

    device: Device
    identity: Identity
    signature: Signature
    token: Name


class LoggedIn(_Message, frozen=True, tag=4):
    """Relay: the login holds. `key_packages` is (suite, how many unclaimed ones it keeps) of this device.

    A client whose connection breaks without a `Closing` waits a random part of `spread` milliseconds before
    it comes back, so that not everybody does at once. `incarnation` is another one after the relay was
    restored from a backup. `published` counts this device's `PublishKeyPackages`: a client that counts
    otherwise, or the relay, was restored, and publishes anew.
    """

    name: Name
    registered: bool
    key_packages: Annotated[list[tuple[Suite, Count]], msgspec.Meta(max_length=MAX_SUITES)]
    spread: Count
    incarnation: Incarnation
    published: Count = 0


class NextCertificate(_Message, frozen=True, tag=5):
    """Relay, after `LoggedIn`: the certificate with this SHA-256 will follow the one this channel has.

    `signature` is by the present certificate's key over `clave_wire.login.succession`.
    """

    digest: Digest
    signature: Annotated[bytes, msgspec.Meta(max_length=MAX_SIGNATURE_BYTES)]


# --- answers -------------------------------------------------------------------------------------------


class Done(_Message, frozen=True, tag=10):
    """Relay: request `id` is carried out and on disk."""

    id: Count


class Refused(_Message, frozen=True, tag=11):
    """Relay: request `id` is refused; nothing was changed.

    With `Code.STORAGE` it may follow a `Resumed` of the same id: the room's log cannot be read further, and
    no more of it is sent.
    """

    id: Count
    code: Code
    text: Text


class Closing(_Message, frozen=True, tag=12):
    """Relay, last: why it closes this connection. `retry_after` (ms) is when to come back, 0 as usual."""

    code: Code
    text: Text
    retry_after: Count = 0


# --- directory -----------------------------------------------------------------------------------------


class PublishKeyPackages(_Message, frozen=True, tag=20):
    """Client: adds one-time key packages of a suite; `last_resort`, if any, is for when none is left.

    With `replace`, all the device's earlier packages of that suite and its last resort are deleted first, in
    the same transaction.
    """

    id: Count
    suite: Suite
    packages: Annotated[list[KeyPackageBytes], msgspec.Meta(max_length=MAX_KEY_PACKAGES)]
    last_resort: KeyPackageBytes
    replace: bool = False


class Lookup(_Message, frozen=True, tag=21):
    """Client: asks who `name` is."""

    id: Count
    name: Name


class Account(_Message, frozen=True, tag=22):
    """Relay: the devices of a name, each with its encoded identity. The client verifies the signatures."""

    id: Count
    devices: list[tuple[Device, Identity]]


class ClaimKeyPackages(_Message, frozen=True, tag=23):
    """Client: one key package of a suite for each device of `name` that has any, each handed out once."""

    id: Count
    name: Name
    suite: Suite


class KeyPackages(_Message, frozen=True, tag=24):
    """Relay: the key packages claimed."""

    id: Count
    packages: list[KeyPackageBytes]


# --- rooms ---------------------------------------------------------------------------------------------


class CreateRoom(_Message, frozen=True, tag=30):
    """Client: makes a room with itself as only member, at epoch 0 and seq 0; `Resume` opens it."""

    id: Count
    room: RoomId


class Resume(_Message, frozen=True, tag=31):
    """Client: sends me this room's entries after `after`, then the live ones."""

    id: Count
    room: RoomId
    after: Count


class Resumed(_Message, frozen=True, tag=32):
    """Relay: entries up to `seq` follow, then live ones.

    `handshake` is the last of them that is no message (`Kind.APPLICATION`). `submission` is the highest this
    device ever had accepted in this room: a client that remembers less holds a state that is too old to send
    from; the next one is one higher. Entries up to `legacy` are of protocol 3.
    `restores` has each former incarnation whose backup the relay was restored from, the latest last, with
    the last entry that the backup had: what a client has of that incarnation from beyond it is not in this
    log. `members` is who the relay routes to, as
    (device, name); it is not to be believed, only compared. A device that is no longer a member gets its
    last seq and no members. If `seq` is below what was asked for, the relay has lost entries.
    """

    id: Count
    room: RoomId
    seq: Count
    handshake: Count
    submission: Count
    legacy: Count
    restores: Annotated[list[tuple[Incarnation, Count]], msgspec.Meta(max_length=MAX_RESTORES)]
    members: list[tuple[Device, Name]]


class Submit(_Message, frozen=True, tag=33):
    """Client: appends an entry to a room's log.

    `payload` begins with a header (`clave_wire.header`) of the same kind. `read` is the seq of the last entry
    that is no message (`Kind.APPLICATION`) which this device has read: if another such entry stands in the
    log, the answer is `stale`. `submission` is one higher than the device's last one accepted in this room.
    `welcome` goes to each device the header adds, as an `Invitation`.
    """

    room: RoomId
    submission: Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
    read: Count
    kind: Kind
    payload: bytes
    welcome: bytes = b""


class Accepted(_Message, frozen=True, tag=34):
    """Relay: the submission is on disk as entry `seq`. It stands in the stream where the entry would."""

    room: RoomId
    submission: Count
    seq: Count


class Rejected(_Message, frozen=True, tag=35):
    """Relay: the submission is not in the log and never will be under this number."""

    room: RoomId
    submission: Count
    code: Code
    text: Text


class Entry(_Message, frozen=True, tag=36):
    """Relay: one entry of a room's log, the same bytes for everyone.

    `epoch` is 0 but for entries of protocol 3, whose payloads have no header.
    """

    room: RoomId
    seq: Count
    sender: Device
    submission: Count
    kind: Kind
    epoch: Count
    payload: bytes


class Invitation(_Message, frozen=True, tag=37):
    """Relay: a welcome, or a sealed group info, came with entry `seq`. Repeated at each login until taken."""

    id: Count
    room: RoomId
    seq: Count
    sender: Device
    welcome: bytes


class TakeInvitation(_Message, frozen=True, tag=38):
    """Client: the welcome is on my disk, or of no use to me; forget it."""

    id: Count
    invitation: Count


class Presence(_Message, frozen=True, tag=39):
    """Relay: a member's device came (`online`) or went; `text` says how ("left", "connection lost")."""

    room: RoomId
    device: Device
    name: Name
    online: bool
    text: Text


class Mend(_Message, frozen=True, tag=41):
    """Client: corrects whom the relay routes to, after comparing it with the roster agreed in the group.

    The relay routes to `add` from now on, at one member's word. It stops routing to `remove` once members of
    two accounts have said so, or at once for the sender's own device.
    """

    id: Count
    room: RoomId
    add: Devices
    remove: Devices


class Goodbye(_Message, frozen=True, tag=42):
    """Client, last: it closes on purpose; the others are told so."""


ToRelay = (
    Hello
    | Login
    | PublishKeyPackages
    | Lookup
    | ClaimKeyPackages
    | CreateRoom
    | Resume
    | Submit
    | TakeInvitation
    | Mend
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
)
