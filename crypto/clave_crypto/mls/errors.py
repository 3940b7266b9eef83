"""The errors of groups, and whose fault each is. Knows no rule: the broken rule gives its id.

MLSError                 base of all below; a `CryptoError`
├── LocalError           a mistake of the caller; no peer is at fault
│   ├── GroupClosedError     this member was removed, or a ReInit was committed (`Group.reinit`)
│   ├── CommitRequiredError  proposals are pending and must be committed before sending data
│   ├── StalePendingError    the pending commit was made in another epoch
│   └── StateError           stored bytes are not a state of this group
├── OwnMessageError      the message claims this member as its sender
├── PolicyRejected       the application's policy refuses it; raised by `Policy` methods
└── PeerError            what a peer sent cannot be accepted; nothing was changed
├── MalformedError       not a valid encoding
├── WrongGroupError      for another group
├── WrongEpochError      for an epoch whose keys this member does not have (`epoch`)
├── UnsupportedError     a cipher suite, pre-shared key or mechanism this member does not have
├── DecryptionError      no key of this member decrypts it
├── ReplayError          its key was used already
├── LimitError           exceeds the group's `Limits`
│   └── TooFarAheadError     its generation is further ahead than a ratchet may skip
└── ValidationError      breaks a rule of RFC 9420 (`rule`, `section`)
"""

from __future__ import annotations

from clave_crypto.errors import CryptoError, DecodeError, UnknownValueError

__all__ = [
    "CommitRequiredError",
    "DecryptionError",
    "GroupClosedError",
    "LimitError",
    "LocalError",
    "MLSError",
    "MalformedError",
    "OwnMessageError",
    "PeerError",
    "PolicyRejected",
    "ReplayError",
    "StalePendingError",
    "StateError",
    "TooFarAheadError",
    "UnsupportedError",
    "ValidationError",
    "WrongEpochError",
    "WrongGroupError",
    "undecodable",
]


class MLSError(CryptoError):
    """Base of every error about groups."""


class LocalError(MLSError):
    """The caller asked for something this group cannot do."""


class GroupClosedError(LocalError):
    """This member was removed, or a ReInit was committed: the group has ended."""


class CommitRequiredError(LocalError):
    """Proposals are pending: commit before sending data (RFC 9420, section 12.4)."""


class StalePendingError(LocalError):
    """The pending commit was made in another epoch, or the group already left its epoch."""


class StateError(LocalError):
    """Stored bytes are not a state of this group."""


class OwnMessageError(MLSError):
    """The message claims this member as its sender; any member can claim that in an encrypted message."""


class PolicyRejected(MLSError):
    """The application's policy refuses a leaf or a commit."""


class PeerError(MLSError):
    """What a peer sent cannot be accepted."""


class MalformedError(PeerError):
    """Bytes are not a valid encoding of what they should be."""


class WrongGroupError(PeerError):
    """The message is for another group."""


class WrongEpochError(PeerError):
    """The message is for `epoch`, whose keys this member does not hold."""

    def __init__(self, epoch: int, current: int) -> None:
        super().__init__(f"the message is for epoch {epoch}, the group is in {current}")
        self.epoch = epoch


class UnsupportedError(PeerError):
    """It needs a cipher suite, pre-shared key or mechanism that this member does not have."""


class DecryptionError(PeerError):
    """No key of this member decrypts the ciphertext."""


class ReplayError(PeerError):
    """The message's key was used before and is deleted."""


class LimitError(PeerError):
    """A message, leaf, tree or list exceeds the group's `Limits`."""


class TooFarAheadError(LimitError):
    """The message's generation is further ahead than a ratchet may skip."""


class ValidationError(PeerError):
    """It breaks rule `rule` of RFC 9420, section `section`, or of draft-ietf-mls-extensions by its title."""

    def __init__(self, rule: str, section: str, detail: str) -> None:
        document = "RFC 9420" if section[0].isdigit() else "draft-ietf-mls-extensions"
        super().__init__(f"{detail} ({document}, section {section}: {rule})")
        self.rule = rule
        self.section = section


def undecodable(what: str, error: DecodeError) -> PeerError:
    """Return the error for a peer's `what` that does not decode: malformed, or with an unknown value."""
    if isinstance(error, UnknownValueError):
        return UnsupportedError(f"{what} has a value that this library does not know: {error}")
    return MalformedError(f"{what} is malformed: {error}")
