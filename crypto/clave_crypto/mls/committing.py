"""Make a commit (RFC 9420, section 12.4.1): its message and the next epoch. Changes no epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clave_crypto.keys import Secret
from clave_crypto.mls.applying import Applied, combine_psks, next_context, surviving_keys
from clave_crypto.mls.epoch import Epoch, FindPsk, advance, next_epoch
from clave_crypto.mls.framing import CommitAuthData
from clave_crypto.mls.key_package import RandomBytes
from clave_crypto.mls.leaf_node import CommitSource, LeafNode, sign_leaf_node
from clave_crypto.mls.limits import Limits
from clave_crypto.mls.padding import pad_to_bucket
from clave_crypto.mls.proposals import Commit, ProposalByReference, ProposalByValue
from clave_crypto.mls.rules.leaf import check_leaves_fit_group, check_leaves_unique
from clave_crypto.mls.secret_tree import FoundKey, SecretTree
from clave_crypto.mls.senders import Sender
from clave_crypto.mls.sending import frame, protect, sign, wire_format_of
from clave_crypto.mls.spread import Spread
from clave_crypto.mls.treekem import NewPath, create_path, encrypt_path
from clave_crypto.mls.update_path import UpdatePath

__all__ = ["CommitMade", "leaf_signer", "make_commit"]


@dataclass(frozen=True, repr=False)
class CommitMade:
    """A commit: the message to send, the next epoch, and what the Welcome needs."""

    message: bytes
    epoch: Epoch
    secret_tree: SecretTree
    joiner_secret: Secret
    path: NewPath | None
    psk_secret: Secret


def leaf_signer(
    epoch: Epoch, leaf_index: int, template: LeafNode, signature_secret: Secret
) -> Callable[[bytes, bytes], LeafNode]:
    """Return a function that signs `template` with a path's encryption key and parent hash."""

    def sign_leaf(encryption_key: bytes, parent_hash: bytes) -> LeafNode:
        return sign_leaf_node(
            epoch.suite,
            signature_secret,
            template,
            encryption_key=encryption_key,
            source=CommitSource(parent_hash),
            group_id=epoch.context.group_id,
            leaf_index=leaf_index,
        )

    return sign_leaf


def make_commit(
    epoch: Epoch,
    sender: Sender,
    applied: Applied,
    named: Sequence[ProposalByValue | ProposalByReference],
    *,
    template: LeafNode | None,
    init_secret: Secret,
    signature_secret: Secret | None = None,
    found: FoundKey | None,
    authenticated_data: bytes,
    find_psk: FindPsk,
    limits: Limits,
    spread: Spread = map,
    random: RandomBytes,
) -> CommitMade:
    """Make the commit of the proposals `named`; `applied` is their effect.

    The path's leaf is made from `template`; without one there is no path. The message is encrypted with the
    key `found`, or sent unencrypted if that is None. `signature_secret` is this member's own from then on, if
    it is another one.

    Raises:
        UnsupportedError: this member does not have a pre-shared key.
        ValidationError: another member has the leaf's key, or the leaf does not fit the group.
        LimitError: the leaf or the message grows too large.

    """
    suite = epoch.suite
    tree = applied.tree.copy()
    private_keys = surviving_keys(epoch, tree, None)
    new_path: NewPath | None = None
    path: UpdatePath | None = None
    commit_secret = Secret(bytes(suite.hash_size))
    if template is not None:
        own_secret = epoch.signature_secret if signature_secret is None else signature_secret
        sign_leaf = leaf_signer(epoch, applied.committer, template, own_secret)
        new_path = create_path(tree, applied.committer, sign_leaf, random=random)
        limits.check_leaf(len(new_path.leaf_node.encode()))
        check_leaves_unique(tree.census)
        check_leaves_fit_group(tree.census, applied.extensions)
        private_keys |= new_path.private_keys
        commit_secret = new_path.commit_secret
    provisional = next_context(epoch, tree, applied.extensions)
    if new_path is not None:
        path = encrypt_path(tree, new_path, provisional.encode(), frozenset(applied.added), spread)
    content = frame(epoch.context, sender, Commit(tuple(named), path), authenticated_data)
    signature = sign(epoch, content, found)
    psk_secret = combine_psks(suite, applied.psks, find_psk)
    following = advance(
        epoch,
        provisional,
        tree.n_leaves,
        commit=content,
        wire_format=wire_format_of(found),
        signature=signature,
        init_secret=init_secret,
        commit_secret=commit_secret,
        psk_secret=psk_secret,
        limits=limits,
    )
    auth = CommitAuthData(signature, following.confirmation_tag)
    message = protect(epoch, content, auth, found, padding=pad_to_bucket, random=random)
    limits.check_message(len(message))
    return CommitMade(
        message,
        next_epoch(epoch, tree, following, applied.committer, private_keys, signature_secret),
        following.secret_tree,
        following.joiner_secret,
        new_path,
        psk_secret,
    )
