"""The parts of a relay that its client handlers share: limits, accounts, sequencer, sessions, counters.

Knows no connection.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from clave_server.accounts.registration import RegistrationPolicy
from clave_server.limits.connection_limits import ConnectionLimits
from clave_server.limits.quotas import QuotaTracker
from clave_server.limits.token_buckets import TokenBuckets
from clave_server.observe.counters import Counters
from clave_server.observe.mirror import Mirror
from clave_server.rooms.sequencer import Sequencer
from clave_server.rooms.session import Session
from clave_server.storage.db_thread import DbThread
from clave_server.storage.run_clock import RunClock
from clave_wire.messages import ToRelay

__all__ = ["RelayContext"]

_BYTES_PER_REQUEST: Final = 4096
"""This many bytes count as one more request."""


@dataclass(frozen=True)
class RelayContext:
    """The parts of a relay that client handlers use; `sessions` has the logged-in devices, by key.

    `request_rates` limits requests of one account (None: no limit). `incarnation` changes when the relay is
    restored from a backup. `freed` has the accounts whose names were freed since the relay started, `removed`
    the (account, device) that were revoked since then. `pairings` has by their keys who pairs other devices.
    `clock` knows whether the time is doubted.
    """

    registration: RegistrationPolicy
    limits: ConnectionLimits
    reader: DbThread
    sequencer: Sequencer
    sessions: dict[bytes, Session]
    mirror: Mirror
    counters: Counters
    quotas: QuotaTracker
    request_rates: TokenBuckets[bytes] | None
    incarnation: bytes
    freed: set[bytes] = field(default_factory=set)
    removed: set[tuple[bytes, bytes]] = field(default_factory=set)
    pairings: dict[bytes, Session] = field(default_factory=dict)
    clock: RunClock = field(default_factory=RunClock)

    def rate_delay(self, session: Session, messages: Sequence[ToRelay], size: int) -> float:
        """Count requests of `size` bytes together; return the seconds until they may be handled."""
        if self.request_rates is None:
            return 0.0
        amount = len(messages) + size / _BYTES_PER_REQUEST
        wait = self.request_rates.take(session.usage.account, time.monotonic(), amount)
        self.counters.rate_refusals += wait > 0
        return wait
