"""Parent hashes: proof that a member made each parent node (RFC 9420, section 7.9). Changes no tree."""

from __future__ import annotations

from clave_crypto.codec import encode_vector
from clave_crypto.mls import tree_math
from clave_crypto.mls.leaf_node import CommitSource, LeafNode
from clave_crypto.mls.ratchet_tree import ParentNode, RatchetTree

__all__ = ["is_parent_hash_valid", "parent_hash"]


def parent_hash(tree: RatchetTree, parent: ParentNode, copath_child: int) -> bytes:
    """Return the parent hash of `parent` with copath child `copath_child` (a node index)."""
    original = tree.original_tree_hash(copath_child, frozenset(parent.unmerged_leaves))
    fields = (parent.encryption_key, parent.parent_hash, original)
    return tree.suite.hash(b"".join(map(encode_vector, fields)))


def is_parent_hash_valid(tree: RatchetTree, node: int, parent: ParentNode) -> bool:
    """Return whether exactly one descendant of `parent` (at `node`) has its parent hash (section 7.9.2)."""
    left, right = tree_math.left(node), tree_math.right(node)
    found = _links(tree, parent, left, right) + _links(tree, parent, right, left)
    return found == 1


def _links(tree: RatchetTree, parent: ParentNode, child: int, copath_child: int) -> int:
    """Count the nodes under `child` whose parent hash is valid with respect to `parent`: 0 or 1."""
    under = tree_math.leaves_under(child)
    unmerged = {2 * index for index in parent.unmerged_leaves if index in under}
    resolution = set(tree.resolution(child))
    # A link is in the resolution, and all else in that is unmerged at the parent: so there is at most one.
    candidates = resolution - unmerged
    if len(candidates) != 1 or not unmerged <= resolution:
        return 0
    contents = tree.node(candidates.pop())
    if isinstance(contents, LeafNode):
        claimed = contents.source.parent_hash if isinstance(contents.source, CommitSource) else None
    else:
        claimed = contents.parent_hash if contents is not None else None
    return int(claimed == parent_hash(tree, parent, copath_child))
