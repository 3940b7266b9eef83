"""Executes the methods of the RPC about the devices of the account. Knows no connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from clave_client.client import Client
from clave_client.formats.json_values import load
from clave_client.rpc import methods as m
from clave_client.rpc.message_service import MessageService
from clave_client.rpc.service_base import Attempt, within
from clave_client.values import DeviceInfo

__all__ = ["DeviceService"]


class DeviceService(MessageService):
    """The methods about devices; a part of `Service`."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        waits: dict[type, Callable[[Any], Awaitable[Any]]] = {
            m.ListDevices: lambda _: client.devices(),
            m.OpenPairing: lambda _: client.open_pairing(),
            m.GetPairingOffer: lambda r: client.pairing_offer(r.pairing),
            m.FinishPairing: lambda r: client.finish_pairing(r.pairing, same=r.same),
            m.StopPairing: lambda r: client.stop_pairing(r.pairing),
            m.WaitDevices: self._wait_devices,
        }
        self._waits |= waits
        changes: dict[type, Callable[[Any, Attempt], Awaitable[Any]]] = {
            m.RemoveDevice: self._changing_device(client.remove_device),
            m.SetPrimary: self._changing_device(client.set_primary),
        }
        self._changes |= changes

    async def _wait_devices(self, request: m.WaitDevices) -> int:
        await within(request.wait, self._client.wait_devices())
        return self._client.rooms_to_settle

    def _changing_device(
        self, change: Callable[[str], Awaitable[DeviceInfo]]
    ) -> Callable[[Any, Attempt], Awaitable[DeviceInfo]]:
        """Return what carries out a change of a device, once."""

        async def carry_out(request: m.RemoveDevice | m.SetPrimary, attempt: Attempt) -> DeviceInfo:
            if attempt.outcome is not None:
                return load(DeviceInfo, attempt.outcome["done"])
            await self._client.wait_settled()
            return self._finish(request, await change(request.name))

        return carry_out
