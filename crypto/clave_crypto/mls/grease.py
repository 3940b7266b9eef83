"""GREASE (RFC 9420, section 13.5): values without meaning, sent so that peers must ignore unknown ones.

Receivers know none of them and treat them like any other unknown value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clave_crypto.mls.extensions import Extension

__all__ = ["DEFAULT_GREASE", "GREASE", "Grease", "grease_extension", "pick_grease"]

GREASE = tuple(0x0A0A + step * 0x1010 for step in range(15))
"""The values reserved in each registry."""


@dataclass(frozen=True)
class Grease:
    """Where GREASE values are sent.

    Attributes:
        capabilities: in the lists of a leaf's capabilities.
        leaf_extensions: as an extension of a leaf, which its capabilities list.
        key_package_extensions: as an extension of a key package, which its leaf's capabilities list.
        group_info_extensions: as an extension of a GroupInfo.

    """

    capabilities: bool = True
    leaf_extensions: bool = False
    key_package_extensions: bool = False
    group_info_extensions: bool = True


DEFAULT_GREASE = Grease()
"""No extensions in leaves and key packages: OpenMLS refuses even listed ones there (openmls#2156)."""


def pick_grease(random: Callable[[int], bytes]) -> int:
    """Return one of the values."""
    return GREASE[random(1)[0] % len(GREASE)]


def grease_extension(random: Callable[[int], bytes], value: int | None = None) -> Extension:
    """Return an extension of type `value`, or of any GREASE value, with up to 7 random bytes."""
    return Extension(pick_grease(random) if value is None else value, random(random(1)[0] % 8))
