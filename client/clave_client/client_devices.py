"""The devices of a client's account: which there are, adding one, removing one, which has the account's key.

A part of `client.Client`.
"""

from __future__ import annotations

from clave_client.client_links import ClientLinks
from clave_client.errors import RelayFault, UsageError
from clave_client.store.own_devices import OwnDevice
from clave_client.sync.pairing import Pairing, PairingOffer
from clave_client.sync.siblings import RELAY_TOO_OLD
from clave_client.values import DeviceInfo, DeviceOffer, PairingInfo, Phase
from clave_wire.text import sanitize

__all__ = ["ClientDevices"]


class ClientDevices(ClientLinks):
    """The devices of one profile's account; the base of `Client`.

    Only the primary device, which has the account's key, adds and removes devices. What cannot be done raises
    `UsageError`, and `RelayError` without the relay.
    """

    @property
    def is_primary(self) -> bool:
        """Whether this device has the account's key."""
        return self.sync.account.is_primary

    async def devices(self) -> list[DeviceInfo]:
        """Return the devices of the account, this one first. Asks the relay, if there is a connection."""
        devices = self.sync.devices
        await self.sync.connection.wait_settled()
        if self.is_online and self.sync.transport.connection.has_devices:
            await devices.siblings.refresh()
            for device in devices.known.others():
                await devices.siblings.tell(device, devices.siblings.status(asks=True))
        me = self.sync.account.verified
        own = DeviceInfo(
            sanitize(me.device_name),
            me.device,
            is_own=True,
            is_primary=self.is_primary,
            is_online=self.is_online,
            since=devices.known.since,
            rooms=self._rooms_with(me.device),
        )
        return [own, *map(self._device_info, devices.known.others().values())]

    def _device_info(self, device: OwnDevice) -> DeviceInfo:
        devices = self.sync.devices
        rooms_online = any(device.device in online for online in self.sync.online.values())
        return DeviceInfo(
            sanitize(devices.known.identity(device).device_name),
            device.device,
            is_own=False,
            is_primary=device.is_primary and not self.is_primary,
            is_online=device.device in devices.siblings.online or rooms_online,
            since=device.since,
            rooms=self._rooms_with(device.device),
        )

    def _rooms_with(self, device: bytes) -> int:
        rooms = self.sync.rooms.values()
        joined = (room for room in rooms if room.record.phase is Phase.JOINED and not room.is_notes)
        return sum(room.roster.has(device) for room in joined)

    # --- adding ---

    async def open_pairing(self) -> PairingInfo:
        """Begin to add a device; return the code that it takes, within 5 minutes, to `join_account`.

        Whoever has the code can come in its place, so compare the words of `pairing_offer`.
        """
        await self.sync.connection.wait_settled()
        pairing = await self.sync.devices.open_pairing()
        return PairingInfo(pairing.id, pairing.code.text, pairing.seconds_left)

    async def pairing_offer(self, pairing: str) -> DeviceOffer:
        """Wait for the new device; return its name and the words that it has to show, too.

        `pairing` is what `open_pairing` has returned, as for the methods below: each raises `UsageError` if
        another code was made meanwhile.
        """
        offer: PairingOffer = await self._pairing(pairing).offer()
        return DeviceOffer(pairing, offer.device_name, offer.words)

    async def finish_pairing(self, pairing: str, *, same: bool) -> DeviceInfo | None:
        """Add the new device if its user sees the `same` words, else end the pairing and return None.

        It is added to all rooms in the background then.
        """
        current = self._pairing(pairing)
        if not same:
            await current.stop("the words are not the same, or nobody said so")
            return None
        device = await current.certify()
        self.sync.devices.rooms.begin()
        return self._device_info(device)

    async def stop_pairing(self, pairing: str) -> None:
        """End a pairing; does nothing if it is over."""
        if pairing not in self.sync.devices.former_pairings:
            await self._pairing(pairing).stop("it was interrupted")

    def _pairing(self, pairing: str) -> Pairing:
        """Return the current pairing. Raises `UsageError` if `pairing` is another one."""
        current = self.sync.devices.pairing
        if current is None:
            raise UsageError("no device is being added; begin with: clave device add")
        if current.id != pairing:
            raise UsageError(
                "that pairing is over: another code was made, and nothing was changed by this one"
            )
        return current

    # --- in the rooms ---

    @property
    def rooms_to_settle(self) -> int:
        """In how many rooms a device of the account is missing, or a removed one is left."""
        rooms = self.sync.devices.rooms
        return sum(bool(rooms.missing(each) or rooms.removed(each)) for each in self.sync.rooms.values())

    async def wait_devices(self) -> None:
        """Wait until there is no such room. It goes on in the background without."""
        await self.sync.wait_for(lambda: not self.rooms_to_settle)

    # --- removing, and the account's key ---

    async def remove_device(self, name: str) -> DeviceInfo:
        """Remove another device for ever: at the relay, and in the background from every room."""
        devices = self.sync.devices
        devices.check_primary("removes devices")
        await self._check_relay()
        if name == self.sync.account.verified.device_name:
            raise UsageError("this is that device; hand its role on first: clave device primary NAME")
        device = await devices.siblings.find(name)
        info = self._device_info(device)
        await devices.revoke(device)
        return info

    async def set_primary(self, name: str) -> DeviceInfo:
        """Hand the account's key to another device that is connected; this one does not have it any more."""
        devices = self.sync.devices
        devices.check_primary("hands its role on")
        await self._check_relay()
        if name == self.sync.account.verified.device_name:
            raise UsageError("this device is the primary one already")
        device = await devices.siblings.find(name)
        await devices.handovers.hand_to(device)
        return self._device_info(devices.known.others()[device.device])

    async def _check_relay(self) -> None:
        await self.sync.connection.wait_settled()
        if not self.sync.transport.connection.has_devices:
            raise RelayFault(RELAY_TOO_OLD)
