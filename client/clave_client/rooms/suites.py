"""The cipher suites of rooms: the one of new rooms, those this client offers, and their names for the user.

Knows no room. A room keeps its suite for life; there is no negotiation, so no downgrade.
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
"""The suites of rooms that this client can be added to: it publishes key packages of each."""

_POST_QUANTUM = {MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519.id}


def is_post_quantum(suite: CipherSuite) -> bool:
    """Return whether traffic recorded today withstands a future quantum computer."""
    return suite.id in _POST_QUANTUM


def suite_words(number: int) -> str:
    """Return the name of a cipher suite by its number, also of one that this program lacks."""
    try:
        return find_suite(number).words
    except UnsupportedError:
        return f"cipher suite {number:#06x}"
