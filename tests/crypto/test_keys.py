"""Which public keys are refused, worked out from the curves themselves, and that secrets do not show."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from clave_crypto.errors import KeyRejected
from clave_crypto.keys import Secret, check_ed25519_public, check_x25519_public

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


def test_the_key_under_which_everything_verifies_is_refused() -> None:
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


def test_x25519_small_order_gives_a_secret_that_is_known() -> None:
    """Why they are refused: the shared secret is zero whatever the private key, or loading fails."""
    for value in x25519_small_order():
        public = X25519PublicKey.from_public_bytes(value.to_bytes(32, "little"))
        with pytest.raises(ValueError, match="shared key"):
            X25519PrivateKey.generate().exchange(public)


@pytest.mark.parametrize("value", [P, P + 9, 2**255 - 1, 2**255 + 9, 2**256 - 1])
def test_x25519_not_canonical_is_refused(value: int) -> None:
    with pytest.raises(KeyRejected, match="canonical"):
        check_x25519_public(value.to_bytes(32, "little"))


def test_secret_shows_only_its_length() -> None:
    hidden = os.urandom(16)
    secret = Secret(hidden)
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", f"{secret:>40}", f"{[secret]}"):
        assert "<Secret, 16 bytes>" in shown
    assert secret == hidden
    assert bytes(secret) == hidden
