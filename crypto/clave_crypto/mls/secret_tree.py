"""The secret tree: one-time message keys of every sender (RFC 9420, section 9). Decrypts no message.

Every secret is deleted when something derived from it is used (section 9.2). Finding a key changes nothing
until it is consumed, so a forged message deletes no key.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heapreplace
from itertools import islice
from typing import Self

from clave_crypto.codec import Struct, struct, u8, u32
from clave_crypto.keys import Secret
from clave_crypto.mls import tree_math
from clave_crypto.mls.errors import ReplayError, TooFarAheadError
from clave_crypto.mls.limits import DEFAULT_LIMITS, Limits
from clave_crypto.mls.proposals import ContentType
from clave_crypto.mls.suites import CipherSuite

__all__ = ["FoundKey", "SecretTree", "StoredSecretTree"]

_HANDSHAKE, _APPLICATION = 0, 1


@struct()
class _StoredNode(Struct):
    node: u32
    secret: Secret


@struct()
class _StoredKey(Struct):
    generation: u32
    key: Secret
    nonce: Secret


@struct()
class _StoredRatchet(Struct):
    leaf_index: u32
    kind: u8
    generation: u32
    secret: Secret
    skipped: tuple[_StoredKey, ...]


@struct()
class StoredSecretTree(Struct):
    """A secret tree as it is stored."""

    n_leaves: u32
    nodes: tuple[_StoredNode, ...]
    ratchets: tuple[_StoredRatchet, ...]


@dataclass
class _Ratchet:
    """The next generation, the secret it comes from, and the keys that were skipped, oldest first."""

    generation: int
    secret: Secret
    skipped: dict[int, tuple[Secret, Secret]]


@dataclass(frozen=True)
class FoundKey:
    """A message key, and what consuming it will change."""

    key: Secret
    nonce: Secret
    generation: int
    _ratchet_id: tuple[int, int]
    _advanced: tuple[int, Secret] | None
    _skipped: tuple[tuple[int, tuple[Secret, Secret]], ...]
    _opened: _OpenedLeaf | None


@dataclass(frozen=True)
class _OpenedLeaf:
    """A leaf's first derivation: the ratchet secrets, and how the tree above changes."""

    secrets: tuple[Secret, Secret]
    consumed: tuple[int, ...]
    derived: tuple[tuple[int, Secret], ...]


class SecretTree:
    """The message keys of one epoch with `n_leaves` leaves."""

    def __init__(
        self, suite: CipherSuite, n_leaves: int, encryption_secret: Secret, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self._suite = suite
        self._limits = limits
        self._retired = False
        self._n_leaves = n_leaves
        self._nodes: dict[int, Secret] = {tree_math.root(n_leaves): encryption_secret}
        self._ratchets: dict[tuple[int, int], _Ratchet] = {}

    def find_next(self, leaf_index: int, content_type: ContentType) -> FoundKey:
        """Return the key of the next generation: the one to send with."""
        ratchet_id = (leaf_index, _kind(content_type))
        ratchet = self._ratchets.get(ratchet_id)
        return self.find(leaf_index, content_type, ratchet.generation if ratchet else 0)

    def find(self, leaf_index: int, content_type: ContentType, generation: int) -> FoundKey:
        """Return the key of one generation of a sender; nothing changes until `consume`.

        Raises:
            ReplayError: the key was used, or dropped because too many were stored.
            TooFarAheadError: more generations ahead than the limits allow.

        """
        kind = _kind(content_type)
        ratchet_id = (leaf_index, kind)
        opened = None
        ratchet = self._ratchets.get(ratchet_id)
        if ratchet is None:
            opened = self._open_leaf(leaf_index)
            ratchet = _Ratchet(0, opened.secrets[kind], {})
        if generation < ratchet.generation:
            if generation not in ratchet.skipped:
                raise ReplayError(f"the key of generation {generation} was used already")
            key, nonce = ratchet.skipped[generation]
            return FoundKey(key, nonce, generation, ratchet_id, None, (), opened)
        if generation - ratchet.generation > self._limits.skip:
            raise TooFarAheadError(f"generation {generation} is more than {self._limits.skip} ahead")
        skipped = []
        secret = ratchet.secret
        for step in range(ratchet.generation, generation):
            skipped.append((step, self._key_nonce(secret, step)))
            secret = self._derive(secret, b"secret", step, self._suite.hash_size)
        key, nonce = self._key_nonce(secret, generation)
        advanced = (generation + 1, self._derive(secret, b"secret", generation, self._suite.hash_size))
        return FoundKey(key, nonce, generation, ratchet_id, advanced, tuple(skipped), opened)

    def consume(self, found: FoundKey) -> None:
        """Delete a found key for good, and every secret it came from."""
        leaf_index, _ = found._ratchet_id
        if found._opened is not None:
            self._consume_leaf(found._opened)
            for kind, secret in enumerate(found._opened.secrets):
                if kind == _APPLICATION or not self._retired:
                    self._ratchets[leaf_index, kind] = _Ratchet(0, secret, {})
        ratchet = self._ratchets[found._ratchet_id]
        if found._advanced is None:
            del ratchet.skipped[found.generation]
            return
        ratchet.generation, ratchet.secret = found._advanced
        if found._skipped:
            ratchet.skipped.update(found._skipped)
            self._drop_excess()

    def retire(self, own_leaf: int) -> None:
        """Delete what is not needed after the epoch's end: handshake keys, and those of `own_leaf`.

        From then on only late application data of others can be decrypted.
        """
        self._retired = True
        if (own_leaf, _APPLICATION) not in self._ratchets and self._start_of(own_leaf) is not None:
            self._consume_leaf(self._open_leaf(own_leaf))
        for leaf_index, kind in list(self._ratchets):
            if leaf_index == own_leaf or kind == _HANDSHAKE:
                del self._ratchets[leaf_index, kind]

    def store(self) -> StoredSecretTree:
        """Return the tree for storage; equal trees give equal bytes."""
        nodes = tuple(_StoredNode(*item) for item in sorted(self._nodes.items()))
        ratchets = tuple(
            _StoredRatchet(
                *ratchet_id,
                ratchet.generation,
                ratchet.secret,
                tuple(_StoredKey(generation, *keys) for generation, keys in sorted(ratchet.skipped.items())),
            )
            for ratchet_id, ratchet in sorted(self._ratchets.items())
        )
        return StoredSecretTree(self._n_leaves, nodes, ratchets)

    @classmethod
    def restore(cls, suite: CipherSuite, stored: StoredSecretTree, limits: Limits) -> Self:
        """Return the tree that `store` gave."""
        tree = cls(suite, stored.n_leaves, Secret(), limits)
        tree._nodes = {item.node: item.secret for item in stored.nodes}
        tree._ratchets = {
            (item.leaf_index, item.kind): _Ratchet(
                item.generation, item.secret, {key.generation: (key.key, key.nonce) for key in item.skipped}
            )
            for item in stored.ratchets
        }
        return tree

    def _path(self, leaf_index: int) -> list[int]:
        return [2 * leaf_index, *tree_math.direct_path(2 * leaf_index, self._n_leaves)]

    def _start_of(self, leaf_index: int) -> int | None:
        """Return the index on a leaf's path of the lowest node with a secret; None if its ratchets exist."""
        return next((i for i, node in enumerate(self._path(leaf_index)) if node in self._nodes), None)

    def _consume_leaf(self, opened: _OpenedLeaf) -> None:
        for node in opened.consumed:
            self._nodes.pop(node, None)
        self._nodes.update(opened.derived)

    def _open_leaf(self, leaf_index: int) -> _OpenedLeaf:
        path, start = self._path(leaf_index), self._start_of(leaf_index)
        if start is None:
            raise ReplayError("the keys of this sender are deleted")
        secret = self._nodes[path[start]]
        derived = []
        for node in reversed(path[:start]):
            above = tree_math.parent(node, self._n_leaves)
            for child, label in ((tree_math.left(above), b"left"), (tree_math.right(above), b"right")):
                child_secret = self._suite.expand_with_label(secret, b"tree", label, self._suite.hash_size)
                if child == node:
                    next_secret = child_secret
                else:
                    derived.append((child, child_secret))
            secret = next_secret
        handshake = self._suite.expand_with_label(secret, b"handshake", b"", self._suite.hash_size)
        application = self._suite.expand_with_label(secret, b"application", b"", self._suite.hash_size)
        return _OpenedLeaf((handshake, application), tuple(path[start : start + 1]), tuple(derived))

    def _key_nonce(self, secret: Secret, generation: int) -> tuple[Secret, Secret]:
        key = self._derive(secret, b"key", generation, self._suite.key_size)
        return key, self._derive(secret, b"nonce", generation, self._suite.nonce_size)

    def _derive(self, secret: Secret, label: bytes, generation: int, length: int) -> Secret:
        return self._suite.derive_tree_secret(secret, label, generation, length)

    def _drop_excess(self) -> None:
        """Drop keys of the longest ratchet, of equals the first opened, until the limit is kept."""
        kept = [ratchet.skipped for ratchet in self._ratchets.values() if ratchet.skipped]
        longest = [(-len(keys), position) for position, keys in enumerate(kept)]
        heapify(longest)
        for _ in range(sum(map(len, kept)) - self._limits.stored_keys):
            shortened, position = longest[0]
            heapreplace(longest, (shortened + 1, position))
        for shortened, position in longest:
            keys = kept[position]
            for generation in tuple(islice(keys, len(keys) + shortened)):
                del keys[generation]


def _kind(content_type: ContentType) -> int:
    return _APPLICATION if content_type is ContentType.APPLICATION else _HANDSHAKE
