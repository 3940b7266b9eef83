"""Keeps enough of this device's key packages at the relay, none of them too old. Knows no room."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Final, Protocol

from clave_client.net.transport import Answer, RelayTransport
from clave_client.rooms.suites import OFFERED
from clave_client.store.account import POOL_FULL, POOL_LOW, Account, FreshPackages
from clave_crypto.mls import CipherSuite
from clave_wire.messages import LoggedIn, PublishKeyPackages, ToRelay

__all__ = ["CHECK_SECONDS", "KeyPackageContext", "KeyPackageUpkeep", "Request", "publish_key_packages"]

CHECK_SECONDS: Final = 24 * 3600.0
"""How often a connection that lasts asks whether key packages are to be replaced."""

Request = Callable[[Callable[[int], ToRelay]], Awaitable[Answer]]
"""`RelayTransport.request` of the connection that is up."""


async def publish_key_packages(
    request: Request,
    account: Account,
    clock: Callable[[], float],
    at_relay: Mapping[int, int],
    published: int,
) -> None:
    """Top up the key packages of each offered suite, and replace those that are too old.

    The relay has `at_relay` of each suite. Replace them all if its count of publications, `published`, shows
    that it, or this profile, was restored from a backup. Raises `RelayError`.
    """
    replace = published != account.publications
    for suite in OFFERED:
        now = clock()
        fresh = account.key_packages(suite, at_relay.get(suite.id, 0), now, replace=replace)
        if fresh is not None:
            await request(partial(_publication, suite, fresh))
            published += 1
            account.published(suite, fresh.last_resort, now)
    if published != account.publications:
        account.note_publications(published)


def _publication(suite: CipherSuite, fresh: FreshPackages, number: int) -> PublishKeyPackages:
    return PublishKeyPackages(number, suite.id, *fresh)


class KeyPackageContext(Protocol):
    """What the upkeep needs of a `RoomSync`."""

    @property
    def transport(self) -> RelayTransport:
        """The connection that is up. Raises `RelayUnreachable` while there is none."""

    @property
    def clock(self) -> Callable[[], float]:
        """The clock, in seconds since 1970."""

    @property
    def account(self) -> Account:
        """This profile's account."""

    def spawn(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run `work` as a task."""


class KeyPackageUpkeep:
    """Publishes key packages at each login, and replaces old ones once a day while the connection lasts."""

    def __init__(self, sync: KeyPackageContext) -> None:
        self._sync = sync
        self._timer: asyncio.TimerHandle | None = None
        self._is_publishing = False

    def connected(self, logged_in: LoggedIn) -> None:
        """Publish what the relay lacks."""
        self._publish(dict(logged_in.key_packages), logged_in.published)

    def disconnected(self) -> None:
        """Do nothing until the next login."""
        self._is_publishing = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def refill(self) -> None:
        """Publish more if many were used, as when another device brings this one into many rooms at once."""
        account = self._sync.account
        if not self._is_publishing and any(account.used(each) >= POOL_FULL - POOL_LOW for each in OFFERED):
            self._check()

    def _publish(self, at_relay: Mapping[int, int], published: int) -> None:
        self.disconnected()
        self._timer = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._check)
        sync = self._sync
        self._is_publishing = True
        sync.spawn(lambda: self._run(at_relay, published))

    async def _run(self, at_relay: Mapping[int, int], published: int) -> None:
        sync = self._sync
        try:
            await publish_key_packages(
                lambda make: sync.transport.request(make), sync.account, sync.clock, at_relay, published
            )
        finally:
            self._is_publishing = False

    def _check(self) -> None:
        """Replace what is too old or was used; what else was claimed, the relay tells only at a login."""
        account = self._sync.account
        self._publish({suite.id: POOL_FULL - account.used(suite) for suite in OFFERED}, account.publications)
