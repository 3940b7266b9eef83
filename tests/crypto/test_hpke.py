"""HPKE by `cryptography` and by the key schedule here give the same results."""

from __future__ import annotations

import os

import pytest

from clave_crypto.errors import KeyRejected
from clave_crypto.mls import SUITES, CipherSuite, DecryptionError
from clave_crypto.mls.dhkem import X448, X25519
from clave_crypto.mls.hkdf import HKDF_SHA256, HKDF_SHA512
from clave_crypto.mls.hpke import AES_256_GCM, CHACHA20_POLY1305, Hpke
from clave_crypto.mls.kem import Kem

each_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: f"{suite.id:#06x}")


def hpke_of(suite: CipherSuite) -> Hpke:
    return Hpke(suite.kem, suite.kdf, suite.aead_entry)


@each_suite
def test_what_the_key_schedule_seals_opens(suite: CipherSuite) -> None:
    private, public = suite.kem.derive_key_pair(os.urandom(32))
    hpke = hpke_of(suite)
    shared_secret, enc = suite.kem.encap(public)
    context = hpke._schedule(shared_secret, b"info")
    ciphertext = suite.aead(context.key).encrypt(context.base_nonce, b"plaintext", b"")
    assert hpke.open(private, enc, b"info", ciphertext) == b"plaintext"


@each_suite
def test_what_is_sealed_opens_with_the_key_schedule(suite: CipherSuite) -> None:
    private, public = suite.kem.derive_key_pair(os.urandom(32))
    hpke = hpke_of(suite)
    enc, ciphertext = hpke.seal(public, b"info", b"plaintext")
    context = hpke._schedule(suite.kem.decap(private, enc), b"info")
    assert suite.aead(context.key).decrypt(context.base_nonce, ciphertext, b"") == b"plaintext"
    assert "bytes>" in repr(context)
    assert context.key.hex() not in repr(context)


@each_suite
def test_exports_differ_by_label_length_and_info(suite: CipherSuite) -> None:
    private, public = suite.kem.derive_key_pair(os.urandom(32))
    hpke = hpke_of(suite)
    enc, exported = hpke.send_export(public, b"info", b"label", 40)
    assert len(exported) == 40
    assert hpke.receive_export(private, enc, b"info", b"label", 40) == exported
    assert hpke.receive_export(private, enc, b"info", b"label", 39) != exported[:39]
    assert hpke.receive_export(private, enc, b"info", b"another", 40) != exported
    assert hpke.receive_export(private, enc, b"other", b"label", 40) != exported


def test_each_part_of_the_suite_is_part_of_the_key() -> None:
    private, public = X448.derive_key_pair(bytes(56))
    enc, ciphertext = Hpke(X448, HKDF_SHA512, AES_256_GCM).seal(public, b"", b"plaintext")
    assert Hpke(X448, HKDF_SHA512, AES_256_GCM).open(private, enc, b"", ciphertext) == b"plaintext"
    with pytest.raises(DecryptionError):
        Hpke(X448, HKDF_SHA512, CHACHA20_POLY1305).open(private, enc, b"", ciphertext)


@pytest.mark.parametrize("kem", [X25519, X448], ids=["ready", "here"])
def test_small_order_enc_is_refused(kem: Kem) -> None:
    private, public = kem.derive_key_pair(bytes(56))
    hpke = Hpke(kem, HKDF_SHA512, AES_256_GCM)
    _, ciphertext = hpke.seal(public, b"", b"plaintext")
    zero = bytes(kem.enc_size)
    with pytest.raises(DecryptionError):
        hpke.open(private, zero, b"", ciphertext)
    with pytest.raises(DecryptionError):
        hpke.receive_export(private, zero, b"", b"label", 32)
    with pytest.raises(KeyRejected):
        hpke.seal(zero, b"", b"plaintext")
    with pytest.raises(KeyRejected):
        hpke.send_export(zero, b"", b"label", 32)


def test_another_encoding_of_a_good_enc_is_refused() -> None:
    """`cryptography` reduces u and would open it, so that one message had two encodings."""
    private, public = X25519.derive_key_pair(bytes(32))
    hpke = Hpke(X25519, HKDF_SHA256, AES_256_GCM)

    def sealed(enc: bytes) -> bytes:
        # The shared point of the base point, u = 9, is the public key itself.
        context = hpke._schedule(X25519._shared_secret(public, enc + public), b"")
        return AES_256_GCM.cipher(context.key).encrypt(context.base_nonce, b"plaintext", b"")

    nine, nine_and_p = (9).to_bytes(32, "little"), (9 + 2**255 - 19).to_bytes(32, "little")
    assert hpke.open(private, nine, b"", sealed(nine)) == b"plaintext"
    with pytest.raises(DecryptionError):
        hpke.open(private, nine_and_p, b"", sealed(nine_and_p))
