"""The devices of this profile's account while it is in use: they meet, are paired, removed, and share rooms.

Puts together what the modules beside it do.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from clave_client import events
from clave_client.errors import RelayFault, RelayUnreachable, UsageError
from clave_client.net.pairing_code import PairingCode
from clave_client.net.reconnecting_transport import ReconnectingTransport
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.store.own_devices import OwnDevice
from clave_client.sync.handover import Handovers
from clave_client.sync.own_settings import OwnSettingsContext, OwnSettingsInUse
from clave_client.sync.pairing import Pairing
from clave_client.sync.sibling_rooms import SiblingRooms, SiblingRoomsContext
from clave_client.sync.siblings import RELAY_TOO_OLD, SiblingContext, Siblings
from clave_wire.messages import Passed, RemoveDevice
from clave_wire.text import sanitize

__all__ = ["DevicesContext", "DevicesInUse"]


class DevicesContext(SiblingRoomsContext, SiblingContext, OwnSettingsContext, Protocol):
    """What this needs of a `RoomSync`."""

    connection: ReconnectingTransport


class DevicesInUse:
    """The devices of one profile's account.

    `rooms.claim` and `settings.open_room` are set before the first connection.
    """

    def __init__(self, sync: DevicesContext, store: Store, account: Account) -> None:
        self._sync = sync
        self._account = account
        self.siblings = Siblings(
            sync,
            store,
            account,
            changed=self._changed,
            came=self._came,
            said=lambda device, message: self.handovers.handle(device, message),
        )
        self.known = self.siblings.known
        self.handovers = Handovers(sync, account, self.siblings)
        self.rooms = SiblingRooms(sync, account, self.siblings)
        self.settings = OwnSettingsInUse(sync, store, account, self.siblings)
        self.pairing: Pairing | None = None
        self.former_pairings: set[str] = set()
        """The ids of those that the current one has replaced."""
        self._opening = asyncio.Lock()

    # --- as part of the connection's handler ---

    def connected(self) -> None:
        """Meet the other devices, and go on with what was interrupted."""
        self.siblings.connected()
        if self.known.handover is not None:
            self._sync.spawn(self.handovers.go_on)
        if any(not each.is_paired for each in self.known.others().values()):
            self._sync.spawn(self._settle_interrupted)

    def disconnected(self) -> None:
        """Forget what only holds while connected."""
        self.siblings.disconnected()
        self.settings.disconnected()

    def handle(self, passed: Passed) -> None:
        """Take what another device passes on."""
        pairing = self.pairing
        if pairing is not None and pairing.is_from_new(passed):
            self._sync.spawn(lambda: pairing.handle(passed))
        elif passed.data:
            self.siblings.handle(passed)

    def _changed(self) -> None:
        self.rooms.begin()
        self.settings.check()
        self._sync.batch_done()

    def _came(self, device: bytes) -> None:
        """Do what had to wait for a device: it may have key packages now, or take the account's key."""
        if self.pairing is not None:
            self.pairing.note_login(device)
        self._changed()
        pending = self.known.handover
        if pending is not None and pending.device == device:
            self._sync.spawn(self.handovers.go_on)

    # --- pairing ---

    async def open_pairing(self) -> Pairing:
        """Have a new device come, by a code; in place of an earlier one. Raises `ClientError`."""
        self.check_primary("adds devices")
        async with self._opening:  # the relay has one pairing of a device at a time
            if self.pairing is not None:
                await self.pairing.stop("another code was made")
                self.former_pairings.add(self.pairing.id)
            address, pin = self._sync.connection.address, self._sync.connection.trust.link_pin
            code = PairingCode.make(address, pin, self._account.verified.account)
            pairing = Pairing(self._sync, self._account, self.known, code, self.settle, self.revoke)
            self.pairing = pairing
            await pairing.open()
        return pairing

    async def _settle_interrupted(self) -> None:
        has_devices = self._sync.transport.connection.has_devices
        if has_devices and (self.pairing is None or self.pairing.is_over):
            await self.settle()

    async def settle(self) -> None:
        """Decide about devices of which it is not known whether they got their certificate.

        Those that the relay has are devices; the certificates of others are revoked. Raises `RelayError`.
        """
        if not self._sync.transport.connection.has_devices:
            raise RelayFault(RELAY_TOO_OLD)
        await self.siblings.refresh()
        lost = [each for each in self.known.others().values() if not each.is_paired]
        for each in lost:
            await self.revoke(each)
        self._changed()

    # --- removing ---

    async def revoke(self, device: OwnDevice) -> None:
        """Revoke a device of the account for ever: the relay, siblings and who adds people learn of it.

        It is noted before the relay is asked, which is asked again at the next connection if it was away.
        """
        revocation = self._account.account_key().revoke(device.device)
        self.known.add_revoked({device.device: revocation})
        self._changed()
        try:
            await self._sync.transport.request(
                lambda request: RemoveDevice(request, device.device, revocation)
            )
        except RelayUnreachable:
            text = "the relay is away: it refuses the device once this one is connected again"
            self._sync.emit(events.Notice(b"", text))
            return
        self._sync.batch_done()
        await self.siblings.tell_all()

    # --- parts ---

    def check_primary(self, what: str) -> None:
        """Raise `UsageError` unless this device has the account's key."""
        if not self._account.is_primary:
            raise UsageError(f"only your primary device {what}: {self.primary_words()}")

    def primary_words(self) -> str:
        """Return which device is the primary one, as far as this one knows."""
        names = [
            sanitize(self.known.identity(each).device_name)
            for each in self.known.others().values()
            if each.is_primary
        ]
        return f"use {names[0]}" if names else "this one does not know which it is; see clave devices"
