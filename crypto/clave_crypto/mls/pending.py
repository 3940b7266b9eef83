"""A member's own commit that is not accepted or rejected yet. Holds the next epoch; enters none."""

from __future__ import annotations

from dataclasses import replace

from clave_crypto.codec import Struct, struct, u64
from clave_crypto.errors import DecodeError
from clave_crypto.keys import Secret
from clave_crypto.mls.arguments import checked
from clave_crypto.mls.change import Change
from clave_crypto.mls.epoch import Member
from clave_crypto.mls.errors import StalePendingError, StateError
from clave_crypto.mls.limits import DEFAULT_LIMITS, Limits
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.ratchet_tree import RatchetTree
from clave_crypto.mls.state import decode_change, encode_change
from clave_crypto.mls.stored_tree import StoredTree

__all__ = ["PendingCommit"]


@struct()
class _Stored(Struct):
    message: bytes
    welcome: bytes | None
    epoch: u64
    parent: Secret
    change: Secret


class PendingCommit:
    """The `message` to send, the `welcome` (None if it adds nobody), and the number of the `epoch` it ends.

    Pass it to `merge` or `discard` of the group that made it; it can be used once.
    """

    def __init__(
        self,
        message: bytes,
        welcome: bytes | None,
        epoch: int,
        parent: bytes,
        change: Change,
        tree: RatchetTree | None,
    ) -> None:
        """`parent` is the authenticator of the epoch it was made in, and `tree` that epoch's if known."""
        self.message = message
        self.welcome = welcome
        self.epoch = epoch
        self._parent = parent
        self._change: Change | None = change
        self._tree = tree

    def __repr__(self) -> str:
        return f"<PendingCommit in epoch {self.epoch}>"

    @property
    def added(self) -> tuple[Member, ...]:
        """The members it adds."""
        change = self._held()
        leaves = {} if change.epoch is None else {index: change.epoch.leaf(index) for index in change.added}
        return tuple(Member.of(index, leaf) for index, leaf in leaves.items() if leaf is not None)

    @property
    def removed(self) -> tuple[int, ...]:
        """The leaf indices it removes, in the epoch it was made in."""
        return self._held().removed

    @property
    def path(self) -> bool:
        """Whether it has an UpdatePath (section 12.4); true if it was stored without this field."""
        return self._held().path

    def encode(self) -> bytes:
        """Return it for storage, private keys included; of the tree it has what it changes.

        Raises:
            StalePendingError: it is discarded or merged already.

        """
        change = Secret(encode_change(self._held(), self._tree))
        return _Stored(self.message, self.welcome, self.epoch, Secret(self._parent), change).encode()

    @classmethod
    @checked
    def decode(cls, data: bytes, *, policy: Policy, limits: Limits = DEFAULT_LIMITS) -> PendingCommit:
        """Return what `encode` stored; `policy` checks the leaves it adds again.

        Raises:
            StateError: `data` is not a stored pending commit.
            PolicyRejected: the application no longer accepts a leaf it adds.

        """
        try:
            stored = _Stored.decode(data)
        except DecodeError as error:
            raise StateError(f"not a stored pending commit: {error}") from error
        change = decode_change(stored.change, limits)
        pending = cls(stored.message, stored.welcome, stored.epoch, stored.parent, change, None)
        for member in pending.added:
            policy.check_leaf(member.leaf)
        return pending

    def take(self, parent: bytes, held_tree: RatchetTree | StoredTree) -> Change:
        """Return the change and forget it, for a group with this epoch authenticator and tree.

        Raises:
            StalePendingError: it was made in another epoch, or is discarded or merged already.
            StateError: a page of a stored tree is missing or does not belong to it.

        """
        change = self._held()
        if self._parent != parent:
            raise StalePendingError(f"the commit was made in epoch {self.epoch}, which the group is not in")
        if change.epoch is not None and isinstance(change.epoch.held_tree, StoredTree):
            base = held_tree.whole() if isinstance(held_tree, StoredTree) else held_tree
            epoch = replace(change.epoch, held_tree=change.epoch.held_tree.whole(base))
            change = replace(change, epoch=epoch)
        self._forget()
        return change

    def drop(self) -> None:
        """Forget the change.

        Raises:
            StalePendingError: it is discarded or merged already.

        """
        self._held()
        self._forget()

    def _forget(self) -> None:
        self._change = self._tree = None

    def _held(self) -> Change:
        if self._change is None:
            raise StalePendingError("the commit is discarded or merged already")
        return self._change
