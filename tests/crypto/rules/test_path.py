"""Update paths that must be refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from clave_crypto.keys import Secret
from clave_crypto.mls import Add, DecryptionError, PolicyRejected, Remove
from clave_crypto.mls.leaf_node import CommitSource, UpdateSource
from clave_crypto.mls.update_path import UpdatePath, UpdatePathNode
from forgekit import Forger, forged_commit, good_path, key_pair, old_key, with_leaf, with_node
from groupkit import NOW, Party, Rules, form
from rulekit import breaks, proves, refused

BAD_PATHS: list[tuple[str, Callable[[Party, UpdatePath], UpdatePath]]] = [
    ("leaf-source", lambda red, path: with_leaf(red, path, source=UpdateSource())),
    ("leaf-signature", lambda _, path: replace(path, leaf_node=replace(path.leaf_node, signature=bytes(64)))),
    ("encryption-key-fresh", lambda red, path: with_leaf(red, path, encryption_key=old_key(red))),
    ("path-keys-fit", lambda _, path: with_node(path, encryption_key=bytes(32))),
    ("path-keys-unique", lambda red, path: with_node(path, encryption_key=old_key(red))),
    ("path-keys-unique", lambda _, path: with_node(path, encryption_key=path.leaf_node.encryption_key)),
    ("path-length", lambda _, path: replace(path, nodes=path.nodes[1:])),
    ("path-length", lambda _, path: replace(path, nodes=(*path.nodes, UpdatePathNode(key_pair(), ())))),
    ("path-ciphertexts", lambda _, path: with_node(path, encrypted_path_secret=())),
    (
        "path-ciphertexts",
        lambda _, path: with_node(path, encrypted_path_secret=path.nodes[0].encrypted_path_secret * 2),
    ),
    ("path-parent-hash", lambda _, path: with_node(path, encryption_key=key_pair())),
    ("path-parent-hash", lambda red, path: with_leaf(red, path, source=CommitSource(bytes(32)))),
]


@proves(*(rule_id for rule_id, _ in BAD_PATHS))
@pytest.mark.parametrize(("rule_id", "change"), BAD_PATHS)
def test_bad_path(rule_id: str, change: Callable[[Party, UpdatePath], UpdatePath]) -> None:
    red, blue, _ = form("red", "blue", "green")
    refused(blue, forged_commit(red, [], path=change(red, good_path(red))), rule_id)


def test_path_that_does_not_open() -> None:
    red, blue, _ = form("red", "blue", "green")
    refused(blue, forged_commit(red, [], path=good_path(red)), DecryptionError)


def test_policy_judges_a_path_leaf() -> None:
    red, blue = form("red", "blue")
    assert isinstance(blue.policy, Rules)
    blue.policy.refuse_leaf = lambda leaf: isinstance(leaf.source, CommitSource)
    refused(blue, red.group.commit(now=NOW).message, PolicyRejected)


def beside_a_gap() -> tuple[Party, Party, Party, Forger]:
    """Return two members, someone whom the first adds between them, and who forges that Welcome."""
    red, blue, green, grey = form("red", "blue", "green", "grey")
    red.commits([Remove(1)], to=[green, grey])
    victim = Party("victim")
    bundle = victim.offer()
    pending = red.commits([Add(bundle.key_package)], to=[green, grey])
    assert blue.group.own_leaf == 1
    return red, green, victim, Forger(red, bundle, pending.welcome or b"")


@proves("path-keys-match")
def test_path_secret_of_a_welcome_that_gives_other_keys() -> None:
    _, _, victim, forger = beside_a_gap()
    with breaks("path-keys-match"):
        victim.join(forger.welcome_with(secrets={"path_secret": Secret(bytes(32))}))
    victim.join(forger.welcome_with())
    assert victim.group.own_leaf == 1


@proves("path-keys-match")
def test_path_secret_of_a_welcome_for_a_blank_node() -> None:
    red, victim = Party("red"), Party("victim")
    red.create()
    bundle = victim.offer()
    pending = red.group.commit([Add(bundle.key_package)], now=NOW, path=False)
    forger = Forger(red, bundle, pending.welcome or b"")
    with breaks("path-keys-match"):
        victim.join(forger.welcome_with(secrets={"path_secret": Secret(bytes(32))}))


@proves("path-secret-reachable")
def test_path_that_has_nothing_for_a_member() -> None:
    """A Welcome without a path secret leaves its reader without keys that others encrypt to."""
    _, green, victim, forger = beside_a_gap()
    victim.join(forger.welcome_with(secrets={"path_secret": None}))
    refused(victim, green.group.commit(now=NOW).message, "path-secret-reachable")
