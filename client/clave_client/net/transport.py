"""One connection to a relay: TLS, certificate check, login, requests matched with their answers, and pings.

Knows no rooms: every message that answers no request is passed to `on_messages`, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from clave_client.errors import (
    ClientError,
    NotARelay,
    RelayFault,
    RelayRefused,
    RelayUnreachable,
)
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import CertificateTrust, check_succession
from clave_client.net.proxy import Proxy
from clave_client.net.route import open_connection
from clave_crypto.identity import DeviceKey
from clave_host.keepalive import enable_keepalive
from clave_wire.connection import ALPN, ClientConnection, State
from clave_wire.errors import MisuseError, RemoteError
from clave_wire.login import certificate_digest
from clave_wire.messages import (
    PING,
    Account,
    Closing,
    Code,
    Done,
    Goodbye,
    Greeting,
    KeyPackages,
    LinkOffer,
    LoggedIn,
    Login,
    Lookup,
    NextCertificate,
    Refused,
    Revocations,
    ToClient,
    ToRelay,
)
from clave_wire.text import sanitize

__all__ = ["Answer", "Connect", "OnMessages", "RelayTransport"]

CONNECT_SECONDS = 15.0
"""How long connecting may take as a whole: name lookup, TCP, TLS, certificate and login."""

PROXY_CONNECT_SECONDS = 60.0
"""The same through a proxy: a way through several others, as Tor makes one, takes its time."""

SILENCE_SECONDS = 10.0
"""How long nothing may be received before the relay is pinged."""

ANSWER_SECONDS = 20.0
"""How long nothing may be received after a ping before the relay counts as away."""

Answer = Done | Account | KeyPackages | LinkOffer | Revocations
OnMessages = Callable[[list[ToClient]], None]
T = TypeVar("T")


class RelayTransport(asyncio.Protocol):
    """A TLS connection to the relay. `closed` resolves once, with the error that ended it.

    `on_messages` is called with what answers no request. The login has to be done by `deadline`, in the event
    loop's time. `certificate` is the SHA-256 digest of the relay's
    certificate; `trust` says which certificates to accept from now on.
    """

    def __init__(self, address: RelayAddress, on_messages: OnMessages) -> None:
        self.on_messages = on_messages
        self.connection = ClientConnection()
        self._transport: asyncio.Transport | None = None
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._next_id = 0
        self._certificate_der = b""
        self._reason: ClientError | None = None
        self._is_closing = False
        loop = self._loop = asyncio.get_running_loop()
        self.deadline = loop.time() + CONNECT_SECONDS
        self._below: asyncio.Transport | None = None
        self._has_ended = False
        self._heard_at = self._pinged_at = 0.0
        self._ping_id = 0
        self._timer: asyncio.TimerHandle | None = None
        self._greeting: asyncio.Future[Greeting] = loop.create_future()
        self._logged_in: asyncio.Future[LoggedIn] = loop.create_future()
        self.address = address
        self.trust = CertificateTrust()
        self.certificate = b""
        self.closed: asyncio.Future[ClientError] = loop.create_future()

    # --- connecting ---

    @classmethod
    async def connect(
        cls,
        address: RelayAddress,
        trust: CertificateTrust,
        on_messages: OnMessages,
        *,
        proxy: Proxy | None = None,
    ) -> RelayTransport:
        """Connect, perhaps through a proxy, and check the relay's certificate before anything is sent.

        Raises `RelayUnreachable`, `NotARelay` or `RelayChanged`.
        """
        is_onion = address.host.lower().endswith(".onion")
        if is_onion and proxy is None:  # nobody may look such a name up (RFC 7686)
            raise RelayUnreachable(
                f"no way to {address}: an onion service is reached through Tor; give clave chat its"
                " --proxy, as socks5://127.0.0.1:9050"
            )
        limit = CONNECT_SECONDS if proxy is None else PROXY_CONNECT_SECONDS
        deadline = asyncio.get_running_loop().time() + limit
        if trust.asks_authorities(address.host):
            with contextlib.suppress(ssl.SSLCertVerificationError):
                return await cls._connect(address, trust, on_messages, deadline, proxy, vouched=True)
        return await cls._connect(address, trust, on_messages, deadline, proxy, vouched=False)

    @classmethod
    async def _connect(
        cls,
        address: RelayAddress,
        trust: CertificateTrust,
        on_messages: OnMessages,
        deadline: float,
        proxy: Proxy | None,
        *,
        vouched: bool,
    ) -> RelayTransport:
        """Connect; with `vouched`, raise `ssl.SSLCertVerificationError` unless a known authority signed."""
        loop = asyncio.get_running_loop()
        link = cls(address, on_messages)
        link.deadline = deadline
        connection = await open_connection(address, deadline, proxy)
        try:
            async with asyncio.timeout_at(deadline):
                link._below, _ = await loop.create_connection(_Paused, sock=connection)
                # TLS is begun apart, so that the transport below it is known: see `_is_writable`.
                transport = await loop.start_tls(
                    link._below,
                    link,
                    _tls_context(vouched=vouched),
                    server_hostname=address.host.partition("%")[0],
                )
                if transport is None:
                    raise ConnectionResetError
        except ssl.SSLCertVerificationError:
            raise
        except ssl.SSLError:
            raise NotARelay(f"{address} answers, but not as a clave relay; check the port") from None
        except ConnectionError:
            raise NotARelay(
                f"{address} hangs up before it answers as a clave relay; check the port, or wait a minute: "
                "it may be turning away too many connections from your address"
            ) from None
        except OSError:  # a TimeoutError too
            raise _silent(address) from None
        link.connection_made(transport)
        try:
            link.check_certificate(transport, trust, vouched=vouched)
        except ClientError:
            link.abort()
            raise
        return link

    def check_certificate(
        self, transport: asyncio.Transport, trust: CertificateTrust, *, vouched: bool
    ) -> None:
        """Check the certificate that `transport` shows against `trust`; `vouched` if an authority signed it.

        Raises `NotARelay` or `RelayChanged`.
        """
        tls = transport.get_extra_info("ssl_object")
        if tls.selected_alpn_protocol() != ALPN:
            raise NotARelay(f"{self.address} speaks TLS, but not as a clave relay; check the port")
        self._certificate_der = tls.getpeercert(binary_form=True)
        self.certificate = certificate_digest(self._certificate_der)
        self.trust = trust.evaluate(self.certificate, self.address.host, vouched=vouched)

    async def login(self, identity: bytes, device: DeviceKey, software: str, token: str) -> LoggedIn:
        """Send hello and log in. Raises `RelayRefused`, `RelayUnreachable` or `RelayFault`."""
        self._write(self.connection.hello(software))
        try:
            async with asyncio.timeout_at(self.deadline):
                await self._wait_for(self._greeting)
                signature = device.sign(self.connection.transcript(self.certificate, identity))
                self.send(Login(device.public, identity, signature, token))
                return await self._wait_for(self._logged_in)
        except TimeoutError:
            raise _silent(self.address) from None

    async def _wait_for(self, awaited: asyncio.Future[T]) -> T:
        """Wait for `awaited`; if the connection ends first, raise the error that ended it."""
        await asyncio.wait((awaited, self.closed), return_when=asyncio.FIRST_COMPLETED)
        if not awaited.done():
            raise self.closed.result()
        return awaited.result()

    # --- in use ---

    @property
    def logged_in(self) -> LoggedIn:
        """The relay's answer to the login, which has to have succeeded."""
        return self._logged_in.result()

    @property
    def spread(self) -> float:
        """Seconds over which to spread the reconnect after an unannounced loss, as the relay asked."""
        return self._logged_in.result().spread / 1000 if self._logged_in.done() else 0.0

    @property
    def is_up(self) -> bool:
        """Whether the login succeeded and messages can still be sent."""
        return self._logged_in.done() and self._is_writable

    @property
    def _is_writable(self) -> bool:
        """Whether what is written can still reach the relay.

        asyncio tells `connection_lost` only at the next turn of the loop, and TLS says nothing before; until
        then it would log each write to the lost connection.
        """
        is_lost = self._has_ended or (self._below is not None and self._below.is_closing())
        if self._transport is None or is_lost:
            return False
        return not self._transport.is_closing() and not self.closed.done()

    def send(self, message: ToRelay) -> None:
        """Send a message; drop it if the connection has ended (`closed` reports that).

        Raises `RelayFault`, and sends nothing, when the message exceeds the relay's frame size.
        """
        if not self._is_writable or self.connection.state is State.CLOSED:
            return
        try:
            self._write(self.connection.send(message))
        except MisuseError as error:
            raise RelayFault(f"the relay does not take what is to be sent: {error}") from None

    def pause_reading(self) -> None:
        """Read nothing more from the relay until `resume_reading`, as what came waits to be handled."""
        if self._is_writable and self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the relay again."""
        if self._is_writable and self._transport is not None:
            self._heard_at = self._loop.time()
            self._transport.resume_reading()

    def next_id(self) -> int:
        """Return the next unused request id."""
        self._next_id += 1
        return self._next_id

    async def request(self, make: Callable[[int], ToRelay]) -> Answer:
        """Send the request that `make` builds from an id, and return its answer.

        Raises `RelayRefused` when the relay refuses, or the error that ended the connection.
        """
        request_id = self.next_id()
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[request_id] = answer
        try:
            self.send(make(request_id))
            return await self._wait_for(answer)
        finally:
            self._answers.pop(request_id, None)
            if answer.done() and not answer.cancelled():
                answer.exception()  # read it, as whoever asked may be cancelled once a refusal is here

    def _check_silence(self) -> None:
        """Ping a relay that is silent; end the connection when it stays silent."""
        now = self._loop.time()
        if self._pinged_at > self._heard_at:
            wait = self._pinged_at + ANSWER_SECONDS - now
            if wait <= 0:
                self.abort(RelayUnreachable("the relay does not answer"))
                return
        else:
            wait = self._heard_at + SILENCE_SECONDS - now
            if wait <= 0:
                self._ping_id, self._pinged_at, wait = self.next_id(), now, SILENCE_SECONDS
                self.send(Lookup(self._ping_id, PING))
        self._timer = self._loop.call_later(wait, self._check_silence)

    async def close(self) -> None:
        """Send goodbye, wait at most 2 s for the relay to close, then abort."""
        if self._transport is not None and self.is_up:
            self.send(Goodbye())
            self._transport.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await asyncio.wait((self.closed,))
        self.abort()

    def abort(self, reason: ClientError | None = None) -> None:
        """Drop the connection now; `closed` resolves with `reason`, or the one given first."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio's callbacks ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket transport and turn on TCP keepalive."""
        self._transport = cast(asyncio.Transport, transport)
        enable_keepalive(transport.get_extra_info("socket"))
        if self._reason is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Decode and dispatch messages; a protocol error ends the connection."""
        if self._transport is None:  # it comes with the end of the TLS handshake: before `Hello`
            self._reason = RelayFault("the relay broke the protocol: it speaks before it is asked")
            return
        self._heard_at = self._loop.time()
        try:
            messages = self.connection.receive_data(data)
        except RemoteError as error:
            self.abort(RelayFault(f"the relay broke the protocol: {sanitize(str(error))}"))
            return
        try:
            stream = [message for message in messages if not self._is_answer(message)]
        except RelayFault as error:
            self.abort(error)
            return
        if stream:
            self.on_messages(stream)
        if self._is_closing:
            self.abort()  # nothing may follow `Closing`, even if the relay leaves the connection open

    def _is_answer(self, message: ToClient) -> bool:
        """Handle a message that concerns the connection itself; return whether it was one.

        Raises `RelayFault` for an announced certificate that is not signed.
        """
        match message:
            case Greeting():
                self._greeting.set_result(message)
            case LoggedIn():
                self._logged_in.set_result(message)
                self._check_silence()
            case NextCertificate():
                check_succession(self._certificate_der, message.digest, message.signature)
                self.trust = self.trust.with_announced(message.digest)
                return False
            case Closing():
                self._reason = self._reason or _closing_error(message)
                self._is_closing = True
            case Done() | Account() | KeyPackages() | LinkOffer() | Revocations() if (
                message.id in self._answers
            ):
                self._answers.pop(message.id).set_result(message)
            case Refused() if message.id == self._ping_id:
                pass
            case Refused() if message.id in self._answers:
                refusal = RelayRefused(message.code, sanitize(message.text))
                self._answers.pop(message.id).set_exception(refusal)
            case _:
                return False
        return True

    def eof_received(self) -> None:
        """Send nothing more, as nobody reads it."""
        self._has_ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Resolve `closed` with the reason."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.closed.done():
            self.closed.set_result(self._reason or RelayUnreachable("the connection to the relay was lost"))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and self._is_writable:
            self._transport.write(data)


Connect = Callable[[RelayAddress, CertificateTrust, OnMessages], Awaitable[RelayTransport]]
"""Makes a connection to a relay and checks its certificate, as `RelayTransport.connect` does."""


class _Paused(asyncio.Protocol):
    """Reads nothing: what comes before TLS begins is left to it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).pause_reading()


def _silent(address: RelayAddress) -> RelayUnreachable:
    return RelayUnreachable(
        f"{address} takes the connection but does not answer; try again later, or ask its operator"
    )


def _closing_error(closing: Closing) -> RelayRefused:
    text = sanitize(closing.text)
    if closing.code is Code.BANNED:
        text += "; ask its operator"
    return RelayRefused(closing.code, text, closing.retry_after / 1000)


def _tls_context(*, vouched: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    if vouched:
        context.load_default_certs()
    else:
        # The certificate is compared with the pinned digest instead.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
