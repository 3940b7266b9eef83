"""The other devices of this account: which there are, what they say, what was revoked. Knows no room.

It asks the relay for them at each login, and tells each of them that it is there. What the relay says counts
only as far as the account has signed it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Final, Protocol

import msgspec

from clave_client import events
from clave_client.errors import PeerError, RelayFault, RelayRefused, UsageError
from clave_client.formats.sibling_message import SiblingMessage, Status, open_message, sign_message
from clave_client.net.transport import RelayTransport
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.store.own_devices import OwnDevice, OwnDevices
from clave_wire.messages import Account as AccountAnswer
from clave_wire.messages import FindRevocations, Lookup, Passed, PassOn, RemoveDevice, Revocations
from clave_wire.text import sanitize

__all__ = ["RELAY_TOO_OLD", "SiblingContext", "Siblings"]

RELAY_TOO_OLD: Final = "this relay is too old for several devices; ask its operator to update it"

_MOST_TOLD: Final = 40
"""Revocations that a status carries."""


class SiblingContext(Protocol):
    """What the devices of an account need of a `RoomSync`."""

    @property
    def is_online(self) -> bool:
        """Whether there is a connection now."""

    @property
    def transport(self) -> RelayTransport:
        """The connection that is up. Raises `RelayUnreachable` while there is none."""

    @property
    def clock(self) -> Callable[[], float]:
        """The clock, in seconds since 1970."""

    def spawn(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run `work` as a task; its errors are reported as notices."""

    def emit(self, event: events.Event) -> None:
        """Report an event."""

    def batch_done(self) -> None:
        """Wake whoever waits for what has become true."""


class Siblings:
    """The other devices of one profile's account.

    `changed` is called when there is another one or one was revoked, `came` when one has connected, `said`
    with what one says besides its status. `online` are those that said something on this connection.
    """

    def __init__(
        self,
        sync: SiblingContext,
        store: Store,
        account: Account,
        *,
        changed: Callable[[], None],
        came: Callable[[bytes], None],
        said: Callable[[bytes, SiblingMessage], None],
    ) -> None:
        self._sync = sync
        self._account = account
        self._changed = changed
        self._came = came
        self._said = said
        self.known = OwnDevices(store, account)
        self.online: set[bytes] = set()
        self.is_asked = False
        """Whether the relay was asked, on this connection, which devices the account has."""

    @property
    def own_device(self) -> bytes:
        """This device's public key."""
        return self._account.device.public

    # --- asking ---

    def connected(self) -> None:
        """Ask the relay for the devices, and tell them that this one is there.

        Also when none is known: this profile may have been restored from a backup older than the others.
        """
        if not self._sync.is_online:
            return  # the connection ended with the login
        if self._sync.transport.connection.has_devices:
            self._sync.spawn(self._greet)
        else:
            self.is_asked = True

    def disconnected(self) -> None:
        """Forget who is there."""
        self.online.clear()
        self.is_asked = False

    async def _greet(self) -> None:
        try:
            await self.refresh()
        except (RelayFault, RelayRefused) as error:
            if not self._sync.is_online:
                return  # it ended the connection, which is told as such
            text = f"the relay does not say which devices you have: {error}"
            self._sync.emit(events.Notice(b"", text))
        self.is_asked = True
        self._changed()
        for device in self.known.others():
            await self.tell(device, self.status(asks=True))

    async def refresh(self) -> bool:
        """Ask the relay for the account's devices and what it has revoked; return whether anything is new.

        Raises `RelayError`.
        """
        transport, name = self._sync.transport, self._account.name
        answer = await transport.request(lambda request: Lookup(request, name))
        revoked = await transport.request(lambda request: FindRevocations(request, name))
        if not isinstance(answer, AccountAnswer) or not isinstance(revoked, Revocations):
            raise RelayFault("the relay answered something else than was asked")
        gone = self.known.add_revoked(dict(revoked.devices))
        hidden = self.known.revoked().keys() - dict(revoked.devices).keys()
        is_new = self.known.add_found(dict(answer.devices))
        for device in hidden:  # the relay may have been restored from a backup, or lies
            await self._remove_again(device)
        return is_new or bool(gone)

    async def _remove_again(self, device: bytes) -> None:
        revocation = self.known.revoked()[device]
        try:
            await self._sync.transport.request(lambda request: RemoveDevice(request, device, revocation))
        except RelayRefused as error:
            self._sync.emit(events.Notice(b"", f"the relay does not refuse a removed device: {error}"))

    async def find(self, name: str) -> OwnDevice:
        """Return the other device with a name, of those that the relay has. Raises `UsageError`."""
        if self._sync.is_online and self._sync.transport.connection.has_devices:
            await self.refresh()
        found = self.known.named(name)
        if found is None:
            raise UsageError(f"you have no other device called {sanitize(name)}; clave devices lists them")
        return found

    # --- telling ---

    def status(self, *, asks: bool) -> Status:
        """Return what this device tells the others of itself."""
        revoked = list(self.known.revoked().items())[-_MOST_TOLD:]
        return Status(self._account.is_primary, self.known.since, asks, revoked)

    async def tell(self, device: bytes, message: SiblingMessage) -> bool:
        """Tell a device something; return whether it is connected."""
        now = max(0, int(self._sync.clock() * 1000))
        data = sign_message(message, self._account.device, device, now)
        try:
            await self._sync.transport.request(lambda request: PassOn(request, device, data))
        except RelayRefused:
            self.online.discard(device)
            return False
        return True

    async def tell_all(self) -> None:
        """Tell all that are connected what this device is now."""
        for device in self.known.others():
            await self.tell(device, self.status(asks=False))

    # --- being told ---

    def handle(self, passed: Passed) -> None:
        """Take what another device says; drop what the account has not certified."""
        device = self.known.others().get(passed.device)
        if device is None:
            if passed.device not in self.known.revoked():
                self._sync.spawn(lambda: self._meet(passed))
            return
        try:
            at, message = open_message(passed.data, passed.device, self.own_device)
        except PeerError:
            return
        is_new = passed.device not in self.online
        self.online.add(passed.device)
        if is_new or (isinstance(message, Status) and message.asks):
            self._came(passed.device)
        if isinstance(message, Status):
            self._take_status(device, at, message)
        else:
            self._said(passed.device, message)

    async def _meet(self, passed: Passed) -> None:
        """Ask the relay about a device that this one does not know, and hear it if it is the account's."""
        if await self.refresh():
            self._changed()
        if passed.device in self.known.others():
            self.handle(passed)

    def _take_status(self, device: OwnDevice, at: int, status: Status) -> None:
        if at > device.said_at:
            self.known.put(
                msgspec.structs.replace(
                    device,
                    is_primary=status.is_primary,
                    since=device.since or status.since,
                    is_paired=True,
                    said_at=at,
                )
            )
        if self.known.add_revoked(dict(status.revoked)):
            self._changed()
        if status.asks:
            self._sync.spawn(lambda: self._answer(device.device))

    async def _answer(self, device: bytes) -> None:
        await self.tell(device, self.status(asks=False))
