"""Signature schemes: what verifies, in which encodings, and how keys are generated."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from clave_crypto.errors import KeyRejected, SignatureInvalid
from clave_crypto.keys import Secret
from clave_crypto.mls.signatures import (
    ECDSA_P256,
    ECDSA_P384,
    ECDSA_P521,
    ED448,
    ED25519,
    SignatureScheme,
)

ECDSA = {
    "P256": (ECDSA_P256, ec.SECP256R1()),
    "P384": (ECDSA_P384, ec.SECP384R1()),
    "P521": (ECDSA_P521, ec.SECP521R1()),
}
SCHEMES = {"Ed25519": ED25519, "Ed448": ED448} | {name: scheme for name, (scheme, _) in ECDSA.items()}

each_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
each_curve = pytest.mark.parametrize(("scheme", "curve"), ECDSA.values(), ids=ECDSA)


def new_key(scheme: SignatureScheme) -> tuple[Secret, bytes]:
    private = scheme.generate(os.urandom)
    return private, scheme.public_key(private)


@each_scheme
def test_a_signature_verifies_for_its_key_and_message(scheme: SignatureScheme) -> None:
    private, public = new_key(scheme)
    scheme.check_public(public)
    signature = scheme.sign(private, b"message")
    scheme.verify(public, b"message", signature)
    flipped = signature[:-1] + bytes([signature[-1] ^ 1])
    for key, message, claimed in (
        (public, b"massage", signature),
        (new_key(scheme)[1], b"message", signature),
        (public, b"message", flipped),
        (public, b"message", signature + b"\0"),
        (public, b"message", signature[:-1]),
        (public, b"message", b""),
        (public, b"message", bytes(len(signature))),
    ):
        with pytest.raises(SignatureInvalid):
            scheme.verify(key, message, claimed)


@each_scheme
def test_unfit_keys_are_refused_before_anything_is_verified(scheme: SignatureScheme) -> None:
    private, public = new_key(scheme)
    signature = scheme.sign(private, b"message")
    for bad in (b"", bytes(len(public)), b"\xff" * len(public), public[:-1], public + b"\0"):
        with pytest.raises(KeyRejected):
            scheme.check_public(bad)
        with pytest.raises(KeyRejected):
            scheme.verify(bad, b"message", signature)


@each_scheme
def test_generated_keys_are_made_of_the_bytes_given(scheme: SignatureScheme) -> None:
    asked: list[int] = []

    def counted(size: int) -> bytes:
        asked.append(size)
        return bytes(range(size))

    private = scheme.generate(counted)
    assert isinstance(private, Secret)
    assert len(asked) == 1
    assert scheme.generate(counted) == private
    assert scheme.generate(os.urandom) != private


@each_scheme
def test_invalid_private_key_signs_nothing(scheme: SignatureScheme) -> None:
    private, _ = new_key(scheme)
    for bad in (b"", private + b"\0"):
        with pytest.raises(ValueError, match=r"key|bytes"):
            scheme.sign(bad, b"message")
        with pytest.raises(ValueError, match=r"key|bytes"):
            scheme.public_key(bad)


@each_scheme
def test_a_key_objects_bytes_are_the_public_key(scheme: SignatureScheme) -> None:
    objects = {
        "Ed25519": Ed25519PrivateKey.generate().public_key(),
        "Ed448": Ed448PrivateKey.generate().public_key(),
    } | {name: ec.generate_private_key(curve).public_key() for name, (_, curve) in ECDSA.items()}
    for name, other in SCHEMES.items():
        if other is scheme:
            scheme.check_public(scheme.encode_public(objects[name]))
        else:
            with pytest.raises(KeyRejected, match="not one for"):
                scheme.encode_public(objects[name])


@each_curve
class TestEcdsa:
    def test_generated_scalars_stay_in_range(self, scheme: SignatureScheme, curve: ec.EllipticCurve) -> None:
        size = (curve.key_size + 7) // 8
        asked: list[int] = []

        def zeros(count: int) -> bytes:
            asked.append(count)
            return bytes(count)

        least = scheme.generate(zeros)
        assert asked == [size + 8]
        assert least == (1).to_bytes(size, "big")
        wrapped = (curve.group_order - 2).to_bytes(size + 8, "big")
        assert scheme.generate(lambda _: wrapped) == (curve.group_order - 1).to_bytes(size, "big")
        again = (curve.group_order - 1).to_bytes(size + 8, "big")
        assert scheme.generate(lambda _: again) == least

    def test_only_der_is_a_signature(self, scheme: SignatureScheme, curve: ec.EllipticCurve) -> None:
        private, public = new_key(scheme)
        signature = scheme.sign(private, b"message")
        r, s = decode_dss_signature(signature)

        def integer(value: int, padding: int = 0) -> bytes:
            body = bytes(padding) + value.to_bytes(value.bit_length() // 8 + 1, "big")
            return b"\x02" + bytes([len(body)]) + body

        def sequence(body: bytes, header: bytes | None = None) -> bytes:
            length = bytes([len(body)]) if len(body) < 128 else b"\x81" + bytes([len(body)])
            return (b"\x30" + length if header is None else header) + body

        body = integer(r) + integer(s)
        scheme.verify(public, b"message", sequence(body))
        long_form = b"\x30\x82" + len(body).to_bytes(2, "big")
        order = curve.group_order
        for bad in (
            sequence(integer(r, padding=1) + integer(s)),
            sequence(integer(r) + integer(s, padding=1)),
            sequence(body + b"\x05\x00"),
            sequence(body, long_form),
            sequence(body, b"\x30\x80") + b"\0\0",
            sequence(body) + b"\0",
            sequence(integer(r)),
            b"\x31" + sequence(body)[1:],
            r.to_bytes(66, "big") + s.to_bytes(66, "big"),
            encode_dss_signature(0, s),
            encode_dss_signature(r, 0),
            encode_dss_signature(0, 0),
            encode_dss_signature(r + order, s),
            encode_dss_signature(r, s + order),
            encode_dss_signature(order, order),
        ):
            with pytest.raises(SignatureInvalid):
                scheme.verify(public, b"message", bad)

    def test_signature_with_the_other_root_verifies(
        self, scheme: SignatureScheme, curve: ec.EllipticCurve
    ) -> None:
        """ECDSA as RFC 9420 takes it from TLS 1.3: anyone can turn a signature into one other form."""
        private, public = new_key(scheme)
        r, s = decode_dss_signature(scheme.sign(private, b"message"))
        scheme.verify(public, b"message", encode_dss_signature(r, curve.group_order - s))
