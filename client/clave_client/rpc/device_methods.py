"""The methods of the RPC about the devices of the account. `methods` has them all."""

from __future__ import annotations

from typing import Final

from clave_client.rpc.method_base import Change, Method, Seconds
from clave_client.values import DeviceInfo, DeviceOffer, PairingInfo

__all__ = [
    "DEVICE_METHODS",
    "FinishPairing",
    "GetPairingOffer",
    "ListDevices",
    "OpenPairing",
    "RemoveDevice",
    "SetPrimary",
    "StopPairing",
    "WaitDevices",
]


class ListDevices(Method[list[DeviceInfo]], frozen=True, kw_only=True):
    """Return the devices of the account, this one first; without a connection as far as this one knows."""

    NAME = "device.list"
    RESULT = list[DeviceInfo]


class OpenPairing(Method[PairingInfo], frozen=True, kw_only=True):
    """Begin to add a device: return the code for `clave device join`, in place of an earlier one.

    Only the primary device does. Whoever has the code can come in the new device's place, so keep it as you
    would a key, and have the words of `device.offer` compared.
    """

    NAME = "device.add"
    RESULT = PairingInfo


class GetPairingOffer(Method[DeviceOffer], frozen=True, kw_only=True):
    """Wait until the new device is there; return its name, and the words that it has to show, too.

    `pairing` is what `device.add` has returned. It is refused once another code was made, here and below.
    """

    NAME = "device.offer"
    RESULT = DeviceOffer

    pairing: str


class FinishPairing(Method[DeviceInfo | None], frozen=True, kw_only=True):
    """Add the new device if both show the `same` words, else end the pairing; returns the device, or null."""

    NAME = "device.finish"
    RESULT = DeviceInfo | None

    pairing: str
    same: bool


class StopPairing(Method[None], frozen=True, kw_only=True):
    """End a pairing; does nothing if it is over."""

    NAME = "device.stop"

    pairing: str


class WaitDevices(Method[int], frozen=True, kw_only=True):
    """Wait until all devices are in all rooms, and removed ones in none; return in how many it is not so.

    It waits at most `wait` seconds. The rest is done later, while clave is open on any of the devices.
    """

    NAME = "device.wait"
    RESULT = int

    wait: Seconds = 10.0


class RemoveDevice(Change[DeviceInfo], frozen=True, kw_only=True):
    """Remove another device for ever, at the relay and in the background from every room; by its name.

    Only the primary device does.
    """

    NAME = "device.remove"
    RESULT = DeviceInfo

    name: str


class SetPrimary(Change[DeviceInfo], frozen=True, kw_only=True):
    """Hand the account's key to another device, which is connected; this one has it no more."""

    NAME = "device.set_primary"
    RESULT = DeviceInfo

    name: str


DEVICE_METHODS: Final = (
    ListDevices,
    OpenPairing,
    GetPairingOffer,
    FinishPairing,
    StopPairing,
    WaitDevices,
    RemoveDevice,
    SetPrimary,
)
"""The methods of this module."""
