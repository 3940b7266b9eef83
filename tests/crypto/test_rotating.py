"""A member replaces its signature key and its credential in a commit."""

from __future__ import annotations

import os

import pytest

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    BasicCredential,
    Group,
    LeafNode,
    LocalError,
    NoPolicy,
    PendingCommit,
    PolicyRejected,
)
from groupkit import NOW, SUITE, Party, assert_agree, form
from rulekit import breaks


@pytest.mark.parametrize("stored", [False, True])
def test_a_new_key_and_credential_count_from_the_next_epoch_on(stored: bool) -> None:
    red, blue, green = form("red", "blue", "green")
    secret = Secret(os.urandom(32))
    pending = red.group.commit(
        [Add(Party("white").offer().key_package)],
        now=NOW,
        path=False,
        signature_secret=secret,
        credential=BasicCredential(b"crimson"),
    )
    assert pending.path
    message = pending.message
    if stored:
        pending = PendingCommit.decode(pending.encode(), policy=red.policy)
    for other in (blue, green):
        other.sees(message)
    red.group.merge(pending)
    assert_agree([red, blue, green])
    own = blue.group.member(0)
    assert (own.identity, own.signature_key) == (b"crimson", SUITE.signature.public_key(secret))
    red.restart()
    assert blue.hears(red.group.encrypt(b"signed by the new key")) == b"signed by the new key"
    blue.sees(red.commits(to=[green]).message)
    assert_agree([red, blue, green])


def test_a_newcomer_joins_by_the_new_key() -> None:
    red, blue = form("red", "blue")
    newcomer = Party("green")
    pending = red.commits(
        [Add(newcomer.offer().key_package)], to=[blue], signature_secret=Secret(os.urandom(32))
    )
    newcomer.join(pending.welcome)
    assert_agree([red, blue, newcomer])


def test_a_discarded_commit_leaves_the_former_key() -> None:
    red, blue = form("red", "blue")
    pending = red.group.commit(now=NOW, signature_secret=Secret(os.urandom(32)))
    red.group.discard(pending)
    assert blue.hears(red.group.encrypt(b"by the former key")) == b"by the former key"


def test_keys_that_do_not_fit_are_refused() -> None:
    red, blue = form("red", "blue")
    with breaks("leaf-signature-keys-unique", red):
        red.group.commit(now=NOW, signature_secret=blue.signature_secret)
    with pytest.raises(LocalError, match="not a private key of"):
        red.group.commit(now=NOW, signature_secret=Secret(b"short"))


class _Steady(NoPolicy):
    def check_successor(self, old: LeafNode, new: LeafNode) -> None:
        if old.credential != new.credential:
            raise PolicyRejected("nobody changes its name")


def test_the_policy_of_each_member_is_asked() -> None:
    red, blue = form("red", "blue")
    name = BasicCredential(b"crimson")
    pending = red.group.commit(now=NOW, credential=name)
    blue.member = Group.restore(blue.group.state(), policy=_Steady())
    with pytest.raises(PolicyRejected, match="changes its name"):
        blue.sees(pending.message)
    red.member = Group.restore(red.group.state(), policy=_Steady())
    with pytest.raises(PolicyRejected, match="changes its name"):
        red.group.commit(now=NOW, credential=name)
    blue.sees(red.commits(signature_secret=Secret(os.urandom(32))).message)
    assert_agree([red, blue])
