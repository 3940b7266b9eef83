"""Every client here has a wire over which a relay can lie to it."""

from __future__ import annotations

from adversary.kit import wires

__all__ = ["wires"]
