"""KEMs: both sides share a secret, keys are derived as specified, invalid keys are refused."""

from __future__ import annotations

import hashlib
import os

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey

from clave_crypto.errors import KeyRejected
from clave_crypto.keys import Secret
from clave_crypto.mls.dhkem import P256, P384, P521, X448, X25519
from clave_crypto.mls.hkdf import HKDF_SHA256, Hkdf
from clave_crypto.mls.hybrid_kem import MLKEM768_X25519
from clave_crypto.mls.kem import Kem

KEMS: list[Kem] = [X25519, X448, P256, P384, P521, MLKEM768_X25519]
each_kem = pytest.mark.parametrize("kem", KEMS, ids=lambda kem: f"{kem.id:#06x}")


@each_kem
def test_both_sides_share_a_secret(kem: Kem) -> None:
    private, public = kem.derive_key_pair(os.urandom(32))
    shared_secret, enc = kem.encap(public)
    assert kem.decap(private, enc) == shared_secret
    assert len(enc) == kem.enc_size
    again, other_enc = kem.encap(public)
    assert again != shared_secret
    assert other_enc != enc
    assert isinstance(shared_secret, Secret)


@each_kem
def test_key_pairs_follow_from_their_input(kem: Kem) -> None:
    private, public = kem.derive_key_pair(b"input")
    assert kem.derive_key_pair(b"input") == (private, public)
    assert kem.derive_key_pair(b"inpuT")[0] != private
    assert kem.public_key(private) == public
    kem.check_public(public)
    assert isinstance(private, Secret)


@each_kem
def test_keys_of_another_length_are_refused(kem: Kem) -> None:
    private, public = kem.derive_key_pair(b"input")
    _, enc = kem.encap(public)
    for bad in (b"", public[:-1], public + b"\0", bytes(len(public))):
        for use in (kem.check_public, kem.encap):
            with pytest.raises(KeyRejected):
                use(bad)
    for bad in (b"", enc[:-1], enc + b"\0"):
        with pytest.raises(KeyRejected):
            kem.check_enc(bad)
        with pytest.raises(KeyRejected):
            kem.decap(private, bad)
    for bad in (b"", private + b"\0"):
        with pytest.raises(ValueError, match=r"key|bytes"):
            kem.public_key(bad)


class _Stubborn(Hkdf):
    """Gives no scalar below the order at the first few tries, or never."""

    tries = 0
    good_from = 3

    def labeled_expand(
        self, suite_id: bytes, secret: bytes, label: bytes, info: bytes, length: int
    ) -> Secret:
        if label == b"candidate":
            type(self).tries += 1
            assert info == bytes([self.tries - 1])
            if self.tries < self.good_from:
                return Secret(b"\xff" * length if self.tries % 2 else bytes(length))
        return super().labeled_expand(suite_id, secret, label, info, length)


class _Never(_Stubborn):
    tries = 0
    good_from = 1000


def test_invalid_scalar_candidates_are_skipped() -> None:
    kem = type(P256)(P256.id, _Stubborn(1, "sha256", 32), P256._curve)
    private, public = kem.derive_key_pair(b"input")
    assert _Stubborn.tries == 3
    assert private != P256.derive_key_pair(b"input")[0]
    assert P256.public_key(private) == public
    never = type(P256)(P256.id, _Never(1, "sha256", 32), P256._curve)
    with pytest.raises(ValueError, match="no private key"):
        never.derive_key_pair(b"input")
    assert _Never.tries == 256


def test_first_byte_of_a_p521_candidate_is_masked() -> None:
    privates = [P521.derive_key_pair(bytes([number]))[0] for number in range(20)]
    assert {private[0] for private in privates} == {0, 1}
    assert all(len(private) == 66 for private in privates)


class TestHybrid:
    def test_derive_key_pair_is_labelled(self) -> None:
        labeled = b"input" + b"HPKE-v1" + b"KEM\x64\x7a" + b"\x00\x0dDeriveKeyPair" + b"\x00\x20"
        private, _ = MLKEM768_X25519.derive_key_pair(b"input")
        assert private == hashlib.shake_256(labeled).digest(32)
        assert private != hashlib.shake_256(b"input").digest(32)  # as the older X-Wing draft had it

    @pytest.mark.parametrize("at", [0, 576, 1149])
    def test_a_coefficient_that_is_not_reduced_is_refused(self, at: int) -> None:
        _, public = MLKEM768_X25519.derive_key_pair(b"input")

        def with_coefficient(value: int) -> bytes:
            return public[:at] + bytes([value & 0xFF, value >> 8 | public[at + 1] & 0xF0]) + public[at + 2 :]

        MLKEM768_X25519.check_public(with_coefficient(3328))
        for value in (3329, 3330, 4095):
            with pytest.raises(KeyRejected, match="not reduced"):
                MLKEM768_X25519.check_public(with_coefficient(value))

    def test_an_unfit_x25519_half_is_refused(self) -> None:
        private, public = MLKEM768_X25519.derive_key_pair(b"input")
        _, enc = MLKEM768_X25519.encap(public)
        for half in (bytes(32), b"\xff" * 32):
            with pytest.raises(KeyRejected, match="X25519"):
                MLKEM768_X25519.check_public(public[:-32] + half)
            with pytest.raises(KeyRejected, match="X25519"):
                MLKEM768_X25519.check_enc(enc[:-32] + half)
            with pytest.raises(KeyRejected, match="X25519"):
                MLKEM768_X25519.decap(private, enc[:-32] + half)

    def test_both_halves_count(self) -> None:
        private, public = MLKEM768_X25519.derive_key_pair(b"input")
        shared_secret, enc = MLKEM768_X25519.encap(public)
        mlkem_enc = MLKEM768PublicKey.from_public_bytes(public[:1184]).encapsulate()[1]
        x25519_enc = X25519.derive_key_pair(b"other")[1]
        assert MLKEM768_X25519.decap(private, mlkem_enc + enc[1088:]) != shared_secret
        assert MLKEM768_X25519.decap(private, enc[:1088] + x25519_enc) != shared_secret

    def test_the_private_key_is_the_seed(self) -> None:
        for bad in (bytes(31), bytes(33), bytes(64)):
            with pytest.raises(ValueError, match="32 bytes"):
                MLKEM768_X25519.public_key(bad)


def test_labels_keep_derivations_apart() -> None:
    labeled = HKDF_SHA256.labeled_extract(b"suite", b"salt", b"label", b"ikm")
    assert labeled == HKDF_SHA256.extract(b"salt", b"HPKE-v1suitelabelikm")
    expanded = HKDF_SHA256.labeled_expand(b"suite", labeled, b"label", b"info", 5)
    assert expanded == HKDF_SHA256.expand(labeled, b"\x00\x05HPKE-v1suitelabelinfo", 5)
