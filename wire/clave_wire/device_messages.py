"""The messages about the devices of one account, since version 7; `messages` has the others, and them all."""

from __future__ import annotations

from typing import Annotated

import msgspec

from clave_wire.limits import MAX_REVOCATIONS
from clave_wire.message_types import Count, Device, Name, PassedBytes, Signature, WireMessage

__all__ = ["FindRevocations", "OpenPairing", "PassOn", "Passed", "RemoveDevice", "Revocations"]


class PassOn(WireMessage, frozen=True, tag=50):
    """Client: passes data on to another device of its account that is connected; nothing of it is stored."""

    id: Count
    device: Device
    data: PassedBytes


class Passed(WireMessage, frozen=True, tag=51):
    """Relay: what another device of the account passes on; empty when a device comes to be paired."""

    device: Device
    data: PassedBytes


class OpenPairing(WireMessage, frozen=True, tag=52):
    """Client: lets a device that has no certificate yet log in by `key`, to talk with this device only.

    For 5 minutes, and no longer than this connection lasts; a later one takes its place. An empty `key` ends
    it.
    """

    id: Count
    key: Annotated[bytes, msgspec.Meta(max_length=32)]


class RemoveDevice(WireMessage, frozen=True, tag=53):
    """Client: has a device of its account refused from now on, by the account's signature.

    `revocation` is that of `clave_crypto.identity.AccountKey.revoke`.
    """

    id: Count
    device: Device
    revocation: Signature


class FindRevocations(WireMessage, frozen=True, tag=54):
    """Client: asks which devices the account of `name` has revoked."""

    id: Count
    name: Name


class Revocations(WireMessage, frozen=True, tag=55):
    """Relay: the revoked devices of a name with the account's signatures, which the client verifies."""

    id: Count
    devices: Annotated[list[tuple[Device, Signature]], msgspec.Meta(max_length=MAX_REVOCATIONS)]
