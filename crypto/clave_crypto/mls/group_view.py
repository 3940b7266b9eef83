"""Read a group in its current epoch, and derive exports from it. Sends and receives nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from clave_crypto.keys import Secret
from clave_crypto.mls.arguments import checked
from clave_crypto.mls.epoch import Epoch, FindPsk, Member, no_psks
from clave_crypto.mls.errors import GroupClosedError, LocalError
from clave_crypto.mls.extensions import Extension
from clave_crypto.mls.framing import encode_message
from clave_crypto.mls.grease import DEFAULT_GREASE, Grease
from clave_crypto.mls.key_package import RandomBytes
from clave_crypto.mls.key_schedule import export_secret
from clave_crypto.mls.limits import Limits
from clave_crypto.mls.measuring import MessageSize, measure_message
from clave_crypto.mls.origin import Origin
from clave_crypto.mls.padding import Padding, pad_to_bucket
from clave_crypto.mls.past import PastEpoch, with_resumption
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.proposals import Proposal, ReInit
from clave_crypto.mls.ratchet_tree import RatchetTree
from clave_crypto.mls.sealing import open_from_member, seal_to_member
from clave_crypto.mls.secret_tree import SecretTree
from clave_crypto.mls.senders import Sender
from clave_crypto.mls.state import GroupState, PendingProposal, StateChange, store
from clave_crypto.mls.stored_tree import StoredTree
from clave_crypto.mls.suites import CipherSuite
from clave_crypto.mls.tree_pages import changed_pages
from clave_crypto.mls.verifying import verify_keys, verify_tree
from clave_crypto.mls.welcoming import make_group_info

__all__ = ["GroupView"]


@dataclass(frozen=True, repr=False)
class _Given:
    """What was last given to the application to store; None for what was not."""

    epoch: bytes | None = None
    ratchets: bytes | None = None
    tree: RatchetTree | StoredTree | None = None


class GroupView:
    """The part of `Group` that reads the current epoch and changes nothing."""

    def __init__(
        self,
        epoch: Epoch,
        secret_tree: SecretTree,
        policy: Policy,
        *,
        limits: Limits,
        past: Sequence[PastEpoch] = (),
        pending: dict[bytes, PendingProposal] | None = None,
        closed: bool = False,
        reinit: ReInit | None = None,
        welcomed_by: int | None = None,
        stored: GroupState | None = None,
    ) -> None:
        self._epoch = epoch
        self._secret_tree = secret_tree
        self._policy = policy
        self._limits = limits
        self._past = list(past)
        self._pending = pending or {}
        self._closed = closed
        self._reinit = reinit
        self._welcomed_by = welcomed_by
        self._given = _Given() if stored is None else _Given(stored.epoch, stored.ratchets, epoch.held_tree)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.group_id.hex()} in epoch {self.epoch}>"

    def state(self) -> GroupState:
        """Return the whole group for storage, private keys included; equal states give equal bytes.

        Raises:
            StateError: a page of the stored tree is missing or does not belong to this epoch.

        """
        return GroupState(*self._store(with_tree=True))

    def changes(self) -> StateChange:
        """Return what is to be stored since this was last called, or since such parts were restored.

        Of any other group that is all of it. Write it in one transaction, as `state`; if that fails, restore
        the group from what is stored.

        Raises:
            StateError: a page of the stored tree is missing or does not belong to its epoch.

        """
        epoch, ratchets = self._store(with_tree=False)
        given, held = self._given, self._epoch.held_tree
        pages: dict[int, bytes] = {}
        removed: tuple[int, ...] = ()
        if given.tree is not held:
            before = given.tree.whole() if isinstance(given.tree, StoredTree) else given.tree
            pages, removed = changed_pages(before, self._epoch.tree)
        self._given = _Given(epoch, ratchets, held)
        return StateChange(
            None if epoch == given.epoch else epoch,
            None if ratchets == given.ratchets else ratchets,
            pages,
            removed,
        )

    def _store(self, *, with_tree: bool) -> tuple[bytes, bytes]:
        return store(
            self._epoch,
            self._secret_tree,
            self._past,
            self._pending,
            closed=self._closed,
            reinit=self._reinit,
            with_tree=with_tree,
        )

    @property
    def group_id(self) -> bytes:
        """The group's id."""
        return self._epoch.context.group_id

    @property
    def epoch(self) -> int:
        """The epoch's number: how many commits the group has had."""
        return self._epoch.context.epoch

    @property
    def suite(self) -> CipherSuite:
        """The group's cipher suite."""
        return self._epoch.suite

    @property
    def own_leaf(self) -> int:
        """This member's leaf index."""
        return self._epoch.own_leaf

    @property
    def welcomed_by(self) -> int | None:
        """The leaf index of the Welcome's signer; None unless this object was returned by `join`."""
        return self._welcomed_by

    @property
    def closed(self) -> bool:
        """Whether this member was removed."""
        return self._closed

    @property
    def reinit(self) -> ReInit | None:
        """The committed ReInit, which describes the group that replaces this one; None before."""
        return self._reinit

    @property
    def epoch_authenticator(self) -> bytes:
        """A value that two members share exactly if they agree on the group and epoch (section 8.7)."""
        return bytes(self._epoch.secrets.epoch_authenticator)

    @property
    def resumption_psk(self) -> Secret:
        """This epoch's resumption pre-shared key (section 8.6), which proves membership in it.

        Return it from `find_psk` for a `ResumptionPsk` of this group and epoch where the library cannot look
        it up: in another group, or in an external commit that returns to this one.

        Raises:
            GroupClosedError: this member was removed.

        """
        self._check_member()
        return self._epoch.secrets.resumption_psk

    @property
    def extensions(self) -> tuple[Extension, ...]:
        """The extensions of the group context."""
        return self._epoch.context.extensions

    @property
    def pending_proposals(self) -> tuple[tuple[bytes, Sender, Proposal], ...]:
        """Proposals waiting for a commit: (reference, sender, proposal)."""
        return tuple((reference, one.sender, one.proposal) for reference, one in self._pending.items())

    def members(self) -> tuple[Member, ...]:
        """Return the members in the order of their leaves."""
        return tuple(Member.of(leaf_index, leaf) for leaf_index, leaf in self._epoch.tree.leaves())

    @checked
    def member(self, leaf_index: int) -> Member:
        """Return the member at a leaf.

        Raises:
            LocalError: the leaf is blank or outside the tree.

        """
        leaf = self._epoch.leaf(leaf_index)
        if leaf is None:
            raise LocalError(f"no member is at leaf {leaf_index}")
        return Member.of(leaf_index, leaf)

    def check_tree(self) -> None:
        """Check the whole tree as a joiner does: its hash, parent hashes, and each leaf (section 12.4.3.1).

        Following commits keeps it right, so this finds damage of what was stored, or a defect.

        Raises:
            MalformedError, ValidationError: it breaks a rule.
            LimitError: a leaf is too large.
            PolicyRejected: the application refuses a leaf.
            StateError: a page of the stored tree is missing or does not belong to this epoch.

        """
        epoch = self._epoch
        verify_tree(epoch.tree, epoch.context, policy=self._policy, limits=self._limits, spread=map)

    def check_keys(self) -> None:
        """Check the confirmation tag, and that this member's private keys are those of the public ones.

        Message keys cannot be checked: nothing is kept to compare them with.

        Raises:
            ValidationError: the confirmation tag is not that of this epoch.
            StateError: a key or the transcript hash is another one.
            GroupClosedError: this member was removed.

        """
        self._check_member()
        verify_keys(self._epoch)

    @checked
    def export(self, label: str, context: bytes, length: int) -> Secret:
        """Return `length` secret bytes that all members, and only they, have in this epoch (section 8.5).

        Raises:
            LocalError: `length` is not between 1 and 255 hash sizes.
            GroupClosedError: this member was removed.

        """
        self._check_member()
        longest = 255 * self.suite.hash_size
        if not 0 < length <= longest:
            raise LocalError(f"an export has 1 to {longest} bytes, not {length}")
        exporter = self._epoch.secrets.exporter_secret
        return export_secret(self.suite, exporter, label.encode(), context, length)

    def ratchet_tree(self) -> bytes:
        """Return the encoded ratchet tree, for joiners whose Welcome or GroupInfo comes without it."""
        return self._epoch.tree.encode()

    def group_info(
        self,
        *,
        ratchet_tree: bool = True,
        grease: Grease = DEFAULT_GREASE,
        random: RandomBytes = os.urandom,
    ) -> bytes:
        """Return the signed GroupInfo of this epoch, an encoded MLSMessage.

        Anyone who has it can join by an external commit (section 12.4.3.2): give it only to those invited.

        Raises:
            GroupClosedError: this member was removed, or a ReInit was committed.

        """
        self._check_open()
        info = make_group_info(
            self._epoch, ratchet_tree=ratchet_tree, external_pub=True, grease=grease, random=random
        )
        return encode_message(info)

    @checked
    def seal_to_member(self, leaf_index: int, label: str, data: bytes) -> bytes:
        """Return `data` encrypted to the key of one member's leaf, by EncryptWithLabel (section 5.1.3).

        `label` names the purpose; the context is the group's id. The result is not a group message: it does
        not tell who made it, and no state changes. For example, a GroupInfo sent this way lets a member
        return that could not follow a commit.

        Raises:
            LocalError: the leaf is blank, or `label` is reserved by MLS.
            GroupClosedError: this member was removed.

        """
        self._check_member()
        return seal_to_member(self._epoch, self.member(leaf_index).leaf, label, data)

    @checked
    def measure(
        self, data: bytes, *, authenticated_data: bytes = b"", padding: Padding = pad_to_bucket
    ) -> MessageSize:
        """Return the sizes of the message that `encrypt` would make of `data`; uses up no key.

        With ECDSA the size of a message differs from call to call by some bytes.
        """
        return measure_message(self.suite, self.group_id, self.epoch, data, authenticated_data, padding)

    def leaf_key(self) -> Secret:
        """Return the private key of this member's leaf in the current epoch, for `open_from_member` later on.

        By itself it decrypts no group message and derives no secret of an epoch.

        Raises:
            GroupClosedError: this member was removed.

        """
        self._check_member()
        return self._epoch.private_keys[2 * self._epoch.own_leaf]

    @checked
    def open_from_member(self, label: str, sealed: bytes, key: Secret | None = None) -> Secret:
        """Decrypt what `seal_to_member` returned, with this member's leaf key or a former one (`key`).

        The sender may be in another epoch, if this member's leaf has that key there. The data is not
        authenticated: check it like data from a stranger.

        Raises:
            MalformedError: `sealed` is not what `seal_to_member` returns.
            DecryptionError: it was not sealed to this leaf's key with this label in a group of this id.
            LocalError: `label` is reserved by MLS.
            GroupClosedError: this member was removed.

        """
        self._check_member()
        return open_from_member(self._epoch, label, sealed, self.leaf_key() if key is None else key)

    def _find_psk(self, find_psk: FindPsk = no_psks) -> FindPsk:
        return with_resumption(self._epoch, self._past, find_psk)

    def _as_origin(self, find_psk: FindPsk = no_psks) -> Origin:
        self._check_member()
        return Origin(self._epoch, self._reinit, self._find_psk(find_psk))

    def _check_member(self) -> None:
        if self._closed:
            raise GroupClosedError("this member was removed from the group")

    def _check_open(self) -> None:
        self._check_member()
        if self._reinit is not None:
            raise GroupClosedError(
                "a ReInit was committed: the group has ended, send in the one that replaces it"
            )
