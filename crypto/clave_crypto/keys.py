"""Secret bytes, and checks of peers' public keys before use. Knows curves, not who owns a key."""

from __future__ import annotations

from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec

from clave_crypto.errors import KeyRejected

__all__ = [
    "Secret",
    "check_ed448_encoding",
    "check_ed448_public",
    "check_ed25519_encoding",
    "check_ed25519_public",
    "check_x448_public",
    "check_x25519_public",
    "load_ec_private",
    "load_ec_public",
]

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P

_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
"""The y coordinate of four of the points of order 8 on Ed25519; the other four have its negative."""

_ED25519_SMALL_ORDER = {0, 1, _P - 1, _ORDER_8, _P - _ORDER_8}
"""The y coordinates of the eight points whose order divides 8."""

_X25519_SMALL_ORDER = {0, _P - 1} | {
    (1 + y) * pow(1 - y, -1, _P) % _P for y in _ED25519_SMALL_ORDER if y != 1
}
"""The u coordinates of the points of small order on Curve25519 (RFC 7748, section 4.1) and on its twist."""

_P448 = 2**448 - 2**224 - 1
_D448 = -39081

_ED448_SMALL_ORDER = {0, 1, _P448 - 1}
"""The y coordinates of the four points whose order divides 4."""

_X448_SMALL_ORDER = {0, 1, _P448 - 1}
"""The u coordinates of the points of small order on Curve448 (RFC 7748, section 4.2) and on its twist."""


class Secret(bytes):
    """Bytes that show only their length when printed, formatted or seen in a traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Secret, {len(self)} bytes>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)


def check_ed25519_encoding(key: bytes) -> None:
    """Refuse an Ed25519 public key that is not canonical or is of small order; it may be off the curve.

    Enough for a key that only verifies: no signature verifies under a point that is not on the curve.

    Raises:
        KeyRejected: wrong length, y >= p, or small order.

    """
    if len(key) != 32:
        raise KeyRejected(f"an Ed25519 public key has 32 bytes, not {len(key)}")
    y = int.from_bytes(key, "little") & (1 << 255) - 1
    if y >= _P:
        raise KeyRejected("the Ed25519 public key is not canonical")
    if y in _ED25519_SMALL_ORDER:
        raise KeyRejected("the Ed25519 public key is of small order")


@lru_cache(maxsize=4096)
def check_ed25519_public(key: bytes) -> None:
    """Refuse an Ed25519 public key that is not the canonical encoding of a curve point of large order.

    `cryptography` loads small-order keys, and under one of them a fixed signature verifies for every message.

    Raises:
        KeyRejected: wrong length, y >= p, not on the curve (RFC 8032, section 5.1.3), or small order.

    """
    check_ed25519_encoding(key)
    y = int.from_bytes(key, "little") & (1 << 255) - 1
    # x^2 = u / v has a solution exactly when u * v is a square.
    u, v = y * y - 1, _D * y * y + 1
    if pow(u * v, (_P - 1) // 2, _P) != 1:
        raise KeyRejected("the Ed25519 public key is not on the curve")


def check_ed448_encoding(key: bytes) -> None:
    """Refuse an Ed448 public key that is not canonical or is of small order; it may be off the curve.

    Enough for a key that only verifies: no signature verifies under a point that is not on the curve.

    Raises:
        KeyRejected: wrong length, y >= p, or small order.

    """
    if len(key) != 57:
        raise KeyRejected(f"an Ed448 public key has 57 bytes, not {len(key)}")
    y = int.from_bytes(key, "little") & (1 << 455) - 1
    if y >= _P448:
        raise KeyRejected("the Ed448 public key is not canonical")
    if y in _ED448_SMALL_ORDER:
        raise KeyRejected("the Ed448 public key is of small order")


@lru_cache(maxsize=4096)
def check_ed448_public(key: bytes) -> None:
    """Refuse an Ed448 public key that is not the canonical encoding of a curve point of large order.

    Raises:
        KeyRejected: wrong length, y >= p, not on the curve (RFC 8032, section 5.2.3), or small order.

    """
    check_ed448_encoding(key)
    y = int.from_bytes(key, "little") & (1 << 455) - 1
    u, v = y * y - 1, _D448 * y * y - 1
    if pow(u * v, (_P448 - 1) // 2, _P448) != 1:
        raise KeyRejected("the Ed448 public key is not on the curve")


def check_x25519_public(key: bytes) -> None:
    """Refuse an X25519 public key that is not canonical or is of small order on the curve or its twist.

    Raises:
        KeyRejected: wrong length, u >= p (the unused top bit included), or small order.

    """
    if len(key) != 32:
        raise KeyRejected(f"an X25519 public key has 32 bytes, not {len(key)}")
    u = int.from_bytes(key, "little")
    if u >= _P:
        raise KeyRejected("the X25519 public key is not canonical")
    if u in _X25519_SMALL_ORDER:
        raise KeyRejected("the X25519 public key is of small order")


def check_x448_public(key: bytes) -> None:
    """Refuse an X448 public key that is not canonical or is of small order on the curve or its twist.

    Raises:
        KeyRejected: wrong length, u >= p, or small order.

    """
    if len(key) != 56:
        raise KeyRejected(f"an X448 public key has 56 bytes, not {len(key)}")
    u = int.from_bytes(key, "little")
    if u >= _P448:
        raise KeyRejected("the X448 public key is not canonical")
    if u in _X448_SMALL_ORDER:
        raise KeyRejected("the X448 public key is of small order")


@lru_cache(maxsize=4096)
def load_ec_public(curve: ec.EllipticCurve, key: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key object of an uncompressed point (SEC 1, section 2.3.4) of a NIST curve, of prime order.

    Raises:
        KeyRejected: compressed, the point at infinity, wrong length, coordinates >= p, or not on the curve.

    """
    size = 1 + 2 * _coordinate_size(curve)
    if len(key) != size or key[0] != 4:
        raise KeyRejected(f"a {curve.name} public key is an uncompressed point of {size} bytes")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, key)
    except ValueError:
        raise KeyRejected(f"the {curve.name} public key is not on the curve") from None


def load_ec_private(curve: ec.EllipticCurve, key: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the key object of a big-endian scalar; leading zero bytes may be missing, as in some libraries.

    Raises:
        ValueError: too long, or not between 1 and the curve's order minus 1.

    """
    if len(key) > _coordinate_size(curve):
        raise ValueError(f"a {curve.name} private key has {_coordinate_size(curve)} bytes, not {len(key)}")
    scalar = int.from_bytes(key, "big")
    if not 0 < scalar < curve.group_order:
        raise ValueError(f"a {curve.name} private key is between 1 and the order minus 1")
    return ec.derive_private_key(scalar, curve)


def _coordinate_size(curve: ec.EllipticCurve) -> int:
    return (curve.key_size + 7) // 8
