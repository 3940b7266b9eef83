"""Each cipher suite has the parameters of its name, and encrypts, signs and derives consistently."""

from __future__ import annotations

import os

import pytest

from clave_crypto.errors import KeyRejected, SignatureInvalid
from clave_crypto.mls import (
    SUITES,
    Add,
    Application,
    CipherSuite,
    DecryptionError,
    Group,
    KeyPackageBundle,
    LocalError,
    MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
    MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519,
    NoPolicy,
    Remove,
    UnsupportedError,
    find_suite,
    set_mlkem768_suite_id,
)
from clave_crypto.mls.hpke import Hpke
from clave_crypto.mls.suites import MLKEM768_SUITE_ID
from groupkit import NOW as GROUP_NOW
from groupkit import Party

REGISTRY = [
    # id; KEM, KDF, AEAD; hash, Nh, Nk, Nn; Nenc, Npk, Nsk; signature keys, public and private
    (1, (0x0020, 1, 1), ("sha256", 32, 16, 12), (32, 32, 32), (32, 32)),
    (2, (0x0010, 1, 1), ("sha256", 32, 16, 12), (65, 65, 32), (65, 32)),
    (3, (0x0020, 1, 3), ("sha256", 32, 32, 12), (32, 32, 32), (32, 32)),
    (4, (0x0021, 3, 2), ("sha512", 64, 32, 12), (56, 56, 56), (57, 57)),
    (5, (0x0012, 3, 2), ("sha512", 64, 32, 12), (133, 133, 66), (133, 66)),
    (6, (0x0021, 3, 3), ("sha512", 64, 32, 12), (56, 56, 56), (57, 57)),
    (7, (0x0011, 2, 2), ("sha384", 48, 32, 12), (97, 97, 48), (97, 48)),
    (MLKEM768_SUITE_ID, (0x647A, 1, 1), ("sha256", 32, 16, 12), (1120, 1216, 32), (32, 32)),
]

NOW = 1_780_000_000

each_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: f"{suite.id:#06x}")


@pytest.mark.parametrize(("suite_id", "numbers", "sizes", "kem_sizes", "signature_sizes"), REGISTRY)
def test_a_suite_is_what_the_registry_says(
    suite_id: int,
    numbers: tuple[int, int, int],
    sizes: tuple[str, int, int, int],
    kem_sizes: tuple[int, int, int],
    signature_sizes: tuple[int, int],
) -> None:
    suite = find_suite(suite_id)
    assert suite.id == suite_id
    assert (suite.kem.id, suite.kdf.id, suite.aead_entry.id) == numbers
    assert (suite.hash_name, suite.hash_size, suite.key_size, suite.nonce_size) == sizes
    private, public = suite.kem.derive_key_pair(os.urandom(suite.hash_size))
    kem_output, _ = suite.encrypt_with_label(public, b"label", b"", b"")
    assert (len(kem_output), len(public), len(private)) == kem_sizes
    assert suite.kem.enc_size == len(kem_output)
    signer = suite.signature.generate(os.urandom)
    assert (len(suite.signature.public_key(signer)), len(signer)) == signature_sizes
    assert len(suite.hash(b"")) == len(suite.mac(b"", b"")) == len(suite.extract(b"", b"")) == suite.hash_size


def test_every_suite_is_in_the_registry_above() -> None:
    assert list(SUITES) == [row[0] for row in REGISTRY]
    assert len({suite.name for suite in SUITES.values()}) == len({suite.words for suite in SUITES.values()})


def test_names_numbers_and_words() -> None:
    assert find_suite(1) is MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519
    assert find_suite(1).words == "X25519, AES-128-GCM, SHA-256, Ed25519"
    hybrid = MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519
    assert hybrid.words == "ML-KEM-768 with X25519 (post-quantum), AES-128-GCM, SHA-256, Ed25519"
    assert find_suite(MLKEM768_SUITE_ID) is hybrid
    assert 0xF000 <= MLKEM768_SUITE_ID <= 0xFFFF  # for private use (section 17.1)
    with pytest.raises(UnsupportedError, match="0x0008"):
        find_suite(8)


@each_suite
def test_what_is_encrypted_to_a_key_opens_with_it_alone(suite: CipherSuite) -> None:
    private, public = suite.kem.derive_key_pair(os.urandom(32))
    other, _ = suite.kem.derive_key_pair(os.urandom(32))
    kem_output, ciphertext = suite.encrypt_with_label(public, b"label", b"context", b"plaintext")
    assert suite.decrypt_with_label(private, b"label", b"context", kem_output, ciphertext) == b"plaintext"
    flipped = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    for key, label, context, enc, sealed in (
        (other, b"label", b"context", kem_output, ciphertext),
        (private, b"another", b"context", kem_output, ciphertext),
        (private, b"label", b"another", kem_output, ciphertext),
        (private, b"label", b"context", bytes([kem_output[0] ^ 1]) + kem_output[1:], ciphertext),
        (private, b"label", b"context", kem_output[:-1], ciphertext),
        (private, b"label", b"context", kem_output + b"\0", ciphertext),
        (private, b"label", b"context", b"", b""),
        (private, b"label", b"context", kem_output, flipped),
        (private, b"label", b"context", kem_output, b""),
        (private[:-2], b"label", b"context", kem_output, ciphertext),
    ):
        with pytest.raises(DecryptionError):
            suite.decrypt_with_label(key, label, context, enc, sealed)


@each_suite
def test_external_init_is_shared_with_the_holder_of_the_key_alone(suite: CipherSuite) -> None:
    private, public = suite.kem.derive_key_pair(os.urandom(32))
    kem_output, init_secret = suite.seal_external_init(public)
    hpke, label = Hpke(suite.kem, suite.kdf, suite.aead_entry), b"MLS 1.0 external init secret"
    assert init_secret == hpke.receive_export(private, kem_output, b"", label, suite.hash_size)
    assert suite.open_external_init(private, kem_output) == init_secret
    other, _ = suite.kem.derive_key_pair(os.urandom(32))
    assert suite.open_external_init(other, kem_output) != init_secret
    assert suite.seal_external_init(public)[1] != init_secret
    for bad in (b"", kem_output[:-1], kem_output + b"\0"):
        with pytest.raises(DecryptionError):
            suite.open_external_init(private, bad)
    with pytest.raises(KeyRejected):
        suite.seal_external_init(public[:-1])


@each_suite
def test_signatures_hold_for_one_key_label_and_content(suite: CipherSuite) -> None:
    private = suite.signature.generate(os.urandom)
    public = suite.signature.public_key(private)
    signature = suite.sign_with_label(private, b"label", b"content")
    suite.verify_with_label(public, b"label", b"content", signature)
    other = suite.signature.public_key(suite.signature.generate(os.urandom))
    for key, label, content in (
        (other, b"label", b"content"),
        (public, b"another", b"content"),
        (public, b"label", b"another"),
    ):
        with pytest.raises(SignatureInvalid):
            suite.verify_with_label(key, label, content, signature)
    with pytest.raises(KeyRejected):
        suite.verify_with_label(public[:-1], b"label", b"content", signature)


@each_suite
def test_sealed_message_opens_only_unchanged(suite: CipherSuite) -> None:
    key, nonce = os.urandom(suite.key_size), os.urandom(suite.nonce_size)
    sealed = suite.seal(key, nonce, b"aad", b"plaintext")
    assert suite.open(key, nonce, b"aad", sealed) == b"plaintext"
    for aad, ciphertext in ((b"other", sealed), (b"aad", sealed[:-1]), (b"aad", b"")):
        with pytest.raises(DecryptionError):
            suite.open(key, nonce, aad, ciphertext)


@each_suite
def test_the_kdf_gives_up_to_255_blocks(suite: CipherSuite) -> None:
    longest = 255 * suite.hash_size
    output = suite.expand(b"secret", b"info", longest)
    assert len(output) == longest
    for length in (0, 1, suite.hash_size, suite.hash_size + 1):
        assert suite.expand(b"secret", b"info", length) == output[:length]
    with pytest.raises(ValueError, match=str(longest)):
        suite.expand(b"secret", b"info", longest + 1)


class Member:
    """Someone who may be in a group of any suite."""

    def __init__(self, suite: CipherSuite, name: str) -> None:
        self.name = name.encode()
        self.signature_secret = suite.signature.generate(os.urandom)
        self.bundle = KeyPackageBundle.generate(
            suite, self.name, self.signature_secret, not_before=NOW - 1, not_after=NOW + 1
        )

    def joins(self, welcome: bytes | None) -> Group:
        assert welcome is not None
        bundles = {self.bundle.reference: self.bundle}
        return Group.join(welcome, bundles.get, policy=NoPolicy(), other_groups=())


@each_suite
def test_group_of_each_suite_works(suite: CipherSuite) -> None:
    alice, bob, carol = (Member(suite, name) for name in ("alice", "bob", "carol"))
    red = Group.create(
        suite,
        b"room",
        alice.name,
        alice.signature_secret,
        policy=NoPolicy(),
        not_before=NOW - 1,
        not_after=NOW + 1,
    )
    added = red.commit([Add(bob.bundle.key_package)], now=NOW)
    red.merge(added)
    blue = bob.joins(added.welcome)
    received = red.receive(blue.encrypt(b"hello"))
    assert isinstance(received, Application)
    assert received.data == b"hello"

    green, entering = Group.join_externally(
        red.group_info(),
        carol.name,
        carol.signature_secret,
        policy=NoPolicy(),
        other_groups=(),
    )
    for group in (red, blue):
        group.receive(entering)
    assert red.epoch_authenticator == blue.epoch_authenticator == green.epoch_authenticator

    removal = green.commit([Remove(1)], now=NOW)
    green.merge(removal)
    red.receive(removal.message)
    red = Group.restore(red.state(), policy=NoPolicy())
    received = red.receive(green.encrypt(b"alone"))
    assert isinstance(received, Application)
    assert received.data == b"alone"
    assert len(red.members()) == 2


@each_suite
def test_nothing_secret_shows(suite: CipherSuite) -> None:
    private, public = suite.kem.derive_key_pair(os.urandom(32))
    _, init_secret = suite.seal_external_init(public)
    kem_output, ciphertext = suite.encrypt_with_label(public, b"", b"", b"plaintext")
    opened = suite.decrypt_with_label(private, b"", b"", kem_output, ciphertext)
    signer = suite.signature.generate(os.urandom)
    expanded = suite.expand_with_label(private, b"label", b"context", 16)
    for secret in (private, init_secret, opened, signer, expanded):
        assert repr(secret) == f"<Secret, {len(secret)} bytes>"
    assert repr(suite) == f"<CipherSuite {suite.name}>"


def test_the_post_quantum_suite_has_the_number_that_is_set() -> None:
    suite = MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519
    other = 0xF123
    red, blue = (Party(name, suite=suite) for name in ("red", "blue"))
    before = blue.offer().key_package
    set_mlkem768_suite_id(other)
    try:
        red.create()
        with pytest.raises(UnsupportedError):
            before.verify(policy=red.policy, now=GROUP_NOW)
        red.adds(blue)
        assert blue.hears(red.group.encrypt(b"hello")) == b"hello"
        blue.restart()
        assert (blue.group.suite.id, find_suite(other)) == (other, suite)
    finally:
        set_mlkem768_suite_id(MLKEM768_SUITE_ID)
    assert find_suite(MLKEM768_SUITE_ID) is suite
    with pytest.raises(UnsupportedError):
        find_suite(other)


@pytest.mark.parametrize("number", [0, 1, 7, 0x0A0A, 1 << 16, -1])
def test_numbers_that_the_post_quantum_suite_cannot_have(number: int) -> None:
    with pytest.raises(LocalError, match="cannot be the number"):
        set_mlkem768_suite_id(number)
