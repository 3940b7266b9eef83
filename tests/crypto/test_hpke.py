"""HPKE gives the same results as `cryptography`, where that has the KEM."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives import hpke as theirs
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from clave_crypto.errors import KeyRejected
from clave_crypto.keys import load_ec_private, load_ec_public
from clave_crypto.mls import SUITES, CipherSuite, DecryptionError
from clave_crypto.mls.dhkem import P256, P384, P521, X448, X25519
from clave_crypto.mls.hkdf import HKDF_SHA256, HKDF_SHA512
from clave_crypto.mls.hpke import AES_256_GCM, CHACHA20_POLY1305, Hpke
from clave_crypto.mls.hybrid_kem import MLKEM768_X25519, _expand
from clave_crypto.mls.kem import Kem


def hybrid_private(seed: bytes) -> theirs.MLKEM768X25519PrivateKey:
    mlkem, x25519 = _expand(seed)
    return theirs.MLKEM768X25519PrivateKey(mlkem, X25519PrivateKey.from_private_bytes(x25519))


def hybrid_public(public: bytes) -> theirs.MLKEM768X25519PublicKey:
    half = X25519PublicKey.from_public_bytes(public[-32:])
    return theirs.MLKEM768X25519PublicKey(MLKEM768PublicKey.from_public_bytes(public[:-32]), half)


each_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: f"{suite.id:#06x}")


def hpke_of(suite: CipherSuite) -> Hpke:
    return Hpke(suite.kem, suite.kdf, suite.aead_entry)


THEIRS: dict[int, tuple[theirs.KEM, Callable[[bytes], Any], Callable[[bytes], Any]]] = {
    X25519.id: (theirs.KEM.X25519, X25519PrivateKey.from_private_bytes, X25519PublicKey.from_public_bytes),
    P256.id: (theirs.KEM.P256, partial(load_ec_private, SECP256R1()), partial(load_ec_public, SECP256R1())),
    P384.id: (theirs.KEM.P384, partial(load_ec_private, SECP384R1()), partial(load_ec_public, SECP384R1())),
    P521.id: (theirs.KEM.P521, partial(load_ec_private, SECP521R1()), partial(load_ec_public, SECP521R1())),
    MLKEM768_X25519.id: (theirs.KEM.MLKEM768_X25519, hybrid_private, hybrid_public),
}
KDFS = {1: theirs.KDF.HKDF_SHA256, 2: theirs.KDF.HKDF_SHA384, 3: theirs.KDF.HKDF_SHA512}
AEADS = {1: theirs.AEAD.AES_128_GCM, 2: theirs.AEAD.AES_256_GCM, 3: theirs.AEAD.CHACHA20_POLY1305}


@each_suite
def test_what_one_seals_the_other_opens(suite: CipherSuite) -> None:
    if suite.kem.id not in THEIRS:
        pytest.skip("`cryptography` does not encrypt with X448")
    kem, load_private, load_public = THEIRS[suite.kem.id]
    other = theirs.Suite(kem, KDFS[suite.kdf.id], AEADS[suite.aead_entry.id])
    private, public = suite.kem.derive_key_pair(os.urandom(32))
    ours = hpke_of(suite)
    for info in (b"", b"info", os.urandom(10_000)):
        enc, ciphertext = ours.seal(public, info, b"plaintext")
        assert other.decrypt(enc + ciphertext, load_private(private), info) == b"plaintext"
        sealed = other.encrypt(b"plaintext", load_public(public), info)
        size = suite.kem.enc_size
        assert ours.open(private, sealed[:size], info, sealed[size:]) == b"plaintext"
        with pytest.raises(DecryptionError):
            ours.open(private, sealed[:size], b"another", sealed[size:])


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


@pytest.mark.parametrize("kem", [X25519, X448], ids=["X25519", "X448"])
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
        key, nonce = hpke._key_nonce(X25519._shared_secret(public, enc + public), b"")
        return AES_256_GCM.cipher(key).encrypt(nonce, b"plaintext", b"")

    nine, nine_and_p = (9).to_bytes(32, "little"), (9 + 2**255 - 19).to_bytes(32, "little")
    assert hpke.open(private, nine, b"", sealed(nine)) == b"plaintext"
    with pytest.raises(DecryptionError):
        hpke.open(private, nine_and_p, b"", sealed(nine_and_p))
