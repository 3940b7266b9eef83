"""A member's own commit that is not accepted or rejected yet. Holds the next epoch; enters none."""

from __future__ import annotations

from clave_crypto.codec import Struct, struct, u64
from clave_crypto.errors import DecodeError
from clave_crypto.keys import Secret
from clave_crypto.mls.arguments import checked
from clave_crypto.mls.change import Change
from clave_crypto.mls.epoch import Member
from clave_crypto.mls.errors import StalePendingError, StateError
from clave_crypto.mls.limits import DEFAULT_LIMITS, Limits
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.state import decode_change, encode_change

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
        self, message: bytes, welcome: bytes | None, epoch: int, parent: bytes, change: Change
    ) -> None:
        """`parent` is the epoch authenticator of the epoch it was made in."""
        self.message = message
        self.welcome = welcome
        self.epoch = epoch
        self._parent = parent
        self._change: Change | None = change

    def __repr__(self) -> str:
        return f"<PendingCommit in epoch {self.epoch}>"

    @property
    def added(self) -> tuple[Member, ...]:
        """The members it adds."""
        change = self._held()
        tree = () if change.epoch is None else change.epoch.tree.leaves()
        return tuple(Member.of(index, leaf) for index, leaf in tree if index in change.added)

    @property
    def removed(self) -> tuple[int, ...]:
        """The leaf indices it removes, in the epoch it was made in."""
        return self._held().removed

    @property
    def path(self) -> bool:
        """Whether it has an UpdatePath (section 12.4); true if it was stored without this field."""
        return self._held().path

    def encode(self) -> bytes:
        """Return it for storage, private keys included.

        Raises:
            StalePendingError: it is discarded or merged already.

        """
        change = Secret(encode_change(self._held()))
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
        pending = cls(stored.message, stored.welcome, stored.epoch, stored.parent, change)
        for member in pending.added:
            policy.check_leaf(member.leaf)
        return pending

    def take(self, parent: bytes) -> Change:
        """Return the change and forget it, for a group whose epoch authenticator is `parent`.

        Raises:
            StalePendingError: it was made in another epoch, or is discarded or merged already.

        """
        change = self._held()
        if self._parent != parent:
            raise StalePendingError(f"the commit was made in epoch {self.epoch}, which the group is not in")
        self._change = None
        return change

    def drop(self) -> None:
        """Forget the change.

        Raises:
            StalePendingError: it is discarded or merged already.

        """
        self._held()
        self._change = None

    def _held(self) -> Change:
        if self._change is None:
            raise StalePendingError("the commit is discarded or merged already")
        return self._change
