"""What several devices of an account ask of the relay in memory: pairing, passing on. Knows no directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from clave_client.testing.memory_directory import Device
from clave_client.testing.refusals import Refusal
from clave_crypto.errors import CryptoError
from clave_crypto.identity import verify_signature
from clave_wire.messages import Code, Login, OpenPairing, Passed, PassOn, ToClient

__all__ = ["DeviceSession", "MemoryDevices"]


class DeviceSession(Protocol):
    """What is needed of a session: who it is of, which device pairs it, and ways to answer."""

    device: Device | None
    host: bytes

    def send(self, message: ToClient) -> None:
        """Send a message."""

    def close(self, code: Code, text: str) -> None:
        """End the connection."""


class MemoryDevices:
    """The pairings of a relay in memory, by the keys with which devices come; `sessions` are the relay's."""

    def __init__(self, sessions: Mapping[bytes, DeviceSession]) -> None:
        self._sessions = sessions
        self.pairings: dict[bytes, bytes] = {}

    def pass_on(self, device: Device, request: PassOn) -> None:
        """Send a device what another one of its account passes on. Raises `Refusal`."""
        own, other = self._sessions[device.key], self._sessions.get(request.device)
        if (
            other is None
            or other.device is None
            or other.device.account != device.account
            or own.host not in (b"", request.device)
            or other.host not in (b"", device.key)
        ):
            raise Refusal(Code.BAD_REQUEST, "that device is not connected")
        other.send(Passed(device.key, request.data))

    def open(self, device: Device, request: OpenPairing) -> None:
        """Let a device log in by a key, to be paired by `device`; in place of an earlier one."""
        self.close(device.key)
        if request.key:
            self.pairings[request.key] = device.key

    def close(self, host: bytes) -> None:
        """End the pairing that a device has opened."""
        for key in [key for key, each in self.pairings.items() if each == host]:
            del self.pairings[key]
            if key in self._sessions:
                self._sessions[key].close(Code.TIMEOUT, "the pairing has ended")

    def log_in(self, login: Login, transcript: bytes) -> Device:
        """Return a device that comes to be paired, of its host's account. Raises `Refusal`."""
        host = self._sessions.get(self.pairings.get(login.device, b""))
        if host is None or host.device is None:
            raise Refusal(
                Code.BAD_LOGIN, "no device waits to be paired by this code: it was used, or is over"
            )
        try:
            verify_signature(login.device, transcript, login.signature)
        except CryptoError as error:
            raise Refusal(Code.BAD_LOGIN, f"the login does not hold: {error}") from None
        if login.device in self._sessions:
            raise Refusal(Code.BAD_LOGIN, "another device uses this code already; make a new one")
        return Device(login.device, host.device.name, host.device.account, b"")
