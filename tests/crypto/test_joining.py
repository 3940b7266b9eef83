"""Joining by a Welcome."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clave_crypto.keys import Secret
from clave_crypto.mls import (
    Add,
    CipherSuite,
    DecryptionError,
    ExternalPsk,
    LocalError,
    MalformedError,
    PreSharedKey,
    PreSharedKeyID,
    ResumptionPsk,
    ResumptionUsage,
    UnsupportedError,
    encode_message,
    new_psk_id,
)
from clave_crypto.mls.framing import decode_message
from clave_crypto.mls.ratchet_tree import TreeNodes
from clave_crypto.mls.welcome import Welcome
from forgekit import suite_as
from groupkit import NOW, SUITE, Party, assert_agree, form
from rulekit import refused


def test_newcomer_needs_the_pre_shared_keys() -> None:
    red, blue = Party("red"), Party("blue")
    red.create()
    psk = PreSharedKey(PreSharedKeyID(ExternalPsk(b"link"), bytes(32)))

    def find_psk(_: PreSharedKeyID) -> Secret:
        return Secret(b"shared")

    add = Add(blue.offer().key_package)
    pending = red.group.commit([add, psk], now=NOW, find_psk=find_psk)
    red.group.merge(pending)
    with pytest.raises(UnsupportedError):
        blue.join(pending.welcome)
    with pytest.raises(DecryptionError):
        blue.join(pending.welcome, find_psk=lambda _: Secret(b"wrong"))
    blue.join(pending.welcome, find_psk=find_psk)
    assert_agree([red, blue])


def test_welcome_for_several_key_packages_of_ones_own() -> None:
    red, blue, green = Party("red"), Party("blue"), Party("green")
    red.create()
    newcomers = [green, blue]
    pending = red.commits([Add(one.offer().key_package) for one in newcomers])
    for one in newcomers:
        one.join(pending.welcome)
    assert_agree([red, blue, green])


def test_welcome_that_does_not_open() -> None:
    red, blue = Party("red"), Party("blue")
    red.create()
    pending = red.commits([Add(blue.offer().key_package)])
    message = decode_message(pending.welcome or b"")
    assert isinstance(message, Welcome)
    with pytest.raises(UnsupportedError):
        blue.join(encode_message(replace(message, cipher_suite=0x7777)))
    with pytest.raises(DecryptionError):
        blue.join(encode_message(replace(message, encrypted_group_info=bytes(64))))


def test_joiner_knows_the_signer_of_the_welcome() -> None:
    red, blue, green = *form("red", "blue"), Party("green")
    blue.adds(green, to=[red])
    assert green.group.welcomed_by == 1
    green.restart()
    assert green.group.welcomed_by is None


def test_rejoining_member_proves_former_membership() -> None:
    red, blue = form("red", "blue")
    was_in = ResumptionPsk(ResumptionUsage.APPLICATION, b"room", blue.group.epoch)
    kept, psk = blue.group.resumption_psk, new_psk_id(SUITE, was_in)
    red.commits(to=[blue])
    info = red.group.group_info()
    guess = {psk: Secret(bytes(32))}.get
    refused(red, Party("blue").enters(info, removes=1, psks=[psk], find_psk=guess), "confirmation-tag")
    blue.enters(info, to=[red], removes=1, psks=[psk], find_psk={psk: kept}.get)
    assert_agree([red, blue])


class SpillsInfo(CipherSuite):
    """Seals a byte too many."""

    def seal(self, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        return super().seal(key, nonce, aad, plaintext + b"\0")


class SpillsSecrets(CipherSuite):
    """Encrypts a byte too many."""

    def encrypt_with_label(
        self, public: bytes, label: bytes, context: bytes, plaintext: bytes
    ) -> tuple[bytes, bytes]:
        return super().encrypt_with_label(public, label, context, plaintext + b"\0")


@pytest.mark.parametrize("spilling", [SpillsInfo, SpillsSecrets])
def test_welcome_whose_sealed_parts_are_malformed(spilling: type[CipherSuite]) -> None:
    red, blue = Party("red", suite=suite_as(spilling, SUITE)), Party("blue")
    red.create()
    pending = red.group.commit([Add(blue.offer().key_package)], now=NOW)
    with pytest.raises(MalformedError):
        blue.join(pending.welcome)


def test_welcome_for_another_client() -> None:
    red, blue, green = Party("red"), Party("blue"), Party("green")
    red.create()
    pending = red.commits([Add(blue.offer().key_package)])
    green.offer()
    with pytest.raises(LocalError):
        green.join(pending.welcome)


def test_message_that_is_no_welcome() -> None:
    red, blue = form("red", "blue")
    with pytest.raises(MalformedError):
        blue.join(red.group.encrypt(b""))


def test_separate_tree_that_is_not_the_groups() -> None:
    red, blue = Party("red"), Party("blue")
    red.create()
    pending = red.group.commit([Add(blue.offer().key_package)], now=NOW)
    tree = TreeNodes((red.group.member(0).leaf,)).encode()
    blue.join(pending.welcome, ratchet_tree=tree)  # the Welcome brings its own tree, which counts
    assert len(blue.group.members()) == 2
