"""A commit can add to the extensions that its sender's leaf lists."""

from __future__ import annotations

from clave_crypto.mls import Add
from groupkit import NOW, Party, assert_agree, form

_TYPE = 0xF0F0


def test_a_commit_lists_further_extensions_in_its_senders_leaf() -> None:
    red, blue = form("red", "blue")
    before = red.group.member(red.group.own_leaf).leaf.capabilities
    pending = red.group.commit(now=NOW, path=False, extension_types=(_TYPE,))
    assert pending.path  # a leaf changes by a path only
    red.group.merge(pending)
    blue.sees(pending.message)
    assert_agree([red, blue])
    for party in (red, blue):
        after = party.group.member(red.group.own_leaf).leaf.capabilities
        assert after.extensions == (*before.extensions, _TYPE)
        assert after.proposals == before.proposals


def test_a_commit_that_lists_nothing_new_needs_no_path() -> None:
    red, _ = form("red", "blue")
    listed = red.group.member(red.group.own_leaf).leaf.capabilities.extensions
    add = Add(Party("white").offer().key_package)
    assert not red.group.commit([add], now=NOW, path=False, extension_types=listed).path
    assert red.group.commit([add], now=NOW, path=False, extension_types=(*listed, _TYPE)).path
