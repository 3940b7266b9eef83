"""Keeps enough of this device's key packages at the relay. Knows no room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from clave_client.net.transport import Answer
from clave_client.rooms.suites import OFFERED
from clave_client.store.account import Account
from clave_crypto.mls import CipherSuite
from clave_wire.messages import LoggedIn, PublishKeyPackages, ToRelay

__all__ = ["Request", "publish_key_packages"]

Request = Callable[[Callable[[int], ToRelay]], Awaitable[Answer]]
"""`RelayTransport.request` of the connection that is up."""


async def publish_key_packages(
    request: Request, account: Account, clock: Callable[[], float], logged_in: LoggedIn
) -> None:
    """Top up the key packages of each offered suite.

    Replace them all if the relay's count of publications shows that it, or this profile, was restored from a
    backup. Raises `RelayError`.
    """
    at_relay, published = dict(logged_in.key_packages), logged_in.published
    replace = published != account.publications
    for suite in OFFERED:
        now = clock()
        held = 0 if replace else at_relay.get(suite.id, 0)
        fresh = account.key_packages(suite, held, now, replace=replace)
        if fresh is not None:
            await _publish(request, suite, *fresh, replace=replace)
            published += 1
            account.published(suite, fresh[1], now)
    if published != account.publications:
        account.note_publications(published)


async def _publish(
    request: Request, suite: CipherSuite, packages: list[bytes], last_resort: bytes, *, replace: bool
) -> None:
    await request(lambda number: PublishKeyPackages(number, suite.id, packages, last_resort, replace))
