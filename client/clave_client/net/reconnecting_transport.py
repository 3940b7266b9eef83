"""One connection to a relay, kept up: connects, logs in, comes back by itself. Knows no rooms.

`session.Session` is what it is kept up for. Everything runs on one event loop; what happened comes out of
`events`.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from clave_client import events
from clave_client.errors import (
    ClientError,
    ProfileError,
    RelayChanged,
    RelayRefused,
    RelayUnreachable,
)
from clave_client.events import Event
from clave_client.net.backoff import Backoff
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.transport import RelayAddress, RelayTransport
from clave_client.rooms.suites import OFFERED
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.sync.event_queue import EventQueue
from clave_crypto.mls import CipherSuite, MLSError
from clave_wire.login import fingerprint_text
from clave_wire.messages import Code, NextCertificate, PublishKeyPackages, ToClient
from clave_wire.text import sanitize

__all__ = ["ReconnectingTransport"]

_FINAL = {
    Code.BAD_LOGIN,
    Code.BANNED,
    Code.BAD_NAME,
    Code.NAME_TAKEN,
    Code.NAME_CONFUSABLE,
    Code.CLOSED,
    Code.TOKEN,
    Code.REPLACED,
}
"""Refusals that trying again does not change."""


class ReconnectingTransport(ABC):
    """A profile's connection to its relay. Start it with `connect`, end it with `close`.

    What is to be done with it is up to the class that extends it, by the methods under "to be extended".
    """

    def __init__(
        self,
        store: Store,
        account: Account,
        address: RelayAddress,
        *,
        trust: CertificateTrust,
        token: str = "",
        software: str = "clave",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self.address = address
        self._trust = trust
        self._token = token
        self._software = software
        self._link: RelayTransport | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._failure: ClientError | None = None
        self.clock = clock
        self.account = account
        self.incarnation = b""
        self.events = EventQueue()

    # --- to be extended ---

    @abstractmethod
    def _connected_(self) -> None:
        """Begin what a fresh connection is for."""

    @abstractmethod
    def _disconnected_(self) -> None:
        """Forget what only holds while connected."""

    @abstractmethod
    def _take(self, messages: list[ToClient]) -> None:
        """Take what the relay says that is not an answer, in order.

        A `ProfileError` ends it all; any other `ClientError` ends the connection, which is then made anew.
        """

    def _awaited(self) -> Iterator[asyncio.Future[Any]]:
        """Yield what somebody waits for, to be failed when the session is."""
        yield from (future for _, future in self._waiting)

    # --- up and down ---

    async def connect(self) -> events.Connected:
        """Connect, log in and bring the rooms up to date; from then on reconnect by itself.

        Raises `RelayError` when this first connection fails.
        """
        connected = await self._connect_once()
        self._keeper = asyncio.create_task(self._keep_connected())
        return connected

    async def close(self) -> None:
        """Say goodbye and stop. What was not acknowledged stays in the outbox."""
        tasks = [*self._tasks, *([self._keeper] if self._keeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._link is not None:
            await self._link.close()

    async def _connect_once(self) -> events.Connected:
        # Messages can follow the login's answer at once, so the link is known before it, and the pin asked.
        first_use = self._trust.pin is None
        link = self._link = await RelayTransport.connect(self.address, self._trust, self._on_messages)
        try:
            logged_in = await link.login(
                self.account.identity, self.account.device, self._software, self._token
            )
        except BaseException:
            link.abort()
            raise
        with self._store.transaction():
            self._store.put("relay", str(self.address).encode())
            self._set_trust(link.trust)
        self.incarnation = logged_in.incarnation
        try:
            self._connected_()
        except ClientError as error:
            link.abort(error)
            raise
        held = dict(logged_in.key_packages)
        self.spawn(lambda: self._publish_key_packages(held, logged_in.published))
        fingerprint = fingerprint_text(link.certificate)
        connected = events.Connected(
            str(self.address), fingerprint, logged_in.registered, first_use, bool(link.trust.host)
        )
        self.emit(connected)
        return connected

    async def _publish_key_packages(self, held_by_relay: dict[int, int], published: int) -> None:
        """Top up what the relay holds; replace all of it if it or this profile was restored from a backup."""
        replace = published != self.account.publications
        for suite in OFFERED:
            now = self.clock()
            held = 0 if replace else held_by_relay.get(suite.id, 0)
            fresh = self.account.key_packages(suite, held, now, replace=replace)
            if fresh is not None:
                await self._publish(suite, *fresh, replace=replace)
                published += 1
                self.account.published(suite, fresh[1], now)
        if published != self.account.publications:
            self.account.note_publications(published)

    async def _publish(
        self, suite: CipherSuite, packages: list[bytes], last_resort: bytes, *, replace: bool
    ) -> None:
        await self.link.request(
            lambda request: PublishKeyPackages(request, suite.id, packages, last_resort, replace)
        )

    async def _keep_connected(self) -> None:
        patience = Backoff()
        loop = asyncio.get_running_loop()
        while self._link is not None:
            came_up = loop.time()
            reason = await asyncio.shield(self._link.closed)
            pause = patience.lost(reason, lasted=loop.time() - came_up, spread=self._link.spread)
            self._disconnected_()
            if self._failure is not None:
                return
            while not self._link.is_up:
                if isinstance(reason, RelayChanged) or (
                    isinstance(reason, RelayRefused) and reason.code in _FINAL
                ):
                    self._fail(reason)
                    return
                self.emit(events.Disconnected(str(reason), round(pause, 1)))
                await asyncio.sleep(pause)
                try:
                    await self._connect_once()
                except ProfileError as error:
                    self._fail(error)
                    return
                except ClientError as error:
                    reason, pause = error, patience.failed(error)

    def _fail(self, error: ClientError) -> None:
        """Stop for good: everything that waits, and everything asked from now on, gets `error`."""
        self._failure = error
        for future in self._awaited():
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
        self.events.put(error)

    def _on_messages(self, messages: list[ToClient]) -> None:
        self._guard(lambda: self._take([each for each in messages if not self._is_trust(each)]))
        self._recheck_waiters()

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do `work` in a while; what fails there ends what it would if the relay had asked for it."""
        asyncio.get_running_loop().call_later(seconds, self._guard, work)

    def _guard(self, work: Callable[[], None]) -> None:
        """Do `work`. A `ProfileError` ends the session, any other `ClientError` only the connection."""
        try:
            work()
        except ClientError as error:
            if isinstance(error, ProfileError):  # which another connection does not mend
                self._fail(error)
            if self._link is not None:
                self._link.abort(error)

    def _is_trust(self, message: ToClient) -> bool:
        """Keep which certificate the relay announced, before it is gone again; the link has checked that."""
        if isinstance(message, NextCertificate) and self._link is not None:
            self._set_trust(self._link.trust)
        return isinstance(message, NextCertificate)

    def _set_trust(self, trust: CertificateTrust) -> None:
        """Keep what to believe of the relay's certificates, and tell of one that replaced another."""
        former, self._trust = self._trust, trust
        with self._store.transaction():
            trust.save(self._store)
        if trust.pin is not None and former.pin not in (None, trust.pin):
            why = (
                "that it had announced" if trust.pin == former.following else "that an authority vouches for"
            )
            text = f"the relay has another certificate, one {why}: {fingerprint_text(trust.pin)}"
            self.emit(events.Notice(b"", text))

    # --- in use ---

    @property
    def link(self) -> RelayTransport:
        """The connection that is up; raises `RelayUnreachable` while there is none."""
        self.check()
        if self._link is None or not self._link.is_up:
            raise RelayUnreachable("not connected to the relay; trying again")
        return self._link

    def check(self) -> None:
        """Raise what ended the session for good, if anything did."""
        if self._failure is not None:
            raise self._failure

    @property
    def has_met_relay(self) -> bool:
        """Whether any connection was made, so that the relay may know this account."""
        return self._link is not None

    @property
    def is_online(self) -> bool:
        """Whether there is a connection now."""
        return self._link is not None and self._link.is_up

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds, looking again after everything that happens."""
        self.check()
        if condition():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, future))
        await future

    def emit(self, event: Event) -> None:
        """Put an event out."""
        self.events.put(event)

    def spawn(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run `work` beside; what fails there is told, not lost."""

        async def run() -> None:
            try:
                await work()
            except ClientError as error:
                if not isinstance(error, RelayUnreachable):
                    self.emit(events.Notice(b"", str(error)))
            except MLSError as error:
                self.emit(events.Notice(b"", sanitize(str(error))))

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _recheck_waiters(self) -> None:
        for condition, future in self._waiting:
            if not future.done() and condition():
                future.set_result(None)
        self._waiting = [(condition, future) for condition, future in self._waiting if not future.done()]
