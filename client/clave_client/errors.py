"""Every way the client fails, each with one line for its reader and an exit status. Knows no terminal.

ClientError
├── LocalError            something on this machine, or something typed
│   ├── UsageError        the words of a command or call are off
│   ├── ProfileError      the profile cannot be opened as it lies there
│   │   ├── ProfileLocked     another process has it open
│   │   ├── ProfileExposed    others on this machine could read it
│   │   ├── WrongPassphrase
│   │   ├── RoomUnreadable    a stored room is of an encryption or version this program does not have
│   │   └── StoreDamaged      the database is damaged, newer than this program, or the disk failed
│   └── StateTooOld       this profile was restored from a backup; sending from it would reuse keys
├── RelayError            the relay, or what answers in its place
│   ├── RelayUnreachable
│   ├── NotARelay         something answers, but not as a clave relay
│   ├── RelayChanged      the certificate is none that this profile may be shown
│   ├── RelayFault        the relay broke the protocol or left out entries
│   ├── RoomBehind        the relay no longer keeps what this device has not read of a room
│   └── RelayRefused      the relay said no, with its code
└── PeerError             another member's client sent something that is refused
    ├── PeerLacksSuite    somebody's client cannot take part in a room's encryption
    └── KeyMismatch       a name that is bound to one account turns up with another
"""

from __future__ import annotations

from clave_crypto.identity import fingerprint
from clave_wire.messages import Code
from clave_wire.text import sanitize

__all__ = [
    "ClientError",
    "KeyMismatch",
    "LocalError",
    "NotARelay",
    "PeerError",
    "PeerLacksSuite",
    "ProfileError",
    "ProfileExposed",
    "ProfileLocked",
    "RelayChanged",
    "RelayError",
    "RelayFault",
    "RelayRefused",
    "RelayUnreachable",
    "RoomBehind",
    "RoomUnreadable",
    "StateTooOld",
    "StoreDamaged",
    "UsageError",
    "WrongPassphrase",
]


class ClientError(Exception):
    """Base of all errors of this package; `str()` is one line that says what to do."""

    exit_status = 1


class LocalError(ClientError):
    """Something on this machine stands in the way."""


class UsageError(LocalError):
    """The words of a command or call are off."""

    exit_status = 2


class ProfileError(LocalError):
    """The profile cannot be opened as it lies there."""

    exit_status = 3


class ProfileLocked(ProfileError):
    """Another process has the profile open."""


class ProfileExposed(ProfileError):
    """Others on this machine could read or replace the profile."""


class WrongPassphrase(ProfileError):
    """The passphrase or key file does not open the profile."""


class RoomUnreadable(ProfileError):
    """A stored room is of a cipher suite, or was written by a version, that this program does not have."""

    def __init__(self, title: str, reason: str) -> None:
        super().__init__(
            f"{title} cannot be opened ({reason}); update clave, or ask to be removed and invited again"
        )
        self.title = title


class StoreDamaged(ProfileError):
    """The profile's database is damaged, newer than this program, or could not be written."""


class StateTooOld(LocalError):
    """The room's state is older than what this device already sent; sending would use keys twice."""

    exit_status = 3


class RelayError(ClientError):
    """The relay, or what answers in its place, is at fault."""

    exit_status = 4


class RelayUnreachable(RelayError):
    """No connection could be made."""


class NotARelay(RelayError):
    """Something answers, but it does not speak this protocol."""


class RelayChanged(RelayError):
    """The relay's certificate is neither the pinned one nor one that may follow it."""


class RelayFault(RelayError):
    """The relay broke the protocol or withheld entries."""


class RelayRefused(RelayError):
    """The relay refused; `code` says why in a form to decide on.

    `retry_after` is when it asks to be tried again, in seconds; 0 leaves that open.
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


class PeerError(ClientError):
    """Another member's client sent something that is refused."""


class PeerLacksSuite(PeerError):
    """Somebody's client has no key package of the room's cipher suite, so it cannot be added."""


class KeyMismatch(PeerError):
    """Two accounts go by one name, and only the person at this client can say which is right.

    `known` is the account that the name is bound to, or that was seen first; `found` is the other one, and
    `source` says where it turned up.
    """

    def __init__(self, name: str, known: bytes, known_source: str, found: bytes, source: str) -> None:
        name = sanitize(name)
        super().__init__(
            f"two keys go by {name}, nothing was done: {fingerprint(known)} ({known_source}) and"
            f" {fingerprint(found)} ({source}); ask {name} over another channel which is right,"
            f" then /trust {name}"
        )
        self.name = name
        self.known = known
        self.found = found
        self.source = source
