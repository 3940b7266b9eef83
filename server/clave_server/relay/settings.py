"""The settings that a relay is started with. Knows no command line; `cli.options` makes them."""

from __future__ import annotations

from dataclasses import dataclass

from clave_server.accounts.registration import RegistrationPolicy
from clave_server.limits.connection_limits import ConnectionCaps
from clave_server.limits.quotas import NO_QUOTA, Quota
from clave_server.net.send_queue import MAX_SEND_QUEUE_BYTES
from clave_server.net.tls import TlsFiles
from clave_server.rooms.retention import KEEP_ALL, RetentionPolicy

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """A relay's settings. Sizes in bytes, times in seconds.

    `account_rate` is requests of one account per second; 0 for no limit. `changes_per_second` and
    `change_burst` limit the changes (handshakes and `Mend`s) of one account in one room. With `new_identity`
    the relay may make a certificate that clients it has already do not know.
    """

    host: str | None
    port: int
    registration: RegistrationPolicy
    connections: ConnectionCaps
    plain: tuple[str, int] | None = None
    proxies: frozenset[str] = frozenset()
    tls: TlsFiles | None = None
    account_rate: int = 0
    quota: Quota = NO_QUOTA
    retention: RetentionPolicy = KEEP_ALL
    changes_per_second: float = 0.5
    change_burst: int = 64
    login_seconds: float = 10.0
    new_identity: bool = False
    send_queue_bytes: int = MAX_SEND_QUEUE_BYTES
