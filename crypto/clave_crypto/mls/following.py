"""Follow another member's commit (RFC 9420, section 12.4.2): compute the next epoch. Changes no epoch.

`check_commit` checks what every member of the epoch can check. `follow_commit` then decrypts this member's
secrets (`open_secrets`), runs the key schedule (`derive_epoch_after`) and checks the confirmation tag.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clave_crypto.keys import Secret
from clave_crypto.mls import tree_math
from clave_crypto.mls.applying import Applied, combine_psks, next_context, surviving_keys
from clave_crypto.mls.change import Change
from clave_crypto.mls.epoch import Epoch, FindPsk, Member, NextEpoch, advance, next_epoch
from clave_crypto.mls.events import Committed
from clave_crypto.mls.framing import AuthenticatedContent, CommitAuthData
from clave_crypto.mls.key_schedule import GroupContext
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
from clave_crypto.mls.rules.proposal import check_psks_countable
from clave_crypto.mls.treekem import merge_path, open_path, recipient_counts
from clave_crypto.mls.update_path import UpdatePath
from clave_crypto.mls.welcoming import external_key_pair

__all__ = [
    "CheckedCommit",
    "OpenedSecrets",
    "check_commit",
    "check_tag",
    "derive_epoch_after",
    "describe",
    "follow_commit",
    "members_at",
    "open_secrets",
]


@dataclass(frozen=True, repr=False)
class CheckedCommit:
    """A commit that passed all checks of its public parts; its secrets are not decrypted yet.

    `applied` is the effect of its proposals, `tree` has its path merged too, and `provisional` is the context
    under which path secrets are encrypted. `own_leaf_secret` is the private key of this member's new leaf if
    the commit covers its Update.
    """

    epoch: Epoch
    authenticated: AuthenticatedContent
    path: UpdatePath | None
    applied: Applied
    tree: RatchetTree
    provisional: GroupContext
    own_leaf_secret: Secret | None

    @property
    def removes_self(self) -> bool:
        """Whether this member is among those removed."""
        return self.epoch.own_leaf in self.applied.removed


@dataclass(frozen=True, repr=False)
class OpenedSecrets:
    """What this member decrypts from a commit; private keys by node index."""

    private_keys: dict[int, Secret]
    commit_secret: Secret
    init_secret: Secret


def check_commit(
    epoch: Epoch,
    commit: Commit,
    authenticated: AuthenticatedContent,
    applied: Applied,
    *,
    own_leaf_secret: Secret | None,
    policy: Policy,
    judge_joiner: Callable[[LeafNode], None],
    limits: Limits,
) -> CheckedCommit:
    """Check the public parts of a commit with a verified signature; `applied` is its proposals' effect.

    The joiner of an external commit is passed to `judge_joiner` once its leaf is checked.

    Raises:
        ValidationError: the path breaks a rule, or there are too many pre-shared keys.
        PolicyRejected: the application refuses the committer's new leaf.
        LimitError: the committer's new leaf is too long.

    """
    tree = applied.tree.copy()
    check_psks_countable(applied.psks)
    if commit.path is not None:
        _merge(epoch, tree, commit.path, applied, policy, judge_joiner, limits)
    provisional = next_context(epoch, tree, applied.extensions)
    return CheckedCommit(epoch, authenticated, commit.path, applied, tree, provisional, own_leaf_secret)


def open_secrets(checked: CheckedCommit) -> OpenedSecrets:
    """Decrypt the commit's secrets for this member, who stays in the group.

    Raises:
        DecryptionError: the path secret or the external init does not decrypt.
        ValidationError: no path secret is for a key of this member, or it derives keys other than the path's.

    """
    epoch, applied, tree = checked.epoch, checked.applied, checked.tree
    private_keys = surviving_keys(epoch, applied.tree, checked.own_leaf_secret)
    commit_secret = Secret(bytes(epoch.suite.hash_size))
    if checked.path is not None:
        path_keys, commit_secret = open_path(
            tree,
            applied.committer,
            checked.path,
            own_leaf=epoch.own_leaf,
            private_keys=private_keys,
            group_context=checked.provisional.encode(),
            added=frozenset(applied.added),
        )
        for node in tree_math.direct_path(2 * applied.committer, tree.n_leaves):
            private_keys.pop(node, None)
        private_keys |= path_keys
    init_secret = epoch.secrets.init_secret
    if applied.external_init is not None:
        external_secret, _ = external_key_pair(epoch)
        init_secret = epoch.suite.open_external_init(external_secret, applied.external_init)
    return OpenedSecrets(private_keys, commit_secret, init_secret)


def derive_epoch_after(
    checked: CheckedCommit, opened: OpenedSecrets, *, find_psk: FindPsk, limits: Limits
) -> NextEpoch:
    """Run the key schedule over a commit; does not check its confirmation tag.

    Raises:
        UnsupportedError: this member does not have a pre-shared key.

    """
    return advance(
        checked.epoch,
        checked.provisional,
        checked.tree.n_leaves,
        commit=checked.authenticated.content,
        wire_format=checked.authenticated.wire_format,
        signature=checked.authenticated.auth.signature,
        init_secret=opened.init_secret,
        commit_secret=opened.commit_secret,
        psk_secret=combine_psks(checked.epoch.suite, checked.applied.psks, find_psk),
        limits=limits,
    )


def check_tag(checked: CheckedCommit, following: NextEpoch) -> None:
    """Check the commit's confirmation tag against the derived epoch (section 6.1).

    Raises:
        ValidationError: its confirmation tag is not that of `following`.

    """
    auth = checked.authenticated.auth
    assert isinstance(auth, CommitAuthData)  # noqa: S101 - the codec pairs it with a commit
    check_confirmation_tag(following.confirmation_tag, auth.confirmation_tag)


def follow_commit(checked: CheckedCommit, *, find_psk: FindPsk, limits: Limits) -> Change:
    """Return the change that a checked commit makes for this member.

    Raises:
        DecryptionError, ValidationError: its secrets do not decrypt, or the confirmation tag is wrong.
        UnsupportedError: this member does not have a pre-shared key.

    """
    applied, has_path = checked.applied, checked.path is not None
    authenticated_data = checked.authenticated.content.authenticated_data
    if checked.removes_self:
        return applied.change(has_path, authenticated_data, None, None)
    opened = open_secrets(checked)
    following = derive_epoch_after(checked, opened, find_psk=find_psk, limits=limits)
    check_tag(checked, following)
    epoch = checked.epoch
    successor = next_epoch(epoch, checked.tree, following, epoch.own_leaf, opened.private_keys)
    return applied.change(has_path, authenticated_data, successor, following.secret_tree)


def describe(prior: Epoch, change: Change) -> Committed:
    """Return the event that reports `change` to the application."""
    after = change.epoch
    return Committed(
        committer=change.committer,
        epoch=prior.context.epoch + 1,
        added=members_at(after.tree, change.added) if after else (),
        removed=members_at(prior.tree, change.removed),
        updated=members_at(after.tree, change.updated) if after else (),
        extensions_changed=after is not None and after.context.extensions != prior.context.extensions,
        removed_self=after is None,
        external=change.external,
        path=change.path,
        reinit=change.reinit,
        authenticated_data=change.authenticated_data,
    )


def members_at(tree: RatchetTree, indices: Sequence[int]) -> tuple[Member, ...]:
    """Return the members at these leaves of `tree`."""
    return tuple(Member.of(index, check_sender_is_member(tree.leaf(index))) for index in indices)


def _merge(
    epoch: Epoch,
    tree: RatchetTree,
    path: UpdatePath,
    applied: Applied,
    policy: Policy,
    judge_joiner: Callable[[LeafNode], None],
    limits: Limits,
) -> None:
    """Check a received path and merge it into `tree`."""
    suite, leaf, committer = epoch.suite, path.leaf_node, applied.committer
    limits.check_leaf(len(leaf.encode()))
    check_leaf(suite, leaf, CommitSource, group_id=epoch.context.group_id, leaf_index=committer)
    policy.check_leaf(leaf)
    before = committer if applied.external_init is None else applied.replaced
    if before is not None:
        old = check_sender_is_member(epoch.tree.leaf(before))
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
