"""One profile, many programs: its owner serves the library's methods as JSON-RPC, and windows call them."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_ANSWER_BYTES", "RPC_VERSION"]

RPC_VERSION: Final = 2
"""Changes with any parameter or result: a window refuses an owner of another version, in words."""

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
