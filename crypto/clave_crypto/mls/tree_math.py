"""Positions in a full binary tree laid out as an array (RFC 9420, appendix C). Knows no contents.

Leaf `i` is node `2 * i`; parents are the odd nodes. `n_leaves` is a power of two.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = [
    "common_ancestor",
    "direct_path",
    "is_leaf",
    "leaves_under",
    "left",
    "level",
    "node_count",
    "parent",
    "right",
    "root",
    "sibling",
]


def is_leaf(node: int) -> bool:
    """Return whether `node` is a leaf."""
    return node & 1 == 0


def level(node: int) -> int:
    """Return the height of `node` above the leaves."""
    return (~node & node + 1).bit_length() - 1


def node_count(n_leaves: int) -> int:
    """Return the number of nodes of a tree with `n_leaves` leaves."""
    return 2 * n_leaves - 1


def root(n_leaves: int) -> int:
    """Return the root of a tree with `n_leaves` leaves."""
    return n_leaves - 1


def left(node: int) -> int:
    """Return the left child.

    Raises:
        ValueError: `node` is a leaf.

    """
    if is_leaf(node):
        raise ValueError("a leaf has no children")
    return node ^ 1 << level(node) - 1


def right(node: int) -> int:
    """Return the right child.

    Raises:
        ValueError: `node` is a leaf.

    """
    if is_leaf(node):
        raise ValueError("a leaf has no children")
    return node ^ 3 << level(node) - 1


def parent(node: int, n_leaves: int) -> int:
    """Return the parent.

    Raises:
        ValueError: `node` is the root.

    """
    if node == root(n_leaves):
        raise ValueError("the root has no parent")
    height = level(node)
    return (node | 1 << height) & ~(1 << height + 1)


def sibling(node: int, n_leaves: int) -> int:
    """Return the other child of the parent.

    Raises:
        ValueError: `node` is the root.

    """
    above = parent(node, n_leaves)
    return right(above) if node < above else left(above)


def direct_path(node: int, n_leaves: int) -> Iterator[int]:
    """Yield the ancestors of `node`, nearest first, the root last."""
    top, height = root(n_leaves), level(node)
    while node != top:
        node = (node | 1 << height) & ~(2 << height)
        height += 1
        yield node


def common_ancestor(a: int, b: int) -> int:
    """Return the lowest node that has both in its subtree."""
    while a != b:
        if level(a) <= level(b):
            a = (a | 1 << level(a)) & ~(1 << level(a) + 1)
        else:
            b = (b | 1 << level(b)) & ~(1 << level(b) + 1)
    return a


def leaves_under(node: int) -> range:
    """Return the leaf indices (not node indices) in the subtree of `node`."""
    span = (1 << level(node)) - 1
    return range((node - span) // 2, (node + span) // 2 + 1)
