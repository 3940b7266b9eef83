"""Pairs another device, on the primary one: shows a code, then words, and certifies when its user says yes.

The relay lets the new device in by the code's key, to talk with this device only. Nothing is certified before
the user has said that both devices show the same words. The new device is one once the relay has registered
it. If it does not say so, the relay is asked. If it is not registered, or says that it gave up, its
certificate is revoked.
"""

from __future__ import annotations

import asyncio
import enum
import os
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeVar

import msgspec

from clave_client.errors import ClientError, PeerError, RelayFault, RelayUnreachable, UsageError
from clave_client.formats.pairing import (
    Certificate,
    Commitment,
    Finished,
    PairingMessage,
    PairingTranscript,
    Request,
    Reveal,
    Stopped,
    commit_to,
)
from clave_client.net.pairing_code import PairingCode
from clave_client.store.account import Account
from clave_client.store.own_devices import OwnDevice, OwnDevices
from clave_client.sync.siblings import RELAY_TOO_OLD, SiblingContext
from clave_crypto.errors import IdentityError
from clave_wire.messages import OpenPairing, Passed, PassOn
from clave_wire.text import sanitize

__all__ = ["PAIRING_SECONDS", "Pairing", "PairingOffer"]

T = TypeVar("T")

PAIRING_SECONDS: Final = 300
"""How long a code can be used; the relay has the same limit."""

_TOO_LATE: Final = "the code was not used within 5 minutes; nothing was changed, make another one"


_NOT_KNOWN: Final = (
    "the connection was lost before the new device was there; clave devices shows later whether it is one"
)


class PairingOffer(NamedTuple):
    """What a new device asks for: its name, and the words that both have to show."""

    device_name: str
    words: tuple[str, ...]


class _Step(enum.Enum):
    """What the pairing waits for."""

    DEVICE = "a new device"
    REQUEST = "its request"
    ANSWER = "the user's answer"
    FINISHED = "its registration"
    OVER = "nothing"


class Pairing:
    """One pairing; begin it with `open`, wait for `offer`, and end it with `certify` or `stop`."""

    def __init__(
        self,
        sync: SiblingContext,
        account: Account,
        known: OwnDevices,
        code: PairingCode,
        settle: Callable[[], Awaitable[None]],
        revoke: Callable[[OwnDevice], Awaitable[None]],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.id = os.urandom(16).hex()
        self.code = code
        self.deadline = loop.time() + PAIRING_SECONDS
        self._sync = sync
        self._account = account
        self._known = known
        self._settle = settle
        self._revoke = revoke
        self._has_given_up = False
        self._step = _Step.DEVICE
        self._value = os.urandom(32)
        self._request: Request | None = None
        self._offer: asyncio.Future[PairingOffer] = loop.create_future()
        self._finished: asyncio.Future[None] = loop.create_future()
        self._failure: ClientError | None = None
        self._transport = sync.transport

    @property
    def is_over(self) -> bool:
        """Whether nothing comes of it any more."""
        return self._step is _Step.OVER

    @property
    def seconds_left(self) -> int:
        """For how many seconds the code can be used still."""
        return max(0, int(self.deadline - asyncio.get_running_loop().time()))

    async def open(self) -> None:
        """Have the relay let the new device in. Raises `RelayError`."""
        if not self._transport.connection.has_devices:
            raise RelayFault(RELAY_TOO_OLD)
        key = self.code.secret.login.public
        await self._transport.request(lambda request: OpenPairing(request, key))

    async def offer(self) -> PairingOffer:
        """Wait for the new device and the words to compare. Raises `ClientError` when nothing comes of it."""
        if self._failure is not None:
            raise self._failure
        return await self._wait(self._offer)

    async def certify(self) -> OwnDevice:
        """Certify the new device, whose words are the same, and wait until it is registered.

        Raises `ClientError`, after which the device is none.
        """
        request, key = self._request, self._account.account_key()
        if self._failure is not None:
            raise self._failure
        if self._step is not _Step.ANSWER or request is None:
            raise UsageError("there is no device whose words were compared")
        if not self.seconds_left:
            await self.stop(_TOO_LATE)
            raise UsageError(_TOO_LATE)
        if not self._transport.is_up:
            raise RelayUnreachable("the connection was lost, and nothing was changed; make a new code")
        self._step = _Step.FINISHED
        identity = key.certify(self._account.name, request.device_name, request.device)
        device = OwnDevice(request.device, identity, int(self._sync.clock()), is_paired=False)
        self._known.put(device)  # before it is sent: see `DevicesInUse.settle`
        try:
            await self._send(Certificate(identity))
            await self._wait(self._finished)
        except ClientError as error:
            await self._end()
            await self._settle_lost(device, error)
        await self._end()
        current = self._known.others().get(device.device)
        if current is None:
            raise UsageError(f"{sanitize(request.device_name)} was removed while it was being added")
        added = msgspec.structs.replace(current, is_paired=True)
        self._known.put(added)
        return added

    async def _settle_lost(self, device: OwnDevice, error: ClientError) -> None:
        """Decide about a device that did not say that it is one. Raises `UsageError` if it is none."""
        try:
            if self._has_given_up:  # whatever the relay has, its profile is deleted
                await self._revoke(device)
            else:
                await self._settle()
        except ClientError:
            raise UsageError(_NOT_KNOWN) from None
        if device.device not in self._known.others():
            raise UsageError(f"the pairing did not finish, and nothing was changed: {error}") from None

    async def stop(self, text: str) -> None:
        """End the pairing; the new device is told why."""
        if not self.is_over:
            self._fail(UsageError(text))
            await self._send_quietly(Stopped(text))
            await self._end()

    # --- what the new device says ---

    def is_from_new(self, passed: Passed) -> bool:
        """Return whether the new device says this, or whoever else has the code."""
        return passed.device == self.code.secret.login.public

    def note_login(self, device: bytes) -> None:
        """Note that a device has logged in with its certificate: if it is the new one, it is registered."""
        is_new = self._request is not None and self._request.device == device
        if is_new and self._step is _Step.FINISHED and not self._finished.done():
            self._finished.set_result(None)

    async def handle(self, passed: Passed) -> None:
        """Take what the new device says."""
        try:
            if not passed.data:
                await self._begin()
            else:
                await self._take(self.code.secret.open(passed.data, by_first=False))
        except ClientError as error:
            self._fail(error)
            await self._send_quietly(Stopped(str(error)[:500]))
            await self._end()

    async def _begin(self) -> None:
        if self._step not in (_Step.DEVICE, _Step.REQUEST):
            raise PeerError("another device came with the same code: somebody has seen it; make a new one")
        self._step = _Step.REQUEST
        own = self._account.device.public
        await self._send(Commitment(commit_to(self.code.account, own, self._value)))

    async def _take(self, message: PairingMessage) -> None:
        match message:
            case Request() if self._step is _Step.REQUEST:
                self._check(message)
                self._request, self._step = message, _Step.ANSWER
                await self._send(Reveal(self._value))
                own = self._account.device.public
                words = PairingTranscript(self.code.account, own, self._value, message).words()
                if not self._offer.done():
                    self._offer.set_result(PairingOffer(message.device_name, words))
            case Finished() if self._step is _Step.FINISHED:
                if not self._finished.done():
                    self._finished.set_result(None)
            case Stopped():
                self._has_given_up = True
                raise PeerError(f"the new device stopped: {sanitize(message.text)}")
            case _:
                raise PeerError("the new device said something out of turn")

    def _check(self, request: Request) -> None:
        """Raise `UsageError` unless a device can have the name that it asks for."""
        name, known = request.device_name, self._known.others().values()
        if sanitize(name) != name or name != name.strip():
            raise UsageError("the name of a device has no control characters, and no blank at either end")
        names = {self._known.identity(each).device_name for each in known}
        names.add(self._account.verified.device_name)
        if name.casefold() in {each.casefold() for each in names}:
            raise UsageError(f"you have a device called {name} already; choose another name for the new one")
        try:
            self._account.account_key().certify(self._account.name, name, request.device)
        except (IdentityError, ValueError) as error:
            raise UsageError(str(error)) from None

    # --- parts ---

    async def _send(self, message: PairingMessage) -> None:
        data, key = self.code.secret.seal(message, by_first=True), self.code.secret.login.public
        await self._transport.request(lambda request: PassOn(request, key, data))

    async def _send_quietly(self, message: PairingMessage) -> None:
        try:
            await self._send(message)
        except ClientError:
            return  # who would be told is not there

    async def _end(self) -> None:
        """Have the relay let nobody in by the code any more; not again, as another code may be open then."""
        if self.is_over:
            return
        self._step = _Step.OVER
        try:
            if self._transport.is_up:
                await self._transport.request(lambda request: OpenPairing(request, b""))
        except ClientError:
            return  # it ends with the connection

    def _fail(self, error: ClientError) -> None:
        self._failure = self._failure or error
        for waiting in (self._offer, self._finished):
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # it may be that nobody waits for it

    async def _wait(self, waiting: asyncio.Future[T]) -> T:
        """Wait for the new device, until the connection ends or the time is over."""
        seconds = self.deadline - asyncio.get_running_loop().time()
        closed = self._transport.closed
        await asyncio.wait((waiting, closed), timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        error = RelayUnreachable("the connection was lost") if closed.done() else UsageError(_TOO_LATE)
        self._fail(error)
        if not closed.done():
            await self._send_quietly(Stopped("the time is over"))
            await self._end()
        self._step = _Step.OVER
        raise error
