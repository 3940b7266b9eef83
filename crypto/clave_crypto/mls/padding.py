"""How much padding hides a message's length (RFC 9420, section 15.1). Knows lengths only."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["MIN_PADDED", "Padding", "pad_to_bucket"]

Padding = Callable[[int], int]
"""Returns the padded length in bytes for an unpadded one."""

MIN_PADDED = 256
"""Bytes of the smallest bucket."""


def pad_to_bucket(length: int) -> int:
    """Return `MIN_PADDED`, or above it the next Padmé length (Nikitin et al. 2019): at most 12 % more."""
    if length <= MIN_PADDED:
        return MIN_PADDED
    exponent = length.bit_length() - 1
    low_bits = exponent - exponent.bit_length()
    mask = (1 << low_bits) - 1
    return length + mask & ~mask
