"""GREASE (RFC 9420, section 13.5): values without meaning, sent so that peers must ignore unknown ones.

Receivers know none of them and treat them like any other unknown value.
"""

from __future__ import annotations

from collections.abc import Callable

from clave_crypto.mls.extensions import Extension

__all__ = ["GREASE", "grease_extension", "pick_grease"]

GREASE = tuple(0x0A0A + step * 0x1010 for step in range(15))
"""The values reserved in each registry."""


def pick_grease(random: Callable[[int], bytes]) -> int:
    """Return one of the values."""
    return GREASE[random(1)[0] % len(GREASE)]


def grease_extension(random: Callable[[int], bytes]) -> Extension:
    """Return an extension for a KeyPackage or GroupInfo, where unknown ones must be ignored."""
    return Extension(pick_grease(random), random(random(1)[0] % 8))
