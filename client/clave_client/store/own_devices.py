"""The devices of this profile's account: which there are, which were revoked, and who has the account's key.

Knows the store, not the network. All of it is signed by the account, but for which one is the primary device,
which each device says of itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_crypto.errors import CryptoError
from clave_crypto.identity import VerifiedIdentity, verify_identity, verify_revocation

__all__ = ["Handover", "OwnDevice", "OwnDevices", "remember_revocations"]

_DEVICES: Final = "own devices"
_REVOKED: Final = "own devices revoked"
_REVOKED_OF: Final = "revoked "
_HANDOVER: Final = "handover of the account's key"
_SINCE: Final = "device since"

_MOST_SECONDS: Final = 1 << 33
"""Times from here on, in seconds since 1970, are none: not every platform has a date for them."""


class OwnDevice(msgspec.Struct, frozen=True, array_like=True):
    """Another device of the account: its encoded identity, which is verified whenever it is read.

    `since` is when it was paired, in seconds since 1970; 0 if that is not known.
    `is_paired` is false until the relay has it. `said_at` is when it last said something, in ms since 1970 by
    its own clock.
    """

    device: bytes
    identity: bytes
    since: int = 0
    is_primary: bool = False
    is_paired: bool = True
    said_at: int = 0

    def __repr__(self) -> str:
        return f"<OwnDevice {self.device!r}>"


class Handover(msgspec.Struct, frozen=True, array_like=True):
    """That the account's key is being handed to a device; it may have got it if `is_sent`."""

    device: bytes
    number: bytes
    is_sent: bool = False

    def __repr__(self) -> str:
        return f"<Handover {self.device!r}>"


class OwnDevices:
    """What this profile knows of the devices of its account."""

    def __init__(self, store: Store, account: Account) -> None:
        self.store = store
        self._store = store
        self._account = account
        self._others: dict[bytes, OwnDevice] | None = None
        self._revoked: dict[bytes, bytes] | None = None

    # --- this device ---

    @property
    def since(self) -> int:
        """When this device was paired, in seconds since 1970; 0 for the first one."""
        since = int.from_bytes(self._store.get(_SINCE) or b"", "big")
        return since if since < _MOST_SECONDS else 0

    def note_since(self, since: int) -> None:
        """Store when this device was paired."""
        self._store.put(_SINCE, since.to_bytes(8, "big"))

    # --- the others ---

    @property
    def has_any(self) -> bool:
        """Whether the account has, or had, any other device."""
        return bool(self.others() or self.revoked())

    def others(self) -> dict[bytes, OwnDevice]:
        """Return the other devices that are not revoked, by key."""
        if self._others is None:
            stored = self._store.get(_DEVICES)
            found = [] if stored is None else msgspec.msgpack.decode(stored, type=list[OwnDevice])
            revoked = self.revoked()
            self._others = {each.device: each for each in found if each.device not in revoked}
        return dict(self._others)

    def identity(self, device: OwnDevice) -> VerifiedIdentity:
        """Return what the account has signed of a device. Raises `IdentityError`."""
        return verify_identity(device.identity, device.device)

    def named(self, name: str) -> OwnDevice | None:
        """Return the other device with a name, or None."""
        for each in self.others().values():
            if self.identity(each).device_name == name:
                return each
        return None

    def put(self, *changed: OwnDevice) -> None:
        """Store devices, in place of what was stored of them."""
        devices = self.others() | {each.device: each for each in changed}
        self._store.put(_DEVICES, msgspec.msgpack.encode(list(devices.values())))
        self._others = None

    def add_found(self, found: Mapping[bytes, bytes]) -> bool:
        """Store devices that the relay named, with their identities; return whether one is new.

        Left out are those that the account did not sign, or has revoked.
        """
        known, revoked, new = self.others(), self.revoked(), []
        for device, identity in found.items():
            if device == self._account.device.public or device in revoked:
                continue
            try:
                verified = verify_identity(identity, device)
            except CryptoError:
                continue
            if (verified.account, verified.name) != (self._account.verified.account, self._account.name):
                continue
            former = known.get(device)
            if former is None:
                new.append(OwnDevice(device, identity))
            elif not former.is_paired:
                new.append(msgspec.structs.replace(former, is_paired=True))
        if new:
            self.put(*new)
        return bool(new)

    # --- revocations ---

    def revoked(self) -> dict[bytes, bytes]:
        """Return the devices that the account has revoked, with its signatures."""
        if self._revoked is None:
            stored = self._store.get(_REVOKED)
            found = [] if stored is None else msgspec.msgpack.decode(stored, type=list[tuple[bytes, bytes]])
            self._revoked = dict(found)
        return dict(self._revoked)

    def add_revoked(self, found: Mapping[bytes, bytes]) -> list[bytes]:
        """Store the revocations that the account has signed; return the devices that are new here."""
        known = self.revoked()
        new = {}
        for device, signature in found.items():
            try:
                verify_revocation(self._account.verified.account, device, signature)
            except CryptoError:
                continue
            if device not in known:
                new[device] = signature
        if new:
            others = self.others()
            with self._store.transaction():
                self._store.put(_REVOKED, msgspec.msgpack.encode(list((known | new).items())))
                left = [each for each in others.values() if each.device not in new]
                self._store.put(_DEVICES, msgspec.msgpack.encode(left))
            self._others = self._revoked = None
        return list(new)

    # --- the account's key ---

    @property
    def handover(self) -> Handover | None:
        """To which device the account's key is being handed, if to any."""
        stored = self._store.get(_HANDOVER)
        return msgspec.msgpack.decode(stored, type=Handover) if stored else None

    def note_handover(self, handover: Handover | None) -> None:
        """Store to which device the account's key is being handed."""
        self._store.put(_HANDOVER, b"" if handover is None else msgspec.msgpack.encode(handover))


def remember_revocations(store: Store, account: bytes, devices: set[bytes]) -> set[bytes]:
    """Store which devices another account has revoked, which was verified; return all that are known.

    So a relay that hides one later is not believed.
    """
    stored = store.get(_REVOKED_OF + account.hex())
    known = set() if stored is None else set(msgspec.msgpack.decode(stored, type=list[bytes]))
    if devices - known:
        known |= devices
        store.put(_REVOKED_OF + account.hex(), msgspec.msgpack.encode(sorted(known)))
    return known
