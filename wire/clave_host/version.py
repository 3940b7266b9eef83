"""The version of the distribution, which client and relay tell each other; the build reads it here."""

from __future__ import annotations

from typing import Final

__all__ = ["VERSION"]

VERSION: Final = "0.1.0"
