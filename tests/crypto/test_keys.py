"""Which public keys are refused, computed from the curves themselves, and that secrets are never shown."""

from __future__ import annotations

import os

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clave_crypto.errors import KeyRejected
from clave_crypto.keys import (
    Secret,
    check_ed448_encoding,
    check_ed448_public,
    check_ed25519_encoding,
    check_ed25519_public,
    check_x448_public,
    check_x25519_public,
    load_ec_private,
    load_ec_public,
)

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_ONE = pow(2, (P - 1) // 4, P)
ORDER = 2**252 + 27742317777372353535851937790883648493

Point = tuple[int, int]


def add(a: Point, b: Point) -> Point:
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def multiply(point: Point, scalar: int) -> Point:
    result = (0, 1)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def solve_x(y: int) -> int | None:
    """Return an x with (x, y) on edwards25519, or None."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * SQRT_MINUS_ONE % P
    return x if x * x % P == square else None


def small_order_points() -> set[Point]:
    """Return the eight points of order 1, 2, 4 and 8: large-prime multiples of points on the curve."""
    points: set[Point] = set()
    y = 2
    while len(points) < 8:
        x = solve_x(y)
        if x is not None:
            torsion = multiply((x, y), ORDER)
            points |= {multiply(torsion, k) for k in range(8)}
        y += 1
    return points


def encodings(y: int, sign: int) -> list[bytes]:
    """Return every 32-byte string that decodes to this y, canonical or not, with this sign bit."""
    values = [value for value in (y, y + P) if value < 2**255]
    return [(value | sign << 255).to_bytes(32, "little") for value in values]


SMALL_ORDER = small_order_points()


def test_there_are_eight_small_order_points() -> None:
    assert len(SMALL_ORDER) == 8
    assert all(multiply(point, 8) == (0, 1) for point in SMALL_ORDER)


@pytest.mark.parametrize("point", sorted(SMALL_ORDER))
def test_every_encoding_of_a_small_order_point_is_refused(point: Point) -> None:
    for sign in (0, 1):
        for encoding in encodings(point[1], sign):
            with pytest.raises(KeyRejected):
                check_ed25519_public(encoding)
            with pytest.raises(KeyRejected):
                check_ed25519_encoding(encoding)


def test_small_order_key_that_verifies_everything_is_refused() -> None:
    key = bytes([1]) + bytes(31)
    Ed25519PublicKey.from_public_bytes(key).verify(bytes([1]) + bytes(63), b"any message at all")
    with pytest.raises(KeyRejected, match="small order"):
        check_ed25519_public(key)


@pytest.mark.parametrize("y", range(19))
@pytest.mark.parametrize("sign", [0, 1])
def test_ed25519_y_above_the_prime_is_refused(y: int, sign: int) -> None:
    with pytest.raises(KeyRejected):
        check_ed25519_public((y + P | sign << 255).to_bytes(32, "little"))


def test_ed25519_keys_off_the_curve_are_refused_and_on_it_accepted() -> None:
    for y in range(2, 200):
        key = y.to_bytes(32, "little")
        if solve_x(y) is None:
            with pytest.raises(KeyRejected, match="curve"):
                check_ed25519_public(key)
        else:
            check_ed25519_public(key)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_wrong_lengths_are_refused(length: int) -> None:
    for check in (check_ed25519_public, check_x25519_public):
        with pytest.raises(KeyRejected, match="32 bytes"):
            check(bytes(length))


def test_real_keys_are_accepted() -> None:
    for _ in range(50):
        check_ed25519_public(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
        check_x25519_public(X25519PrivateKey.generate().public_key().public_bytes_raw())


def x25519_small_order() -> set[int]:
    """Return u of every point of small order on the curve (through the Edwards map) and on the twist."""
    on_curve = {(1 + y) * pow(1 - y, -1, P) % P for _, y in SMALL_ORDER if y != 1}
    return on_curve | {0, P - 1}


def test_x25519_small_order_is_refused() -> None:
    values = x25519_small_order()
    assert len(values) == 5
    for value in values:
        for encoding in [*encodings(value, 0), *encodings(value, 1)]:
            with pytest.raises(KeyRejected):
                check_x25519_public(encoding)


def test_x25519_small_order_key_gives_a_known_secret() -> None:
    """Why they are refused: the shared secret is zero whatever the private key, or loading fails."""
    for value in x25519_small_order():
        public = X25519PublicKey.from_public_bytes(value.to_bytes(32, "little"))
        with pytest.raises(ValueError, match="shared key"):
            X25519PrivateKey.generate().exchange(public)


@pytest.mark.parametrize("value", [P, P + 9, 2**255 - 1, 2**255 + 9, 2**256 - 1])
def test_x25519_not_canonical_is_refused(value: int) -> None:
    with pytest.raises(KeyRejected, match="canonical"):
        check_x25519_public(value.to_bytes(32, "little"))


def test_no_signature_verifies_under_a_key_off_the_curve() -> None:
    """Why a verifier need not check this: `cryptography` finds no point to verify with."""
    identity = {32: bytes([1]) + bytes(63), 57: bytes([1]) + bytes(113)}
    for y in range(2, 60):
        key = y.to_bytes(32, "little")
        if solve_x(y) is None:
            check_ed25519_encoding(key)
            with pytest.raises(InvalidSignature):
                Ed25519PublicKey.from_public_bytes(key).verify(identity[32], b"any message")
        key = y.to_bytes(57, "little")
        if not is_on_ed448(y):
            check_ed448_encoding(key)
            with pytest.raises(InvalidSignature):
                Ed448PublicKey.from_public_bytes(key).verify(identity[57], b"any message")


P448 = 2**448 - 2**224 - 1
D448 = -39081
ORDER448 = 2**446 - 13818066809895115352007386748515426880336692474882178609894547503885


def add448(a: Point, b: Point) -> Point:
    (x1, y1), (x2, y2) = a, b
    product = D448 * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P448) % P448
    return x, (y1 * y2 - x1 * x2) * pow(1 - product, -1, P448) % P448


def multiply448(point: Point, scalar: int) -> Point:
    result = (0, 1)
    while scalar:
        if scalar & 1:
            result = add448(result, point)
        point, scalar = add448(point, point), scalar >> 1
    return result


def solve_x448(y: int) -> int | None:
    """Return an x with (x, y) on edwards448, or None."""
    square = (1 - y * y) * pow(1 - D448 * y * y, -1, P448) % P448
    x = pow(square, (P448 + 1) // 4, P448)
    return x if x * x % P448 == square else None


def is_on_ed448(y: int) -> bool:
    return solve_x448(y) is not None


def test_ed448_small_order_is_refused() -> None:
    points: set[Point] = set()
    y = 2
    while len(points) < 4:
        x = solve_x448(y)
        if x is not None:
            torsion = multiply448((x, y), ORDER448)
            points |= {multiply448(torsion, k) for k in range(4)}
        y += 1
    assert len({y for _, y in points}) == 3
    for _, y in points:
        for sign in (0, 128):
            for value in [one for one in (y, y + P448) if one < 2**448]:
                for check in (check_ed448_encoding, check_ed448_public):
                    with pytest.raises(KeyRejected):
                        check(value.to_bytes(56, "little") + bytes([sign]))


@pytest.mark.parametrize("y", [P448, P448 + 2, 2**448 - 1, 2**448, 2**454])
@pytest.mark.parametrize("sign", [0, 1])
def test_ed448_not_canonical_is_refused(y: int, sign: int) -> None:
    key = (y | sign << 455).to_bytes(57, "little")
    for check in (check_ed448_encoding, check_ed448_public):
        with pytest.raises(KeyRejected, match="canonical"):
            check(key)


def test_ed448_keys_off_the_curve_are_refused_and_on_it_accepted() -> None:
    for y in range(2, 100):
        key = y.to_bytes(57, "little")
        if is_on_ed448(y):
            check_ed448_public(key)
        else:
            with pytest.raises(KeyRejected, match="curve"):
                check_ed448_public(key)


@pytest.mark.parametrize("value", [0, 1, P448 - 1])
def test_x448_small_order_is_refused(value: int) -> None:
    key = value.to_bytes(56, "little")
    with pytest.raises(ValueError, match="shared key"):
        X448PrivateKey.generate().exchange(X448PublicKey.from_public_bytes(key))
    with pytest.raises(KeyRejected, match="small order"):
        check_x448_public(key)


@pytest.mark.parametrize("value", [P448, P448 + 1, P448 + 5, 2**448 - 1])
def test_x448_not_canonical_is_refused(value: int) -> None:
    with pytest.raises(KeyRejected, match="canonical"):
        check_x448_public(value.to_bytes(56, "little"))


@pytest.mark.parametrize("length", [0, 32, 55, 56, 57, 58])
def test_wrong_lengths_on_the_448_curves_are_refused(length: int) -> None:
    for check, right in ((check_x448_public, 56), (check_ed448_public, 57), (check_ed448_encoding, 57)):
        if length != right:
            with pytest.raises(KeyRejected, match=f"{right} bytes"):
                check(bytes(length))


def test_real_keys_on_the_448_curves_are_accepted() -> None:
    for _ in range(20):
        check_ed448_public(Ed448PrivateKey.generate().public_key().public_bytes_raw())
        check_x448_public(X448PrivateKey.generate().public_key().public_bytes_raw())


CURVES: list[ec.EllipticCurve] = [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]


def point(curve: ec.EllipticCurve, form: PublicFormat = PublicFormat.UncompressedPoint) -> bytes:
    return ec.derive_private_key(7, curve).public_key().public_bytes(Encoding.X962, form)


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
class TestNistCurves:
    def test_uncompressed_point_is_accepted(self, curve: ec.EllipticCurve) -> None:
        loaded = load_ec_public(curve, point(curve))
        assert loaded.public_numbers() == ec.derive_private_key(7, curve).public_key().public_numbers()

    def test_point_in_another_form_is_refused(self, curve: ec.EllipticCurve) -> None:
        good = point(curve)
        hybrid = bytes([6 + (good[-1] & 1)]) + good[1:]
        compressed = point(curve, PublicFormat.CompressedPoint)
        ec.EllipticCurvePublicKey.from_encoded_point(curve, compressed)  # which `cryptography` would take
        padded = compressed + bytes(len(good) - len(compressed))
        for bad in (b"", b"\0", compressed, padded, hybrid, bytes(len(good)), good[:-1], good + b"\0"):
            with pytest.raises(KeyRejected, match="uncompressed"):
                load_ec_public(curve, bad)

    def test_bytes_that_are_not_a_point_are_refused(self, curve: ec.EllipticCurve) -> None:
        good = point(curve)
        size = len(good) // 2
        for bad in (
            good[:-1] + bytes([good[-1] ^ 1]),
            b"\4" + bytes(2 * size),
            b"\4" + b"\xff" * (2 * size),
            good[: 1 + size] + b"\xff" * size,
        ):
            with pytest.raises(KeyRejected, match="not on the curve"):
                load_ec_public(curve, bad)

    def test_another_curves_point_is_refused(self, curve: ec.EllipticCurve) -> None:
        for other in CURVES:
            if other is not curve:
                with pytest.raises(KeyRejected):
                    load_ec_public(curve, point(other))

    def test_private_keys_are_below_the_order(self, curve: ec.EllipticCurve) -> None:
        size = (curve.key_size + 7) // 8
        order = curve.group_order
        for good in (1, 7, order - 1):
            loaded = load_ec_private(curve, good.to_bytes(size, "big"))
            assert loaded.private_numbers().private_value == good
        assert load_ec_private(curve, b"\7").private_numbers().private_value == 7
        for bad in (bytes(size), b"", order.to_bytes(size, "big"), (order + 1).to_bytes(size, "big")):
            with pytest.raises(ValueError, match="order"):
                load_ec_private(curve, bad)
        with pytest.raises(ValueError, match=f"{size} bytes"):
            load_ec_private(curve, (7).to_bytes(size + 1, "big"))


def test_secret_shows_only_its_length() -> None:
    hidden = os.urandom(16)
    secret = Secret(hidden)
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", f"{secret:>40}", f"{[secret]}"):
        assert "<Secret, 16 bytes>" in shown
    assert secret == hidden
    assert bytes(secret) == hidden
