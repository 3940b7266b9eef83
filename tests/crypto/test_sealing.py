"""Data encrypted to one member's leaf: only that member decrypts it, while its leaf has that key."""

from __future__ import annotations

import pytest

from clave_crypto.mls import DecryptionError, GroupClosedError, LocalError, MalformedError, Remove
from clave_crypto.mls.update_path import HPKECiphertext
from groupkit import form

LABEL = "clave GroupInfo"


def test_only_that_member_opens_it() -> None:
    red, blue, green = form("red", "blue", "green")
    before = [party.group.state() for party in (red, blue, green)]
    sealed = red.group.seal_to_member(1, LABEL, b"for blue")
    assert blue.group.open_from_member(LABEL, sealed) == b"for blue"
    for party in (red, green):
        with pytest.raises(DecryptionError):
            party.group.open_from_member(LABEL, sealed)
    assert [party.group.state() for party in (red, blue, green)] == before


def test_label_and_group_are_bound() -> None:
    red, blue = form("red", "blue")
    sealed = red.group.seal_to_member(1, LABEL, b"for blue")
    with pytest.raises(DecryptionError):
        blue.group.open_from_member("clave GroupInf", sealed)
    suite, leaf = red.group.suite, blue.group.member(1).leaf
    elsewhere = suite.encrypt_with_label(leaf.encryption_key, LABEL.encode(), b"another", b"for blue")
    with pytest.raises(DecryptionError):
        blue.group.open_from_member(LABEL, HPKECiphertext(*elsewhere).encode())


def test_sealed_data_opens_in_an_older_epoch_with_the_same_leaf_key() -> None:
    red, blue, green = form("red", "blue", "green")
    red.commits(to=[green])
    assert blue.group.open_from_member(LABEL, green.group.seal_to_member(1, LABEL, b"late")) == b"late"
    early = red.group.seal_to_member(2, LABEL, b"early")
    green.commits(to=[red])
    with pytest.raises(DecryptionError):
        green.group.open_from_member(LABEL, early)
    renewed = red.group.seal_to_member(2, LABEL, b"renewed")
    assert green.group.open_from_member(LABEL, renewed) == b"renewed"
    green.restart()
    assert green.group.open_from_member(LABEL, renewed) == b"renewed"


@pytest.mark.parametrize("damage", [b"", b"\0", b"\x20" + bytes(79)])
def test_what_is_not_sealed_is_refused(damage: bytes) -> None:
    red, blue = form("red", "blue")
    sealed = red.group.seal_to_member(1, LABEL, b"for blue")
    for damaged in (damage, sealed + b"\0", sealed[:-1]):
        with pytest.raises((MalformedError, DecryptionError)):
            blue.group.open_from_member(LABEL, damaged)
    flipped = sealed[:-1] + bytes([sealed[-1] ^ 1])
    with pytest.raises(DecryptionError):
        blue.group.open_from_member(LABEL, flipped)
    with pytest.raises(MalformedError):
        blue.group.open_from_member(LABEL, sealed + b"\0")


@pytest.mark.parametrize("label", ["UpdatePathNode", "Welcome"])
def test_labels_of_mls_are_refused(label: str) -> None:
    red, blue = form("red", "blue")
    with pytest.raises(LocalError):
        red.group.seal_to_member(1, label, b"")
    with pytest.raises(LocalError):
        blue.group.open_from_member(label, b"")


def test_nobody_seals_to_a_blank_leaf_or_once_removed() -> None:
    red, blue, _ = form("red", "blue", "green")
    for nobody in (3, 9):
        with pytest.raises(LocalError):
            red.group.seal_to_member(nobody, LABEL, b"")
    sealed = red.group.seal_to_member(1, LABEL, b"for blue")
    red.commits([Remove(1)], to=[blue])
    with pytest.raises(GroupClosedError):
        blue.group.open_from_member(LABEL, sealed)
    with pytest.raises(GroupClosedError):
        blue.group.seal_to_member(0, LABEL, b"")


def test_former_leaf_key_opens_data_sealed_in_an_older_epoch() -> None:
    red, blue, green = form("red", "blue", "green")
    former = green.group.leaf_key()
    assert former.hex() not in f"{former!r}"
    behind = red.group.seal_to_member(2, LABEL, b"behind")
    green.commits(to=[blue])
    assert green.group.leaf_key() != former
    assert green.group.open_from_member(LABEL, behind, former) == b"behind"
    with pytest.raises(DecryptionError):
        green.group.open_from_member(LABEL, blue.group.seal_to_member(2, LABEL, b"ahead"), former)
