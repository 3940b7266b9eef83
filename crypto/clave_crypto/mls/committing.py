"""Making and following a commit (RFC 9420, sections 12.4.1, 12.4.2): the successor, beside the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clave_crypto.keys import Secret
from clave_crypto.mls import tree_math
from clave_crypto.mls.applying import Applied, combine_psks, next_context, surviving_keys
from clave_crypto.mls.change import Change
from clave_crypto.mls.epoch import Epoch, FindPsk, Member, NextEpoch, advance
from clave_crypto.mls.events import Committed
from clave_crypto.mls.extensions import Extension, ExtensionType
from clave_crypto.mls.framing import (
    AuthenticatedContent,
    CommitAuthData,
    encode_message,
)
from clave_crypto.mls.key_package import KeyPackage, RandomBytes
from clave_crypto.mls.key_schedule import welcome_key_nonce
from clave_crypto.mls.leaf_node import CommitSource, LeafNode, sign_leaf_node
from clave_crypto.mls.padding import pad_to_bucket
from clave_crypto.mls.policy import Policy
from clave_crypto.mls.proposals import Add, Commit
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
from clave_crypto.mls.secret_tree import FoundKey
from clave_crypto.mls.selecting import Selection
from clave_crypto.mls.sending import frame, seal, sign
from clave_crypto.mls.treekem import (
    NewPath,
    create_path,
    encrypt_path,
    merge_path,
    open_path,
    recipient_counts,
)
from clave_crypto.mls.update_path import HPKECiphertext, UpdatePath
from clave_crypto.mls.welcome import EncryptedGroupSecrets, GroupInfo, GroupSecrets, Welcome
from clave_crypto.mls.wire_format import WireFormat

__all__ = ["CommitMade", "describe", "follow_commit", "make_commit"]


@dataclass(frozen=True, repr=False)
class CommitMade:
    """A commit of this member: what to send, and the step it leads to."""

    message: bytes
    welcome: bytes | None
    change: Change


def make_commit(
    epoch: Epoch,
    selection: Selection,
    found: FoundKey,
    *,
    find_psk: FindPsk,
    random: RandomBytes,
) -> CommitMade:
    """Make the commit that covers `selection`, sealed with the key `found`; it always has a path."""
    suite, applied = epoch.suite, selection.applied
    tree = applied.tree.copy()
    private_keys = surviving_keys(epoch, tree, None)

    def make_leaf(encryption_key: bytes, parent_hash: bytes) -> LeafNode:
        old = check_sender_is_member(tree.leaf(epoch.own_leaf))
        return sign_leaf_node(
            suite,
            epoch.signature_secret,
            old,
            encryption_key=encryption_key,
            source=CommitSource(parent_hash),
            group_id=epoch.context.group_id,
            leaf_index=epoch.own_leaf,
        )

    new_path = create_path(tree, epoch.own_leaf, make_leaf, random=random)
    provisional = next_context(epoch, tree, applied.extensions)
    path = encrypt_path(tree, new_path, provisional.encode(), frozenset(applied.added))
    content = frame(epoch, Commit(selection.named, path))
    signature = sign(epoch, content)
    psk_secret = combine_psks(epoch, applied.psks, find_psk)
    following = advance(
        epoch,
        provisional,
        tree.n_leaves,
        commit=content,
        wire_format=WireFormat.PRIVATE_MESSAGE,
        signature=signature,
        commit_secret=new_path.commit_secret,
        psk_secret=psk_secret,
    )
    auth = CommitAuthData(signature, following.confirmation_tag)
    message = seal(epoch, found, content, auth, pad_to_bucket, random)
    welcome = None
    added = [proposal.key_package for _, proposal in selection.sent if isinstance(proposal, Add)]
    if added:
        welcome = encode_message(_make_welcome(epoch, tree, following, applied, added, new_path, psk_secret))
    successor = _successor(epoch, tree, following, private_keys | new_path.private_keys)
    change = Change(
        epoch.own_leaf, applied.added, applied.removed, applied.updated, successor, following.secret_tree
    )
    return CommitMade(message, welcome, change)


def follow_commit(
    epoch: Epoch,
    committer: int,
    commit: Commit,
    authenticated: AuthenticatedContent,
    applied: Applied,
    *,
    own_leaf_secret: Secret | None,
    policy: Policy,
    find_psk: FindPsk,
) -> Change:
    """Follow another member's commit, signature verified, whose proposals' effect is `applied`.

    `own_leaf_secret` is the private key of this member's leaf when the commit covers its Update.

    Raises:
        ValidationError: the path or the confirmation tag breaks a rule.
        DecryptionError: the path's secret does not open.
        PolicyRejected: the application refuses the committer's new leaf.
        UnsupportedError: a pre-shared key is not known here.

    """
    suite, tree = epoch.suite, applied.tree.copy()
    removed_self = epoch.own_leaf in applied.removed
    private_keys = surviving_keys(epoch, tree, own_leaf_secret)
    commit_secret = Secret(bytes(suite.hash_size))
    if commit.path is not None:
        _merge(epoch, tree, committer, commit.path, applied, policy)
    provisional = next_context(epoch, tree, applied.extensions)
    if removed_self:
        return Change(committer, applied.added, applied.removed, applied.updated, None, None)
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
    following = advance(
        epoch,
        provisional,
        tree.n_leaves,
        commit=authenticated.content,
        wire_format=authenticated.wire_format,
        signature=authenticated.auth.signature,
        commit_secret=commit_secret,
        psk_secret=combine_psks(epoch, applied.psks, find_psk),
    )
    assert isinstance(authenticated.auth, CommitAuthData)  # noqa: S101 - the codec pairs it with a commit
    check_confirmation_tag(following.confirmation_tag, authenticated.auth.confirmation_tag)
    successor = _successor(epoch, tree, following, private_keys)
    return Change(
        committer, applied.added, applied.removed, applied.updated, successor, following.secret_tree
    )


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
    )


def _merge(
    epoch: Epoch, tree: RatchetTree, committer: int, path: UpdatePath, applied: Applied, policy: Policy
) -> None:
    """Check a received path and put it into `tree`."""
    suite, leaf = epoch.suite, path.leaf_node
    old = check_sender_is_member(epoch.tree.leaf(committer))
    check_leaf(suite, leaf, CommitSource, group_id=epoch.context.group_id, leaf_index=committer)
    check_encryption_key_fresh(old, leaf)
    policy.check_leaf(leaf)
    policy.check_successor(old, leaf)
    check_path_keys_fit(suite, path)
    check_path_keys_unique(tree, path)
    counts = recipient_counts(tree, committer, frozenset(applied.added))
    check_path_length(path, len(counts))
    check_path_ciphertexts(path, counts)
    check_path_parent_hash(path, merge_path(tree, committer, path))
    leaves = [member for _, member in tree.leaves()]
    check_leaves_unique(leaves)
    check_leaves_fit_group(leaves, applied.extensions)


def _successor(
    epoch: Epoch, tree: RatchetTree, following: NextEpoch, private_keys: dict[int, Secret]
) -> Epoch:
    return Epoch(
        following.context,
        tree,
        following.secrets,
        following.confirmation_tag,
        following.interim_transcript_hash,
        epoch.own_leaf,
        private_keys,
        epoch.signature_secret,
    )


def _make_welcome(
    epoch: Epoch,
    tree: RatchetTree,
    following: NextEpoch,
    applied: Applied,
    added: Sequence[KeyPackage],
    path: NewPath,
    psk_secret: Secret,
) -> Welcome:
    """Make one Welcome for everyone added, the ratchet tree in it (section 12.4.3.1)."""
    suite = epoch.suite
    extensions = (Extension(ExtensionType.RATCHET_TREE, tree.encode()),)
    unsigned = GroupInfo(following.context, extensions, following.confirmation_tag, epoch.own_leaf, b"")
    signature = suite.sign_with_label(epoch.signature_secret, b"GroupInfoTBS", unsigned.tbs())
    group_info = GroupInfo(
        following.context, extensions, following.confirmation_tag, epoch.own_leaf, signature
    )
    key, nonce = welcome_key_nonce(suite, following.joiner_secret, psk_secret)
    encrypted_group_info = suite.seal(key, nonce, b"", group_info.encode())
    secrets = []
    for leaf_index, key_package in zip(applied.added, added, strict=True):
        common = tree_math.common_ancestor(2 * epoch.own_leaf, 2 * leaf_index)
        group_secrets = GroupSecrets(following.joiner_secret, path.path_secrets[common], applied.psks)
        sealed = suite.encrypt_with_label(
            key_package.init_key, b"Welcome", encrypted_group_info, group_secrets.encode()
        )
        reference = suite.ref_hash(b"MLS 1.0 KeyPackage Reference", key_package.encode())
        secrets.append(EncryptedGroupSecrets(reference, HPKECiphertext(*sealed)))
    return Welcome(suite.id, tuple(secrets), encrypted_group_info)
