"""A group in which nearly everyone has committed, made without the history leading there. Times nothing."""

from __future__ import annotations

import os
import time

from bench.mls.sides import HOUR, Member, Ours, Side, Theirs
from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Extension,
    ExtensionType,
    KeyPackage,
    KeyPackageBundle,
    LeafNode,
    MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
    decode_key_package,
    encode_message,
)
from clave_crypto.mls.key_schedule import GroupContext, derive_epoch, welcome_key_nonce
from clave_crypto.mls.leaf_node import CommitSource, ProtocolVersion, sign_leaf_node
from clave_crypto.mls.ratchet_tree import RatchetTree
from clave_crypto.mls.treekem import NewPath, create_path
from clave_crypto.mls.update_path import HPKECiphertext
from clave_crypto.mls.welcome import EncryptedGroupSecrets, GroupInfo, GroupSecrets, Welcome

__all__ = ["FullTree"]

SUITE = MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519
GROUP_ID = b"full"
EPOCH = 1


class FullTree:
    """A group of `size`, a multiple of four, whose parents are all set but the one above leaves 2 and 3.

    There are the readers, one on each library. Leaf 1, on mls-rs, commits; leaf 0 was the last before it, so
    what leaf 1 and the readers need to know of the tree's keys is one path secret each.
    """

    def __init__(self, size: int) -> None:
        committer = Theirs()
        sides: tuple[Side, ...] = (committer, Ours(), Theirs())
        offers = [decode_key_package(side.offer()) for side in sides]
        secrets = [Secret(os.urandom(32)) for _ in range(size)]
        leaves = [_leaf(secret) for secret in secrets]
        leaves[1:4] = [offer.leaf_node for offer in offers]
        tree = RatchetTree(
            SUITE, [leaves[index // 2] if index % 2 == 0 else None for index in range(2 * size - 1)]
        )
        for leaf_index in (*range(4, size, 2), 0):
            path = _commit(tree, leaf_index, secrets[leaf_index])
        welcome = _welcome(tree, secrets[0], path, offers)
        self.committer = committer.join(welcome)
        self.readers: list[Member] = [side.join(welcome) for side in sides[1:]]

    def update(self) -> bytes:
        """Return a commit with which the committer renews its keys, applied by it."""
        commit = self.committer.update()
        self.committer.process(commit)
        return commit


def _leaf(signature_secret: Secret) -> LeafNode:
    now = int(time.time())
    return KeyPackageBundle.generate(
        SUITE, os.urandom(8), signature_secret, not_before=now - HOUR, not_after=now + HOUR
    ).key_package.leaf_node


def _commit(tree: RatchetTree, leaf_index: int, signature_secret: Secret) -> NewPath:
    """Put a path into the tree as a commit of that leaf does."""
    old = tree.leaf(leaf_index)
    assert old is not None  # noqa: S101 - every leaf is filled

    def sign(encryption_key: bytes, parent_hash: bytes) -> LeafNode:
        return sign_leaf_node(
            SUITE,
            signature_secret,
            old,
            encryption_key=encryption_key,
            source=CommitSource(parent_hash),
            group_id=GROUP_ID,
            leaf_index=leaf_index,
        )

    return create_path(tree, leaf_index, sign, random=os.urandom)


def _welcome(tree: RatchetTree, signer: Secret, path: NewPath, offers: list[KeyPackage]) -> bytes:
    """Return leaf 0's Welcome for the leaves 1 to 3, whose key packages `offers` are."""
    transcript_hash, joiner, no_psk = os.urandom(32), Secret(os.urandom(32)), Secret(bytes(32))
    context = GroupContext(
        ProtocolVersion.MLS10, SUITE.id, GROUP_ID, EPOCH, tree.tree_hash(), transcript_hash, ()
    )
    secrets, _ = derive_epoch(SUITE, joiner, no_psk, context.encode())
    tag = SUITE.mac(secrets.confirmation_key, transcript_hash)
    extensions = (Extension(ExtensionType.RATCHET_TREE, tree.encode()),)
    signature = SUITE.sign_with_label(
        signer, b"GroupInfoTBS", GroupInfo(context, extensions, tag, 0, b"").tbs()
    )
    group_info = GroupInfo(context, extensions, tag, 0, signature).encode()
    key, nonce = welcome_key_nonce(SUITE, joiner, no_psk)
    sealed_info = SUITE.seal(key, nonce, b"", group_info)
    entries = []
    for offer, common in zip(offers, (1, 3, 3), strict=True):
        group_secrets = GroupSecrets(joiner, path.path_secrets[common], ()).encode()
        sealed = SUITE.encrypt_with_label(offer.init_key, b"Welcome", sealed_info, group_secrets)
        reference = SUITE.ref_hash(b"MLS 1.0 KeyPackage Reference", offer.encode())
        entries.append(EncryptedGroupSecrets(reference, HPKECiphertext(*sealed)))
    return encode_message(Welcome(SUITE.id, tuple(entries), sealed_info))
