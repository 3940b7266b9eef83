"""The errors of groups, and whose fault each is. Knows no rule by itself: a broken rule brings its id.

MLSError                 base of all below; a `CryptoError`
├── LocalError           the caller's doing; no peer did wrong
│   ├── GroupClosedError     this member was removed, or the group goes on as another (`Group.reinit`)
│   ├── CommitRequiredError  proposals are pending and must be committed before sending data
│   ├── StalePendingError    the pending commit was made in another epoch
│   └── StateError           stored bytes are not a state of this group
├── OwnMessageError      the message says it is this member's own, come back
├── PolicyRejected       the application's policy said no; raised by `Policy` methods
└── PeerError            what a peer sent cannot be accepted; nothing was changed
├── MalformedError       not a valid encoding
├── WrongGroupError      for another group
├── WrongEpochError      for an epoch whose keys are gone or not yet there (`epoch`)
├── UnsupportedError     a cipher suite, pre-shared key or mechanism this member does not have
├── DecryptionError      no key opens it
├── ReplayError          its key was used already
├── LimitError           more than the group's `Limits` take
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
    """The group removed this member, or goes on as another."""


class CommitRequiredError(LocalError):
    """Proposals are pending: commit before sending data (RFC 9420, section 12.4)."""


class StalePendingError(LocalError):
    """The pending commit was made in another epoch, or the group already left its epoch."""


class StateError(LocalError):
    """Stored bytes are not a state of this group."""


class OwnMessageError(MLSError):
    """The message says that this member sent it; for an encrypted one that proves nothing."""


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
    """Needs a cipher suite, pre-shared key or mechanism that this member does not have."""


class DecryptionError(PeerError):
    """No key of this member opens the ciphertext."""


class ReplayError(PeerError):
    """The message's key was used already and is gone."""


class LimitError(PeerError):
    """More than the group's `Limits` take."""


class TooFarAheadError(LimitError):
    """The message's generation is further ahead than a ratchet may skip."""


class ValidationError(PeerError):
    """Breaks rule `rule` of RFC 9420, section `section`."""

    def __init__(self, rule: str, section: str, detail: str) -> None:
        super().__init__(f"{detail} (RFC 9420, section {section}: {rule})")
        self.rule = rule
        self.section = section


def undecodable(what: str, error: DecodeError) -> PeerError:
    """Return the error of a peer's `what` that does not decode: its fault, or something newer than this."""
    if isinstance(error, UnknownValueError):
        return UnsupportedError(f"{what} has something this library does not know: {error}")
    return MalformedError(f"{what} is malformed: {error}")
