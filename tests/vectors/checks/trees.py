"""Vectors of ratchet trees and update paths."""

from __future__ import annotations

from collections.abc import Callable

from clave_crypto.keys import Secret
from clave_crypto.mls import Add, LeafNode, Remove, Update, find_suite, tree_math
from clave_crypto.mls.framing import ProposalContent
from clave_crypto.mls.key_schedule import GroupContext
from clave_crypto.mls.leaf_node import CommitSource, ProtocolVersion, sign_leaf_node
from clave_crypto.mls.ratchet_tree import RatchetTree, TreeNodes
from clave_crypto.mls.rules.leaf import check_leaf, check_signature, check_source
from clave_crypto.mls.rules.path import check_path_parent_hash
from clave_crypto.mls.rules.tree import check_tree, check_tree_shape, leaf_source
from clave_crypto.mls.treekem import create_path, derive_path_keys, encrypt_path, merge_path, open_path
from clave_crypto.mls.update_path import UpdatePath
from vectors.checks.schema import LEAF, Case, secret, unhex, vector


def tree_from(case: Case, field: str) -> RatchetTree:
    nodes = TreeNodes.decode(unhex(case[field])).nodes
    check_tree_shape(nodes)
    return RatchetTree(find_suite(case["cipher_suite"]), nodes)


@vector(
    cipher_suite=LEAF,
    tree_before=LEAF,
    proposal=LEAF,
    proposal_sender=LEAF,
    tree_hash_before=LEAF,
    tree_after=LEAF,
    tree_hash_after=LEAF,
)
def tree_operations(case: Case) -> None:
    tree = tree_from(case, "tree_before")
    assert tree.tree_hash() == unhex(case["tree_hash_before"])
    match ProposalContent.decode(unhex(case["proposal"])).proposal:
        case Add(key_package):
            tree.add_leaves([key_package.leaf_node])
        case Update(leaf_node):
            tree.update_leaf(case["proposal_sender"], leaf_node)
        case Remove(removed):
            tree.remove_leaf(removed)
        case other:
            raise AssertionError(other)
    assert tree.encode() == unhex(case["tree_after"])
    assert tree.tree_hash() == unhex(case["tree_hash_after"])


@vector(cipher_suite=LEAF, tree=LEAF, group_id=LEAF, resolutions=LEAF, tree_hashes=LEAF)
def tree_validation(case: Case) -> None:
    tree = tree_from(case, "tree")
    for node, expected in enumerate(case["resolutions"]):
        assert tree.resolution(node) == expected
    assert [tree.tree_hash(node).hex() for node in range(len(case["tree_hashes"]))] == case["tree_hashes"]
    check_tree(tree)
    for leaf_index, leaf in tree.leaves():
        check_leaf(
            tree.suite, leaf, leaf_source(leaf), group_id=unhex(case["group_id"]), leaf_index=leaf_index
        )


@vector(
    cipher_suite=LEAF,
    group_id=LEAF,
    epoch=LEAF,
    confirmed_transcript_hash=LEAF,
    ratchet_tree=LEAF,
    leaves_private=[
        {
            "index": LEAF,
            "encryption_priv": LEAF,
            "signature_priv": LEAF,
            "path_secrets": [{"node": LEAF, "path_secret": LEAF}],
        }
    ],
    update_paths=[
        {
            "sender": LEAF,
            "update_path": LEAF,
            "path_secrets": LEAF,
            "commit_secret": LEAF,
            "tree_hash_after": LEAF,
        }
    ],
)
def treekem(case: Case) -> None:
    original = tree_from(case, "ratchet_tree")
    suite = original.suite
    group_id = unhex(case["group_id"])
    private: dict[int, dict[int, Secret]] = {}
    signers: dict[int, Secret] = {}
    for one in case["leaves_private"]:
        keys = {2 * one["index"]: secret(one["encryption_priv"])}
        for item in one["path_secrets"]:
            keys |= derive_path_keys(original, [item["node"]], secret(item["path_secret"]))[0]
        for node, key in keys.items():
            contents = original.node(node)
            assert contents is not None
            assert suite.kem.public_key(key) == contents.encryption_key
        private[one["index"]], signers[one["index"]] = keys, secret(one["signature_priv"])

    def context(tree: RatchetTree) -> bytes:
        confirmed = unhex(case["confirmed_transcript_hash"])
        return GroupContext(
            ProtocolVersion.MLS10, suite.id, group_id, case["epoch"], tree.tree_hash(), confirmed, ()
        ).encode()

    def opened(tree: RatchetTree, sender: int, path: UpdatePath, receiver: int) -> Secret:
        _, commit_secret = open_path(
            tree,
            sender,
            path,
            own_leaf=receiver,
            private_keys=private[receiver],
            group_context=context(tree),
            added=frozenset(),
        )
        return commit_secret

    for one in case["update_paths"]:
        sender, path = one["sender"], UpdatePath.decode(unhex(one["update_path"]))
        tree = original.copy()
        check_path_parent_hash(path, merge_path(tree, sender, path))
        # Not all of check_leaf: these leaves list suites 1 to 6 only, those of suite 7 as well.
        check_source(path.leaf_node, CommitSource)
        check_signature(suite, path.leaf_node, group_id, sender)
        assert tree.tree_hash() == unhex(one["tree_hash_after"])
        made_tree = original.copy()

        def make_leaf(
            encryption_key: bytes,
            parent_hash: bytes,
            sender: int = sender,
            template: LeafNode = path.leaf_node,
        ) -> LeafNode:
            return sign_leaf_node(
                suite,
                signers[sender],
                template,
                encryption_key=encryption_key,
                source=CommitSource(parent_hash),
                group_id=group_id,
                leaf_index=sender,
            )

        made = create_path(made_tree, sender, make_leaf, random=deterministic_random())
        made_path = encrypt_path(made_tree, made, context(made_tree), frozenset(), map)
        for receiver, _ in original.leaves():
            if receiver == sender:
                assert one["path_secrets"][receiver] is None
                continue
            assert opened(tree, sender, path, receiver) == unhex(one["commit_secret"])
            common = tree_math.common_ancestor(2 * sender, 2 * receiver)
            expected, _ = derive_path_keys(tree, [common], secret(one["path_secrets"][receiver]))
            assert common in expected
            assert opened(made_tree, sender, made_path, receiver) == made.commit_secret


def deterministic_random() -> Callable[[int], bytes]:
    count = iter(range(1, 256))
    return lambda size: bytes([next(count)]) * size
