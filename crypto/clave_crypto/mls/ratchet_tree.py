"""The ratchet tree: nodes, resolutions, tree hashes, and adding and removing leaves (RFC 9420, section 7).

Holds public data and knows no private keys. A copy shares nodes and hashes with its original: a change costs
O(log n) hashes, and keeping many epochs costs little memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Self

from clave_crypto.codec import Struct, encode_vector, struct, u32, vector_end
from clave_crypto.errors import DecodeError
from clave_crypto.mls import tree_math
from clave_crypto.mls.census import Census, decrement, increment
from clave_crypto.mls.leaf_node import LeafNode, NodeType
from clave_crypto.mls.suites import CipherSuite

__all__ = [
    "Node",
    "ParentNode",
    "RatchetTree",
    "TreeNodes",
    "decode_nodes",
    "hash_leaf",
    "hash_parent",
]


@struct(tag=NodeType.PARENT)
class ParentNode(Struct):
    """The key of the members below a parent (section 7.1). `unmerged_leaves` are leaf indices."""

    encryption_key: bytes
    parent_hash: bytes
    unmerged_leaves: tuple[u32, ...]


Node = LeafNode | ParentNode

_COMPARED = 256
"""Leaves that are compared at once."""


@struct()
class TreeNodes(Struct):
    """The ratchet_tree of section 12.4.3.3, as a peer sends it; not verified."""

    nodes: tuple[LeafNode | ParentNode | None, ...]


@struct()
class _OptionalNode(Struct):
    node: LeafNode | ParentNode | None


def decode_nodes(data: bytes, at_most: int) -> tuple[Node | None, ...]:
    """Return the nodes of an encoded ratchet_tree; stop reading after `at_most` + 1 of them.

    Raises:
        DecodeError: `data` is not an encoded ratchet_tree.

    """
    at, end = vector_end(data, 0, len(data))
    if end != len(data):
        raise DecodeError("bytes after the end")
    nodes: list[Node | None] = []
    while at < end and len(nodes) <= at_most:
        optional, at = _OptionalNode.read(data, at, end)
        nodes.append(optional.node)
    return tuple(nodes)


def hash_leaf(suite: CipherSuite, node: int, contents: Node | None) -> bytes:
    """Return the tree hash of the leaf at index `node` (section 7.8)."""
    present = b"\0" if contents is None else b"\1" + contents.encode()
    return suite.hash(LeafNode.tag + (node // 2).to_bytes(4, "big") + present)


def hash_parent(suite: CipherSuite, contents: Node | None, left: bytes, right: bytes) -> bytes:
    """Return the tree hash of a parent whose children have the hashes `left` and `right` (section 7.8)."""
    present = b"\0" if contents is None else b"\1" + contents.encode()
    return suite.hash(ParentNode.tag + present + encode_vector(left) + encode_vector(right))


class RatchetTree:
    """A tree of `n_leaves` leaves, a power of two; node indices as in `tree_math`."""

    # All leaves before `_blanks_from` and none from `_members_until` on are members. Both are moved only when
    # needed, so that adding or removing many leaves visits each leaf once.
    __slots__ = ("_blanks_from", "_hashes", "_members_until", "_nodes", "_parent_keys", "census", "suite")

    def __init__(
        self, suite: CipherSuite, nodes: Iterable[Node | None], hashes: list[bytes | None] | None = None
    ) -> None:
        """Take `nodes` in array order, and append blank ones up to a full tree.

        `hashes` are the tree hashes that are known already, by node index of the full tree.
        """
        self.suite = suite
        self._nodes = list(nodes)
        whole = 1
        while whole < len(self._nodes):
            whole = 2 * whole + 1
        self._nodes += [None] * (whole - len(self._nodes))
        self._hashes: list[bytes | None] = [None] * whole if hashes is None else hashes
        self._blanks_from, self._members_until = 0, self.n_leaves
        self._parent_keys: dict[bytes, int] = {}
        for _, parent in self.parents():
            increment(self._parent_keys, parent.encryption_key)
        self.census = Census(leaf for _, leaf in self.leaves())

    def copy(self) -> Self:
        """Return an independent copy."""
        other = type(self).__new__(type(self))
        other.suite, other._nodes, other._hashes = self.suite, self._nodes.copy(), self._hashes.copy()
        other._blanks_from, other._members_until = self._blanks_from, self._members_until
        other._parent_keys, other.census = self._parent_keys.copy(), self.census.copy()
        return other

    def contents(self) -> TreeNodes:
        """Return the tree as it is sent: no blanks after the last node."""
        last = len(self._nodes)
        while last and self._nodes[last - 1] is None:
            last -= 1
        return TreeNodes(tuple(self._nodes[:last]))

    def encode(self) -> bytes:
        """Return the encoded ratchet_tree."""
        return self.contents().encode()

    @property
    def n_leaves(self) -> int:
        """Number of leaves, blank ones included."""
        return (len(self._nodes) + 1) // 2

    @property
    def root(self) -> int:
        """The root's node index."""
        return tree_math.root(self.n_leaves)

    def node(self, node: int) -> Node | None:
        """Return the contents of `node`, None when blank."""
        return self._nodes[node]

    def leaf(self, leaf_index: int) -> LeafNode | None:
        """Return the leaf, None when blank or outside the tree."""
        if leaf_index >= self.n_leaves:
            return None
        leaf = self._nodes[2 * leaf_index]
        return leaf if isinstance(leaf, LeafNode) else None

    def parent_node(self, node: int) -> ParentNode | None:
        """Return the parent at odd index `node`, None when blank."""
        parent = self._nodes[node]
        return parent if isinstance(parent, ParentNode) else None

    def leaves(self) -> Iterator[tuple[int, LeafNode]]:
        """Yield (leaf index, leaf) of every member."""
        for leaf_index, leaf in enumerate(self._nodes[::2]):
            if isinstance(leaf, LeafNode):
                yield leaf_index, leaf

    def subtree(self, node: int) -> tuple[list[Node | None], list[bytes | None]]:
        """Return the nodes under `node` and itself in array order, and their tree hashes where known."""
        span = (1 << tree_math.level(node)) - 1
        return self._nodes[node - span : node + span + 1], self._hashes[node - span : node + span + 1]

    def leaves_that_differ(self, other: RatchetTree) -> dict[int, LeafNode | None]:
        """Return the leaves, by index, that are not the same in `other`; None where one is blank."""
        ours, theirs = self._nodes[::2], other._nodes[::2]
        differing = {}
        for start in range(0, max(len(ours), len(theirs)), _COMPARED):
            part = slice(start, start + _COMPARED)
            if ours[part] != theirs[part]:
                pairs = enumerate(zip_longest(ours[part], theirs[part]), start)
                differing.update({index: self.leaf(index) for index, (one, two) in pairs if one is not two})
        return differing

    def parents(self) -> Iterator[tuple[int, ParentNode]]:
        """Yield (node index, parent) of every parent that is not blank."""
        for position, parent in enumerate(self._nodes[1::2]):
            if isinstance(parent, ParentNode):
                yield 2 * position + 1, parent

    def holds_key(self, encryption_key: bytes) -> bool:
        """Return whether a node has this encryption key."""
        return encryption_key in self._parent_keys or encryption_key in self.census.encryption_keys

    def parent_holds_key(self, encryption_key: bytes) -> bool:
        """Return whether a parent has this encryption key."""
        return encryption_key in self._parent_keys

    def set_node(self, node: int, contents: Node | None) -> None:
        """Put `contents` at `node`."""
        self._put(node, contents)
        for above in tree_math.direct_path(node, self.n_leaves):
            self._hashes[above] = None

    def make_room(self) -> int:
        """Return the index of the leftmost blank leaf, extending the tree if there is none."""
        while self._blanks_from < self.n_leaves and self._nodes[2 * self._blanks_from] is not None:
            self._blanks_from += 1
        if self._blanks_from == self.n_leaves:
            blanks = len(self._nodes) + 1
            self._nodes += [None] * blanks
            self._hashes += [None] * blanks
        return self._blanks_from

    def add_leaves(self, leaves: Iterable[LeafNode]) -> list[int]:
        """Put each leaf at the leftmost blank one, extending the tree if needed; return the leaf indices."""
        added = []
        unmerged: defaultdict[int, list[int]] = defaultdict(list)
        for leaf in leaves:
            leaf_index = self.make_room()
            self.set_node(2 * leaf_index, leaf)
            added.append(leaf_index)
        for leaf_index in added:
            for node in tree_math.direct_path(2 * leaf_index, self.n_leaves):
                unmerged[node].append(leaf_index)
        for node, newcomers in unmerged.items():
            if (parent := self.parent_node(node)) is not None:
                together = tuple(sorted((*parent.unmerged_leaves, *newcomers)))
                self._put(node, ParentNode(parent.encryption_key, parent.parent_hash, together))
        return added

    def update_leaf(self, leaf_index: int, leaf: LeafNode) -> None:
        """Replace a leaf and blank its direct path."""
        self.blank_path(leaf_index)
        self.set_node(2 * leaf_index, leaf)

    def remove_leaf(self, leaf_index: int) -> None:
        """Blank a leaf and its direct path, then truncate the tree while its right half is empty."""
        self.blank_path(leaf_index)
        self.set_node(2 * leaf_index, None)
        while self.n_leaves > 1 and self._is_right_half_empty():
            half = self.root
            for node in range(half, len(self._nodes)):
                self._put(node, None)
            del self._nodes[half:], self._hashes[half:]

    def blank_path(self, leaf_index: int) -> None:
        """Blank every ancestor of a leaf."""
        for node in tree_math.direct_path(2 * leaf_index, self.n_leaves):
            self._put(node, None)

    def resolution(self, node: int) -> list[int]:
        """Return the fewest nodes that together cover the members under `node` (section 4.1.1)."""
        found: list[int] = []
        ahead = [(node, 1 << tree_math.level(node) >> 1)]
        while ahead:
            node, half = ahead.pop()
            contents = self._nodes[node]
            if contents is None:
                if half:
                    ahead += ((node + half, half >> 1), (node - half, half >> 1))
                continue
            found.append(node)
            if isinstance(contents, ParentNode):
                found += (2 * leaf_index for leaf_index in contents.unmerged_leaves)
        return found

    def filtered_direct_path(self, leaf_index: int) -> list[tuple[int, int]]:
        """Return (ancestor, its child on the copath), nearest first, where members are under that child."""
        path, below = [], 2 * leaf_index
        for node in tree_math.direct_path(below, self.n_leaves):
            copath = tree_math.sibling(below, self.n_leaves)
            if self.covers_anyone(copath):
                path.append((node, copath))
            below = node
        return path

    def covers_anyone(self, node: int) -> bool:
        """Return whether the resolution of `node` is not empty."""
        span = (1 << tree_math.level(node)) - 1
        return any(self._nodes[node - span : node + span + 1])

    def tree_hash(self, node: int | None = None) -> bytes:
        """Return the tree hash of `node`, by default the root (section 7.8)."""
        node = self.root if node is None else node
        return self._hashes[node] or self._fill_hash(node, 1 << tree_math.level(node) >> 1)

    def original_tree_hash(self, node: int, absent: frozenset[int]) -> bytes:
        """Return the tree hash of `node` as if the leaves `absent` were not there (section 7.9)."""
        return self._hash_without(node, sorted(absent))

    def _put(self, node: int, contents: Node | None) -> None:
        """Replace one node and drop its cached hash; the caller drops those of its ancestors."""
        match self._nodes[node]:
            case LeafNode() as old:
                self.census.remove(old)
            case ParentNode() as old:
                decrement(self._parent_keys, old.encryption_key)
        match contents:
            case LeafNode():
                self.census.add(contents)
                self._members_until = max(self._members_until, node // 2 + 1)
            case ParentNode():
                increment(self._parent_keys, contents.encryption_key)
            case None if tree_math.is_leaf(node):
                self._blanks_from = min(self._blanks_from, node // 2)
        self._nodes[node], self._hashes[node] = contents, None

    def _is_right_half_empty(self) -> bool:
        half = self.n_leaves // 2
        while self._members_until > half and self._nodes[2 * self._members_until - 2] is None:
            self._members_until -= 1
        return self._members_until <= half

    def _fill_hash(self, node: int, half: int) -> bytes:
        """Compute a hash that is not cached, and those it needs; the children are `half` nodes away."""
        contents = self._nodes[node]
        if half:
            left, right, quarter = node - half, node + half, half >> 1
            left_hash = self._hashes[left] or self._fill_hash(left, quarter)
            right_hash = self._hashes[right] or self._fill_hash(right, quarter)
            digest = hash_parent(self.suite, contents, left_hash, right_hash)
        else:
            digest = hash_leaf(self.suite, node, contents)
        self._hashes[node] = digest
        return digest

    def _hash_without(self, node: int, absent: Sequence[int]) -> bytes:
        """Compute a hash without the leaves `absent`, which are sorted and need not be under `node`."""
        under = tree_math.leaves_under(node)
        absent = absent[bisect_left(absent, under.start) : bisect_left(absent, under.stop)]
        if not absent:
            return self.tree_hash(node)
        if tree_math.is_leaf(node):
            return hash_leaf(self.suite, node, None)
        contents = self.parent_node(node)
        if contents is not None:
            gone = frozenset(absent)
            unmerged = tuple(index for index in contents.unmerged_leaves if index not in gone)
            contents = ParentNode(contents.encryption_key, contents.parent_hash, unmerged)
        left, right = tree_math.left(node), tree_math.right(node)
        return hash_parent(
            self.suite, contents, self._hash_without(left, absent), self._hash_without(right, absent)
        )
