"""The client's errors: each is one line, with an exit status; `ui.hints` adds what to type. Knows no screen.

ClientError
├── LocalFault            something on this machine, or in the call
│   ├── UsageError        wrong argument, or a call that is not possible now
│   │   ├── RoomNotFound      no room has that title or id
│   │   ├── NotInRoom         this device is not in that room
│   │   ├── MemberNotFound    nobody of that name is in the room
│   │   ├── SelfRemoval       one cannot remove oneself
│   │   ├── KeyNotShown       a name was to be verified before its key was shown
│   │   ├── LinkUnusable      a link to join by is mistyped, expired, used up or revoked
│   │   │   └── NoOfferFits       nothing that members offer lets this device in now
│   │   ├── ProfileNotFound   there is no such profile, and no relay to register it at
│   │   └── RelayUnknown      the profile has not met its relay yet, and none is given
│   ├── ProfileError      the profile is missing, locked, exposed or damaged
│   │   ├── ProfileLocked     another process holds it and does not answer
│   │   ├── OwnerOutdated     the process that holds it is of another version
│   │   ├── ProfileExposed    others on this machine could read it
│   │   │   └── ProfileOfOther    its folder belongs to another user
│   │   ├── NotAFolder        something else than a folder is in its place
│   │   ├── WrongPassphrase
│   │   │   └── PassphraseNeeded  it has a passphrase, and nobody can be asked for it
│   │   ├── RoomUnreadable    a stored room is damaged or of a cipher suite or version not known
│   │   └── StoreDamaged      the database is damaged, newer than this program, or the disk failed
│   │       └── StoreFull     the disk is full or read-only now
│   └── StateTooOld       this profile was restored from a backup; sending from it would reuse keys
├── RelayError            the relay, or what answers at its address
│   ├── RelayUnreachable
│   ├── NotARelay         something answers, but not as a clave relay
│   ├── RelayChanged      the certificate is not one that this profile accepts
│   │   └── RelayNotOfLink    it is not the relay of the link that is to be joined
│   ├── RelayFault        the relay broke the protocol or left out entries
│   ├── RoomBehind        the relay no longer keeps what this device has not read of a room
│   └── RelayRefused      the relay refused, with a code
├── MessageWaiting        messages stay in the outbox until the relay can be reached
├── NoLongerMember        this device is not in the room any more
└── PeerError             another member's client sent something invalid
    ├── PeerLacksSuite    somebody's client lacks the room's cipher suite
    └── KeyMismatch       a name is bound to one account and was seen with another
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clave_wire.messages import Code

__all__ = [
    "ClientError",
    "KeyMismatch",
    "KeyNotShown",
    "LinkUnusable",
    "LocalFault",
    "MemberNotFound",
    "MessageWaiting",
    "NoLongerMember",
    "NoOfferFits",
    "NotAFolder",
    "NotARelay",
    "NotInRoom",
    "OwnerOutdated",
    "PassphraseNeeded",
    "PeerError",
    "PeerLacksSuite",
    "ProfileError",
    "ProfileExposed",
    "ProfileLocked",
    "ProfileNotFound",
    "ProfileOfOther",
    "RelayChanged",
    "RelayError",
    "RelayFault",
    "RelayNotOfLink",
    "RelayRefused",
    "RelayUnknown",
    "RelayUnreachable",
    "RoomBehind",
    "RoomNotFound",
    "RoomUnreadable",
    "SelfRemoval",
    "StateTooOld",
    "StoreDamaged",
    "StoreFull",
    "UsageError",
    "WrongPassphrase",
]


class ClientError(Exception):
    """Base of all errors of this package; `str()` is one line that says what is wrong."""

    exit_status = 1


class LocalFault(ClientError):
    """Something on this machine, or in the call, is wrong."""


class UsageError(LocalFault):
    """Wrong argument, or a call that is not possible now."""

    exit_status = 2


class RoomNotFound(UsageError):
    """No room has that title or id."""


class NotInRoom(UsageError):
    """This device is not in that room."""


class MemberNotFound(UsageError):
    """Nobody of that name is in the room."""


class SelfRemoval(UsageError):
    """A member cannot remove itself; it leaves instead."""


class KeyNotShown(UsageError):
    """A name was to be verified before its key was shown."""


class LinkUnusable(UsageError):
    """A link to join by is mistyped, of another relay or a newer version, expired, used up or revoked."""


class NoOfferFits(LinkUnusable):
    """Nothing that the members of a link's room offer lets this device in now; later something may."""


class ProfileNotFound(UsageError):
    """There is no profile `name`, and no relay was given to register it at."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no profile {name} yet")
        self.name = name


class RelayUnknown(UsageError):
    """The profile has not met its relay yet, and no relay was given."""


class ProfileError(LocalFault):
    """Profile missing, locked, exposed or damaged."""

    exit_status = 3


class ProfileLocked(ProfileError):
    """Another process, `process` (0 if not known), holds the profile `name` and does not answer."""

    def __init__(self, name: str, process: int) -> None:
        who = f"process {process}" if process else "another process"
        super().__init__(f"{who} holds the profile {name} and does not answer; end it, or let it go on")
        self.name = name
        self.process = process


class OwnerOutdated(ProfileError):
    """The process that holds the profile is of a version that this one cannot attach to."""


class ProfileExposed(ProfileError):
    """Others on this machine could read or replace the profile."""


class ProfileOfOther(ProfileExposed):
    """The profile's folder belongs to another user."""


class NotAFolder(ProfileError):
    """Something else than a folder is where the profile should be."""


class WrongPassphrase(ProfileError):
    """The passphrase or key file does not open the profile."""


class PassphraseNeeded(WrongPassphrase):
    """The profile has a passphrase, and nobody can be asked for it."""


class RoomUnreadable(ProfileError):
    """A stored room is damaged, or of a cipher suite or a version that this program lacks."""

    def __init__(self, title: str, reason: str) -> None:
        super().__init__(
            f"{title} cannot be opened ({reason}); update clave, or ask to be removed and invited again"
        )
        self.title = title


class StoreDamaged(ProfileError):
    """The profile's database is damaged, newer than this program, or could not be written."""


class StoreFull(StoreDamaged):
    """The disk is full or cannot be written now; nothing is lost, and it is tried again."""


class StateTooOld(LocalFault):
    """The room's state is older than what this device already sent; sending would reuse keys."""

    exit_status = 3


class RelayError(ClientError):
    """The relay, or what answers at its address, is at fault."""

    exit_status = 4


class RelayUnreachable(RelayError):
    """No connection could be made."""


class NotARelay(RelayError):
    """Something answers, but it does not speak this protocol."""


class RelayChanged(RelayError):
    """The relay's certificate is neither the pinned one nor an accepted successor."""


class RelayNotOfLink(RelayChanged):
    """The certificate is not that of the relay of a link."""


class RelayFault(RelayError):
    """The relay broke the protocol or withheld entries."""


class RelayRefused(RelayError):
    """The relay refused, with the reason `code`.

    `retry_after` is the pause it asks for, in seconds; 0 for none.
    """

    def __init__(self, code: Code, text: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{text}; come back in {retry_after:.0f} s" if retry_after >= 1 else text)
        self.code = code
        self.retry_after = retry_after


class RoomBehind(RelayError):
    """The relay no longer keeps the entries of a room that follow the last one this device read."""

    def __init__(self, title: str, cursor: int) -> None:
        super().__init__(
            f"the relay no longer keeps what this device has not read of {title}, from entry {cursor + 1} on;"
            " ask an admin to remove you from the room and to invite you again"
        )
        self.title = title


class MessageWaiting(ClientError):
    """`count` messages did not reach the relay yet; they are kept and go out later."""

    exit_status = 5

    def __init__(self, count: int) -> None:
        what = "the message waits" if count == 1 else f"{count} messages wait"
        super().__init__(f"{what} in the outbox: the relay did not take it in time; it goes out later")
        self.count = count


class NoLongerMember(ClientError):
    """This device is not in the room any more: it left, or `by` removed it."""

    exit_status = 6

    def __init__(self, title: str, by: str | None) -> None:
        super().__init__(f"you are no longer in {title}" if by is None else f"{by} removed you from {title}")
        self.title = title


class PeerError(ClientError):
    """Another member's client sent something invalid."""


class PeerLacksSuite(PeerError):
    """Somebody's client has no key package of the room's cipher suite and cannot be added."""


class KeyMismatch(PeerError):
    """Two accounts go by one name; the user has to decide which is right.

    `known` is the account that the name is bound to, or that was seen first. `found` is the other one, and
    `source` says where it was seen.
    """

    name: str
    known: bytes
    found: bytes
    source: str

    def __init__(self, name: str, known: bytes, known_source: str, found: bytes, source: str) -> None:
        # Imported here, as they load `cryptography` and the tables of confusable letters.
        from clave_crypto.identity import fingerprint
        from clave_wire.text import sanitize

        name = sanitize(name)
        super().__init__(
            f"two keys go by {name}, nothing was done: {fingerprint(known)} ({known_source}) and"
            f" {fingerprint(found)} ({source}); the name may have a new owner:"
            f" ask {name} over another channel which is right"
        )
        self.name = name
        self.known = known
        self.found = found
        self.source = source
