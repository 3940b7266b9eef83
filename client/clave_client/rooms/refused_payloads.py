"""Remembers by digest which payloads the relay refused: one of them in the log shows an inconsistency."""

from __future__ import annotations

import hashlib

__all__ = ["RefusedPayloads"]

_MOST = 1000
"""Most payloads remembered."""


class RefusedPayloads:
    """The refused payloads of one room. A value: what changes it returns another one."""

    def __init__(self, digests: frozenset[bytes] = frozenset()) -> None:
        self.digests = digests

    def __contains__(self, payload: bytes) -> bool:
        return bool(self.digests) and hashlib.sha256(payload).digest() in self.digests

    def with_added(self, payload: bytes) -> RefusedPayloads:
        """Return these and one more, unless there are too many."""
        if len(self.digests) >= _MOST:
            return self
        return RefusedPayloads(self.digests | {hashlib.sha256(payload).digest()})

    def without(self, payload: bytes) -> RefusedPayloads:
        """Return these without one, as it was submitted again or is in the log."""
        if payload not in self:
            return self
        return RefusedPayloads(self.digests - {hashlib.sha256(payload).digest()})
