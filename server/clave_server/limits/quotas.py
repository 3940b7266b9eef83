"""Quotas of accounts: rooms created, bytes stored. Tracks accounts that are online; knows no disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from clave_server.errors import Refusal
from clave_wire.messages import Code

__all__ = ["NO_QUOTA", "Quota", "QuotaTracker", "Usage"]

_SAVE_BYTES: Final = 1024 * 1024
"""Bytes counted in memory before they are saved; killing the relay loses at most these of an account."""


@dataclass(frozen=True)
class Quota:
    """Limits of one account: rooms created, bytes of entries, welcomes and offers; 0 for no limit."""

    rooms: int = 0
    stored_bytes: int = 0


NO_QUOTA: Final = Quota()


class Usage:
    """What one account has: `rooms` and `stored` (bytes), as read at login plus what came since.

    `staged_rooms` and `staged` (bytes) are what the write batch under way adds.
    """

    __slots__ = ("account", "rooms", "sessions", "staged", "staged_rooms", "stored", "unsaved")

    def __init__(self, account: bytes, rooms: int, stored: int) -> None:
        self.account = account
        self.rooms = rooms
        self.stored = stored
        self.unsaved = 0
        self.sessions = 0
        self.staged = 0
        self.staged_rooms = 0

    def add(self, size: int) -> bool:
        """Count `size` bytes as stored; return whether it is time to save the count."""
        self.stored += size
        self.unsaved += size
        return self.unsaved >= _SAVE_BYTES

    def end_batch(self, *, written: bool) -> None:
        """Clear what was staged; if it was `written`, keep its rooms (bytes are counted by `add`)."""
        if written:
            self.rooms += self.staged_rooms
        self.staged = self.staged_rooms = 0

    def take_unsaved(self) -> int:
        """Return the bytes to add to the count on disk, and count them as saved."""
        unsaved, self.unsaved = self.unsaved, 0
        return unsaved


class QuotaTracker:
    """The usage of every account that is online, checked against one quota."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._by_account: dict[bytes, Usage] = {}

    def add_session(self, account: bytes, rooms: int, stored: int) -> Usage:
        """Return an account's usage for one more session; `rooms` and `stored` are the numbers on disk."""
        usage = self._by_account.get(account)
        if usage is None:
            usage = self._by_account[account] = Usage(account, rooms, stored)
        usage.sessions += 1
        return usage

    def remove_session(self, usage: Usage) -> None:
        """End a session; with the last one the account's usage is dropped."""
        usage.sessions -= 1
        if not usage.sessions:
            del self._by_account[usage.account]

    def check_room(self, usage: Usage) -> None:
        """Raise `Refusal` if the account may create no more rooms."""
        if 0 < self._quota.rooms <= usage.rooms + usage.staged_rooms:
            raise Refusal(Code.LIMIT, f"one account makes at most {self._quota.rooms} rooms here")

    def is_full(self, usage: Usage) -> bool:
        """Return whether the account may store no more."""
        return 0 < self._quota.stored_bytes <= usage.stored + usage.staged

    def check_entry(self, usage: Usage) -> None:
        """Raise `Refusal` if the account is full.

        Asked for application messages and adds over quota; other handshakes pass.
        """
        if self.is_full(usage):
            mib = self._quota.stored_bytes / 2**20
            raise Refusal(Code.LIMIT, f"this relay keeps at most {mib:g} MiB of one account, and has as much")

    def release(self, released: Mapping[bytes, int]) -> None:
        """Subtract bytes by account that were deleted from disk."""
        for account, size in released.items():
            if usage := self._by_account.get(account):
                usage.stored = max(0, usage.stored - size)
