"""One epoch of a group as one member sees it. Immutable: the next epoch is computed as a new object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from clave_crypto.keys import Secret
from clave_crypto.mls.framing import FramedContent
from clave_crypto.mls.key_schedule import (
    EpochSecrets,
    GroupContext,
    confirmed_transcript_hash,
    derive_epoch,
    interim_transcript_hash,
    joiner_secret,
)
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.limits import Limits
from clave_crypto.mls.psk import PreSharedKeyID
from clave_crypto.mls.ratchet_tree import RatchetTree
from clave_crypto.mls.secret_tree import SecretTree
from clave_crypto.mls.stored_tree import StoredTree
from clave_crypto.mls.suites import CipherSuite
from clave_crypto.mls.wire_format import WireFormat

__all__ = ["Epoch", "FindPsk", "Member", "NextEpoch", "advance", "next_epoch", "no_psks"]

FindPsk = Callable[[PreSharedKeyID], Secret | None]
"""Returns the pre-shared key of that id, or None."""


def no_psks(_: PreSharedKeyID) -> None:
    """Return None: there are no pre-shared keys."""


@dataclass(frozen=True)
class Member:
    """A member of a group: the identity in its credential and the key it signs with."""

    leaf_index: int
    identity: bytes
    signature_key: bytes
    leaf: LeafNode

    @classmethod
    def of(cls, leaf_index: int, leaf: LeafNode) -> Member:
        """Return the member at a leaf."""
        return cls(leaf_index, leaf.credential.identity, leaf.signature_key, leaf)


@dataclass(frozen=True, repr=False)
class Epoch:
    """An epoch's public state and this member's secrets in it. The tree must not be modified.

    `held_tree` is the tree, or its stored form, of which `leaf` reads what it needs and `tree` all.
    `private_keys` holds the HPKE private keys of this member's leaf and of the parents above it that it has,
    by node index.
    """

    context: GroupContext
    held_tree: RatchetTree | StoredTree
    secrets: EpochSecrets
    confirmation_tag: bytes
    interim_transcript_hash: bytes
    own_leaf: int
    private_keys: Mapping[int, Secret]
    signature_secret: Secret
    context_bytes: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "context_bytes", self.context.encode())

    def without_secrets(self) -> Epoch:
        """Return the epoch without its secrets, for a member who was removed."""
        nothing = Secret()
        return replace(self, secrets=EpochSecrets(*[nothing] * 8), private_keys={}, signature_secret=nothing)

    @property
    def suite(self) -> CipherSuite:
        """The group's cipher suite."""
        return self.held_tree.suite

    @property
    def n_leaves(self) -> int:
        """Number of the tree's leaves, blank ones included."""
        return self.held_tree.n_leaves

    @property
    def tree(self) -> RatchetTree:
        """The whole tree.

        Raises:
            StateError: a page of the stored tree is missing or does not belong to this epoch.

        """
        return self.held_tree.whole() if isinstance(self.held_tree, StoredTree) else self.held_tree

    def leaf(self, leaf_index: int) -> LeafNode | None:
        """Return the leaf, None when blank or outside the tree; of a stored tree, read only what is needed.

        Raises:
            StateError: a page of the stored tree is missing or does not belong to this epoch.

        """
        return self.held_tree.leaf(leaf_index)


@dataclass(frozen=True, repr=False)
class NextEpoch:
    """What the key schedule derives from a commit."""

    context: GroupContext
    joiner_secret: Secret
    secrets: EpochSecrets
    secret_tree: SecretTree
    confirmation_tag: bytes
    interim_transcript_hash: bytes


def advance(
    epoch: Epoch,
    provisional: GroupContext,
    n_leaves: int,
    *,
    commit: FramedContent,
    wire_format: WireFormat,
    signature: bytes,
    init_secret: Secret,
    commit_secret: Secret,
    psk_secret: Secret,
    limits: Limits,
) -> NextEpoch:
    """Run the key schedule over a signed commit; `provisional` is the next epoch's provisional context.

    `init_secret` is that of `epoch`, or the one of an external commit (section 8.3).
    """
    suite = epoch.suite
    confirmed = confirmed_transcript_hash(
        suite, epoch.interim_transcript_hash, wire_format, commit.encode(), signature
    )
    context = GroupContext(
        provisional.version,
        provisional.cipher_suite,
        provisional.group_id,
        provisional.epoch,
        provisional.tree_hash,
        confirmed,
        provisional.extensions,
    )
    context_bytes = context.encode()
    joiner = joiner_secret(suite, init_secret, commit_secret, context_bytes)
    secrets, encryption_secret = derive_epoch(suite, joiner, psk_secret, context_bytes)
    tag = suite.mac(secrets.confirmation_key, confirmed)
    return NextEpoch(
        context,
        joiner,
        secrets,
        SecretTree(suite, n_leaves, encryption_secret, limits),
        tag,
        interim_transcript_hash(suite, confirmed, tag),
    )


def next_epoch(
    epoch: Epoch,
    tree: RatchetTree,
    following: NextEpoch,
    own_leaf: int,
    private_keys: Mapping[int, Secret],
    signature_secret: Secret | None = None,
) -> Epoch:
    """Return the epoch after `epoch`, with its tree, its derived secrets and this member's private keys.

    `signature_secret` is this member's, if it is another one than before.
    """
    return Epoch(
        following.context,
        tree,
        following.secrets,
        following.confirmation_tag,
        following.interim_transcript_hash,
        own_leaf,
        private_keys,
        epoch.signature_secret if signature_secret is None else signature_secret,
    )
