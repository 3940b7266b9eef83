"""The encryption of rooms: the cipher suite of new ones, those this client offers, and words for people.

Knows no room. A room keeps its suite for life, and nobody is ever asked to settle for a weaker one.
"""

from __future__ import annotations

from clave_crypto.mls import (
    CipherSuite,
    MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
    MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519,
    UnsupportedError,
    find_suite,
)

__all__ = ["NEW_ROOMS", "OFFERED", "is_post_quantum", "suite_words"]

NEW_ROOMS = MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519
"""The suite of new rooms."""

OFFERED = (NEW_ROOMS, MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519)
"""The suites of rooms this client can be invited to: it publishes key packages of each."""

_POST_QUANTUM = {MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519.id}


def is_post_quantum(suite: CipherSuite) -> bool:
    """Tell whether what is recorded today stays closed to a future quantum computer."""
    return suite.id in _POST_QUANTUM


def suite_words(number: int) -> str:
    """Return the cipher suite of that number in words, also one that this program does not have."""
    try:
        return find_suite(number).words
    except UnsupportedError:
        return f"cipher suite {number:#06x}"
