"""What each account that is online has put on the relay's disk, and how much it may. Knows no disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from clave_server.errors import Refusal
from clave_wire.messages import Code

__all__ = ["NO_QUOTA", "Quota", "QuotaTracker", "Usage"]

_SAVE_BYTES: Final = 1024 * 1024
"""Bytes that are counted in memory only: as many are forgotten if the relay is killed."""


@dataclass(frozen=True)
class Quota:
    """What one account may have: rooms it made, bytes kept of entries and welcomes; 0 is no limit."""

    rooms: int = 0
    stored_bytes: int = 0


NO_QUOTA: Final = Quota()


class Usage:
    """What one account has. `rooms` and `stored` (bytes) are as last read, plus what came since.

    What the flush under way adds is in `staged_rooms` and `staged` (bytes).
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
        """Count so many bytes more; return whether it is time to save them."""
        self.stored += size
        self.unsaved += size
        return self.unsaved >= _SAVE_BYTES

    def land(self, *, kept: bool) -> None:
        """Take note that the flush under way landed; what it added is `kept` (bytes by `add`) or not."""
        if kept:
            self.rooms += self.staged_rooms
        self.staged = self.staged_rooms = 0

    def take_unsaved(self) -> int:
        """Return the bytes that are to be added to those on disk."""
        unsaved, self.unsaved = self.unsaved, 0
        return unsaved


class QuotaTracker:
    """The accounts that are online."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._by_account: dict[bytes, Usage] = {}

    def enter(self, account: bytes, rooms: int, stored: int) -> Usage:
        """Return the usage of an account of which one more session begins; the numbers are those on disk."""
        usage = self._by_account.get(account)
        if usage is None:
            usage = self._by_account[account] = Usage(account, rooms, stored)
        usage.sessions += 1
        return usage

    def leave(self, usage: Usage) -> None:
        """Forget an account with its last session."""
        usage.sessions -= 1
        if not usage.sessions:
            del self._by_account[usage.account]

    def judge_room(self, usage: Usage) -> None:
        """Raise `Refusal` if the account may make no more rooms."""
        if 0 < self._quota.rooms <= usage.rooms + usage.staged_rooms:
            raise Refusal(Code.LIMIT, f"one account makes at most {self._quota.rooms} rooms here")

    def is_full(self, usage: Usage) -> bool:
        """Whether the account may store no more."""
        return 0 < self._quota.stored_bytes <= usage.stored + usage.staged

    def judge_entry(self, usage: Usage) -> None:
        """Raise `Refusal` if the account is full: for whatever a group goes on without."""
        if self.is_full(usage):
            mib = self._quota.stored_bytes / 2**20
            raise Refusal(Code.LIMIT, f"this relay keeps at most {mib:g} MiB of one account, and has as much")

    def release(self, released: Mapping[bytes, int]) -> None:
        """Count bytes of each account as gone from disk."""
        for account, size in released.items():
            if usage := self._by_account.get(account):
                usage.stored = max(0, usage.stored - size)
