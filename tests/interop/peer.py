"""One member of a group, whichever library it runs on, and the library. Knows no library and no scenario.

To add a library: write a `Peer` and a `Library` for it, as `interop.core_crypto` does, and list the library
in `interop.mixes`. The scenarios then run with it.
"""

from __future__ import annotations

import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "EXPORT_LABEL",
    "Commit",
    "Kind",
    "Library",
    "Operation",
    "Peer",
    "Received",
    "Refused",
    "State",
    "new_identity",
]

EXPORT_LABEL = "exporter"
"""The label of `Peer.export`: core-crypto exports under no other. The context is empty."""


class Refused(Exception):
    """The library under a peer refused what it was given."""


class Kind(StrEnum):
    """What a message was."""

    APPLICATION = "application"
    PROPOSAL = "proposal"
    COMMIT = "commit"


@dataclass(frozen=True)
class Received:
    """What a peer made of a message: application data, or whether a commit removed this member."""

    kind: Kind
    data: bytes = b""
    removed: bool = False


@dataclass(frozen=True)
class Commit:
    """A commit, the Welcome if it adds members, and the new epoch's GroupInfo if the library tells it."""

    message: bytes
    welcome: bytes | None = None
    group_info: bytes | None = None


@dataclass(frozen=True)
class State:
    """The epoch's number and the members' identities."""

    epoch: int
    members: tuple[str, ...]

    @classmethod
    def of(cls, epoch: int, members: Iterable[str]) -> State:
        """Return a state that equals others with the same members, in whatever order they were given."""
        return cls(epoch, tuple(sorted(members)))


class Operation(StrEnum):
    """What only some libraries can do; a peer of one that cannot raises `NotImplementedError`."""

    PROPOSE_ADD = "propose add"
    PROPOSE_UPDATE = "propose update"
    PROPOSE_REMOVE = "propose remove"
    COMMIT_JOIN = "commit the proposal of a client to join"
    GROUP_INFO = "group info"
    EXTERNAL_JOIN = "external join"


class Peer(ABC):
    """A client, which acts in the group that it created or joined last.

    Key packages, GroupInfos, Welcomes and messages are encoded MLSMessages. Who commits applies the commit at
    once. A method raises `Refused`, or an error of its library, if the library refuses what it is given; the
    group is then as before.
    """

    identity: str

    @abstractmethod
    def key_package(self) -> bytes:
        """Make a key package."""

    @abstractmethod
    def create(self) -> None:
        """Create a group."""

    @abstractmethod
    def join(self, welcome: bytes) -> None:
        """Join by a Welcome."""

    @abstractmethod
    def add(self, *key_packages: bytes) -> Commit:
        """Commit the addition of those clients."""

    @abstractmethod
    def update(self) -> Commit:
        """Commit new keys for this member."""

    @abstractmethod
    def remove(self, identity: str) -> Commit:
        """Commit the removal of a member."""

    @abstractmethod
    def commit(self) -> Commit:
        """Commit the pending proposals, by reference."""

    @abstractmethod
    def send(self, data: bytes) -> bytes:
        """Encrypt application data."""

    @abstractmethod
    def receive(self, message: bytes) -> Received:
        """Process another member's message."""

    @abstractmethod
    def export(self) -> bytes:
        """Export 32 bytes with `EXPORT_LABEL` and an empty context."""

    def state(self) -> State | None:
        """Return the epoch and the members; None where the library does not tell them."""
        return None

    def propose_add(self, key_package: bytes) -> bytes:
        """Propose to add a client."""
        raise NotImplementedError

    def propose_update(self) -> bytes:
        """Propose new keys for this member."""
        raise NotImplementedError

    def propose_remove(self, identity: str) -> bytes:
        """Propose to remove a member, which may be this one."""
        raise NotImplementedError

    def propose_join(self, group_info: bytes) -> bytes:
        """Propose, from outside the group, to be added to it."""
        raise NotImplementedError

    def external_join(self, group_info: bytes) -> Commit:
        """Join by an external commit, or return by one that removes this client's former leaf."""
        raise NotImplementedError


class Library(ABC):
    """An MLS library: what it can do, and how its clients are made.

    Attributes:
        name: as in the table of results.
        suites: the numbers of the cipher suites it shares with this library.
        operations: what it can do beyond what all can.
        public_handshake: whether it refuses encrypted proposals and commits.

    """

    name: str
    suites: tuple[int, ...]
    operations: frozenset[Operation]
    public_handshake: bool = False

    def missing(self) -> str | None:
        """Return why it cannot be used here and how to get it; None if it can."""
        return None

    @abstractmethod
    def client(self, identity: str, suite: int, *, public_handshake: bool) -> Peer:
        """Make a client, which sends proposals and commits unencrypted if `public_handshake`."""

    def close(self) -> None:  # noqa: B027 - most libraries have nothing to end
        """End what was started for its clients."""


def new_identity() -> str:
    """Return an identity that is unique and has the form that core-crypto requires."""
    device = int.from_bytes(os.urandom(8), "big")
    return f"{uuid.uuid4()}:{device:x}@example.org"
