"""Counts of the keys, capabilities and credential types of a tree's leaves, kept so that no rule visits all.

Knows no positions and no rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self, TypeVar

from clave_crypto.mls.leaf_node import Capabilities, LeafNode

__all__ = ["Census", "decrement", "increment"]

_T = TypeVar("_T")


class Census:
    """How many leaves there are, and how many of them have each key, capabilities and credential type."""

    __slots__ = ("capabilities", "credential_tags", "encryption_keys", "members", "signature_keys")

    def __init__(self, leaves: Iterable[LeafNode] = ()) -> None:
        self.members = 0
        # Not `Counter`, which is slow to copy, and every commit copies them.
        self.signature_keys: dict[bytes, int] = {}
        self.encryption_keys: dict[bytes, int] = {}
        self.capabilities: dict[Capabilities, int] = {}
        self.credential_tags: dict[bytes, int] = {}
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
        increment(self.signature_keys, leaf.signature_key)
        increment(self.encryption_keys, leaf.encryption_key)
        increment(self.capabilities, leaf.capabilities)
        increment(self.credential_tags, leaf.credential.tag)

    def remove(self, leaf: LeafNode) -> None:
        """Remove a leaf from the counts it was added to."""
        self.members -= 1
        decrement(self.signature_keys, leaf.signature_key)
        decrement(self.encryption_keys, leaf.encryption_key)
        decrement(self.capabilities, leaf.capabilities)
        decrement(self.credential_tags, leaf.credential.tag)


def increment(counts: dict[_T, int], key: _T) -> None:
    """Count `key` once more."""
    counts[key] = counts.get(key, 0) + 1


def decrement(counts: dict[_T, int], key: _T) -> None:
    """Count `key`, which was counted, once less; drop it at 0."""
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
