"""Secret bytes, and what a peer's public key must be before it is used. Knows curves, not who owns a key."""

from __future__ import annotations

from functools import lru_cache

from clave_crypto.errors import KeyRejected

__all__ = ["Secret", "check_ed25519_public", "check_x25519_public"]

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


class Secret(bytes):
    """Bytes that show only their length when printed, formatted or seen in a traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Secret, {len(self)} bytes>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)


@lru_cache(maxsize=4096)
def check_ed25519_public(key: bytes) -> None:
    """Refuse an Ed25519 public key that is not the canonical encoding of a curve point of large order.

    `cryptography` loads small-order keys, and under one of them a fixed signature verifies for every message.

    Raises:
        KeyRejected: wrong length, y >= p, not on the curve (RFC 8032, section 5.1.3), or small order.

    """
    if len(key) != 32:
        raise KeyRejected(f"an Ed25519 public key has 32 bytes, not {len(key)}")
    y = int.from_bytes(key, "little") & (1 << 255) - 1
    if y >= _P:
        raise KeyRejected("the Ed25519 public key is not canonical")
    if y in _ED25519_SMALL_ORDER:
        raise KeyRejected("the Ed25519 public key is of small order")
    # x^2 = u / v has a solution exactly when u * v is a square.
    u, v = y * y - 1, _D * y * y + 1
    if pow(u * v, (_P - 1) // 2, _P) != 1:
        raise KeyRejected("the Ed25519 public key is not on the curve")


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
