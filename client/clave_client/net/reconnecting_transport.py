"""A connection to the relay that is kept up: connects, logs in, reconnects with backoff.

Knows no rooms and no store: its owner, a `ConnectionHandler`, is told what happens. Everything runs on one
event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Protocol

from clave_client.errors import (
    ClientError,
    ProfileError,
    RelayChanged,
    RelayRefused,
    RelayUnreachable,
    StoreFull,
)
from clave_client.events import Connected, Disconnected, Event
from clave_client.net.address import RelayAddress
from clave_client.net.backoff import Backoff
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.transport import Connect, RelayTransport
from clave_crypto.identity import DeviceKey
from clave_wire.login import fingerprint_text
from clave_wire.messages import Code, LoggedIn, NextCertificate, ToClient

__all__ = ["ConnectionHandler", "Credentials", "ReconnectingTransport"]

_FINAL = {
    Code.BAD_LOGIN,
    Code.BANNED,
    Code.BAD_NAME,
    Code.NAME_TAKEN,
    Code.NAME_CONFUSABLE,
    Code.CLOSED,
    Code.TOKEN,
    Code.REPLACED,
    Code.DEVICE_REMOVED,
}
"""Refusals that a retry does not change."""


_FIRST_SECONDS: Final = 0.15
"""How long the first attempt to connect waits unless somebody waits for it."""


class Credentials(Protocol):
    """What a login proves: the encoded identity, and the device key that it certifies."""

    @property
    def identity(self) -> bytes:
        """The encoded identity."""

    @property
    def device(self) -> DeviceKey:
        """The device's key pair."""


class ConnectionHandler(Protocol):
    """The owner of a `ReconnectingTransport`; called on the event loop, in order.

    A `ProfileError` raised in `received` ends the transport for good; any other `ClientError` ends the
    present connection, and a new one is made.
    """

    def store_login(self, logged_in: LoggedIn, trust: CertificateTrust, former: CertificateTrust) -> None:
        """Store what a login established; messages that came with it may have been `received` already."""

    def store_trust(self, trust: CertificateTrust, former: CertificateTrust) -> None:
        """Store which certificates to accept from now on, in place of `former`."""

    def connected(self, logged_in: LoggedIn) -> None:
        """Start what a fresh connection is for. May raise `ClientError`, which ends the connection."""

    def disconnected(self) -> None:
        """Forget what only holds while connected."""

    def received(self, messages: list[ToClient]) -> None:
        """Handle messages that answer no request, in order."""

    def batch_done(self) -> None:
        """Follow up on a batch, also on one that `received` failed on."""

    def failed(self, error: ClientError) -> None:
        """Fail whatever waits: the transport has ended for good."""

    def emit(self, event: Event) -> None:
        """Report an event."""


class ReconnectingTransport:
    """The connection of one profile to its relay. Start it with `connect`, end it with `close`."""

    def __init__(
        self,
        handler: ConnectionHandler,
        credentials: Credentials,
        address: RelayAddress,
        *,
        trust: CertificateTrust,
        token: str = "",
        software: str = "clave",
        connect: Connect = RelayTransport.connect,
    ) -> None:
        self._handler = handler
        self._credentials = credentials
        self._token = token
        self._software = software
        self._make_connection = connect
        self._failure: ClientError | None = None
        self.address = address
        self.trust = trust
        self.transport: RelayTransport | None = None
        self._settled = asyncio.Event()
        self._is_awaited = asyncio.Event()
        self.is_away = False
        """Whether the last attempt to connect failed."""
        self.task: asyncio.Task[None] | None = None

    # --- connecting ---

    async def connect(self) -> Connected:
        """Connect and log in; from then on reconnect in the background.

        Raises `RelayError` when this first connection fails.
        """
        connected = await self._connect_once()
        self.task = asyncio.create_task(self._stay_connected())
        return connected

    def start(self) -> None:
        """Connect and log in in the background, and reconnect; failures are reported as events.

        It begins once somebody waits for it, or after a moment in which a window shows what is stored.
        """
        self.task = asyncio.create_task(self._start())

    async def _start(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_SECONDS):
                await self._is_awaited.wait()
        await self._stay_connected()

    def hurry(self) -> None:
        """Connect at once, as somebody waits for what only the relay has."""
        self._is_awaited.set()

    def stop(self) -> None:
        """Stop reconnecting."""
        if self.task is not None:
            self.task.cancel()

    async def probe(self) -> None:
        """Connect once more and check the relay's certificate, without a login. Raises `RelayError`."""
        transport = await self._make_connection(self.address, self.trust, lambda _: None)
        transport.abort()

    async def close(self, *, goodbye: bool = True) -> None:
        """Stop reconnecting, send goodbye if wanted, and close."""
        self.stop()
        if self.task is not None:
            await asyncio.gather(self.task, return_exceptions=True)
        if self.transport is not None and goodbye:
            await self.transport.close()
        elif self.transport is not None:
            self.transport.abort()

    async def wait_settled(self) -> None:
        """Wait while an attempt to connect is being made, or until the first one is."""
        self.hurry()
        await self._settled.wait()

    async def _connect_once(self) -> Connected:
        self._settled.clear()
        self.is_away = True
        try:
            connected = await self._attempt()
            self.is_away = False
        finally:
            self._settled.set()
        return connected

    async def _attempt(self) -> Connected:
        # Messages can follow the login answer at once, so set the transport and read the pin before it.
        first_use = self.trust.pin is None and not self.trust.expected
        transport = self.transport = await self._make_connection(self.address, self.trust, self.receive)
        credentials = self._credentials
        try:
            logged_in = await transport.login(
                credentials.identity, credentials.device, self._software, self._token
            )
        except BaseException:
            transport.abort()
            raise
        self._handler.store_login(logged_in, transport.trust, self.trust)
        self.trust = transport.trust
        try:
            self._handler.connected(logged_in)
        except ClientError as error:
            transport.abort(error)
            raise
        connected = Connected(
            relay=str(self.address),
            fingerprint=fingerprint_text(transport.certificate),
            registered=logged_in.registered,
            first_use=first_use,
            vouched=bool(transport.trust.host),
        )
        self._handler.emit(connected)
        return connected

    async def _stay_connected(self) -> None:
        backoff = Backoff()
        reason: ClientError | None = None
        pause = 0.0
        connected = self.transport
        while True:
            if connected is not None:
                reason, pause = await self._lose(connected, backoff)
                connected = None
            if self._failure is not None:
                return
            if isinstance(reason, RelayChanged) or (
                isinstance(reason, RelayRefused) and reason.code in _FINAL
            ):
                self._fail(reason)
                return
            if reason is not None:
                self._handler.emit(Disconnected(reason=str(reason), retry_in=round(pause, 1)))
                await asyncio.sleep(pause)
            try:
                await self._connect_once()
                connected = self.transport
            except StoreFull as error:
                reason, pause = error, backoff.after_failure(error)
            except ProfileError as error:
                self._fail(error)
                return
            except ClientError as error:
                reason, pause = error, backoff.after_failure(error)

    async def _lose(self, transport: RelayTransport, backoff: Backoff) -> tuple[ClientError, float]:
        """Wait until a connection is lost; return why, and the pause before the next attempt."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        reason = await asyncio.shield(transport.closed)
        pause = backoff.after_loss(reason, lasted=loop.time() - started, spread=transport.spread)
        self._handler.disconnected()
        return reason, pause

    def _fail(self, error: ClientError) -> None:
        """Stop for good: `check` and `current` raise `error` from now on."""
        self._failure = error
        self._handler.failed(error)

    # --- receiving ---

    def receive(self, messages: list[ToClient]) -> None:
        """Handle messages of the present connection that answer no request, in order."""
        self.guard(
            lambda: self._handler.received([each for each in messages if not self._is_announcement(each)])
        )
        self._handler.batch_done()

    def _is_announcement(self, message: ToClient) -> bool:
        """Store an announced certificate, which the transport has checked; return whether it was one."""
        if isinstance(message, NextCertificate) and self.transport is not None:
            former, self.trust = self.trust, self.transport.trust
            self._handler.store_trust(self.trust, former)
        return isinstance(message, NextCertificate)

    def guard(self, work: Callable[[], None]) -> None:
        """Run `work`; a `ProfileError` ends the transport for good, another `ClientError` this connection."""
        try:
            work()
        except ClientError as error:
            if isinstance(error, ProfileError) and not isinstance(error, StoreFull):  # which would stay
                self._fail(error)
            if self.transport is not None:
                self.transport.abort(error)

    # --- in use ---

    @property
    def current(self) -> RelayTransport:
        """The connection that is up. Raises `RelayUnreachable` while there is none."""
        self.check()
        if self.transport is None or not self.transport.is_up:
            raise RelayUnreachable("not connected to the relay; trying again")
        return self.transport

    def check(self) -> None:
        """Raise the error that ended the transport for good, if any."""
        if self._failure is not None:
            raise self._failure

    @property
    def has_connected(self) -> bool:
        """Whether any connection was made, so that the relay may know this account."""
        return self.transport is not None

    @property
    def is_up(self) -> bool:
        """Whether there is a connection now."""
        return self.transport is not None and self.transport.is_up
