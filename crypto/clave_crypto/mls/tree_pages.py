"""A ratchet tree in pages of 7 nodes, each checked by tree hashes. Knows no store and no group.

A page holds a subtree of three levels, and the tree hashes of the up to 8 nodes below it. The tree hash of a
page's topmost node is in the page above it; that of the root is in the group context. So a page is known to
belong to the epoch once those above it are, and a commit changes only the pages of the paths it changes.
A page is numbered by the node index of the topmost node it has room for, whatever the size of the tree. A
page under which nobody is has no stored form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clave_crypto.codec import Struct, struct
from clave_crypto.errors import DecodeError
from clave_crypto.mls import tree_math
from clave_crypto.mls.errors import StateError
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.ratchet_tree import Node, ParentNode, RatchetTree, hash_leaf, hash_parent
from clave_crypto.mls.suites import CipherSuite

__all__ = [
    "ReadPage",
    "blank_hash",
    "changed_pages",
    "encode_page",
    "pages_above",
    "read_page",
    "top_page",
]

_LEVELS = 3
_NODES = (1 << _LEVELS) - 1
_LOWEST_FIRST = sorted(range(_NODES), key=tree_math.level)


@struct()
class _Page(Struct):
    """The nodes of a page that are in the tree, blank ones included, and the hashes below, left to right."""

    nodes: tuple[LeafNode | ParentNode | None, ...]
    hashes: tuple[bytes, ...]


@dataclass(frozen=True)
class ReadPage:
    """A page that belongs to its epoch: the tree hashes and contents of its nodes, and the hashes below it.

    All are by node index.
    """

    nodes: dict[int, Node | None]
    hashes: dict[int, bytes]
    below: dict[int, bytes]


def top_page(n_leaves: int) -> int:
    """Return the number of the page that has the root."""
    return _page_of(tree_math.root(n_leaves))


def pages_above(leaf_index: int, n_leaves: int) -> list[int]:
    """Return the numbers of the pages from that of the root down to that of a leaf."""
    path = (2 * leaf_index, *tree_math.direct_path(2 * leaf_index, n_leaves))
    return [_page_of(node) for node in path[::_LEVELS]][::-1]


def changed_pages(old: RatchetTree | None, new: RatchetTree) -> tuple[dict[int, bytes], tuple[int, ...]]:
    """Return what turns the stored pages of `old` into those of `new`: new ones by number, and removed ones.

    Without `old` nothing is stored yet. Visits only pages that differ.
    """
    pages, removed = {}, []
    n_leaves = new.n_leaves if old is None else max(old.n_leaves, new.n_leaves)
    ahead = [top_page(n_leaves)]
    while ahead:
        page = ahead.pop()
        before, after = _hash_of(old, page), _hash_of(new, page)
        if before == after:
            continue
        if after is None:
            removed.append(page)
        else:
            pages[page] = encode_page(new, page)
        ahead += _child_pages(page, n_leaves)
    return dict(sorted(pages.items())), tuple(sorted(removed))


def encode_page(tree: RatchetTree, page: int) -> bytes:
    """Return the stored form of a page."""
    nodes, below = _nodes(page, tree.n_leaves), _child_pages(page, tree.n_leaves)
    return _Page(tuple(map(tree.node, nodes)), tuple(map(tree.tree_hash, below))).encode()


def read_page(suite: CipherSuite, page: int, n_leaves: int, data: bytes, expected: bytes) -> ReadPage:
    """Return a stored page of a tree with `n_leaves` leaves; `expected` is the hash of its topmost node.

    Raises:
        StateError: it is malformed, or has another hash.

    """
    try:
        stored = _Page.decode(data)
    except DecodeError as error:
        raise StateError(f"page {page} of the stored tree is malformed: {error}") from error
    numbers, children = _nodes(page, n_leaves), _child_pages(page, n_leaves)
    if (
        len(stored.nodes) != len(numbers)
        or len(stored.hashes) != len(children)
        or not _fit(numbers, stored.nodes)
    ):
        raise StateError(f"page {page} of the stored tree does not have the nodes of that page")
    below = dict(zip(children, stored.hashes, strict=True))
    known = dict(below)
    for position in _LOWEST_FIRST:
        if position < len(numbers):
            node, contents = numbers[position], stored.nodes[position]
            half = 1 << tree_math.level(node) >> 1
            known[node] = (
                hash_parent(suite, contents, known[node - half], known[node + half])
                if half
                else hash_leaf(suite, node, contents)
            )
    if known[_topmost(page, n_leaves)] != expected:
        raise StateError(f"page {page} of the stored tree is damaged, or of another epoch")
    return ReadPage(
        dict(zip(numbers, stored.nodes, strict=True)), {node: known[node] for node in numbers}, below
    )


def blank_hash(suite: CipherSuite, node: int) -> bytes:
    """Return the tree hash of `node` with nobody under it."""
    half = 1 << tree_math.level(node) >> 1
    if not half:
        return hash_leaf(suite, node, None)
    return hash_parent(suite, None, blank_hash(suite, node - half), blank_hash(suite, node + half))


def _page_of(node: int) -> int:
    lowest = tree_math.level(node) // _LEVELS * _LEVELS
    return node >> lowest + _LEVELS << lowest + _LEVELS | (1 << lowest + _LEVELS - 1) - 1


def _child_pages(page: int, n_leaves: int) -> range:
    """Return the numbers of the pages right below a page, which are node indices in the tree."""
    start, step = _layout(page)
    if step == 1:
        return range(0)
    end = min(start + (_NODES + 1) * step, tree_math.node_count(n_leaves))
    return range(start + step // 2 - 1, end, step)


def _layout(page: int) -> tuple[int, int]:
    """Return the first node index of all under a page, and the distance of its nodes."""
    lowest = tree_math.level(page) - _LEVELS + 1
    return page + 1 - (1 << lowest + _LEVELS - 1), 1 << lowest


def _nodes(page: int, n_leaves: int) -> range:
    """Return the indices of a page's nodes in a tree, in array order."""
    start, step = _layout(page)
    return range(start + step - 1, min(start + _NODES * step, tree_math.node_count(n_leaves)), step)


def _topmost(page: int, n_leaves: int) -> int:
    return page if page < tree_math.node_count(n_leaves) else tree_math.root(n_leaves)


def _fit(numbers: range, nodes: Sequence[Node | None]) -> bool:
    return all(
        contents is None or isinstance(contents, LeafNode) == tree_math.is_leaf(node)
        for node, contents in zip(numbers, nodes, strict=True)
    )


def _hash_of(tree: RatchetTree | None, page: int) -> bytes | None:
    """Return the hash of a page's topmost node, None if the page has no stored form."""
    if tree is None or not _nodes(page, tree.n_leaves):
        return None
    topmost = _topmost(page, tree.n_leaves)
    return tree.tree_hash(topmost) if tree.covers_anyone(topmost) else None
