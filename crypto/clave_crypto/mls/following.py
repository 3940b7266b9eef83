"""Following another's commit (RFC 9420, section 12.4.2): the epoch it leads to, beside the epoch it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clave_crypto.keys import Secret
from clave_crypto.mls import tree_math
from clave_crypto.mls.applying import Applied, combine_psks, next_context, surviving_keys
from clave_crypto.mls.change import Change
from clave_crypto.mls.epoch import Epoch, FindPsk, Member, advance, succeed
from clave_crypto.mls.events import Committed
from clave_crypto.mls.framing import AuthenticatedContent, CommitAuthData
from clave_crypto.mls.leaf_node import CommitSource, LeafNode
from clave_crypto.mls.limits import Limits
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.proposals import Commit
from clave_crypto.mls.ratchet_tree import RatchetTree
from clave_crypto.mls.rules.leaf import check_leaf, check_leaves_fit_group, check_leaves_unique
from clave_crypto.mls.rules.message import check_confirmation_tag, check_sender_is_member
from clave_crypto.mls.rules.path import (
    check_encryption_key_fresh,
    check_path_ciphertexts,
    check_path_keys_fit,
    check_path_keys_unique,
    check_path_length,
    check_path_parent_hash,
)
from clave_crypto.mls.treekem import merge_path, open_path, recipient_counts
from clave_crypto.mls.update_path import UpdatePath
from clave_crypto.mls.welcoming import external_key_pair

__all__ = ["describe", "follow_commit"]


def follow_commit(
    epoch: Epoch,
    commit: Commit,
    authenticated: AuthenticatedContent,
    applied: Applied,
    *,
    own_leaf_secret: Secret | None,
    policy: Policy,
    judge_joiner: Callable[[LeafNode], None],
    find_psk: FindPsk,
    limits: Limits,
) -> Change:
    """Follow a commit, its signature verified, whose proposals' effect is `applied`.

    `own_leaf_secret` is the private key of this member's leaf when the commit covers its Update. An external
    commit's joiner is put to `judge_joiner` once its leaf has proved true to itself.

    Raises:
        ValidationError: the path or the confirmation tag breaks a rule.
        DecryptionError: the path's secret or the external init does not open.
        PolicyRejected: the application refuses the committer's new leaf.
        UnsupportedError: a pre-shared key is not known here.

    """
    suite, tree, committer = epoch.suite, applied.tree.copy(), applied.committer
    private_keys = surviving_keys(epoch, tree, own_leaf_secret)
    commit_secret = Secret(bytes(suite.hash_size))
    if commit.path is not None:
        _merge(epoch, tree, commit.path, applied, policy, judge_joiner, limits)
    provisional = next_context(epoch, tree, applied.extensions)
    if epoch.own_leaf in applied.removed:
        return applied.change(authenticated.content.authenticated_data, None, None)
    if commit.path is not None:
        path_keys, commit_secret = open_path(
            tree,
            committer,
            commit.path,
            own_leaf=epoch.own_leaf,
            private_keys=private_keys,
            group_context=provisional.encode(),
            added=frozenset(applied.added),
        )
        for node in tree_math.direct_path(2 * committer, tree.n_leaves):
            private_keys.pop(node, None)
        private_keys |= path_keys
    init_secret = epoch.secrets.init_secret
    if applied.external_init is not None:
        external_secret, _ = external_key_pair(epoch)
        init_secret = suite.open_external_init(external_secret, applied.external_init)
    following = advance(
        epoch,
        provisional,
        tree.n_leaves,
        commit=authenticated.content,
        wire_format=authenticated.wire_format,
        signature=authenticated.auth.signature,
        init_secret=init_secret,
        commit_secret=commit_secret,
        psk_secret=combine_psks(suite, applied.psks, find_psk),
        limits=limits,
    )
    assert isinstance(authenticated.auth, CommitAuthData)  # noqa: S101 - the codec pairs it with a commit
    check_confirmation_tag(following.confirmation_tag, authenticated.auth.confirmation_tag)
    successor = succeed(epoch, tree, following, epoch.own_leaf, private_keys)
    return applied.change(authenticated.content.authenticated_data, successor, following.secret_tree)


def describe(prior: Epoch, change: Change) -> Committed:
    """Return what the application is told about `change`."""
    after = change.epoch

    def members(tree: RatchetTree, indices: Sequence[int]) -> tuple[Member, ...]:
        return tuple(Member.of(index, check_sender_is_member(tree.leaf(index))) for index in indices)

    return Committed(
        committer=change.committer,
        epoch=prior.context.epoch + 1,
        added=members(after.tree, change.added) if after else (),
        removed=members(prior.tree, change.removed),
        updated=members(after.tree, change.updated) if after else (),
        extensions_changed=after is not None and after.context.extensions != prior.context.extensions,
        removed_self=after is None,
        external=change.external,
        reinit=change.reinit,
        authenticated_data=change.authenticated_data,
    )


def _merge(
    epoch: Epoch,
    tree: RatchetTree,
    path: UpdatePath,
    applied: Applied,
    policy: Policy,
    judge_joiner: Callable[[LeafNode], None],
    limits: Limits,
) -> None:
    """Check a received path and put it into `tree`."""
    suite, leaf, committer = epoch.suite, path.leaf_node, applied.committer
    limits.check_leaf(len(leaf.encode()))
    check_leaf(suite, leaf, CommitSource, group_id=epoch.context.group_id, leaf_index=committer)
    policy.check_leaf(leaf)
    for leaf_index in (committer,) if applied.external_init is None else applied.removed:
        old = check_sender_is_member(epoch.tree.leaf(leaf_index))
        check_encryption_key_fresh(old, leaf)
        policy.check_successor(old, leaf)
    if applied.external_init is not None:
        judge_joiner(leaf)
    check_path_keys_fit(suite, path)
    check_path_keys_unique(tree, path)
    counts = recipient_counts(tree, committer, frozenset(applied.added))
    check_path_length(path, len(counts))
    check_path_ciphertexts(path, counts)
    check_path_parent_hash(path, merge_path(tree, committer, path))
    check_leaves_unique(tree.census)
    check_leaves_fit_group(tree.census, applied.extensions)
