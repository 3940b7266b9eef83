"""Counts of the keys, capabilities and credential types of a tree's leaves, kept so that no rule visits all.

Knows no positions and no rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Self, TypeVar

from clave_crypto.mls.leaf_node import Capabilities, LeafNode

__all__ = ["Census"]

_T = TypeVar("_T")


class Census:
    """How many leaves there are, and how many of them have each key, capabilities and credential type."""

    __slots__ = ("capabilities", "credential_tags", "encryption_keys", "members", "signature_keys")

    def __init__(self, leaves: Iterable[LeafNode] = ()) -> None:
        self.members = 0
        self.signature_keys: Counter[bytes] = Counter()
        self.encryption_keys: Counter[bytes] = Counter()
        self.capabilities: Counter[Capabilities] = Counter()
        self.credential_tags: Counter[bytes] = Counter()
        for leaf in leaves:
            self.add(leaf)

    def copy(self) -> Self:
        """Return an independent copy."""
        other = type(self)()
        other.members = self.members
        other.signature_keys = self.signature_keys.copy()
        other.encryption_keys = self.encryption_keys.copy()
        other.capabilities = self.capabilities.copy()
        other.credential_tags = self.credential_tags.copy()
        return other

    def add(self, leaf: LeafNode) -> None:
        """Add a leaf to the counts."""
        self.members += 1
        self.signature_keys[leaf.signature_key] += 1
        self.encryption_keys[leaf.encryption_key] += 1
        self.capabilities[leaf.capabilities] += 1
        self.credential_tags[leaf.credential.tag] += 1

    def remove(self, leaf: LeafNode) -> None:
        """Remove a leaf from the counts it was added to."""
        self.members -= 1
        _take(self.signature_keys, leaf.signature_key)
        _take(self.encryption_keys, leaf.encryption_key)
        _take(self.capabilities, leaf.capabilities)
        _take(self.credential_tags, leaf.credential.tag)


def _take(counter: Counter[_T], key: _T) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
