"""A ratchet tree whose stored pages are read when they are needed. Changes nothing.

Reads from a mapping that the application or a stored commit provides; does no I/O of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from clave_crypto.mls import tree_math
from clave_crypto.mls.errors import LocalError, StateError
from clave_crypto.mls.leaf_node import LeafNode
from clave_crypto.mls.ratchet_tree import Node, RatchetTree
from clave_crypto.mls.suites import CipherSuite
from clave_crypto.mls.tree_pages import ReadPage, blank_hash, pages_above, read_page, top_page

__all__ = ["StoredTree"]


class StoredTree:
    """A tree of `n_leaves` leaves with this tree hash; `pages` are its stored pages by number.

    Pages are read at most once.
    """

    __slots__ = ("_read", "_whole", "n_leaves", "pages", "suite", "tree_hash")

    def __init__(
        self, suite: CipherSuite, n_leaves: int, tree_hash: bytes, pages: Mapping[int, bytes]
    ) -> None:
        self.suite = suite
        self.n_leaves = n_leaves
        self.tree_hash = tree_hash
        self.pages = pages
        self._read: dict[int, ReadPage] = {}
        self._whole: RatchetTree | None = None

    def leaf(self, leaf_index: int) -> LeafNode | None:
        """Return the leaf, None when blank or outside the tree; reads the pages above it.

        Raises:
            StateError: one of them is missing or does not belong to this tree.

        """
        if self._whole is not None:
            return self._whole.leaf(leaf_index)
        if leaf_index >= self.n_leaves:
            return None
        read = self._top()
        for page in pages_above(leaf_index, self.n_leaves)[1:]:
            expected = read.below[page]
            following = self._find(page, expected)
            if following is None:
                if blank_hash(self.suite, page) != expected:
                    raise _missing(page)
                return None
            read = following
        leaf = read.nodes[2 * leaf_index]
        return leaf if isinstance(leaf, LeafNode) else None

    def whole(self, base: RatchetTree | None = None) -> RatchetTree:
        """Return all of the tree, reading every page. What is the same in `base` needs no page.

        Raises:
            StateError: a page is missing or does not belong to this tree.

        """
        if self._whole is None:
            self._whole = self._assemble(base)
            self._read = {}
        return self._whole

    def check_pages(self) -> None:
        """Check those pages that `pages` has.

        Raises:
            StateError: one of them does not belong to this tree.

        """
        self._top()
        ahead = [top_page(self.n_leaves)]
        while ahead:
            read = self._read[ahead.pop()]
            ahead += [page for page, expected in read.below.items() if self._find(page, expected) is not None]
        if len(self._read) != len(self.pages):
            raise StateError("a page of the stored tree is not below its other pages")

    def _assemble(self, base: RatchetTree | None) -> RatchetTree:
        self._top()
        nodes: list[Node | None] = [None] * tree_math.node_count(self.n_leaves)
        hashes: list[bytes | None] = [None] * len(nodes)
        blank = []
        ahead = [(top_page(self.n_leaves), self.tree_hash)]
        while ahead:
            page, expected = ahead.pop()
            read = self._find(page, expected)
            if read is not None:
                for node, contents in read.nodes.items():
                    nodes[node], hashes[node] = contents, read.hashes[node]
                ahead += read.below.items()
            elif base is not None and page <= 2 * base.root and base.tree_hash(page) == expected:
                span = (1 << tree_math.level(page)) - 1
                under = slice(page - span, page + span + 1)
                nodes[under], hashes[under] = base.subtree(page)
            else:
                blank.append((page, expected))
        tree = RatchetTree(self.suite, nodes, hashes)
        for page, expected in blank:
            if tree.tree_hash(page) != expected:
                raise _missing(page)
        return tree

    def _top(self) -> ReadPage:
        page = top_page(self.n_leaves)
        read = self._find(page, self.tree_hash)
        if read is None:
            raise _missing(page)
        return read

    def _find(self, page: int, expected: bytes) -> ReadPage | None:
        """Return a page whose topmost node has the hash `expected`, None if there is no such page."""
        if page in self._read:
            return self._read[page]
        try:
            data = self.pages[page]
        except KeyError:
            return None
        if not isinstance(data, bytes):
            raise LocalError(f"page {page} must be bytes, not of {type(data).__name__}")
        read = self._read[page] = read_page(self.suite, page, self.n_leaves, data, expected)
        return read


def _missing(page: int) -> StateError:
    return StateError(f"page {page} of the stored tree is missing")
