"""Makes this machine a device of an account that another one has: pairs with it, and makes the profile.

The other device certifies the key that this one makes here; the account's key does not come here. The login
that registers this device decides, for both: before it no profile is left if anything fails, after it this
machine is a device, whatever fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from clave_client.client import Client
from clave_client.client_setup import checked_proxy, chosen_proxy, route_of
from clave_client.errors import ClientError, PeerError, RelayRefused, UsageError, WrongPassphrase
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
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.pairing_code import PairingCode
from clave_client.net.transport import Connect, RelayTransport
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.store.own_devices import OwnDevices
from clave_client.store.profile import Profile
from clave_client.store.profile_key import AskPassphrase
from clave_client.sync.pairing import PAIRING_SECONDS
from clave_crypto.errors import CryptoError
from clave_crypto.identity import MAX_NAME_BYTES, DeviceKey, verify_identity
from clave_host.version import VERSION
from clave_wire.messages import Code, Passed, PassOn, ToClient
from clave_wire.text import sanitize

__all__ = ["DeviceJoin", "JoinedAccount"]

_ANSWER_SECONDS: Final = 30.0
"""How long the other device may take to answer when nobody has to be asked."""

T = TypeVar("T")


class JoinedAccount(NamedTuple):
    """Of which account this machine is a device now, what it is called, in how many rooms it is so far."""

    name: str
    device_name: str
    rooms: int


class _Channel:
    """What this device and the one with the code say to each other."""

    def __init__(self, code: PairingCode) -> None:
        self._code = code
        self._received: asyncio.Queue[Passed] = asyncio.Queue()
        self.host = b""
        self.transport: RelayTransport

    def receive(self, messages: list[ToClient]) -> None:
        """Keep what the other device says."""
        for message in messages:
            if isinstance(message, Passed) and message.device in (self.host or message.device,):
                self._received.put_nowait(message)

    async def expect(self, kind: type[T], seconds: float) -> T:
        """Wait for the next thing said, which has to be of this kind. Raises `ClientError`."""
        waiting = asyncio.ensure_future(self._received.get())
        closed = self.transport.closed
        await asyncio.wait((waiting, closed), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            if closed.done():
                error = closed.result()
                is_over = isinstance(error, RelayRefused) and error.code is Code.TIMEOUT
                text = "the other device ended the pairing, or the time is over"
                raise UsageError(text) if is_over else error
            raise UsageError("the other device does not answer; make a new code there")
        passed = waiting.result()
        self.host = passed.device
        message = self._code.secret.open(passed.data, by_first=True)
        if isinstance(message, Stopped):
            raise UsageError(f"the other device stopped: {sanitize(message.text)}")
        if not isinstance(message, kind):
            raise PeerError("the other device said something out of turn")
        return message

    async def say(self, message: PairingMessage) -> None:
        """Say something to the other device. Raises `RelayError`."""
        data = self._code.secret.seal(message, by_first=False)
        await self.transport.request(lambda request: PassOn(request, self.host, data))

    async def say_last(self, message: PairingMessage) -> bool:
        """Say what ends the pairing; return whether the other device got it."""
        if not self.host or not self.transport.is_up:
            return False
        try:
            async with asyncio.timeout(2.0):
                await self.say(message)
        except (ClientError, TimeoutError):
            return False
        return True


class DeviceJoin:
    """One attempt to make this machine a device, by the code that the primary one shows; see `run`.

    `show` is called with the words that both devices show; the user of the other one says there whether they
    are the same. What `new_passphrase` returns protects the profile, if given. Once the device is added it is
    brought into rooms as long as another one comes every `quiet` seconds. The rest is as of `Client`.
    """

    def __init__(
        self,
        code: PairingCode,
        home: Path,
        device_name: str,
        *,
        show: Callable[[tuple[str, ...]], Awaitable[None]],
        new_passphrase: AskPassphrase | None = None,
        proxy: str | None = None,
        quiet: float = 3.0,
        clock: Callable[[], float] = time.time,
        connect: Connect | None = None,
    ) -> None:
        if not 1 <= len(device_name.encode()) <= MAX_NAME_BYTES or sanitize(device_name) != device_name:
            raise UsageError(f"say what this device is to be called, in at most {MAX_NAME_BYTES} letters")
        self._code = code
        self._home = home
        self._name = device_name
        self._show = show
        self._passphrase = None if new_passphrase is None else _AskedOnce(new_passphrase)
        self._proxy = None if proxy is None else checked_proxy(proxy)
        self._quiet = quiet
        self._clock = clock
        self._connect = connect
        self._device = DeviceKey.generate()
        self._channel = _Channel(code)
        self._profile: Profile | None = None
        self._may_be_registered = self._is_registered = False

    async def run(self) -> JoinedAccount:
        """Pair this device, make its profile and register it.

        Raises `UsageError`, `RelayError`, `PeerError` and `ProfileError`; no profile is left then, unless the
        relay has registered the device already, or it cannot be found out.
        """
        if self._passphrase is not None and not self._passphrase():  # before anybody is certified
            raise WrongPassphrase("an empty passphrase protects nothing; type one")
        code, channel = self._code, self._channel
        trust = CertificateTrust().with_link_pin(code.pin)
        connect = self._connect or route_of(self._proxy, code.address)
        channel.transport = await connect(code.address, trust, channel.receive)
        try:
            name, certificate = await self._pair()
            return await self._register(name, certificate)
        except BaseException as error:
            if not self._is_registered:
                await asyncio.shield(self._give_up(error))
            raise
        finally:
            await channel.transport.close()

    async def _give_up(self, error: BaseException) -> None:
        """Say that nothing comes of it, and delete the profile.

        It stays if the other device did not hear that, and would count what the relay may have as a device.
        """
        text = str(error) if isinstance(error, ClientError) else "it was interrupted"
        is_told = await self._channel.say_last(Stopped(text[:500]))
        if self._profile is None:
            return
        if self._may_be_registered and not is_told:
            self._profile.note_pairing(done=True)
            return
        with contextlib.suppress(ClientError):  # what went wrong first says more
            self._profile.erase()

    async def _pair(self) -> tuple[str, bytes]:
        """Agree with the other device; return the account's name and its certificate of this one's key."""
        code, channel = self._code, self._channel
        try:
            logged_in = await channel.transport.login(b"", code.secret.login, f"clave {VERSION}", "")
        except RelayRefused as error:
            if error.code is Code.BAD_LOGIN:
                raise UsageError(str(error)) from None
            raise
        commitment = await channel.expect(Commitment, _ANSWER_SECONDS)
        self._check_free(logged_in.name)  # before anybody is asked anything
        request = Request(self._device.public, self._name, os.urandom(32))
        await channel.say(request)
        reveal = await channel.expect(Reveal, _ANSWER_SECONDS)
        if commit_to(code.account, channel.host, reveal.value) != commitment.commitment:
            raise PeerError("somebody stands between the two devices, or the other one is faulty")
        await self._show(PairingTranscript(code.account, channel.host, reveal.value, request).words())
        certificate = await channel.expect(Certificate, PAIRING_SECONDS)
        try:
            verified = verify_identity(certificate.identity, self._device.public)
        except CryptoError:
            raise PeerError("the other device sent what is no certificate of this one") from None
        if not code.is_of(verified.account) or verified.device_name != self._name:
            raise PeerError("the other device certified something else than was asked")
        self._check_free(verified.name)
        return verified.name, certificate.identity

    def _check_free(self, name: str) -> None:
        profile = Profile(self._home, name)
        if profile.is_unpaired:
            profile.erase()  # an earlier pairing was killed
        if profile.folder.exists():
            raise UsageError(f"there is a profile {sanitize(name)} here already; choose another --home")

    async def _register(self, name: str, identity: bytes) -> JoinedAccount:
        """Make the profile, log in with it, say so to the other device, and wait to be brought into rooms."""
        profile = Profile(self._home, name, ask=self._passphrase, new_passphrase=self._passphrase is not None)
        self._profile = profile
        profile.note_pairing(done=False)
        with profile:
            self._fill(profile, identity)
        with profile:
            client = Client(profile, connect=self._connect, clock=self._clock)
            try:
                await self._log_in(client)
                profile.note_pairing(done=True)
                self._is_registered = True
                await self._tell(client)
                return JoinedAccount(name, self._name, await self._wait_for_rooms(client))
            finally:
                await client.close()

    async def _log_in(self, client: Client) -> None:
        client.open()
        try:
            await client.connect()
        except BaseException as error:
            has_answer = isinstance(error, RelayRefused)
            self._may_be_registered = client.sync.connection.has_connected and not has_answer
            raise

    async def _tell(self, client: Client) -> None:
        """Say that this is a device now; the other one finds out as well if that is lost."""
        try:
            await asyncio.gather(*client.sync.tasks)  # its key packages are at the relay
        finally:
            await self._channel.say_last(Finished())

    async def _wait_for_rooms(self, client: Client) -> int:
        count = -1
        while count != len(client.rooms) and client.is_online:
            count = len(client.rooms)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._quiet):
                    await client.sync.wait_for(lambda count=count: len(client.rooms) > count)  # type: ignore[misc]  # mypy takes no lambda with a default
        return len(client.rooms)

    def _fill(self, profile: Profile, identity: bytes) -> None:
        """Write what a new device knows: itself, its account's certificate of it, the relay."""
        channel, address = self._channel, self._code.address
        store = Store(profile.store_path, profile.take_key())
        try:
            account = Account.create_paired(store, identity, self._device)
            with store.transaction():
                known = OwnDevices(store, account)
                known.note_since(max(0, int(self._clock())))
                channel.transport.trust.save(store)
                store.put("relay", str(address).encode())
                chosen_proxy(store, self._proxy, address)
        finally:
            store.close()


class _AskedOnce:
    """Asks for a passphrase once, and remembers it as long as the profile is being made."""

    def __init__(self, ask: AskPassphrase) -> None:
        self._ask = ask
        self._answer: str | None = None

    def __call__(self) -> str:
        if self._answer is None:
            self._answer = self._ask()
        return self._answer
